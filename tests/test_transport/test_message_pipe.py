"""One end of a WebSocket on a transport; the protocol itself plays the other end."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from sage.errors import ConnectionLost, DeadlineExceeded, UsageError
from sage.limits import MESSAGE_QUEUE_BYTES
from sage.transport import message_pipe
from sage.transport.message_pipe import MessagePipe


class Line(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.reading, self.ended = bytearray(), True, False

    def set_protocol(self, protocol):
        self.protocol = protocol

    def write(self, data):
        self.sent += data

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def close(self):
        self.abort()

    def abort(self):
        if not self.ended:
            self.ended = True
            self.protocol.connection_lost(None)


def pipe_on(line: Line, max_bytes: int = 1000) -> tuple[MessagePipe, list[int]]:
    ended: list[int] = []
    frames = Protocol(Side.SERVER, max_size=max_bytes)
    return MessagePipe(line, frames, on_ended=lambda: ended.append(1)), ended


def masked(data: bytes, opcode: Opcode = Opcode.BINARY, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def frames_of(line: Line) -> list[Frame]:
    client = Protocol(Side.CLIENT, max_size=None)
    client.receive_data(bytes(line.sent))
    return client.events_received()


@given(st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=70)), max_size=9))
def test_any_messages_whole_halved_and_byte_by_byte(messages):
    wire = b"".join(
        masked(m.encode(), Opcode.TEXT) if isinstance(m, str) else masked(m)
        for m in messages
    )
    half = len(wire) // 2
    for pieces in ([wire], [wire[:half], wire[half:]], [bytes([b]) for b in wire]):
        assert asyncio.run(_received(pieces, len(messages))) == messages


async def _received(pieces, count):
    line = Line()
    pipe, _ = pipe_on(line)
    for piece in pieces:
        pipe.data_received(piece)
    got = [await pipe.receive(timeout_s=1) for _ in range(count)]
    line.abort()
    return got


async def test_fragments_make_one_message():
    line = Line()
    pipe, _ = pipe_on(line)
    for data, opcode, fin in (
        (b"gr\xc3", Opcode.TEXT, False),
        (b"", Opcode.CONT, False),
        (b"\xbc\xc3\x9f", Opcode.CONT, True),
    ):
        pipe.data_received(masked(data, opcode, fin))
    assert await pipe.receive() == "grüß"
    line.abort()


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (masked(b"\xff", Opcode.TEXT), 1007),
        (masked(bytes(1001)), 1009),
        (b"\x83\x80\0\0\0\0", 1002),
        (masked(b"", Opcode.CONT), 1002),
    ],
    ids=["not UTF-8", "too long", "reserved opcode", "continues nothing"],
)
async def test_a_peer_without_manners_is_told_why(wire, code):
    line = Line()
    pipe, ended = pipe_on(line)
    pipe.data_received(wire)
    with pytest.raises(ConnectionLost, match=str(code)):
        await pipe.receive(timeout_s=1)
    assert int.from_bytes(frames_of(line)[-1].data[:2], "big") == code
    assert line.ended
    assert ended == [1]


async def test_the_limit_can_be_lifted():
    line = Line()
    pipe, _ = pipe_on(line)
    pipe.set_limit(2000)
    pipe.data_received(masked(bytes(1001)))
    assert len(await pipe.receive()) == 1001
    line.abort()


async def test_a_full_queue_stops_the_reading_and_an_empty_one_goes_on():
    line = Line()
    pipe, _ = pipe_on(line)
    count = 0
    while line.reading:
        pipe.data_received(masked(b""))
        count += 1
    assert count <= MESSAGE_QUEUE_BYTES // 200
    for _ in range(count):
        assert not line.reading
        await pipe.receive()
    assert line.reading
    line.abort()


async def test_many_are_received_and_sent_in_one_go():
    line = Line()
    pipe, _ = pipe_on(line)
    arrived = [b"1", b"2", "three", "four", b"5"]
    for message in arrived:
        text = isinstance(message, str)
        data = message.encode() if text else message
        pipe.data_received(masked(data, Opcode.TEXT if text else Opcode.BINARY))
    received = [await pipe.receive_many(timeout_s=1) for _ in range(4)]
    # A text may be a long request: each alone, so that no more of them are held.
    assert received == [[b"1", b"2"], ["three"], ["four"], [b"5"]]
    with pytest.raises(DeadlineExceeded):
        await pipe.receive_many(timeout_s=0.01)
    while line.reading:
        pipe.data_received(masked(b"x"))
    held = await pipe.receive_many()
    assert set(held) == {b"x"}
    assert line.reading
    await pipe.send(*held, text=False, timeout_s=1)
    await pipe.send(b"a", b"b", text=True, timeout_s=1)
    sent = [(frame.opcode, bytes(frame.data)) for frame in frames_of(line)]
    assert sent == [
        *[(Opcode.BINARY, b"x")] * len(held),
        (Opcode.TEXT, b"a"),
        (Opcode.TEXT, b"b"),
    ]
    pipe.data_received(masked(b"\x03\xe8", Opcode.CLOSE))
    with pytest.raises(ConnectionLost):
        await pipe.send(b"c", b"d", text=False, timeout_s=1)
    line.abort()


async def test_a_wait_has_an_end_and_loses_nothing():
    line = Line()
    pipe, _ = pipe_on(line)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await pipe.receive(timeout_s=0.05)
    waiting = asyncio.create_task(pipe.receive())
    await asyncio.sleep(0)
    pipe.data_received(masked(b"x"))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await pipe.receive(timeout_s=1) == b"x"
    line.abort()


async def test_a_call_that_is_cancelled_takes_nothing_from_the_next():
    """It hears of its end only when the next one waits already."""
    line = Line()
    pipe, _ = pipe_on(line)
    given_up = asyncio.create_task(pipe.receive())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, pipe.data_received, masked(b"x"))
    given_up.cancel()
    async with asyncio.timeout(30):
        assert await pipe.receive() == b"x"
    given_up = asyncio.create_task(pipe.receive())
    await asyncio.sleep(0)
    given_up.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(DeadlineExceeded):
            await pipe.receive(timeout_s=0.05)
    line.abort()


async def test_two_do_not_wait_at_once():
    """Else the first would never be woken, not even at the end."""
    line = Line()
    pipe, _ = pipe_on(line)
    first = asyncio.create_task(pipe.receive())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        for receive in (pipe.receive, pipe.receive_many):
            with pytest.raises(UsageError, match="already"):
                await receive()
    pipe.data_received(masked(b"x"))
    assert await first == b"x"
    line.abort()


async def test_a_sender_waits_for_room_or_for_its_limit():
    line = Line()
    pipe, _ = pipe_on(line)
    pipe.pause_writing()
    with pytest.raises(DeadlineExceeded):
        await pipe.send(b"never", text=False, timeout_s=0.05)
    sending = asyncio.create_task(pipe.send(b"x", text=True, timeout_s=5))
    await asyncio.sleep(0)
    assert not line.sent
    pipe.resume_writing()
    await sending
    assert [(f.opcode, bytes(f.data)) for f in frames_of(line)] == [(Opcode.TEXT, b"x")]
    pipe.pause_writing()
    sending = asyncio.create_task(pipe.send(b"x", text=False, timeout_s=5))
    await asyncio.sleep(0)
    line.abort()
    with pytest.raises(ConnectionLost):
        await sending


async def test_who_reads_at_all_is_waited_for():
    line = Line()
    unread = 1_000_000
    line.get_write_buffer_size = lambda: unread
    pipe, _ = pipe_on(line)
    assert not pipe.is_full
    await pipe.drain(patience_s=1)
    pipe.pause_writing()
    draining = asyncio.create_task(pipe.drain(patience_s=0.05))
    for _ in range(8):
        unread -= 16_384
        await asyncio.sleep(0.04)
        assert pipe.is_full
        assert not draining.done()
    pipe.resume_writing()
    await draining
    pipe.pause_writing()
    draining = asyncio.create_task(pipe.drain(patience_s=0.05))
    await asyncio.sleep(0)
    unread -= 16_383
    with pytest.raises(DeadlineExceeded, match="16383 bytes") as caught:
        await draining
    assert caught.value.may_have_run
    draining = asyncio.create_task(pipe.drain(patience_s=5))
    await asyncio.sleep(0)
    line.abort()
    await draining
    assert not pipe.is_full


async def test_pings_are_answered_only_as_fast_as_pongs_are_read():
    line = Line()
    pipe, _ = pipe_on(line)
    pipe.data_received(masked(b"?", Opcode.PING))
    assert frames_of(line)[0].opcode is Opcode.PONG
    pipe.pause_writing()
    count = 0
    while line.reading:
        pipe.data_received(masked(b"%d" % count, Opcode.PING))
        count += 1
        assert count <= 100
    assert count > 10
    pipe.resume_writing()
    assert line.reading
    assert [frame.data for frame in frames_of(line)] == [b"?", b"%d" % (count - 1)]
    # The count begins anew with each pause.
    pipe.pause_writing()
    pipe.data_received(masked(b"?", Opcode.PING))
    assert line.reading
    line.abort()


async def test_many_pings_in_one_piece_count_as_many():
    line = Line()
    pipe, _ = pipe_on(line)
    pipe.pause_writing()
    pipe.data_received(masked(b"?", Opcode.PING) * 100)
    assert not line.reading
    line.abort()


async def test_two_who_ping_and_send_at_once_do_not_wait_for_each_other():
    """Neither has room for a pong before the other has read a message."""
    loop, pipes, size = asyncio.get_running_loop(), [], 2 << 20
    for sock, side in zip(socket.socketpair(), (Side.SERVER, Side.CLIENT), strict=True):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        frames = Protocol(side, max_size=size)
        pipes.append(MessagePipe(transport, frames, on_ended=lambda: None))

    async def ping_and_send(pipe):
        pipe._ping()  # as after a silence
        for _ in range(2):
            await pipe.send(bytes(size), text=False, timeout_s=5)

    async def receive(pipe):
        return [len(await pipe.receive(timeout_s=5)) for _ in range(2)]

    try:
        got = await asyncio.gather(
            *(receive(pipe) for pipe in pipes), *(ping_and_send(pipe) for pipe in pipes)
        )
    finally:
        for pipe in pipes:
            pipe._transport.abort()
    assert got == [[size, size], [size, size], None, None]


async def test_pongs_that_nobody_reads_do_not_pile_up_between_messages():
    line = Line()
    pipe, _ = pipe_on(line)
    pipe.pause_writing()
    for number in range(9):
        pings = masked(b"older", Opcode.PING) + masked(b"%d" % number, Opcode.PING)
        pipe.data_received(masked(b"x") + pings)
        assert await pipe.receive() == b"x"
    assert not line.sent
    pipe.resume_writing()
    assert [frame.data for frame in frames_of(line)] == [b"8"]
    line.abort()


async def test_a_ping_that_found_no_room_does_not_spoil_the_next():
    line = Line()
    pipe, _ = pipe_on(line)
    pipe.pause_writing()
    with pytest.raises(DeadlineExceeded):
        await pipe.ping(timeout_s=0.01)
    pinging = asyncio.create_task(pipe.ping(timeout_s=1))
    await asyncio.sleep(0)
    pipe.resume_writing()
    while not line.sent:
        await asyncio.sleep(0)
    assert [frame.opcode for frame in frames_of(line)] == [Opcode.PING]
    pipe.data_received(masked(b"", Opcode.PONG))
    await pinging
    line.abort()


async def test_nothing_behind_a_message_that_is_refused_is_received():
    line = Line()
    pipe, _ = pipe_on(line)
    broken = masked(b"\xff", Opcode.TEXT)
    pipe.data_received(masked(b"before") + broken + masked(b"behind"))
    assert await pipe.receive() == b"before"
    with pytest.raises(ConnectionLost, match="1007"):
        await pipe.receive()
    line.abort()


async def test_silence_is_broken_by_a_ping(monkeypatch):
    monkeypatch.setattr(message_pipe, "PING_INTERVAL_S", 0.05)
    line = Line()
    pipe_on(line)
    await asyncio.sleep(0.2)
    assert frames_of(line)[0].opcode is Opcode.PING
    line.abort()


async def test_a_sign_of_life_is_shared_by_all_who_wait_for_it():
    line = Line()
    pipe, _ = pipe_on(line)
    waits = [asyncio.create_task(pipe.ping(timeout_s=2)) for _ in range(2)]
    await asyncio.sleep(0)
    assert [frame.opcode for frame in frames_of(line)] == [Opcode.PING]
    pipe.data_received(masked(b"", Opcode.PONG))
    await asyncio.gather(*waits)
    line.abort()


async def test_no_sign_of_life():
    line = Line()
    pipe, _ = pipe_on(line)
    with pytest.raises(DeadlineExceeded, match="sign of life"):
        await pipe.ping(timeout_s=0.05)
    waiting = asyncio.create_task(pipe.ping(timeout_s=2))
    await asyncio.sleep(0)
    line.abort()
    for lost in (waiting, pipe.ping(timeout_s=2)):
        with pytest.raises(ConnectionLost):
            await lost


async def test_a_goodbye_drops_what_comes_and_ends_without_the_peer():
    line = Line()
    pipe, ended = pipe_on(line)
    pipe.data_received(masked(b"x"))
    waiting = asyncio.create_task(pipe.receive())
    await waiting
    waiting = asyncio.create_task(pipe.receive())
    await asyncio.sleep(0)
    pipe.say_goodbye(1008, "refused")
    pipe.say_goodbye(1000, "")
    with pytest.raises(ConnectionLost):
        await waiting
    with pytest.raises(ConnectionLost):
        await pipe.send(b"x", text=False, timeout_s=1)
    pipe.data_received(masked(b"late"))
    with pytest.raises(ConnectionLost):
        await pipe.receive()
    async with asyncio.timeout(2):
        while not ended:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(5, ""), (1006, ""), (1000, "x" * 124), (1000, "é" * 62), (1000, "\ud800")],
)
async def test_a_goodbye_that_no_frame_holds_is_none(code, reason):
    line = Line()
    pipe, ended = pipe_on(line)
    with pytest.raises(UsageError, match="nothing to close with"):
        pipe.say_goodbye(code, reason)
    await pipe.send(b"x", text=False, timeout_s=1)
    pipe.say_goodbye(1000, "x" * 123)
    assert [frame.opcode for frame in frames_of(line)] == [Opcode.BINARY, Opcode.CLOSE]
    line.abort()
    assert ended == [1]


async def test_the_peers_goodbye_comes_after_its_messages():
    line = Line()
    pipe, ended = pipe_on(line)
    pipe.data_received(masked(b"x") + masked(b"\x03\xe9by\ne", Opcode.CLOSE))
    assert await pipe.receive() == b"x"
    with pytest.raises(ConnectionLost, match="1001") as lost:
        await pipe.receive()
    assert str(lost.value).isprintable()
    assert (pipe.close_code, ended) == (1001, [1])
