"""Whose end it is, asked by a task that is in the middle of it."""

from __future__ import annotations

import asyncio

import pytest

from sage.service.cancelling import is_our_own


async def _judge(waiting: asyncio.Future[None]) -> bool:
    try:
        await waiting
    except BaseException as exc:
        return is_our_own(exc)
    pytest.fail("nothing was raised")


async def test_the_task_itself_is_cancelled():
    task = asyncio.create_task(_judge(asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    task.cancel()
    assert await task


async def test_what_it_waits_for_is_cancelled():
    waiting = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(_judge(waiting))
    await asyncio.sleep(0)
    waiting.cancel()
    assert not await task


async def test_another_error():
    waiting = asyncio.get_running_loop().create_future()
    waiting.set_exception(OSError())
    assert not await _judge(waiting)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_the_end_of_the_process_or_of_a_coroutine(kind):
    assert is_our_own(kind())
    assert not is_our_own(BaseException())
