from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.cli.loadtest.latencies import (
    LATENCY_MAX_US,
    PERCENTILES,
    Latencies,
    make_histogram,
)

VALUES = st.lists(
    st.integers(1, 5000) | st.integers(1, LATENCY_MAX_US), min_size=1, max_size=300
)


@given(VALUES, VALUES)
def test_it_says_what_hdrhistogram_says(some, others):
    latencies, further, histogram = Latencies(), Latencies(), make_histogram()
    latencies.add(some)
    further.add(others)
    latencies.merge(further)
    for value in some + others:
        histogram.record_value(value)
    found = latencies.summary()
    assert found.count == len(latencies) == histogram.get_total_count()
    assert found.max_s == histogram.get_max_value() / 1e6
    for percentile in PERCENTILES:
        expected = histogram.get_value_at_percentile(percentile)
        assert found.percentiles_s[percentile] == expected / 1e6
    made = latencies.histogram()
    assert made.get_total_count() == histogram.get_total_count()
    assert made.get_value_at_percentile(99) == histogram.get_value_at_percentile(99)


@given(st.integers(1, LATENCY_MAX_US))
def test_a_value_keeps_three_digits(value):
    latencies = Latencies()
    latencies.add([value])
    assert value / 1e6 <= latencies.summary().max_s <= value * 1.001 / 1e6


def test_nothing_is_shorter_or_longer_than_can_be_told():
    latencies = Latencies()
    latencies.add([0.2, -5, 1e12])
    found = latencies.summary()
    assert found.percentiles_s[50.0] == 1e-6
    assert found.max_s == pytest.approx(LATENCY_MAX_US / 1e6, rel=0.001)


def test_none_has_no_length():
    found = Latencies().summary()
    assert (found.count, found.max_s, set(found.percentiles_s.values())) == (0, 0, {0})
