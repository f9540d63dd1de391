"""Opening connections, on both kinds of loop."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from sage.transport import tls_connect
from sage.transport.tls_connect import connect_tls

from ..ports import free_port


class Reading(asyncio.Protocol):
    def __init__(self) -> None:
        self.got, self.lost = b"", asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.got += data

    def connection_lost(self, exc):
        self.lost.set()


async def greet(reader, writer):
    writer.write(b"hello")
    writer.close()


@pytest.mark.parametrize("watches", [True, False])
async def test_a_server_says_hello(tls, monkeypatch, watches):
    monkeypatch.setattr(tls_connect, "can_watch_sockets", lambda: watches)
    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls.server)
    port, protocol = server.sockets[0].getsockname()[1], Reading()
    await connect_tls("localhost", port, protocol, tls.client, timeout_s=5)
    await protocol.lost.wait()
    assert protocol.got == b"hello"
    server.close()


async def test_an_unknown_authority(tls):
    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls.server)
    port, stranger = server.sockets[0].getsockname()[1], ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_tls("localhost", port, Reading(), stranger, timeout_s=5)
    server.close()


async def test_nobody_listens(tls):
    with pytest.raises(ConnectionError):
        await connect_tls("localhost", free_port(), Reading(), tls.client, timeout_s=5)


async def test_a_server_that_never_shakes_hands(tls):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TimeoutError):
            await connect_tls("localhost", port, Reading(), tls.client, timeout_s=0.2)
