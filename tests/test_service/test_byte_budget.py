"""Bytes lent in order, never more than there are, and none of them lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.errors import UsageError
from sage.service.byte_budget import ByteBudget


async def test_what_fits_is_lent_at_once():
    budget = ByteBudget(10)
    await asyncio.wait_for(budget.acquire(4), 1)
    await asyncio.wait_for(budget.acquire(6), 1)
    assert budget.held == 10
    budget.release(4)
    budget.release(6)
    assert budget.held == 0


async def test_a_small_one_does_not_overtake_a_large_one():
    budget, order = ByteBudget(10), []

    async def take(size):
        await budget.acquire(size)
        order.append(size)

    await budget.acquire(8)
    tasks = [asyncio.create_task(take(size)) for size in (9, 1)]
    await asyncio.sleep(0)
    assert order == []
    budget.release(8)
    await asyncio.gather(*tasks)
    assert order == [9, 1]


async def test_what_is_larger_than_all_waits_until_it_is_alone():
    budget = ByteBudget(10)
    await budget.acquire(1)
    task = asyncio.create_task(budget.acquire(11))
    await asyncio.sleep(0)
    assert not task.done()
    budget.release(1)
    await task
    assert budget.held == 11


async def test_a_cancelled_wait_lets_the_next_one_pass():
    budget = ByteBudget(10)
    await budget.acquire(8)
    large = asyncio.create_task(budget.acquire(9))
    small = asyncio.create_task(budget.acquire(2))
    await asyncio.sleep(0)
    large.cancel()
    await small
    assert budget.held == 10


async def test_cancelled_as_its_turn_comes():
    budget = ByteBudget(10)
    await budget.acquire(8)
    task = asyncio.create_task(budget.acquire(9))
    await asyncio.sleep(0)
    budget.release(8)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.held == 0


async def test_a_part_is_full_before_the_whole():
    whole = ByteBudget(8)
    part = ByteBudget(2, within=whole)
    await part.acquire(2)
    waiting = asyncio.create_task(part.acquire(1))
    await asyncio.sleep(0)
    assert (part.held, whole.held, waiting.done()) == (2, 2, False)
    await whole.acquire(6)
    part.release(2)
    await waiting
    assert (part.held, whole.held) == (1, 7)


async def test_who_waits_for_the_whole_and_leaves_gives_its_part_back():
    whole = ByteBudget(8)
    part = ByteBudget(2, within=whole)
    await whole.acquire(8)
    waiting = asyncio.create_task(part.acquire(1))
    await asyncio.sleep(0)
    assert (part.held, whole.held) == (1, 8)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (part.held, whole.held) == (0, 8)
    whole.release(8)
    assert whole.held == 0


@pytest.mark.parametrize("size", [0, -1])
def test_a_budget_of_nothing(size):
    with pytest.raises(UsageError):
        ByteBudget(size)


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), max_size=30),
    cancelled=st.sets(st.integers(0, 29)),
)
def test_never_more_than_there_is_and_all_comes_back(sizes, cancelled):
    asyncio.run(_use(sizes, cancelled))


async def _use(sizes: list[int], cancelled: set[int]) -> None:
    budget = ByteBudget(32)

    async def hold(size: int) -> None:
        await budget.acquire(size)
        try:
            # Beside one that is too long there is room for nothing, and so for 0.
            assert budget.held <= 32 or budget.held == size or size == 0
            await asyncio.sleep(0)
        finally:
            budget.release(size)

    tasks = [asyncio.create_task(hold(size)) for size in sizes]
    await asyncio.sleep(0)
    for index in cancelled & set(range(len(tasks))):
        tasks[index].cancel()
    gathered = asyncio.gather(*tasks, return_exceptions=True)
    for outcome in await asyncio.wait_for(gathered, 5):
        assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    assert budget.held == 0


async def test_what_gives_up_its_part_is_held_by_the_whole():
    whole = ByteBudget(10)
    part = ByteBudget(4, within=whole)
    await part.acquire(3)
    assert part.has_room(1)
    assert not part.has_room(2)
    second = asyncio.create_task(part.acquire(4))
    await asyncio.sleep(0)
    assert not part.has_room(0)  # nobody overtakes whoever waits
    assert part.give_up_part(3) is whole
    await second
    assert (part.held, whole.held) == (4, 7)
    assert whole.give_up_part(3) is whole
    whole.release(3)
    part.release(4)
    assert (part.held, whole.held) == (0, 0)
