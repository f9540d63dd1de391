"""The everyday API is given what it cannot work with, and says so at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import sage
from sage.errors import UsageError

URL, PEER = "wss://agents.example/sage", "did:sage:web:agents.example:grace"


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    async def handler(message: sage.Message) -> bytes:
        return message.payload

    ada = sage.Agent.generate("did:sage:web:agents.example:ada")
    resolver = sage.MemoryResolver([ada.record])
    return {"agent": ada, "resolver": resolver, "handler": handler, "peer": PEER}


def connect(agent: Any, resolver: Any, peer: Any, handler: Any, **more: Any) -> Any:
    return sage.connect(URL, agent=agent, resolver=resolver, peer=peer, **more)


def serve(agent: Any, resolver: Any, peer: Any, handler: Any, **more: Any) -> Any:
    return sage.Service(agent=agent, resolver=resolver, handler=handler, **more)


def pool(agent: Any, resolver: Any, peer: Any, handler: Any, **more: Any) -> Any:
    return sage.ChannelPool(agent=agent, resolver=resolver, **more)


@pytest.mark.parametrize(
    ("make", "name", "value", "text"),
    [
        (connect, "agent", PEER, "agent must be an instance of Agent, not str"),
        (connect, "resolver", None, r"resolver must be something with resolve\(\)"),
        (connect, "peer", 5, "an identifier is str, not int"),
        (connect, "tls", True, "tls must be an instance of SSLContext, not bool"),
        (connect, "config", {}, "config must be an instance of ClientC"),
        (
            connect,
            "config",
            sage.ServiceConfig(),
            "config must be an instance of ClientConfig",
        ),
        (pool, "agent", None, "agent must be an instance of Agent, not NoneType"),
        (pool, "resolver", "folder", r"resolver must be something with resolve\(\)"),
        (pool, "tls", "ca.pem", "tls must be an instance of SSLContext, not str"),
        (
            pool,
            "config",
            sage.ClientConfig(),
            "config must be an instance of ChannelPoolConfig",
        ),
        (pool, "channels", {}, "channels must be an instance of ClientC"),
        (serve, "agent", "agent.json", "agent must be an instance of Agent, not str"),
        (serve, "resolver", dict, r"resolver must be something with resolve\(\)"),
        (serve, "handler", b"", "handler must be callable, not bytes"),
        (serve, "stream_handler", 1, "stream_handler must be callable, not int"),
        (serve, "guard", "guard.db", r"guard must be something with reserve\(\)"),
        (serve, "config", {}, "config must be an instance of ServiceConfig, not dict"),
    ],
)
def test_a_part_that_is_none(
    parts: dict[str, Any], make: Callable[..., Any], name: str, value: Any, text: str
) -> None:
    make(**parts)
    with pytest.raises(UsageError, match=f"^{text}"):
        make(**(parts | {name: value}))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sage.MemoryResolver(5), r"records must be something with __iter__"),
        (
            lambda: sage.MemoryResolver(["x"]),
            "record must be an instance of AgentRecord, not str",
        ),
        (lambda: sage.CachingResolver("folder"), r"resolver must be something with"),
        (lambda: sage.RedisReplayGuard(5), r"server must be something with evalsha"),
        (
            lambda: sage.HostAddress(address=5),
            "address must be an instance of str, not int",
        ),
        (lambda: sage.HostAddress(address=""), "an address is a name or number"),
        (lambda: sage.HostAddress(address="::1", port=65536), "an address is a name"),
        (lambda: sage.HostAddress(address="::1", port=0), "port must be an int from 1"),
        (lambda: sage.HostAddress(address="::1", ca=b"x"), "a path is str or"),
    ],
)
def test_what_others_are_made_of(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(UsageError, match=f"^{text}"):
        make()
