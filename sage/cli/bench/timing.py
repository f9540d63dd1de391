"""Times things in turn, so that a machine that changes its speed changes all alike.

A round is one burst of every subject, in an order that turns around from round to
round. A ratio is taken within its round; the medians are taken over the rounds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import thread_time_ns
from typing import Any, Final

__all__ = [
    "FULL",
    "QUICK",
    "ROUNDS_TO_JUDGE",
    "Clock",
    "Effort",
    "Subject",
    "Times",
    "compare",
]

Clock = Callable[[], int]
"""Nanoseconds that only grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much to measure.

    Attributes:
        rounds: bursts of each subject.
        burst_ns: how long a burst takes, at least.
    """

    rounds: int
    burst_ns: int


ROUNDS_TO_JUDGE: Final = 31
"""A median of fewer is no verdict."""

FULL: Final = Effort(rounds=61, burst_ns=1_000_000)
# Enough to see that it runs, and nothing else.
QUICK: Final = Effort(rounds=3, burst_ns=50_000)


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to be timed.

    Attributes:
        prepare: takes a number of operations and returns what does exactly so many;
            only the latter is timed. A burst is run once.
        step: the numbers of operations are multiples of this.
        times_itself: whether a burst returns the nanoseconds that count.
    """

    prepare: Callable[[int], Callable[[], Any]]
    step: int = 1
    times_itself: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """The nanoseconds of one operation of each subject, by round."""

    rounds: Sequence[Sequence[float]]

    def ns(self, subject: int) -> float:
        """Return a subject's median."""
        return median(took[subject] for took in self.rounds)

    def ratio(self, subject: int, against: int) -> float:
        """Return the median of what one took for each nanosecond of another."""
        return median(took[subject] / took[against] for took in self.rounds)


def compare(
    subjects: Sequence[Subject], effort: Effort, clock: Clock = thread_time_ns
) -> Times:
    """Time some subjects in turn, by default in processor time of this thread."""
    # Finds how many operations make a burst, and makes what is made once.
    counts = [_enough(subject, effort.burst_ns, clock) for subject in subjects]
    forwards = range(len(subjects))
    rounds = []
    for number in range(effort.rounds):
        took = [0.0] * len(subjects)
        for index in forwards if number % 2 else reversed(forwards):
            count = counts[index]
            took[index] = _burst(subjects[index], count, clock) / count
        rounds.append(took)
    return Times(rounds)


def _enough(subject: Subject, burst_ns: int, clock: Clock) -> int:
    """Return how many operations take as long as a burst should."""
    steps = 1
    while True:
        took = max(_burst(subject, steps * subject.step, clock), 1)
        if took >= burst_ns:
            return steps * subject.step
        # The first burst warms up what the next ones find warm: grow with care.
        steps = max(steps + 1, int(steps * min(burst_ns / took * 1.1, 8.0)))


def _burst(subject: Subject, count: int, clock: Clock) -> float:
    burst = subject.prepare(count)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began = clock()
        said = burst()
        took = said if subject.times_itself else clock() - began
        # A clock may be too coarse for a quick burst; what is divided by is not 0.
        return max(took, 1)
    finally:
        if was_enabled:
            gc.enable()
