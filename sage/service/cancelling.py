"""Whose end an error is: of the task itself, or of something that it waited for."""

from __future__ import annotations

import asyncio

__all__ = ["is_our_own"]


def is_our_own(error: BaseException) -> bool:
    """Whether the running task is to end, or all of the process, and has to pass it on.

    A handler that waits for a task which somebody else cancels ends in the same
    exception as one that is cancelled; that is a failure of the handler, and no reason
    to stop. So is what else is no `Exception`, as `pytest.fail` raises it: a peer must
    not wait for an answer that never comes.
    """
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return True
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
