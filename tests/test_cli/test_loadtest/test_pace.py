from __future__ import annotations

import asyncio
from itertools import islice
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.cli.loadtest.pace import Due, departures, make_loop, planned, until
from sage.cli.loadtest.plan import Mode, Plan

PLANS = st.builds(
    Plan,
    mode=st.just(Mode.REQUEST),
    duration_s=st.floats(0.05, 5) | st.integers(1, 50).map(lambda n: n / 10),
    connections=st.integers(1, 7),
    rate=st.floats(0.5, 60) | st.integers(1, 60).map(float),
    size=st.just(1),
    in_flight=st.just(1),
    warm_up_s=st.floats(0, 2) | st.integers(0, 20).map(lambda n: n / 10),
)


@given(PLANS)
def test_connections_take_turns_at_an_even_rate(plan: Plan) -> None:
    turns = [
        list(islice(departures(plan, index, 1000.0), 20))
        for index in range(plan.connections)
    ]
    merged = sorted(time for turn in turns for time in turn)
    first = merged[0]
    assert 1000 - plan.warm_up_s - 1e-9 <= first
    assert merged == pytest.approx([first + n / plan.rate for n in range(len(merged))])


@given(PLANS, st.floats(0, 1e7))
def test_as_many_are_planned_as_depart_while_it_counts(
    plan: Plan, start: float
) -> None:
    end, count = start + plan.duration_s, 0
    for index in range(plan.connections):
        for time in departures(plan, index, start):
            if time >= end:
                break
            count += time >= start
    assert count == planned(plan, start)


@given(PLANS, st.lists(st.tuples(st.floats(0, 2), st.integers(1, 5)), max_size=30))
def test_what_is_due_is_handed_out_once_and_in_order(plan, looks):
    due = Due(departures(plan, 0, 100.0), 101.0)
    now, given_out = 100 - plan.warm_up_s, []
    for later, most in looks:
        now += later
        batch = due.take(now, most)
        assert len(batch) <= most
        assert all(time <= now and time < 101 for time in batch)
        # Whoever has room gets all that is due.
        assert len(batch) == most or due.next > now or due.next >= 101
        given_out += batch
    assert given_out == list(islice(departures(plan, 0, 100.0), len(given_out)))


async def test_a_moment_that_has_passed_is_not_waited_for() -> None:
    async with asyncio.timeout(0.001):
        await until(monotonic() - 1)


async def test_nobody_wakes_too_early() -> None:
    for _ in range(20):
        when = monotonic() + 0.003
        await until(when)
        assert monotonic() >= when


async def test_a_cancelled_wait_leaves_no_timer() -> None:
    task = asyncio.create_task(until(monotonic() + 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_loop_wakes_within_a_fraction_of_a_millisecond() -> None:
    async def lateness() -> list[float]:
        late = []
        for _ in range(100):
            when = monotonic() + 0.0002
            await until(when)
            late.append(monotonic() - when)
        return sorted(late)

    with asyncio.Runner(loop_factory=make_loop) as runner:
        late = runner.run(lateness())
    # On Linux, asyncio's own loop is never less than 0.8 ms late here.
    assert late[len(late) // 4] < 0.0006


def test_the_loop_hears_sockets_while_it_waits() -> None:
    async def exchange() -> bytes:
        async def answer(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(await reader.readexactly(4))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"ping")
            data = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await writer.wait_closed()
        return data

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(exchange()) == b"ping"
