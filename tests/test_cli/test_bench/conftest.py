"""Figures as if they had been measured, and an effort that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from sage.cli.bench.contestants import find_contestant
from sage.cli.bench.figures import Case, Figure
from sage.cli.bench.promises import PROMISES, Promise
from sage.cli.bench.race import Result
from sage.cli.bench.timing import Effort

BARELY = Effort(rounds=1, burst_ns=1)


def measure_all(cases: Iterable[Case]) -> list[Figure]:
    return [figure for case in cases for figure in case.measure(BARELY)]


def figure_for(promise: Promise, ratio: float) -> Figure:
    return Figure(
        row=promise.row,
        bytes=promise.bytes,
        against=promise.against,
        ns=700.0 * ratio,
        against_ns=700.0,
        ratio=ratio,
        rounds=61,
    )


Made = Callable[..., list[Result]]


@pytest.fixture
def made() -> Made:
    """Return what makes results at so many times the promised limits."""

    def make(times: float = 1.0) -> list[Result]:
        return list(_results(times))

    return make


def _results(times: float) -> Iterator[Result]:
    for name in ("sage-libcrypto", "sage-cryptography", "sage-pure"):
        figures = [
            figure_for(p, p.limit / times if p.at_least else p.limit * times)
            for p in PROMISES
            if p.contestant == name
        ]
        yield Result(
            contestant=find_contestant(name),
            facts={"core": "cython"},
            figures=figures,
        )
    yield Result(contestant=find_contestant("qh3"), absent="qh3 is not installed")
