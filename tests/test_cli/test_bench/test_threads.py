from __future__ import annotations

import os
import time
from functools import partial
from statistics import harmonic_mean

import pytest

from sage.cli.bench import threads as module
from sage.cli.bench.figures import ONE_THREAD, NotHere
from sage.cli.bench.threads import cores, thread_cases

from .conftest import BARELY, measure_all


def test_two_threads_against_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)
    figures = measure_all(thread_cases())
    assert [(f.row, f.bytes) for f in figures] == [
        ("threads", 16384),
        ("threads-batch", 1024),
    ]
    for figure in figures:
        assert figure.against == ONE_THREAD
        assert figure.ns is not None
        assert figure.against_ns is not None
        # One round: the ratio is that of throughputs.
        assert figure.ratio == pytest.approx(figure.against_ns / figure.ns)


def test_each_thread_is_timed_while_the_other_is_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[list[tuple[int, float, float]]] = [[], []]
    late = 0.0

    def take_core(place: int) -> None:
        nonlocal late
        if place == 1:  # the system lets the second one wait
            time.sleep(0.02)
            late = time.perf_counter()

    def seal(me: int, pause: float, count: int) -> None:
        began = time.perf_counter()
        time.sleep(pause)
        calls[me].append((count, began, time.perf_counter()))

    def timed(me: int) -> tuple[float, float]:
        [(_, began, ended)] = [call for call in calls[me] if call[0] == 640]
        return began, ended

    monkeypatch.setattr(module, "_take_core", take_core)
    seals = [partial(seal, me, pause) for me, pause in enumerate((0.002, 0.03))]
    took = module._beside_each_other(seals, 640)()
    assert timed(0)[0] > late
    assert calls[0][-1][2] > timed(1)[1]
    spans = [(ended - began) * 1e9 for began, ended in map(timed, range(2))]
    assert took >= harmonic_mean(spans) > 3e6


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no say in cores here")
def test_threads_have_a_core_each_and_the_process_keeps_all_of_its_own() -> None:
    before = os.sched_getaffinity(0)
    seen: dict[int, set[int]] = {}

    def seal(me: int, count: int) -> None:
        seen[me] = os.sched_getaffinity(0)

    module._beside_each_other([partial(seal, me) for me in range(2)], 64)()
    assert [len(cores) for cores in seen.values()] == [1, 1]
    assert len(seen[0] | seen[1]) == min(len(before), 2)
    assert os.sched_getaffinity(0) == before


def test_a_sandbox_that_forbids_a_core_of_ones_own_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    assert module._beside_each_other([lambda count: None] * 2, 64)() >= 0


def test_what_fails_in_a_thread_ends_the_others_too() -> None:
    def fails(count: int) -> None:
        if count == 640:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        module._beside_each_other([fails, lambda count: None], 640)()


def test_one_core_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 1)
    for case in thread_cases():
        with pytest.raises(NotHere, match="one core"):
            case.measure(BARELY)


def test_cores_are_those_that_we_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == (os.cpu_count() or 1)
