"""Two threads that seal beside each other, each with a session of its own.

In wall time: whether two of them seal twice as much is whether records leave Python's
lock alone. Threads wait at a barrier, so that starting them is not measured.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from itertools import repeat
from time import perf_counter_ns
from typing import Final

from ...types import Role
from .figures import ONE_THREAD, Case, Figure, NotHere
from .records import BATCH, stream_end
from .timing import Effort, Subject, compare

__all__ = ["cores", "thread_cases"]

# A burst of threads must be longer than what the scheduler takes to place them.
_LONGER: Final = 10

Seal = Callable[[int], Callable[[], None]]
"""Makes a session, and returns what seals so many records with it."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_cases() -> Iterator[Case]:
    """Yield records of 16 KiB one by one, and batches of 1 KiB."""
    yield Case("threads", 16384, lambda e: _measure("threads", 16384, _single, e))
    yield Case(
        "threads-batch", 1024, lambda e: _measure("threads-batch", 1024, _batches, e)
    )


def _measure(
    row: str, size: int, seal: Callable[[int, int], Callable[[], None]], effort: Effort
) -> list[Figure]:
    if cores() < 2:
        raise NotHere("this process may use one core only")
    longer = Effort(rounds=effort.rounds, burst_ns=effort.burst_ns * _LONGER)

    def subject(threads: int) -> Subject:
        def prepare(count: int) -> Callable[[], object]:
            return _beside_each_other(
                [seal(size, count // threads) for _ in range(threads)]
            )

        return Subject(prepare, BATCH * threads)

    times = compare([subject(2), subject(1)], longer, perf_counter_ns)
    return [
        Figure(
            row=row,
            bytes=size,
            against=ONE_THREAD,
            ns=times.ns(0),
            against_ns=times.ns(1),
            ratio=times.ratio(1, 0),
            rounds=effort.rounds,
            note="wall time",
        )
    ]


def _beside_each_other(works: list[Callable[[], None]]) -> Callable[[], None]:
    """Start a thread for each; return what lets them go and waits for the last."""
    start = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], None]) -> None:
        start.wait()
        work()

    threads = [threading.Thread(target=run, args=(w,), daemon=True) for w in works]
    for thread in threads:
        thread.start()

    def burst() -> None:
        start.wait()
        for thread in threads:
            thread.join()

    return burst


def _single(size: int, count: int) -> Callable[[], None]:
    session, plaintext = stream_end(Role.INITIATOR), bytes(size)

    def work() -> None:
        seal = session.seal
        for _ in repeat(None, count):
            seal(plaintext)

    return work


def _batches(size: int, count: int) -> Callable[[], None]:
    session = stream_end(Role.INITIATOR)
    rows, wire = (
        memoryview(bytearray(BATCH * width)).cast("B", (BATCH, width))
        for width in (size, size + 36)
    )

    def work() -> None:
        seal_batch = session.seal_batch
        for _ in repeat(None, count // BATCH):
            seal_batch(rows, wire)

    return work
