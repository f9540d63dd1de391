from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.cli.loadtest.tally import PERCENTILES, Tally
from sage.errors import AuthenticationError, Code, ConfigError, ConnectionLost


@given(st.lists(st.floats(0.0001, 100), min_size=1, max_size=200))
def test_percentiles_are_those_of_a_sorted_list(latencies: list[float]) -> None:
    tally = Tally(0.0, 1.0)
    for latency in latencies:
        tally.answer([0.5], 0.5 + latency)
    ordered = sorted(latencies)
    found = tally.latency
    assert found.count == tally.answered == len(latencies)
    assert found.max_s == pytest.approx(ordered[-1], rel=0.002, abs=2e-6)
    for percentile in PERCENTILES:
        # The smallest value that at least so many are not above.
        rank = next(
            n
            for n in range(1, len(ordered) + 1)
            if n * 100 >= percentile * len(ordered) - 50
        )
        assert found.percentiles_s[percentile] >= ordered[rank - 1] * 0.998 - 2e-6
        assert found.percentiles_s[percentile] <= found.max_s


def test_only_what_was_meant_to_leave_in_its_time_counts() -> None:
    tally = Tally(10.0, 20.0)
    for intended in (9.99, 20.0, 25.0):
        assert not tally.counts(intended)
        tally.send([intended])
        tally.answer([intended], 15.0)
        tally.fail(intended, ConnectionLost("x"))
    assert (tally.sent, tally.answered, tally.errors.total()) == (0, 0, 0)
    assert tally.latency.count == 0
    assert tally.seconds() == []
    assert tally.curve() == []
    tally.answer([10.0], 10.5)
    assert tally.answered == 1


def test_a_late_answer_makes_the_run_longer() -> None:
    tally = Tally(10.0, 12.0)
    tally.answer([11.0], 11.5)
    assert tally.elapsed_s == 2.0
    tally.answer([11.9], 15.0)
    assert tally.elapsed_s == 5.0
    assert tally.latency.max_s == pytest.approx(3.1, rel=0.001)


def test_a_backlog_is_not_sent_after_the_end() -> None:
    tally = Tally(0.0, 1.0)
    assert not tally.is_over(1.2)
    assert tally.is_over(1.3)


def test_seconds_are_told_apart_and_none_is_left_out() -> None:
    tally = Tally(0.0, 5.0)
    tally.send([0.5] * 3)
    for _ in range(3):
        tally.answer([0.5], 0.6)
    tally.send([3.5])
    tally.answer([3.5], 3.7)
    first, second, third, fourth = tally.seconds()
    assert (first.offset, first.sent, first.latency.count) == (0, 3, 3)
    assert second.latency.count == third.latency.count == 0
    assert (fourth.offset, fourth.sent, fourth.latency.count) == (3, 1, 1)
    assert fourth.latency.max_s == pytest.approx(0.2, rel=0.001)
    assert tally.latency.count == 4


def test_errors_are_counted_by_name_and_code() -> None:
    tally = Tally(0.0, 5.0)
    tally.fail(1.0, ConnectionLost("one"))
    tally.fail(1.0, ConnectionLost("two"), 2)
    tally.fail(1.0, AuthenticationError(code=Code.SIG_BAD))
    tally.fail(1.0, ZeroDivisionError())
    assert tally.errors == {
        "ConnectionLost": 3,
        "AuthenticationError (sig.bad)": 1,
        "ZeroDivisionError": 1,
    }


def test_the_curve_rises_to_all_of_them() -> None:
    tally = Tally(0.0, 5.0)
    for n in range(1, 1001):
        tally.answer([1.0], 1.0 + n / 1000)
    curve = tally.curve()
    assert curve == sorted(curve)
    assert curve[-1] == (100.0, pytest.approx(1.0, rel=0.001))


def test_what_takes_longer_than_can_be_told_is_the_longest() -> None:
    tally = Tally(0.0, 5.0)
    tally.answer([1.0], 1e6)
    tally.answer([1.0], 1.0)
    assert tally.latency.max_s == pytest.approx(120, rel=0.001)
    assert tally.latency.percentiles_s[50.0] == pytest.approx(1e-6)


def test_a_missing_hdrhistogram_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name.startswith("hdrh"):
                raise ModuleNotFoundError(name, name=name)

    for name in [name for name in sys.modules if name.startswith("hdrh")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ConfigError, match=r"hdrhistogram: pip install 'sage-secure\[l"):
        Tally(0.0, 1.0)
