"""Every wait has an end."""

from __future__ import annotations

import asyncio

import pytest

from sage.errors import DeadlineExceeded
from sage.transport import within


async def test_what_is_in_time_is_returned():
    assert await within(1, asyncio.sleep(0, "done"), "it") == "done"


async def test_what_is_late_is_cancelled_and_named():
    cancelled = asyncio.Event()

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(DeadlineExceeded, match=r"the thing took longer than 0\.01 s"):
        await within(0.01, slow(), "the thing", may_have_run=True)
    assert cancelled.is_set()


async def test_the_error_says_whether_it_may_have_run():
    for flag in (True, False):
        with pytest.raises(DeadlineExceeded) as late:
            await within(0.001, asyncio.sleep(60), "it", may_have_run=flag)
        assert late.value.may_have_run is flag


async def test_an_inner_deadline_keeps_its_name():
    inner = within(0.001, asyncio.sleep(60), "inner")
    with pytest.raises(DeadlineExceeded, match="inner"):
        await within(60, inner, "outer")


async def test_what_fails_with_a_time_limit_of_its_own_is_not_ours():
    async def fail():
        raise TimeoutError("the database")

    with pytest.raises(TimeoutError, match="the database") as failure:
        await within(60, fail(), "it")
    assert type(failure.value) is TimeoutError


async def test_cancelling_is_not_a_deadline():
    task = asyncio.create_task(within(60, asyncio.sleep(60), "it"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
