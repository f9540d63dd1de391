from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import sage
from sage.cli.loadtest.link import Link
from sage.cli.loadtest.plan import Plan
from sage.cli.loadtest.requests import send_requests

from .conftest import Running, now_for


async def test_a_closed_loop_keeps_so_many_in_flight(
    running: Running, plan: Plan
) -> None:
    at_once, most = 0, 0

    async def slow(message: sage.Message) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return message.payload

    async with running(handler=slow) as connect:
        link, tally = Link(connect), now_for(0.3)
        await send_requests(link, plan, tally, index=0, payload=b"x", echoed=True)
        await link.close()
    assert most == plan.in_flight == 4
    assert tally.sent == tally.answered > plan.in_flight
    assert tally.latency.percentiles_s[50.0] >= 0.01


async def test_a_stall_is_counted_at_every_message_behind_it(
    running: Running, plan: Plan
) -> None:
    """No coordinated omission: 100 messages a second, and a stall of 0.3 s."""
    stalled = False

    async def stall_once(message: sage.Message) -> bytes:
        nonlocal stalled
        if not stalled:
            stalled = True
            await asyncio.sleep(0.3)
        return message.payload

    plan = replace(plan, rate=100, in_flight=1, duration_s=1.0)
    async with running(handler=stall_once) as connect:
        link = Link(connect)
        await link.channel()
        tally = now_for(1.0)
        await send_requests(link, plan, tally, index=0, payload=b"x", echoed=True)
        await link.close()
    assert tally.answered == tally.sent
    # Some thirty were meant to leave during the stall, ever less late.
    late = sum(second.latency.count for second in tally.seconds())
    assert late == tally.answered > 40
    assert tally.latency.max_s >= 0.3
    assert tally.latency.percentiles_s[90.0] >= 0.1


async def test_what_is_not_the_echo_is_an_error(running: Running, plan: Plan) -> None:
    async def other(message: sage.Message) -> bytes:
        return b"other"

    async with running(handler=other) as connect:
        link = Link(connect)
        for echoed, answered in ((True, False), (False, True)):
            tally = now_for(0.1)
            await send_requests(
                *(link, replace(plan, duration_s=0.1), tally),
                index=0,
                payload=b"x",
                echoed=echoed,
            )
            assert bool(tally.answered) is answered
            assert set(tally.errors) == (set() if answered else {"WrongAnswer"})
        await link.close()


async def test_errors_are_counted_and_the_load_goes_on(
    running: Running, plan: Plan
) -> None:
    count = 0

    async def moody(message: sage.Message) -> bytes:
        nonlocal count
        count += 1
        if count % 2:
            raise sage.errors.RemoteFailure("unavailable")
        return message.payload

    async with running(handler=moody) as connect:
        link, tally = Link(connect), now_for(0.2)
        await send_requests(link, plan, tally, index=0, payload=b"x", echoed=True)
        await link.close()
    (name,) = tally.errors
    assert name.startswith("RemoteFailure")
    assert tally.sent == tally.answered + tally.errors.total()
    assert tally.answered > 1


@pytest.mark.parametrize("rate", [0, 50])
async def test_a_lost_connection_is_opened_again(
    running: Running, plan: Plan, rate: float
) -> None:
    async with running() as connect:
        link, tally = Link(connect), now_for(0.6)
        channel = await link.channel()
        asyncio.get_running_loop().call_later(
            0.2, lambda: asyncio.ensure_future(channel.close())
        )
        await send_requests(
            *(link, replace(plan, rate=rate), tally),
            index=0,
            payload=b"x",
            echoed=True,
        )
        assert link.opened == 2
        await link.close()
    assert tally.answered > 1
    assert tally.sent == tally.answered + tally.errors.total()
