from __future__ import annotations

import os

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


def test_one_core_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 1)
    for case in thread_cases():
        with pytest.raises(NotHere, match="one core"):
            case.measure(BARELY)


def test_cores_are_those_that_we_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == (os.cpu_count() or 1)
