"""When the next attempt may be made."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import UsageError
from sage.limits import RECONNECT_MAX_S, RECONNECT_S
from sage.service.backoff import Backoff

EIGHT = st.binary(min_size=8, max_size=8)


def test_before_a_failure_there_is_nothing_to_wait_for():
    backoff = Backoff(os.urandom)
    assert backoff.bound_s() == 0
    assert backoff.wait_s(0.0) == 0


@given(failures=st.integers(1, 3000), drawn=EIGHT, now=st.floats(0, 1e9))
def test_every_wait_is_drawn_from_nothing_to_a_bound_that_doubles(failures, drawn, now):
    backoff = Backoff(lambda count: drawn[:count])
    for _ in range(failures):
        backoff.fail(now)
    expected = RECONNECT_MAX_S if failures > 40 else RECONNECT_S * 2 ** (failures - 1)
    assert backoff.bound_s() == min(RECONNECT_MAX_S, expected)
    assert 0 <= backoff.wait_s(now) <= backoff.bound_s() + 1e-6
    assert backoff.wait_s(now + backoff.bound_s() + 1e-6) == 0


@pytest.mark.parametrize(
    ("drawn", "share"), [(bytes(8), 0.0), (b"\x80" + bytes(7), 0.5), (b"\xff" * 8, 1.0)]
)
def test_the_jitter_is_full(drawn, share):
    backoff = Backoff(lambda count: drawn, first_s=2.0, max_s=100.0)
    for bound in (2.0, 4.0, 8.0):
        backoff.fail(1000.0)
        assert backoff.wait_s(1000.0) == pytest.approx(share * bound)


def test_a_success_forgets_the_failures():
    backoff = Backoff(lambda count: b"\xff" * count)
    for _ in range(5):
        backoff.fail(0.0)
    backoff.succeed()
    assert (backoff.failures, backoff.bound_s(), backoff.wait_s(0.0)) == (0, 0, 0)


def test_a_thousand_clients_spread_over_the_whole_time():
    waits = []
    for _ in range(1000):
        backoff = Backoff(os.urandom, first_s=10.0)
        backoff.fail(0.0)
        waits.append(backoff.wait_s(0.0))
    tenths = [sum(t <= wait < t + 1 for wait in waits) for t in range(10)]
    assert min(tenths) > 40
    assert max(tenths) < 200


@pytest.mark.parametrize("drawn", [b"", bytes(7), bytes(9), None, "12345678"])
def test_other_entropy_is_refused_and_all_is_waited_for(drawn):
    backoff = Backoff(lambda count: drawn, first_s=2.0)
    with pytest.raises(UsageError):
        backoff.fail(10.0)
    assert backoff.wait_s(10.0) == 2.0
