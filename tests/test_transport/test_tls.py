"""TLS on a socket, against asyncio's own TLS at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

import pytest

from sage.limits import (
    TLS_RECORD_MAX_BYTES,
    TLS_SEND_MAX_BYTES,
    TURN_S,
    WRITE_BUFFER_HIGH_BYTES,
)
from sage.transport.tls import TlsTransport, can_watch_sockets
from sage.transport.tls_watch import TlsWatch
from sage.transport.turn import turn_of

from .tls_by_hand import DATA, ByHand, Keys13, Noting, log_keys

pytestmark = pytest.mark.every_loop


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


@pytest.mark.parametrize("size", [1, 16_384, 16_385, TLS_SEND_MAX_BYTES + 1, 3_000_000])
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


async def test_all_that_waits_is_read_in_one_turn_and_nothing_is_tried_in_vain(
    tls, monkeypatch
):
    client, protocol = ssl.create_default_context(cafile=str(tls.authority)), Noting()
    end = ByHand(client, protocol, tls.server, name="localhost")
    await end.shake_hands()
    sizes = (1, 100, TLS_RECORD_MAX_BYTES, 7)
    protocol.transport.pause_reading()
    for size in sizes:
        end.tls.write(bytes(size))
    await end.send()
    lengths, recv = [], TlsWatch.recv

    def count(self, sock, size):
        lengths.append(len(data := recv(self, sock, size)))
        return data

    monkeypatch.setattr(TlsWatch, "recv", count)
    protocol.transport.resume_reading()
    while not lengths:
        await asyncio.sleep(0)
    assert tuple(lengths) == sizes
    end.sock.close()
    protocol.transport.abort()
    await protocol.lost.wait()


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


async def test_closing_waits_for_who_takes_what_is_left_slowly(tls, monkeypatch):
    monkeypatch.setattr("sage.transport.tls.SEND_TIMEOUT_S", 1.5)
    size = 4_000_000
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def take() -> int:
        taken = 0
        wrapped = tls.client.wrap_socket(
            theirs, server_hostname="localhost", suppress_ragged_eofs=False
        )
        with wrapped:
            while data := wrapped.recv(16_384):
                taken += len(data)
                time.sleep(0.008)
        return taken

    protocol = Noting()
    TlsTransport(ours, protocol, tls.server, timeout_s=5.0)
    taking = asyncio.create_task(asyncio.to_thread(take))
    async with asyncio.timeout(20):
        await protocol.opened.wait()
        protocol.transport.write(b"x" * size)
        protocol.transport.close()
        began = time.monotonic()
        assert await taking == size
        assert time.monotonic() - began > 1.5
        await protocol.lost.wait()
    assert protocol.error is None


async def test_closing_does_not_wait_for_who_takes_nothing(tls, monkeypatch):
    monkeypatch.setattr("sage.transport.tls.SEND_TIMEOUT_S", 0.5)
    protocol = Noting()
    async with pair(tls, protocol) as (_, writer):
        writer.transport.pause_reading()
        for _ in range(100):
            protocol.transport.write(b"x" * 1_000_000)
        protocol.transport.close()
        async with asyncio.timeout(5):
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


async def test_many_that_are_slow_leave_others_their_turn(tls):
    """Together they use up a turn of the loop, and none of them waits for ever."""
    served, in_a_turn, count = [], [], 12
    async with contextlib.AsyncExitStack() as stack:
        writers = []
        for number in range(count):
            protocol = Noting()
            _, writer = await stack.enter_async_context(pair(tls, protocol))
            writers.append(writer)

            def take(_data, number=number) -> None:
                time.sleep(TURN_S / 4)
                served.append(number)

            protocol.data_received = take
        for writer in writers:
            writer.write(b"x")
        while len(served) < count:
            before = len(served)
            await asyncio.sleep(0)
            in_a_turn.append(len(served) - before)
    assert sorted(served) == list(range(count))
    assert max(in_a_turn) <= 5


async def test_who_ends_while_it_waits_for_its_turn_is_not_read(tls):
    closing, pausing, staying = Noting(), Noting(), Noting()
    async with contextlib.AsyncExitStack() as stack:
        writers = [
            (await stack.enter_async_context(pair(tls, one)))[1]
            for one in (closing, pausing, staying)
        ]
        loop = asyncio.get_running_loop()
        for writer in writers:
            writer.write(b"x")
        turn_of(loop).spend(TURN_S, loop)
        # The transports are told that there is something, and put it off.
        for one in (closing, pausing, staying):
            one.transport._read()
            one.transport._read()
        closing.transport.abort()
        pausing.transport.pause_reading()
        while not staying.got:
            await asyncio.sleep(0.001)
        assert not closing.got
        assert not pausing.got
        pausing.transport.resume_reading()
        while not pausing.got:
            await asyncio.sleep(0.001)


async def test_whose_turn_is_always_over_goes_on_in_the_next(tls):
    loop, turns, ended = asyncio.get_running_loop(), 0, False

    def use_it_up() -> None:
        nonlocal turns
        turns += 1
        turn_of(loop).spend(TURN_S, loop)
        if not ended:
            loop.call_soon(use_it_up)

    use_it_up()
    protocol = Noting(echo=True)
    async with pair(tls, protocol) as (reader, writer):
        shaken = turns
        writer.write(bytes(100_000))
        assert await reader.readexactly(100_000) == bytes(100_000)
        assert turns > shaken > 3
        ended = True


async def test_the_loop_of_the_tests_watches_sockets():
    assert can_watch_sockets()


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """Return what gets an entry for each time that a transport tries to read."""
    counted: list[int] = []
    read = TlsTransport._read

    def count(self) -> None:
        counted.append(1)
        read(self)

    monkeypatch.setattr(TlsTransport, "_read", count)
    return counted


@contextlib.asynccontextmanager
async def asked_for_a_certificate(tls):
    """A client of ours whose server asks who it is, reads nothing and talks on."""
    client = ssl.create_default_context(cafile=str(tls.authority))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for context in (client, server):
        context.post_handshake_auth = True
        context.load_cert_chain(tls.certificate)
    server.load_verify_locations(tls.authority)
    server.verify_mode = ssl.CERT_OPTIONAL
    protocol = Noting()
    server_end = ByHand(server, protocol, client)
    async with asyncio.timeout(10):
        await server_end.shake_hands()
        server_end.leave_no_room()
        server_end.tls.verify_client_post_handshake()
        server_end.tls.write(b"and on")
        await server_end.send()
        await asyncio.sleep(0.05)
        yield server_end
    server_end.sock.close()
    protocol.transport.abort()
    await protocol.lost.wait()


async def test_a_read_that_has_to_write_waits_for_room(tls, reads):
    async with asked_for_a_certificate(tls) as server:
        for _ in range(5):
            server.tls.write(b" and on")
            await server.send()
            await asyncio.sleep(0.02)
        assert len(reads) < 10  # and not in a loop
        server.protocol.transport.write(b"what waits")
        assert await server.drain() == b"what waits"
        assert server.tls.getpeercert()
        assert server.protocol.got == b"and on" + 5 * b" and on"
        # From here on it is as before.
        server.tls.write(b"!")
        await server.send()
        await asyncio.sleep(0.02)
        assert server.protocol.got.endswith(b"!")
        assert server.protocol.transport.is_reading()


async def test_a_read_that_waits_for_room_is_paused_as_any_other(tls, reads):
    async with asked_for_a_certificate(tls) as server:
        server.protocol.transport.pause_reading()
        server.protocol.transport.resume_reading()
        await asyncio.sleep(0.05)
        assert len(reads) < 10
        server.protocol.transport.pause_reading()
        await server.drain()
        assert not server.protocol.got
        server.protocol.transport.resume_reading()
        assert await server.drain() == b""
        assert server.protocol.got == b"and on"


@pytest.mark.parametrize("drains", [False, True])
async def test_closing_a_read_that_waits_for_room_takes_no_longer(
    tls, monkeypatch, drains
):
    monkeypatch.setattr("sage.transport.tls.SEND_TIMEOUT_S", 0.5)
    async with asked_for_a_certificate(tls) as server:
        server.protocol.transport.write(b"the last words")
        server.protocol.transport.close()
        if drains:
            assert await server.drain() == b"the last words"
        async with asyncio.timeout(5):
            await server.protocol.lost.wait()
        assert server.protocol.error is None


@pytest.mark.parametrize(
    ("full", "times"), [("not", 5), ("by the protocol", 1), ("by others", 5)]
)
async def test_who_asks_for_new_keys_and_does_not_read(
    tls, reads, tmp_path, full, times
):
    """TLS answers one request with the next write, and a second one as it reads it.

    So whoever asks often enough fills the socket, and a read waits for room. (A second
    request over the half of a record is too much for OpenSSL: the connection ends.)
    """
    context = ssl.create_default_context(cafile=str(tls.authority))
    key_log, protocol = log_keys(context, tmp_path), Noting()
    client = ByHand(context, protocol, tls.server, name="localhost")
    async with asyncio.timeout(10):
        await client.shake_hands()
        assert client.tls.cipher()[0] == "TLS_AES_256_GCM_SHA384"
        sent = 0
        while full == "by the protocol" and not protocol.paused:
            protocol.transport.write(bytes(WRITE_BUFFER_HIGH_BYTES))
            sent += WRITE_BUFFER_HIGH_BYTES
            await asyncio.sleep(0)
        if full == "by others":
            client.leave_no_room()
        keys, said = Keys13(key_log.read_text()), b"01234"[:times]
        for data in said:
            record = keys.new_keys(ask=True) + keys.seal(DATA, bytes([data]))
            await client.loop.sock_sendall(client.sock, record)
            await asyncio.sleep(0.02)
        assert len(reads) < 20
        assert (protocol.got == said) is (full != "by others")
        protocol.transport.write(b"under new keys")
        got = await client.drain()
        assert (len(got), got[sent:]) == (sent + 14, b"under new keys")
        assert protocol.got == said
    client.sock.close()
    await protocol.lost.wait()
