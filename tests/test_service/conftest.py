"""Two agents, and a service on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

import sage
from sage.service import Handler, Message, serving

ADA = "did:sage:web:agents.example:ada"
GRACE = "did:sage:web:agents.example:grace"


@pytest.fixture
def ada() -> sage.Agent:
    return sage.Agent.generate(ADA)


@pytest.fixture
def grace() -> sage.Agent:
    return sage.Agent.generate(GRACE)


@pytest.fixture
def resolver(ada: sage.Agent, grace: sage.Agent) -> sage.MemoryResolver:
    return sage.MemoryResolver([ada.record, grace.record])


async def echo(message: Message) -> bytes:
    return b"echo:" + message.payload


Running = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def running(grace: sage.Agent, resolver: sage.MemoryResolver, tls) -> Running:
    """Return a context manager that runs Grace and yields her URL."""

    @asynccontextmanager
    async def run(handler: Handler = echo, **options: object) -> AsyncIterator[str]:
        service = sage.Service(
            **{
                "agent": grace,
                "resolver": resolver,
                "handler": handler,
                **options,
            }  # type: ignore[arg-type]
        )
        async with serving(service, certificate=tls.certificate) as port:
            yield f"wss://localhost:{port}/sage"

    return run


@pytest.fixture
def connecting(
    ada: sage.Agent, resolver: sage.MemoryResolver, tls
) -> Callable[..., sage.connect]:
    """Return `sage.connect` with Ada's side filled in."""

    def connect(url: str, **options: object) -> sage.connect:
        return sage.connect(
            url,
            **{
                "agent": ada,
                "peer": GRACE,
                "resolver": resolver,
                "tls": tls.client,
                **options,
            },  # type: ignore[arg-type]
        )

    return connect
