"""Records over TCP with TLS and over Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import ssl
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage.errors import (
    AuthenticationError,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    SageError,
    SessionClosed,
    SessionExpired,
    UsageError,
)
from sage.limits import RECORD_MIN_BYTES
from sage.session import Session
from sage.transport import RecordStream, open_tcp, open_unix, serve_tcp, serve_unix
from sage.types import Role

MIB = 1024 * 1024
_ids = count(1)


def pair(aead: str = "chacha20poly1305") -> tuple[Session, Session]:
    stream_id = next(_ids).to_bytes(16, "big")
    ours, theirs = (
        Session.v0_10(bytes(32), bytes(32), role).derive_stream(stream_id, aead)
        for role in (Role.INITIATOR, Role.RESPONDER)
    )
    return ours, theirs


async def echo(stream: RecordStream) -> None:
    async for data in stream:
        await stream.send(data)


async def joined(**options: object) -> tuple[RecordStream, RecordStream]:
    """Two ends of a socket pair."""
    ends = []
    for sock, session in zip(socket.socketpair(), pair(), strict=True):
        reader, writer = await asyncio.open_connection(sock=sock)
        ends.append(RecordStream(reader, writer, session, **options))
    return ends[0], ends[1]


@contextlib.asynccontextmanager
async def raw(**options: object):
    """An end, and the bare socket that leads to it."""
    ours, theirs = socket.socketpair()
    mine, session = pair()
    reader, writer = await asyncio.open_connection(sock=ours)
    their_reader, their_writer = await asyncio.open_connection(sock=theirs)
    stream = RecordStream(reader, writer, session, **options)
    try:
        yield stream, their_reader, their_writer, mine
    finally:
        their_writer.transport.abort()
        await stream.close()


@pytest.mark.parametrize("aead", ["chacha20poly1305", "aes-256-gcm"])
async def test_over_tcp_and_tls(tls, aead):
    ours, theirs = pair(aead)
    async with (
        serve_tcp(echo, session=lambda: theirs, tls=tls.server) as port,
        await open_tcp("localhost", port, ours, tls=tls.client) as stream,
    ):
        for size in (1, 1000, MIB):
            body = os.urandom(size)
            await stream.send(body)
            assert await stream.receive() == body
        await stream.end()
        assert await stream.receive() == b""
    assert stream.closed
    assert ours.closed


async def test_over_a_unix_socket(tmp_path: Path):
    ours, theirs = pair()
    path = tmp_path / "s"
    async with serve_unix(echo, session=lambda: theirs, path=path):
        async with await open_unix(path, ours) as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"
        assert theirs.closed


async def test_nobody_there(tls, tmp_path: Path):
    with pytest.raises(ConnectFailed):
        await open_unix(tmp_path / "nothing", pair()[0])
    with pytest.raises(ConnectFailed):
        await open_tcp("localhost", 1, pair()[0], tls=tls.client)


async def test_an_untrusted_server(tls):
    async with serve_tcp(echo, session=lambda: pair()[1], tls=tls.server) as port:
        stranger = ssl.create_default_context()
        with pytest.raises(ConnectFailed):
            await open_tcp("localhost", port, pair()[0], tls=stranger)


async def test_a_silent_server_does_not_hold_us():
    left = asyncio.Event()

    async def silence(reader, writer):
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        context = ssl.create_default_context()
        opening = open_tcp("localhost", port, pair()[0], tls=context, timeout_s=0.1)
        with pytest.raises(DeadlineExceeded):
            await opening
        await left.wait()


async def test_the_wire_is_a_length_and_a_record():
    async with raw() as (stream, reader, writer, mine):
        await stream.send(b"hello")
        length = int.from_bytes(await reader.readexactly(4), "big")
        assert length == 5 + RECORD_MIN_BYTES
        assert mine.open(await reader.readexactly(length)) == b"hello"
        record = mine.seal(b"back")
        for byte in len(record).to_bytes(4, "big") + record:  # byte by byte
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await stream.receive() == b"back"


async def test_the_end_and_the_cut():
    ada, grace = await joined()
    await ada.send(b"1")
    await ada.end()
    await ada.end()
    with pytest.raises(UsageError):
        await ada.send(b"2")
    assert [data async for data in grace] == [b"1"]
    assert await grace.receive() == b""
    await grace.send(b"3")
    grace._abort(ConnectionLost("cut"))
    assert await ada.receive() == b"3"
    with pytest.raises(ConnectionLost):
        await ada.receive()
    with pytest.raises(ConnectionLost):
        await ada.send(b"4")
    await ada.close()


async def test_leaving_with_an_error_is_no_end():
    ada, grace = await joined()
    with contextlib.suppress(ValueError):
        async with ada:
            await ada.send(b"1")
            raise ValueError
    assert await grace.receive() == b"1"
    with pytest.raises(ConnectionLost):
        await grace.receive()
    await grace.close()


@pytest.mark.parametrize("length", [0, 1, 35, MIB + 37, 2**31, 2**32 - 1])
async def test_lengths_are_checked_before_anything_is_read(length):
    async with raw(receive_timeout_s=1) as (stream, reader, writer, _):
        writer.write(length.to_bytes(4, "big"))
        with pytest.raises(SageError) as failure:
            await stream.receive()
        wanted = "size.exceeded" if length > 36 else "frame.malformed"
        assert failure.value.code == wanted
        assert stream.closed
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


@given(st.binary(max_size=120), st.booleans())
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_bytes_give_one_typed_error(data, framed):
    async def main() -> None:
        async with raw(receive_timeout_s=1) as (stream, _, writer, _):
            writer.write((len(data).to_bytes(4, "big") if framed else b"") + data)
            writer.write_eof()
            with pytest.raises(SageError):
                await stream.receive()
            assert stream.closed

    asyncio.run(main())


async def test_a_record_that_is_refused_ends_the_stream():
    """Nothing behind it is received, however honest, and no key is left."""
    async with raw() as (stream, reader, writer, session):
        records = [session.seal(b"%d" % number) for number in range(2)]
        forged = records[0][:-1] + bytes([records[0][-1] ^ 1])
        for record in (forged, *records):
            writer.write(len(record).to_bytes(4, "big") + record)
        with pytest.raises(AuthenticationError):
            await stream.receive()
        assert stream.closed
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await stream.receive()
        with pytest.raises(ConnectionLost):
            await stream.send(b"x")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_a_receiver_that_stops_reading_stops_the_sender():
    ada, grace = await joined(send_timeout_s=0.2)
    sent = 0

    async def send_for_ever() -> None:
        nonlocal sent
        while True:
            await ada.send(sent.to_bytes(4, "big") * (MIB // 4))
            sent += 1

    with pytest.raises(DeadlineExceeded) as failure:
        await send_for_ever()
    assert not failure.value.may_have_run
    assert sent < 8
    # Nothing was sealed that was not sent: it goes on where it stopped.
    await_all = asyncio.create_task(ada.send(sent.to_bytes(4, "big")))
    for n in range(sent + 1):
        assert (await grace.receive())[:4] == n.to_bytes(4, "big")
    await await_all
    for end in (ada, grace):
        await end.close()


async def test_a_late_record_is_not_lost():
    ada, grace = await joined(receive_timeout_s=0.05)
    with pytest.raises(DeadlineExceeded):
        await grace.receive()
    async with raw(receive_timeout_s=0.05) as (stream, _, writer, mine):
        record = mine.seal(b"in two pieces")
        writer.write(len(record).to_bytes(4, "big"))
        for piece in (record[:20], record[20:]):
            with pytest.raises(DeadlineExceeded):
                await stream.receive()
            writer.write(piece)
        assert await stream.receive() == b"in two pieces"
    await ada.send(b"late")
    assert await grace.receive() == b"late"
    await asyncio.gather(ada.close(), grace.close())


async def test_an_expired_session_ends_the_stream():
    now = [0.0]
    ada, grace = await joined(clock=lambda: now[0])
    now[0] = 1e12
    with pytest.raises(SessionExpired):
        await ada.send(b"x")
    assert ada.closed
    await grace.close()


async def test_closing_does_not_wait_for_the_peer():
    ada, grace = await joined()
    async with asyncio.timeout(5):
        await ada.close()
        await ada.close()
    with pytest.raises((ConnectionLost, SessionClosed)):
        await ada.send(b"x")
    async with asyncio.timeout(5):
        await grace.close()


async def test_closing_that_is_cancelled_wipes_and_cuts():
    async with raw() as (stream, their_reader, _, _):
        session = stream._records._out
        closing = asyncio.create_task(stream.close())
        await their_reader.readexactly(4 + RECORD_MIN_BYTES)  # it waits for our end
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert session.closed
        assert await their_reader.read() == b""


async def test_a_failing_handler_cuts(tmp_path: Path, caplog):
    async def handler(stream: RecordStream) -> None:
        raise ValueError("bug")

    ours, theirs = pair()
    path = tmp_path / "s"
    async with serve_unix(handler, session=lambda: theirs, path=path):
        stream = await open_unix(path, ours)
        with pytest.raises(ConnectionLost):
            await stream.receive()
    assert "the stream handler failed" in caplog.text
    assert theirs.closed


async def test_stopping_a_server_ends_its_streams(tmp_path: Path):
    ours, theirs = pair()
    path = tmp_path / "s"
    async with serve_unix(echo, session=lambda: theirs, path=path):
        stream = await open_unix(path, ours)
        await stream.send(b"x")
        assert await stream.receive() == b"x"
    with pytest.raises(ConnectionLost):
        await stream.receive()


def fresh() -> Session:
    return pair()[1]


async def test_stopping_a_server_leaves_no_connection(tmp_path: Path):
    """However far the one that serves it has come, to its first step or not."""

    async def never(stream: RecordStream) -> None:
        await asyncio.Event().wait()

    for turns in range(8):
        path = tmp_path / f"socket{turns}"
        async with serve_unix(never, session=fresh, path=path):
            reader, writer = await asyncio.open_unix_connection(path)
            for _ in range(turns):
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()


@pytest.mark.parametrize("stopping", [False, True])
async def test_a_server_that_is_cancelled_listens_no_more(tmp_path: Path, stopping):
    """However far it has come with its start or its stop."""
    for turns in range(12):
        path, stop = tmp_path / f"socket{turns}", asyncio.Event()
        running = asyncio.Event()

        async def serve(path: Path, running: asyncio.Event, stop: asyncio.Event):
            async with serve_unix(echo, session=fresh, path=path):
                running.set()
                await stop.wait()

        task = asyncio.create_task(serve(path, running, stop))
        if stopping:
            await running.wait()
            stop.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(ConnectFailed):
            await open_unix(path, pair()[0])


async def test_who_still_shakes_hands_does_not_hold_a_server_that_stops(tls):
    served = []

    async def note(stream: RecordStream) -> None:
        served.append(stream)

    serving = serve_tcp(note, session=fresh, tls=tls.server)
    async with asyncio.timeout(5):
        async with serving as port:
            late = socket.create_connection(("127.0.0.1", port))
            await asyncio.sleep(0.1)
        # And is not served once it is done.
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(
                sock=late, ssl=tls.client, server_hostname="localhost"
            )
            assert await reader.read() == b""
            writer.close()
    late.close()
    assert served == []


@pytest.mark.parametrize("host", ["a" * 70 + ".x", ".x", "a..b", "\0", "a b"])
async def test_what_is_no_host_is_refused(tls, host):
    with pytest.raises((UsageError, ConnectFailed)):
        await open_tcp(host, 9, pair()[0], tls=tls.client)
    with pytest.raises(ConfigError):
        async with serve_tcp(
            echo, session=lambda: pair()[1], tls=tls.server, host=host
        ):
            pass


@pytest.mark.parametrize("port", [-1, 99_999])
async def test_what_is_no_port_is_refused(tls, port):
    with pytest.raises((UsageError, ConnectFailed)):
        await open_tcp("127.0.0.1", port, pair()[0], tls=tls.client)
    with pytest.raises(ConfigError):
        async with serve_tcp(
            echo, session=lambda: pair()[1], tls=tls.server, port=port
        ):
            pass


@pytest.mark.parametrize("none", [None, False])
async def test_there_is_no_tcp_without_tls(none):
    """What elsewhere stands for the system's authorities is no context here."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UsageError, match="SSLContext"):
            await open_tcp("127.0.0.1", port, pair()[0], tls=none)
    with pytest.raises(UsageError, match="SSLContext"):
        async with serve_tcp(echo, session=fresh, tls=none):
            pass


