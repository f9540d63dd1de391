"""Whose cancellation an error is: of the task itself, or of something it waited for."""

from __future__ import annotations

import asyncio

__all__ = ["is_our_own"]


def is_our_own(error: BaseException) -> bool:
    """Whether the running task was cancelled, and has to pass that on.

    A handler that waits for a task which somebody else cancels ends in the same
    exception; that is a failure of the handler, and no reason to stop.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
