"""Streams between two agents on real sockets: order, ends, flow, cuts."""

from __future__ import annotations

import asyncio
import os

import pytest

from sage.errors import (
    ConnectionLost,
    DeadlineExceeded,
    PeerError,
    RemoteFailure,
    SessionExpired,
    UsageError,
)
from sage.limits import STREAM_QUEUE_BYTES, STREAM_QUEUE_RECORDS
from sage.service import ClientConfig, Clock, ServiceConfig, Stream
from sage.session import Session
from sage.transport import Records
from sage.types import Role

MIB = 1024 * 1024


async def echo_stream(stream: Stream) -> None:
    async for data in stream:
        await stream.send(data)


async def send_for_ever(stream: Stream) -> None:
    while True:
        await stream.send(bytes(MIB))


async def leave_with(channel, error: Exception, *, after: bytes) -> Stream:
    """Leave a stream's block with an error, and return the stream."""
    try:
        async with channel.stream() as stream:
            await stream.send(after)
            raise error
    except type(error):
        return stream


@pytest.mark.parametrize("aead", ["chacha20poly1305", "aes-256-gcm"])
async def test_what_is_sent_arrives_in_order(running, connecting, aead, ada):
    peers = []

    async def handler(stream: Stream) -> None:
        peers.append((stream.peer, stream.id))
        await echo_stream(stream)

    async with running(stream_handler=handler) as url, connecting(url) as channel:
        async with channel.stream(aead) as stream:
            sizes = [1, 2, 1000, 70_000, MIB, 1]
            bodies = [os.urandom(size) for size in sizes]
            for body in bodies:
                await stream.send(body)
                assert await stream.receive() == body
            assert peers == [(ada.did, stream.id)]
            assert stream.peer == channel.peer
            await stream.end()
            assert await stream.receive() == b""
            assert await stream.receive() == b""
            assert stream.closed
        assert await channel.request(b"still here") == b"echo:still here"


async def test_many_at_once(running, connecting):
    """What is sent together arrives in order, however it is received."""

    async def handler(stream: Stream) -> None:
        while records := await stream.receive_many():
            await stream.send_many(reversed(records))

    async with (
        running(stream_handler=handler) as url,
        connecting(url) as channel,
        channel.stream() as stream,
    ):
        sizes = [1, 70_000, *[1000] * 200, MIB, 3, *[200_000] * 9]
        bodies = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
        await stream.send_many([])
        await stream.send_many(bodies)
        returned: list[bytes] = []
        while len(returned) < len(bodies):
            returned += await stream.receive_many()
        assert sorted(returned) == sorted(bodies)
        await stream.send_many(iter([b"1", bytearray(b"2"), memoryview(b"3")]))
        await stream.end()
        last = [data async for data in stream]
        assert sorted(last) == [b"1", b"2", b"3"]
        assert await stream.receive_many() == []
        with pytest.raises(UsageError):
            await stream.send_many([b"4"])


async def test_one_that_is_none_keeps_all_from_being_sent(running, connecting):
    async with (
        running(stream_handler=echo_stream) as url,
        connecting(url) as channel,
        channel.stream() as stream,
    ):
        for wrong in (b"", bytes(MIB + 1), "text", None):
            with pytest.raises(UsageError):
                await stream.send_many([b"x" * 60_000, b"y" * 60_000, wrong])
        await stream.send_many([b"z"])
        assert await stream.receive() == b"z"


@pytest.mark.parametrize("later", [b"", b"2", bytes(MIB + 1)], ids=len)
async def test_what_changes_while_it_waits_is_sent_as_it_was(
    running, connecting, later
):
    """Emptied, it would be the end: the peer would take what it has for everything."""
    async with (
        running(stream_handler=echo_stream) as url,
        connecting(url) as channel,
        channel.stream() as stream,
    ):
        changing = bytearray(b"1")
        async with stream._sending:  # as another call does
            sending = asyncio.create_task(stream.send_many([b"0", changing]))
            await asyncio.sleep(0)
            changing[:] = later
        await sending
        await stream.send(b"3")
        assert [await stream.receive() for _ in range(3)] == [b"0", b"1", b"3"]


async def test_many_wait_for_a_receiver_and_are_bounded(running, connecting):
    going = asyncio.Event()
    received = []

    async def handler(stream: Stream) -> None:
        await going.wait()
        received.extend([len(data) async for data in stream])

    async with (
        running(stream_handler=handler) as url,
        connecting(url) as channel,
        channel.stream() as stream,
    ):
        sending = asyncio.create_task(stream.send_many([bytes(MIB)] * 64))
        await asyncio.sleep(0.5)
        assert not sending.done()
        assert (
            channel._courier._socket._pipe._transport.get_write_buffer_size() < 3 * MIB
        )
        going.set()
        await sending
    assert received == [MIB] * 64


