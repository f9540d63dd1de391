from __future__ import annotations

from dataclasses import replace

import pytest

from sage.cli.bench.contestants import CONTESTANTS
from sage.cli.bench.figures import AGAINST, ONE_THREAD, ROWS, Figure
from sage.cli.bench.promises import PROMISES, Promise, State, Verdict, judge

from .conftest import Made


def states(verdicts: list[Verdict]) -> set[State]:
    return {verdict.state for verdict in verdicts}


def test_promises_are_about_what_is_measured() -> None:
    names = {contestant.name for contestant in CONTESTANTS}
    for promise in PROMISES:
        assert promise.contestant in names
        assert promise.row in ROWS
        assert promise.against in AGAINST
        assert promise.at_least == (promise.against == ONE_THREAD)
    keys = {(p.contestant, p.row, p.bytes, p.against) for p in PROMISES}
    assert len(keys) == len(PROMISES) == 35


@pytest.mark.parametrize(
    ("limit", "at_least", "ratio", "kept"),
    [
        (1.45, False, 1.45, True),
        (1.45, False, 1.4501, False),
        (1.8, True, 1.8, True),
        (1.8, True, 1.7999, False),
    ],
)
def test_the_limit_itself_is_kept(
    limit: float, at_least: bool, ratio: float, kept: bool
) -> None:
    promise = replace(PROMISES[0], limit=limit, at_least=at_least)
    assert promise.kept_by(ratio) is kept


def test_figures_at_the_limits_keep_all(made: Made) -> None:
    verdicts = judge(made())
    assert len(verdicts) == len(PROMISES)
    assert states(verdicts) == {State.KEPT}
    assert all(verdict.holds for verdict in verdicts)


def test_figures_beyond_the_limits_keep_none(made: Made) -> None:
    verdicts = judge(made(1.01))
    assert states(verdicts) == {State.MISSED}
    assert not any(verdict.holds for verdict in verdicts)


def test_one_that_is_missed_is_the_only_one(made: Made) -> None:
    results = made()
    slow = results[0].figures[0]
    results[0].figures[0] = replace(slow, ratio=9.0)
    (missed,) = [v for v in judge(results) if not v.holds]
    assert missed.ratio == 9.0
    assert missed.promise.row == slow.row
    assert missed.as_json()["state"] == "missed"


def test_nobody_keeps_a_promise_by_being_absent(made: Made) -> None:
    results = made()
    results[0].figures, results[0].absent = [], "not compiled"
    broken = [v for v in judge(results) if not v.holds]
    assert {v.promise.contestant for v in broken} == {"sage-libcrypto"}
    assert {v.state for v in broken} == {State.NOT_MEASURED}
    assert {v.reason for v in broken} == {"not compiled"}
    assert states(judge([])) == {State.NOT_MEASURED}


def test_one_core_cannot_show_two_threads(made: Made) -> None:
    results = made()
    results[0].figures = [
        Figure(row=f.row, bytes=f.bytes, against=f.against, absent="one core")
        if f.against == ONE_THREAD
        else f
        for f in results[0].figures
    ]
    verdicts = judge(results)
    assert all(verdict.holds for verdict in verdicts)
    odd = [v for v in verdicts if v.state is State.NOT_POSSIBLE]
    assert [v.reason for v in odd] == ["one core"] * 2


def test_what_was_not_asked_for_is_not_judged(made: Made) -> None:
    def asked(contestant: str, row: str) -> bool:
        return contestant == "sage-pure" and row == "stream"

    found: list[Promise] = [v.promise for v in judge(made(), asked=asked)]
    assert [promise.bytes for promise in found] == [64, 1024, 16384]
