"""Peers that come and go leave nothing behind, in whatever way they go."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

import sage
from sage.errors import SageError
from sage.service import ServiceConfig, serving

from ..ports import free_port
from .conftest import echo

pytestmark = pytest.mark.every_loop

PEERS, AT_ONCE = 32, 8


def of_connections() -> Counter[str]:
    """Count what a connection consists of, ours and the libraries'."""
    kept = ("LRUCache", "SignatureInput")  # caches, bounded by themselves
    packages = ("sage", "uvicorn", "h11", "websockets", "aiohttp")
    gc.collect()
    return Counter(
        kind.__qualname__
        for kind in map(type, gc.get_objects())
        if str(kind.__module__).partition(".")[0] in packages
        and kind.__qualname__ not in kept
    )


async def churn(visit: Callable[[], Awaitable[None]], peers: int) -> None:
    for _ in range(0, peers, AT_ONCE):
        await asyncio.gather(*(visit() for _ in range(AT_ONCE)))


async def require_nothing_left(visit: Callable[[], Awaitable[None]]) -> None:
    """Have peers come and go, and compare with the time when few had."""
    await churn(visit, AT_ONCE)
    before = of_connections()
    await churn(visit, PEERS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):  # they have a second for their goodbyes
            while many_more(before):
                await asyncio.sleep(0.1)
    assert not many_more(before)


def many_more(before: Counter[str]) -> dict[str, int]:
    """Return what there is more of now, by half of the peers at least."""
    grown = of_connections() - before
    return {name: count for name, count in grown.items() if count >= PEERS // 2}


def cut(channel: sage.Channel) -> None:
    """End a channel's connection as a crash does."""
    channel._courier._socket._pipe._transport.abort()


@pytest.mark.parametrize("leave", ["politely", "by a crash", "in mid-request"])
async def test_channels_over_websockets(running, connecting, leave):
    async def visit() -> None:
        async with connecting(url) as channel:
            assert await channel.request(b"x") == b"echo:x"
            if leave == "by a crash":
                cut(channel)
            elif leave == "in mid-request":
                asking = asyncio.create_task(channel.request(bytes(300_000)))
                await asyncio.sleep(0)
                cut(channel)
                with pytest.raises(SageError):
                    await asking

    async with running() as url:
        await require_nothing_left(visit)


async def test_streams(running, connecting):
    async def acknowledge(stream: sage.Stream) -> None:
        while records := await stream.receive_many():
            await stream.send(b"%d" % len(records))

    async def visit() -> None:
        with contextlib.suppress(SageError):
            async with connecting(url) as channel, channel.stream() as stream:
                await stream.send_many([bytes(500)] * 20)
                assert await stream.receive()
                cut(channel)
                await stream.receive()

    async with running(stream_handler=acknowledge) as url:
        await require_nothing_left(visit)


async def test_channels_over_https(connecting, grace, resolver, tls):
    url = f"https://localhost:{(port := free_port())}/sage"
    config = ServiceConfig(
        https_endpoints=frozenset({url}), max_https_sessions_per_peer=AT_ONCE
    )
    service = sage.Service(agent=grace, resolver=resolver, handler=echo, config=config)

    async def visit() -> None:
        async with connecting(url) as channel:
            assert await channel.request(b"x") == b"echo:x"

    async with serving(service, certificate=tls.certificate, port=port):
        await require_nothing_left(visit)