def one_way(carrier=None, **options) -> tuple[Records, Stream]:
    """Return what makes the records of a stream, and its receiver, without a wire."""
    seed = bytes(32)
    ours, theirs = (
        Session.stream(seed, seed, bytes(16), role, "chacha20poly1305")
        for role in (Role.INITIATOR, Role.RESPONDER)
    )
    settings = {"id": "x", "peer": "p", "carrier": carrier, "clock": Clock()}
    return Records(ours), Stream(theirs, **settings, **options)


async def test_the_end_comes_behind_what_waits_for_room():
    """A receiver that empties a full queue is not told of an end too early."""
    records = [b"%d" % number for number in range(3 * STREAM_QUEUE_RECORDS)]
    sender, stream = one_way()
    first = sender.seal_many(records[:STREAM_QUEUE_RECORDS], now=Clock().now())
    await stream.feed(first)
    rest = sender.seal_many(records[STREAM_QUEUE_RECORDS:], now=Clock().now())
    feeding = asyncio.create_task(stream.feed([*rest, sender.end(now=Clock().now())]))
    await asyncio.sleep(0)
    assert [data async for data in stream] == records
    await feeding


async def test_both_ends_at_once_are_one_end():
    """The peer's comes while ours still waits for room; then the next may follow."""

    class Slow:
        room = asyncio.Event()

        async def send_records(self, records):
            await self.room.wait()

    ended = []
    sender, stream = one_way(Slow(), on_end=lambda: ended.append(stream.closed))
    ending = asyncio.create_task(stream.end())
    await asyncio.sleep(0)
    await stream.feed([sender.end(now=Clock().now())])
    assert await stream.receive() == b""
    assert (ended, stream.closed) == ([], False)
    Slow.room.set()
    await ending
    stream.fail(ConnectionLost("the connection ended later"))
    assert (ended, stream.closed) == ([True], True)


async def test_what_came_before_a_bad_record_is_received():
    sender, stream = one_way()
    good = sender.seal_many([b"1", b"2"], now=Clock().now())
    with pytest.raises(PeerError):
        await stream.feed([*good, bytes(len(good[0]))])
    assert await stream.receive_many() == [b"1", b"2"]


async def test_requests_go_on_beside_a_stream(running, connecting):
    async with (
        running(stream_handler=echo_stream) as url,
        connecting(url) as channel,
        channel.stream() as stream,
    ):
        for n in range(20):
            await stream.send(b"%d" % n)
            assert await channel.request(b"%d" % n) == b"echo:%d" % n
        assert [await stream.receive() for _ in range(20)] == [
            b"%d" % n for n in range(20)
        ]


async def test_one_stream_after_the_other(running, connecting):
    async with running(stream_handler=echo_stream) as url, connecting(url) as channel:
        seen = set()
        for _ in range(5):
            async with channel.stream() as stream:
                await stream.send(b"x")
                assert await stream.receive() == b"x"
                seen.add(stream.id)
        assert len(seen) == 5


async def test_the_next_stream_waits_for_a_handler_that_still_works(
    running, connecting, monkeypatch
):
    monkeypatch.setattr("sage.service.stream.CLOSE_TIMEOUT_S", 0.01)
    go_on = asyncio.Event()

    async def handler(stream: Stream) -> None:
        await echo_stream(stream)
        await go_on.wait()  # files what came

    async with running(stream_handler=handler) as url, connecting(url) as channel:
        async with channel.stream() as first:
            await first.send(b"x")
        assert not first.closed

        async def second() -> bytes:
            async with channel.stream() as stream:
                await stream.send(b"y")
                return await stream.receive()

        task = asyncio.create_task(second())
        assert await channel.request(b"beside it") == b"echo:beside it"
        with pytest.raises(UsageError):
            async with channel.stream():
                pytest.fail("opened")
        assert not task.done()
        go_on.set()
        assert await task == b"y"
        assert first.closed


async def test_the_service_may_end_first(running, connecting):
    async def handler(stream: Stream) -> None:
        for n in range(3):
            await stream.send(b"%d" % n)

    async with running(stream_handler=handler) as url, connecting(url) as channel:
        async with channel.stream() as stream:
            assert [data async for data in stream] == [b"0", b"1", b"2"]
            await stream.send(b"nobody listens any more")
        assert await channel.request(b"x") == b"echo:x"


async def test_without_a_handler_streams_are_denied(running, connecting):
    async with running() as url, connecting(url) as channel:
        with pytest.raises(RemoteFailure) as failure:
            async with channel.stream():
                pytest.fail("opened")
        assert failure.value.reason == "policy_denied"
        assert await channel.request(b"x") == b"echo:x"


