"""A core for the driver and another one for the service that it has started.

Two processes that wake each other thousands of times a second look to Linux like one
job, and it likes to put them on one core, although the other is idle; whoever is woken
then waits for milliseconds. That would measure the scheduler, not the service.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cores_apart"]


@contextmanager
def cores_apart(pid: int) -> Iterator[tuple[int, int] | None]:
    """Keep this process and another on a core each while the block runs.

    Yields our core and theirs; ``None`` where there is only one, or the system has no
    say in it. A driver that may use many cores leaves the others to everybody else.

    Args:
        pid: a process of ours.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        yield None
        return
    ours, theirs = sorted(allowed)[:2]
    try:
        os.sched_setaffinity(pid, {theirs})
        os.sched_setaffinity(0, {ours})
    except OSError:  # a sandbox that forbids it
        yield None
        return
    try:
        yield ours, theirs
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, allowed)
