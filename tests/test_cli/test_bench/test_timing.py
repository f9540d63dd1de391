from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from sage.cli.bench.timing import (
    FULL,
    QUICK,
    ROUNDS_TO_JUDGE,
    Effort,
    Subject,
    Times,
    compare,
)


class FakeClock:
    """Time passes only where somebody lets it."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def steady(clock: FakeClock, ns: float, log: list[str], name: str) -> Subject:
    def prepare(count: int) -> Callable[[], object]:
        clock.now += 1_000_000  # is not measured

        def burst() -> None:
            log.append(name)
            clock.now += int(ns * count)

        return burst

    return Subject(prepare)


def test_a_real_measurement_has_rounds_enough() -> None:
    assert FULL.rounds >= ROUNDS_TO_JUDGE == 31
    assert FULL.burst_ns >= 500_000
    assert QUICK.rounds < ROUNDS_TO_JUDGE


def test_bursts_alternate_and_preparing_is_not_measured() -> None:
    clock, log = FakeClock(), []
    subjects = [steady(clock, 300, log, "a"), steady(clock, 100, log, "b")]
    times = compare(subjects, Effort(rounds=4, burst_ns=10_000), clock)
    assert "".join(log[-8:]) in ("baabbaab", "abbaabba")
    assert times.ns(0) == 300
    assert times.ratio(0, 1) == 3
    assert times.ratio(1, 0) == pytest.approx(1 / 3)


def test_a_burst_is_long_enough_and_of_whole_steps() -> None:
    clock = FakeClock()
    asked: list[int] = []

    def prepare(count: int) -> Callable[[], object]:
        asked.append(count)

        def burst() -> None:
            clock.now += count

        return burst

    compare([Subject(prepare, 64)], Effort(rounds=2, burst_ns=10_000), clock)
    assert not any(count % 64 for count in asked)
    assert asked[-1] == asked[-2] >= 10_000
    assert asked[-1] < 20_000


def test_a_drift_of_the_machine_cancels() -> None:
    """The median of ratios holds where both medians are off."""
    slower = Times([[3.0 * speed, speed] for speed in (1, 1, 5, 9, 9)])
    assert slower.ratio(0, 1) == 3
    assert slower.ns(1) == 5


def test_what_takes_no_time_at_all_is_measured_too() -> None:
    times = compare(
        [Subject(lambda count: lambda: None)] * 2,
        Effort(rounds=1, burst_ns=1),
        lambda: 0,
    )
    assert times.ratio(0, 1) == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_waits(enabled: bool) -> None:
    seen: list[bool] = []
    if not enabled:
        gc.disable()
    try:
        subject = Subject(lambda count: lambda: seen.append(gc.isenabled()))
        compare([subject], Effort(rounds=1, burst_ns=1))
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert seen
    assert not any(seen)