async def test_a_channel_carries_one_stream_at_a_time(running, connecting):
    async with (
        running(stream_handler=echo_stream) as url,
        connecting(url) as channel,
        channel.stream() as first,
    ):
        with pytest.raises(UsageError):
            async with channel.stream():
                pytest.fail("opened")
        await first.send(b"x")
        assert await first.receive() == b"x"


async def test_usage(running, connecting):
    async with running(stream_handler=echo_stream) as url, connecting(url) as channel:
        with pytest.raises(UsageError):
            async with channel.stream("rot13"):
                pytest.fail("opened")
        async with channel.stream() as stream:
            for wrong in (b"", bytes(MIB + 1), "text", None):
                with pytest.raises(UsageError):
                    await stream.send(wrong)
            await stream.send(memoryview(b"x"))
            assert await stream.receive() == b"x"
            await stream.end()
            await stream.end()
            with pytest.raises(UsageError):
                await stream.send(b"after the end")
            await stream.close()
            await stream.close()
            with pytest.raises(UsageError):
                await stream.receive()


async def test_a_cut_is_no_end(running, connecting):
    outcome = asyncio.get_running_loop().create_future()

    async def handler(stream: Stream) -> None:
        received = []
        try:
            async for data in stream:
                received.append(data)
        except ConnectionLost:
            outcome.set_result(received)
            raise

    async with running(stream_handler=handler) as url:
        channel = await connecting(url)
        stream = await leave_with(channel, ValueError("halfway"), after=b"one")
        assert await outcome == [b"one"]
        assert channel.closed
        with pytest.raises(ConnectionLost):
            await stream.send(b"two")


async def test_what_arrived_before_a_cut_can_be_received(running, connecting):
    async def handler(stream: Stream) -> None:
        for n in range(3):
            await stream.send(b"%d" % n)
        await stream.receive()
        raise ValueError("halfway")

    async with running(stream_handler=handler) as url:
        channel = await connecting(url)
        async with channel.stream() as stream:
            await stream.send(b"go on")
            async with asyncio.timeout(2):
                while not channel.closed:
                    await asyncio.sleep(0.01)
            assert [await stream.receive() for _ in range(3)] == [b"0", b"1", b"2"]
            with pytest.raises(ConnectionLost):
                await stream.receive()
        await channel.close()


@pytest.mark.parametrize("towards", ["service", "client"])
async def test_a_receiver_that_stops_reading_stops_the_sender(
    running, connecting, towards
):
    """The sender waits, both ends stay bounded, then everything arrives."""
    total, reading, sent = 64, asyncio.Event(), []
    served: list[Stream] = []
    done = asyncio.Event()

    async def send_all(stream: Stream) -> None:
        for n in range(total):
            await stream.send(bytes([n]) * MIB)
            sent.append(n)

    async def receive_all(stream: Stream) -> None:
        await reading.wait()
        received = [(data[0], len(data)) async for data in stream]
        assert received == [(n, MIB) for n in range(total)]
        done.set()

    sender, receiver = (
        (send_all, receive_all) if towards == "client" else (receive_all, send_all)
    )

    async def handler(stream: Stream) -> None:
        served.append(stream)
        await sender(stream)

    patient = {"stream_send_timeout_s": 20.0}
    async with (
        running(stream_handler=handler, config=ServiceConfig(**patient)) as url,
        connecting(url, config=ClientConfig(**patient)) as channel,
        channel.stream() as stream,
    ):
        task = asyncio.create_task(receiver(stream))
        before = -1
        while len(sent) != before:
            before = len(sent)
            await asyncio.sleep(0.3)
        # The queue of 4 MiB, and what sockets and servers hold on the way.
        assert 4 <= before <= 32
        for end in (stream, *served):
            assert end._inbox_bytes <= STREAM_QUEUE_BYTES + MIB
            assert len(end._inbox) <= STREAM_QUEUE_RECORDS
        reading.set()
        await task
        if towards == "service":
            await stream.end()
        async with asyncio.timeout(5):
            await done.wait()


async def test_a_peer_that_never_reads_costs_a_time_limit(running, connecting):
    async def handler(stream: Stream) -> None:
        await asyncio.sleep(60)

    config = ClientConfig(stream_send_timeout_s=0.3)
    async with running(
        stream_handler=handler, config=ServiceConfig(handler_timeout_s=0.1)
    ) as url:
        channel = await connecting(url, config=config)
        async with channel.stream() as stream:
            with pytest.raises(DeadlineExceeded):
                await send_for_ever(stream)
        assert channel.closed


