"""Two threads that seal beside each other, each with a session of its own.

In wall time: whether two of them seal twice as much is whether records leave Python's
lock alone. Each has a core of its own, where the system gives cores out, and is timed
while the other seals as well: when the system begins a thread, and where it moves it
to, is a matter of milliseconds, and none of ours.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from statistics import harmonic_mean
from time import perf_counter_ns
from typing import Final

from ...types import Role
from .figures import ONE_THREAD, Case, Figure, NotHere
from .records import BATCH, stream_end
from .timing import Effort, Subject, compare

__all__ = ["cores", "thread_cases"]

# A burst of threads has to be longer than the turns that they give each other.
_LONGER: Final = 10

Seal = Callable[[int], None]
"""Seals so many records, a multiple of a batch, with a session of its own."""


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
    row: str, size: int, sealer: Callable[[int], Seal], effort: Effort
) -> list[Figure]:
    if cores() < 2:
        raise NotHere("this process may use one core only")
    longer = Effort(rounds=effort.rounds, burst_ns=effort.burst_ns * _LONGER)

    def subject(threads: int) -> Subject:
        def prepare(count: int) -> Callable[[], float]:
            return _beside_each_other(
                [sealer(size) for _ in range(threads)], count // threads
            )

        return Subject(prepare, BATCH * threads, times_itself=True)

    times = compare([subject(2), subject(1)], longer)
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


def _beside_each_other(seals: list[Seal], count: int) -> Callable[[], float]:
    """Return what lets threads seal so many records each, and says how long they took.

    Who is ready first, or done first, goes on sealing: the others have to be timed
    beside it. Where threads take as long as their harmonic mean is, they seal as much.
    """
    begun: list[Seal] = []
    ended: list[Seal] = []

    def run(place: int) -> int:
        seal = seals[place]
        _take_core(place)
        begun.append(seal)
        try:
            while len(begun) < len(seals):
                seal(BATCH)
            began = perf_counter_ns()
            seal(count)
            took = perf_counter_ns() - began
        finally:
            ended.append(seal)
        while len(ended) < len(seals):
            seal(BATCH)
        return took

    def burst() -> float:
        with ThreadPoolExecutor(len(seals)) as threads:
            return harmonic_mean(list(threads.map(run, range(len(seals)))))

    return burst


def _take_core(place: int) -> None:
    """Keep this thread to one of the cores that the process may use."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        with contextlib.suppress(OSError):  # a sandbox that forbids it
            os.sched_setaffinity(0, {allowed[place % len(allowed)]})


def _single(size: int) -> Seal:
    session, plaintext = stream_end(Role.INITIATOR), bytes(size)

    def seal_records(count: int) -> None:
        seal = session.seal
        for _ in repeat(None, count):
            seal(plaintext)

    return seal_records


def _batches(size: int) -> Seal:
    session = stream_end(Role.INITIATOR)
    rows, wire = (
        memoryview(bytearray(BATCH * width)).cast("B", (BATCH, width))
        for width in (size, size + 36)
    )

    def seal_records(count: int) -> None:
        seal_batch = session.seal_batch
        for _ in repeat(None, count // BATCH):
            seal_batch(rows, wire)

    return seal_records
