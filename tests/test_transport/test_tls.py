"""TLS on a socket, against asyncio's own TLS at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

import pytest

from sage.limits import WRITE_BUFFER_HIGH_BYTES
from sage.transport.tls import TlsTransport, can_watch_sockets


class Noting(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self, echo: bool = False) -> None:
        self.echo, self.transport = echo, None
        self.got, self.paused = bytearray(), []
        self.opened, self.lost = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    def connection_made(self, transport):
        self.transport = transport
        self.opened.set()

    def data_received(self, data):
        self.got += data
        if self.echo:
            self.transport.write(data)

    def pause_writing(self):
        self.paused.append(True)

    def resume_writing(self):
        self.paused.append(False)

    def connection_lost(self, exc):
        self.error = exc
        self.lost.set()


@contextlib.asynccontextmanager
async def pair(tls, protocol, *, timeout_s=5.0):
    """A server's transport of ours, and a client of asyncio's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    TlsTransport(ours, protocol, tls.server, timeout_s=timeout_s)
    reader, writer = await asyncio.open_connection(
        sock=theirs, ssl=tls.client, server_hostname="localhost"
    )
    async with asyncio.timeout(20):
        await protocol.opened.wait()
        yield reader, writer
    writer.transport.abort()
    await protocol.lost.wait()


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 3_000_000])
async def test_bytes_go_and_come(tls, size):
    protocol, data = Noting(echo=True), bytes(range(256)) * (size // 256 + 1)
    async with pair(tls, protocol) as (reader, writer):
        writer.write(data[:size])
        assert await reader.readexactly(size) == data[:size]
        assert protocol.transport.get_extra_info("sslcontext") is tls.server
        assert protocol.transport.get_extra_info("nothing", 7) == 7


async def test_what_is_written_in_quick_succession_leaves_together(tls, monkeypatch):
    monkeypatch.setattr("sage.transport.tls.WRITE_GAP_S", 10.0)
    protocol = Noting()
    async with pair(tls, protocol) as (reader, _):
        for _ in range(100):
            protocol.transport.write(b"x" * 100)
        assert protocol.transport.get_write_buffer_size() == 10_000
        # One record of TLS is one read.
        assert len(await reader.read(20_000)) == 10_000


async def test_what_takes_its_time_does_not_wait_for_the_turn(tls, monkeypatch):
    monkeypatch.setattr("sage.transport.tls.WRITE_GAP_S", 0.0)
    protocol = Noting()
    async with pair(tls, protocol) as (reader, _):
        for waiting in (100, 0, 100):
            protocol.transport.write(b"x" * 100)
            assert protocol.transport.get_write_buffer_size() == waiting
        assert len(await reader.readexactly(300)) == 300


async def test_a_writer_hears_of_a_peer_that_does_not_read(tls):
    protocol = Noting()
    async with pair(tls, protocol) as (reader, writer):
        writer.transport.pause_reading()
        sent = 0
        while not protocol.paused or not protocol.paused[-1]:
            protocol.transport.write(b"x" * WRITE_BUFFER_HIGH_BYTES)
            sent += WRITE_BUFFER_HIGH_BYTES
            await asyncio.sleep(0)
        assert protocol.paused[0]
        writer.transport.resume_reading()
        assert len(await reader.readexactly(sent)) == sent
        assert protocol.paused[-1] is False


async def test_a_pause_leaves_the_bytes_at_the_sender(tls):
    protocol = Noting()
    async with pair(tls, protocol) as (_, writer):
        protocol.transport.pause_reading()
        writer.write(b"later")
        await asyncio.sleep(0.05)
        assert not protocol.got
        assert not protocol.transport.is_reading()
        protocol.transport.resume_reading()
        while protocol.got != b"later":
            await asyncio.sleep(0.01)


async def test_closing_sends_what_waits_over_unread_bytes(tls):
    protocol = Noting()
    async with pair(tls, protocol) as (reader, writer):
        protocol.transport.pause_reading()
        writer.write(b"never read" * 1000)
        await asyncio.sleep(0.05)
        protocol.transport.write(b"the last words")
        protocol.transport.close()
        protocol.transport.close()
        assert await reader.read() == b"the last words"
        writer.close()
        await protocol.lost.wait()
    assert protocol.error is None


async def test_closing_takes_a_second_at_most(tls):
    protocol = Noting()
    async with pair(tls, protocol) as (_, writer):
        writer.transport.pause_reading()
        for _ in range(100):
            protocol.transport.write(b"x" * 1_000_000)
        protocol.transport.close()
        async with asyncio.timeout(1.5):
            await protocol.lost.wait()


async def test_a_protocol_that_fails_costs_its_connection_alone(tls, caplog):
    protocol = Noting()
    protocol.data_received = lambda data: 1 / 0  # type: ignore[method-assign]
    async with pair(tls, protocol) as (_, writer):
        writer.write(b"x")
        await protocol.lost.wait()
    assert isinstance(protocol.error, ZeroDivisionError)
    assert "internal error" in caplog.text


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n" * 9])
async def test_who_never_shakes_hands_is_cut_off(tls, said):
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        failed = asyncio.get_running_loop().create_future()
        TlsTransport(
            ours, Noting(), tls.server, timeout_s=0.2, on_opened=failed.set_result
        )
        theirs.sendall(said)
        async with asyncio.timeout(2):
            assert isinstance(await failed, OSError)


async def test_an_end_without_a_goodbye_is_an_error(tls):
    """Anybody on the way can end TCP, and so cut what is said short."""
    protocol = Noting()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    TlsTransport(ours, protocol, tls.server, timeout_s=5)

    def cut() -> None:
        with tls.client.wrap_socket(theirs, server_hostname="localhost") as client:
            client.sendall(b"half of it")
            client.shutdown(socket.SHUT_WR)
            while socket.socket.recv(client, 4096):
                pass

    async with asyncio.timeout(5):
        await asyncio.to_thread(cut)
        await protocol.lost.wait()
    assert protocol.got == b"half of it"
    assert isinstance(protocol.error, OSError)


async def test_nobody_renegotiates(tls):
    protocol = Noting()
    async with pair(tls, protocol):
        context = protocol.transport.get_extra_info("sslcontext")
        assert context.options & ssl.OP_NO_RENEGOTIATION


async def test_a_goodbye_is_no_error(tls):
    protocol = Noting()
    async with pair(tls, protocol) as (_, writer):
        writer.write(b"all of it")
        writer.close()
        await protocol.lost.wait()
    assert protocol.got == b"all of it"
    assert protocol.error is None


async def test_what_is_slow_to_take_leaves_others_their_turn(tls):
    protocol, turns = Noting(), 0
    took = protocol.data_received

    def take(data) -> None:
        time.sleep(0.02)
        took(data)

    async with pair(tls, protocol) as (_, writer):
        protocol.data_received = take  # type: ignore[method-assign]
        protocol.transport.pause_reading()
        writer.write(bytes(100_000))
        await asyncio.sleep(0.1)
        protocol.transport.resume_reading()
        while len(protocol.got) < 100_000:
            await asyncio.sleep(0)
            turns += 1
    assert turns >= 100_000 // 16_384


async def test_the_loop_of_the_tests_watches_sockets():
    assert can_watch_sockets()