@pytest.mark.parametrize("limit", ["5", None, True, math.nan])
async def test_a_time_limit_is_a_number(tls, tmp_path: Path, limit):
    session = pair()[0]
    with pytest.raises(UsageError, match="timeout_s must be seconds"):
        await open_tcp("localhost", 1, session, tls=tls.client, timeout_s=limit)
    with pytest.raises(UsageError, match="timeout_s must be seconds"):
        await open_unix(tmp_path / "nothing", session, timeout_s=limit)
    for name in ("send_timeout_s", "receive_timeout_s"):
        with pytest.raises(UsageError, match=f"^{name} must be seconds"):
            RecordStream(None, None, session, **{name: limit})


async def test_where_nobody_can_listen(tls, tmp_path: Path):
    options = {"session": fresh, "tls": tls.server}
    async with serve_tcp(echo, **options) as port:
        with pytest.raises(ConfigError, match="cannot listen"):
            async with serve_tcp(echo, **options, port=port):
                pass
    path = tmp_path / "no folder" / "socket"
    with pytest.raises(ConfigError, match="cannot listen"):
        async with serve_unix(echo, session=fresh, path=path):
            pass


async def test_a_connection_that_the_system_gives_up_is_lost(monkeypatch):
    async with raw() as (stream, _, _, _):

        async def drain() -> None:
            raise TimeoutError(110, "Connection timed out")

        monkeypatch.setattr(stream._writer, "drain", drain)
        with pytest.raises(ConnectionLost, match="timed out"):
            await stream.send(b"x")
        assert stream.closed
        with pytest.raises(ConnectionLost):
            await stream.send(b"x")
