from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Code, StaleError
from sage.handshake.deadline import Deadline

TIMES = st.integers(0, 10_000)


@pytest.mark.parametrize(
    ("now", "unix_time", "passed"),
    [
        (1000.0, 5000, False),
        (1299.999, 5299, False),
        (1300.0, 5000, True),  # equality is passed, on either clock
        (1000.0, 5300, True),
        (1299.999, 5300, True),
        (1300.0, 5299, True),
        (1301.0, 4000, True),
        (900.0, 5301, True),
    ],
)
def test_both_clocks_bound_it(now, unix_time, passed):
    deadline = Deadline.start(now=1000.0, expires=5300)
    assert deadline.passed(now=now, unix_time=unix_time) is passed
    if not passed:
        deadline.require(now=now, unix_time=unix_time)
        return
    with pytest.raises(StaleError) as raised:
        deadline.require(now=now, unix_time=unix_time)
    assert raised.value.code == Code.HANDSHAKE_EXPIRED


def test_a_wall_clock_that_is_set_back_does_not_stretch_it():
    deadline = Deadline.start(now=1000.0, expires=5060, unix_time=5000)
    assert not deadline.passed(now=1059.9, unix_time=5059)
    assert deadline.passed(now=1060.0, unix_time=4000)


@pytest.mark.parametrize("clock", ["now", "unix_time"])
@pytest.mark.parametrize("given_at", ["start", "passed"])
def test_a_clock_without_a_value_is_too_late(clock, given_at):
    times = {"now": 1000.0, "unix_time": 5000}
    broken = {**times, clock: float("nan")}
    started, asked = (broken, times) if given_at == "start" else (times, broken)
    deadline = Deadline.start(expires=5060, **started)
    assert deadline.passed(**asked)


def test_a_far_expiry_leaves_the_300_seconds():
    deadline = Deadline.start(now=1000.0, expires=9000, unix_time=5000)
    assert not deadline.passed(now=1299.9, unix_time=5000)
    assert deadline.passed(now=1300.0, unix_time=5000)


@given(TIMES, TIMES, st.none() | TIMES, TIMES, TIMES)
def test_once_passed_always_passed(now, expires, unix_time, later, later_unix):
    deadline = Deadline.start(now=now, expires=expires, unix_time=unix_time)
    if deadline.passed(now=later, unix_time=later_unix):
        assert deadline.passed(now=later + 1, unix_time=later_unix)
        assert deadline.passed(now=later, unix_time=later_unix + 1)
    assert deadline.passed(now=now + 300, unix_time=0)
    assert deadline.passed(now=0, unix_time=expires)
