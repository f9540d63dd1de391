from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import pytest

import sage
from sage.cli.loadtest.driver import drive
from sage.cli.loadtest.plan import Mode, Plan
from sage.cli.loadtest.tally import Tally
from sage.errors import ConnectFailed

from .conftest import Running


def ignore(phase: str, done: float, tally: Tally | None) -> None:
    assert 0 <= done <= 1


@pytest.mark.parametrize("mode", [Mode.REQUEST, Mode.STREAM])
async def test_an_open_loop_over_many_connections(
    running: Running, plan: Plan, mode: Mode
) -> None:
    plan = replace(
        plan, mode=mode, connections=5, rate=100, duration_s=0.5, warm_up_s=0.2
    )
    async with running() as connect:
        outcome = await drive(plan, connect, watch=ignore)
    assert outcome.tally.sent == outcome.tally.answered
    assert outcome.tally.sent + outcome.unsent == 50
    assert outcome.failed == outcome.unsent <= 5
    assert outcome.lost == 0
    assert outcome.opening_s > 0
    assert outcome.server is not None
    for side in (outcome.client, outcome.server):
        used = outcome.cpu_s(side)
        assert used is not None
        assert used > 0
    assert gc.get_freeze_count() == 0


async def test_the_phases_are_told(running: Running, plan: Plan) -> None:
    phases: list[str] = []
    async with running() as connect:
        await drive(plan, connect, watch=lambda phase, *_: phases.append(phase))
    assert phases[0] == "connecting"
    assert "sending" in phases


async def test_idle_connections_are_counted_and_weighed(
    running: Running, plan: Plan
) -> None:
    plan = replace(plan, idle=True, connections=20)
    async with running() as connect:
        outcome = await drive(plan, connect, watch=ignore)
    assert (outcome.tally.sent, outcome.failed, outcome.lost) == (0, 0, 0)
    if outcome.rss is not None:
        before, after = outcome.rss
        assert outcome.per_connection_bytes == (after - before) / 20


async def test_an_idle_connection_that_is_lost_is_an_error(
    running: Running, plan: Plan
) -> None:
    plan = replace(plan, idle=True, connections=3)
    channels: list[sage.Channel] = []
    async with running() as connect:

        async def connect_and_keep() -> sage.Channel:
            channels.append(await connect())
            return channels[-1]

        def lose(phase: str, *_: object) -> None:
            if phase == "idle":
                tasks.append(asyncio.ensure_future(channels[-1].close()))

        tasks: list[asyncio.Future[None]] = []
        outcome = await drive(plan, connect_and_keep, watch=lose)
    assert outcome.lost == 1
    assert outcome.tally.errors == {"ConnectionLost": 1}
    assert outcome.failed == 1


async def test_a_service_that_says_nothing_of_itself(
    running: Running, plan: Plan
) -> None:
    async def refuse(message: sage.Message) -> bytes:
        if message.payload.startswith(b"sage-loadtest"):
            raise sage.errors.RemoteFailure("policy_denied")
        return b"done"

    async with running(handler=refuse) as connect:
        outcome = await drive(plan, connect, watch=ignore)
    assert outcome.server is None
    assert outcome.rss is None
    assert outcome.cpu_s(outcome.server) is None
    assert outcome.per_connection_bytes is None
    assert outcome.tally.answered > 0
    assert outcome.failed == 0


async def test_a_service_that_is_not_there(running: Running, plan: Plan) -> None:
    async with running() as connect:
        pass
    with pytest.raises(ConnectFailed):
        await drive(plan, connect, watch=ignore)
