"""Servers that send what they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

import sage

Canned = Callable[..., AbstractAsyncContextManager[dict[str, sage.HostAddress]]]


@pytest.fixture
def canned(tls) -> Canned:
    """Return a server that answers every request head with given bytes.

    It yields the host map that leads to it, and counts its connections.
    """

    @asynccontextmanager
    async def run(
        *answers: bytes, close: bool = True, connections: list[int] | None = None
    ) -> AsyncIterator[dict[str, sage.HostAddress]]:
        left = list(answers)

        async def serve(reader, writer):
            if connections is not None:
                connections.append(1)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while left:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(left.pop(0))
                    await writer.drain()
                    if close:
                        break
                if not close:
                    await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls.server)
        port = server.sockets[0].getsockname()[1]
        try:
            yield {
                "agents.example": sage.HostAddress(
                    address="127.0.0.1", port=port, ca=tls.authority
                )
            }
        finally:
            server.close()
            await server.wait_closed()

    return run
