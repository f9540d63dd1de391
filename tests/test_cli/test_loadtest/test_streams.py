from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

import sage
from sage.cli.loadtest.link import Link
from sage.cli.loadtest.plan import Mode, Plan
from sage.cli.loadtest.streams import send_records
from sage.errors import UsageError
from sage.service import Stream

from .conftest import Running, now_for


@pytest.fixture
def plan(plan: Plan) -> Plan:
    return replace(plan, mode=Mode.STREAM, in_flight=64)


async def test_a_closed_loop_counts_what_was_acknowledged(
    running: Running, plan: Plan
) -> None:
    async with running() as connect:
        link, tally = Link(connect), now_for(0.3)
        await send_records(link, plan, tally, index=0, payload=b"x" * 100)
        await link.close()
    assert tally.sent == tally.answered > 100
    assert not tally.errors


async def test_an_open_loop_sends_what_was_planned(
    running: Running, plan: Plan
) -> None:
    async with running() as connect:
        link = Link(connect)
        await link.channel()
        tally = now_for(0.5)
        plan = replace(plan, rate=400, duration_s=0.5)
        await send_records(link, plan, tally, index=0, payload=b"x")
        await link.close()
    assert tally.answered == tally.sent
    assert 150 <= tally.sent <= 200
    assert not tally.errors


async def test_what_a_stall_has_held_up_leaves_in_parts(
    running: Running, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    send_many = Stream.send_many

    async def stall_once(self: Stream, records: list[bytes]) -> None:
        if not sizes:
            time.sleep(0.02)
        sizes.append(len(records))
        await send_many(self, records)

    monkeypatch.setattr(Stream, "send_many", stall_once)
    async with running() as connect:
        link = Link(connect)
        await link.channel()
        tally = now_for(0.05)
        # Two records in the time of a part, and the one that it begins with.
        plan = replace(plan, rate=4000, duration_s=0.05, in_flight=1024)
        await send_records(link, plan, tally, index=0, payload=b"x")
        await link.close()
    assert max(sizes) <= 3
    assert sum(sizes) >= 80
    assert tally.answered == tally.sent


async def test_no_more_than_allowed_are_in_flight(running: Running, plan: Plan) -> None:
    seen = 0

    async def silent(stream: Stream) -> None:
        nonlocal seen
        async for _ in stream:
            seen += 1
            if seen == 3:
                await asyncio.sleep(0.2)
                assert seen == 3
                await stream.send((3).to_bytes(8, "big"))
                return

    async with running(stream_handler=silent) as connect:
        link, tally = Link(connect), now_for(0.15)
        plan = replace(plan, in_flight=3)
        await send_records(link, plan, tally, index=0, payload=b"x")
        await link.close()
    assert tally.sent == 3


@pytest.mark.parametrize("answer", [b"hello", (2**40).to_bytes(8, "big"), bytes(8)])
async def test_another_kind_of_service_is_noticed(
    running: Running, plan: Plan, answer: bytes
) -> None:
    async def other(stream: Stream) -> None:
        await stream.receive()
        await stream.send(answer)
        await stream.receive()

    async with running(stream_handler=other) as connect:
        link, tally = Link(connect), now_for(0.2)
        await send_records(link, plan, tally, index=0, payload=b"x")
        await link.close()
    assert tally.answered == 0
    assert tally.errors["ProtocolError (frame.malformed)"] >= 1


async def test_a_stream_that_is_refused_at_once_lets_others_have_their_turn(
    plan: Plan,
) -> None:
    class Busy:
        closed = False

        def stream(self) -> object:
            raise UsageError("a channel carries one stream at a time")

    async def connect() -> object:
        return Busy()

    link, tally = Link(connect), now_for(0.1)  # type: ignore[arg-type]
    sending = send_records(link, plan, tally, index=0, payload=b"x")
    sent = asyncio.create_task(sending)
    turns = 0
    while not sent.done():
        turns += 1
        await asyncio.sleep(0.01)
    await sent
    assert tally.errors["UsageError"] >= 1
    assert turns > 2


async def test_a_service_without_streams_says_so(running: Running, plan: Plan) -> None:
    async with running(stream_handler=None) as connect:
        link, tally = Link(connect), now_for(0.1)
        await send_records(link, plan, tally, index=0, payload=b"x")
        await link.close()
    assert tally.answered == 0
    assert any(name.startswith("RemoteFailure") for name in tally.errors)


async def test_a_lost_stream_has_failed_and_is_opened_again(
    running: Running, plan: Plan
) -> None:
    channels: list[sage.Channel] = []

    async with running() as connect:

        async def connect_and_keep() -> sage.Channel:
            channels.append(await connect())
            return channels[-1]

        link, tally = Link(connect_and_keep), now_for(0.6)
        await link.channel()
        asyncio.get_running_loop().call_later(
            0.2, lambda: asyncio.ensure_future(channels[0].close())
        )
        await send_records(link, plan, tally, index=0, payload=b"x" * 100)
        await link.close()
    assert len(channels) == 2
    assert tally.errors
    assert tally.answered > 100
