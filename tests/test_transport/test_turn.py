"""The budget that the connections of a loop share."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import pytest

from sage.limits import TURN_S
from sage.transport.turn import turn_of

pytestmark = pytest.mark.every_loop


async def test_a_loop_has_one_of_its_own():
    loop = asyncio.get_running_loop()
    turn, others = turn_of(loop), []
    assert turn_of(loop) is turn

    async def elsewhere() -> None:
        others.append(turn_of(asyncio.get_running_loop()))

    await asyncio.to_thread(asyncio.run, elsewhere())
    assert others[0] is not turn


async def test_it_is_over_once_the_budget_is_spent_and_begins_anew():
    loop = asyncio.get_running_loop()
    turn = turn_of(loop)
    for _ in range(2):
        turn.spend(0.6 * TURN_S, loop)
        assert not turn.is_over
        turn.spend(0.6 * TURN_S, loop)
        assert turn.is_over
        turn.spend(TURN_S, loop)
        await asyncio.sleep(0)
        assert not turn.is_over


async def test_who_was_put_off_goes_first_and_in_order():
    loop, done = asyncio.get_running_loop(), []
    turn = turn_of(loop)

    def act(number: int) -> None:
        done.append(number)
        turn.spend(0.4 * TURN_S, loop)

    turn.spend(TURN_S, loop)
    for number in range(7):
        turn.put_off(lambda number=number: act(number))
    turns = []
    while len(done) < 7:
        await asyncio.sleep(0)
        turns.append(list(done))
    # Three of them spend a budget, and others had their turn in between.
    assert [0, 1, 2] in turns
    assert [0, 1, 2, 3, 4, 5] in turns
    assert done == list(range(7))


async def test_who_is_put_off_may_be_again():
    loop, done = asyncio.get_running_loop(), []
    turn = turn_of(loop)

    def act(name: str, times: int) -> None:
        if turn.is_over:
            turn.put_off(lambda: act(name, times))
            return
        done.append(name)
        turn.spend(TURN_S, loop)
        if times > 1:
            act(name, times - 1)

    act("a", 3)
    act("b", 3)
    while len(done) < 6:
        await asyncio.sleep(0)
    assert sorted(done) == ["a", "a", "a", "b", "b", "b"]
    assert done[:3] != ["a", "a", "a"]


async def test_one_that_fails_takes_nothing_from_the_others():
    loop, done, failed = asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _loop, context: failed.append(context))
    turn = turn_of(loop)
    turn.spend(TURN_S, loop)
    turn.put_off(lambda: 1 / 0)
    turn.put_off(lambda: done.append(1))
    while not done:
        await asyncio.sleep(0)
    assert isinstance(failed[0]["exception"], ZeroDivisionError)
    assert not turn.is_over


async def test_it_keeps_no_loop_alive():
    kept = []

    async def spend() -> None:
        loop = asyncio.get_running_loop()
        turn_of(loop).spend(TURN_S, loop)
        kept.append(weakref.ref(loop))

    thread = threading.Thread(target=lambda: asyncio.run(spend()))
    thread.start()
    thread.join()
    until = time.monotonic() + 5
    while kept[0]() is not None:
        assert time.monotonic() < until
        gc.collect()
        await asyncio.sleep(0.01)
