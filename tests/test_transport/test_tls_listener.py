"""Accepting connections, good and bad."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from sage.transport import tls_listener
from sage.transport.tls_listener import TlsListener


class Greeting(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")
        transport.close()


def listen(tls, listening=None):
    listening = listening or socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    return TlsListener(listening, Greeting, tls.server, handshake_timeout_s=2), port


async def greeted(tls, port) -> bool:
    reader, writer = await asyncio.open_connection("localhost", port, ssl=tls.client)
    data = await reader.read()
    writer.close()
    return data == b"hello"


async def test_many_at_once_beside_one_that_says_nothing(tls):
    listener, port = listen(tls)
    with socket.create_connection(("127.0.0.1", port)):
        assert all(await asyncio.gather(*(greeted(tls, port) for _ in range(50))))
    listener.close()
    listener.close()
    await listener.wait_closed()
    assert not listener.sockets
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


class Exhausted(socket.socket):
    """Has no file for a connection the first time."""

    failures = 1

    def accept(self):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


async def test_no_files_left_is_a_pause_and_not_the_end(tls, monkeypatch, caplog):
    monkeypatch.setattr(tls_listener, "_ACCEPT_AGAIN_S", 0.1)
    listening = Exhausted(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listener, port = listen(tls, listening)
    async with asyncio.timeout(5):
        assert await greeted(tls, port)
    listener.close()
    assert "cannot accept connections" in caplog.text


async def test_who_still_shakes_hands_goes_with_the_listener(tls):
    listener, port = listen(tls)
    with socket.create_connection(("127.0.0.1", port)) as client:
        await asyncio.sleep(0.1)
        listener.close()
        client.settimeout(1)  # and not the two of the handshake
        assert await asyncio.to_thread(client.recv, 1) == b""