async def test_a_cancelled_send_ends_the_connection(running, connecting):
    reading = asyncio.Event()

    async def handler(stream: Stream) -> None:
        await reading.wait()

    async with running(stream_handler=handler) as url:
        channel = await connecting(url)
        async with channel.stream() as stream:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(send_for_ever(stream), 0.5)
        assert channel.closed
        reading.set()


async def test_a_cancelled_opening_ends_the_connection(running, connecting):
    asked = asyncio.Event()

    async def handler(stream: Stream) -> None:
        asked.set()
        await stream.send(b"of a stream that nobody opened")

    async def open_one(channel) -> None:
        async with channel.stream():
            pytest.fail("it was cancelled")

    async with running(stream_handler=handler) as url:
        channel = await connecting(url)
        ask = channel._courier.ask

        async def and_hear_nothing(request, progress):
            await ask(request, progress)
            await asyncio.Event().wait()

        channel._courier.ask = and_hear_nothing
        opening = asyncio.create_task(open_one(channel))
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert channel.closed
        with pytest.raises(ConnectionLost, match="cancelled"):
            await channel.request(b"over")


async def test_a_handler_whose_helper_was_cancelled_has_failed(running, connecting):
    async def handler(stream: Stream) -> None:
        helper = asyncio.create_task(asyncio.sleep(60))
        helper.cancel()
        await helper

    async with running(stream_handler=handler) as url:
        channel = await connecting(url)
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionLost):
                async with channel.stream() as stream:
                    await stream.receive()


async def test_a_cancelled_receive_loses_nothing(running, connecting):
    async def handler(stream: Stream) -> None:
        await asyncio.sleep(0.1)
        await stream.send(b"late")
        await stream.receive()

    async with (
        running(stream_handler=handler) as url,
        connecting(url) as channel,
        channel.stream() as stream,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.receive()
        assert await stream.receive() == b"late"


async def test_an_idle_stream_expires(running, connecting):
    now = [0.0]
    clock = Clock(monotonic=lambda: now[0])

    async with running(stream_handler=echo_stream) as url:
        channel = await connecting(url, clock=clock)
        async with channel.stream() as stream:
            now[0] += 600
            with pytest.raises(SessionExpired):
                await stream.receive()
        await channel.close()


async def test_a_service_that_streams_to_a_silent_client_is_not_idle(
    running, connecting
):
    async def handler(stream: Stream) -> None:
        for n in range(6):
            await asyncio.sleep(0.1)
            await stream.send(b"%d" % n)

    config = ServiceConfig(idle_timeout_s=0.15)
    async with (
        running(stream_handler=handler, config=config) as url,
        connecting(url) as channel,
        channel.stream() as stream,
    ):
        assert len([data async for data in stream]) == 6


async def test_a_stopping_service_cuts_its_streams(running, connecting):
    async with running(stream_handler=echo_stream) as url:
        channel = await connecting(url)
        streaming = channel.stream()
        stream = await streaming.__aenter__()
        await stream.send(b"x")
        assert await stream.receive() == b"x"
    with pytest.raises(ConnectionLost):
        await stream.receive()
    await streaming.__aexit__(None, None, None)
    await channel.close()


@pytest.mark.parametrize("records", [400, pytest.param(6000, marks=pytest.mark.slow)])
async def test_renewal_under_load_in_both_directions(running, connecting, records):
    """Every 50 records a new handshake, session and stream; nothing lost or twice."""

    async def handler(stream: Stream) -> None:
        async for data in stream:
            await stream.send(data)

    config = ClientConfig(stream_renew_after_records=50)
    async with (
        running(stream_handler=handler) as url,
        connecting(url, config=config) as channel,
        channel.stream() as stream,
    ):
        sessions = {channel.session_id}

        async def send() -> None:
            for n in range(records):
                await stream.send(b"%d" % n)
                sessions.add(channel.session_id)
                await asyncio.sleep(0.0005)
            await stream.end()

        sending = asyncio.create_task(send())
        received = [data async for data in stream]
        await sending
        assert received == [b"%d" % n for n in range(records)]
        # A handshake takes some milliseconds, in which records go on.
        assert len(sessions) >= records // 200
        assert await channel.request(b"x") == b"echo:x"


async def test_a_stream_outlives_its_sessions(running, connecting):
    """Renewed by its age, again and again, while one end sends nothing at all."""

    async def handler(stream: Stream) -> None:
        for n in range(100):
            await stream.send(b"%d" % n)
            await asyncio.sleep(0.01)

    config = ClientConfig(renew_after_s=0.1)
    async with (
        running(stream_handler=handler) as url,
        connecting(url, config=config) as channel,
        channel.stream() as stream,
    ):
        first = channel.session_id
        assert [data async for data in stream] == [b"%d" % n for n in range(100)]
        assert channel.session_id != first
        await stream.send(b"the client's first record, under a late successor")
