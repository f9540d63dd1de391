"""What bounds nothing is refused where it is written down."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan
from sys import maxsize

import pytest

from sage.errors import UsageError
from sage.runtime.bounds import check_bounds, check_count, check_limit


@dataclass
class Config:
    count: int = 1
    limit_s: float = 1.0
    on: bool = False
    name: str = ""


@pytest.mark.parametrize("limit", [-1, 0, 1, 0.5, inf, -inf])
def test_any_number_is_a_time_limit(limit):
    check_limit(limit)


@pytest.mark.parametrize("limit", [None, "1", True, nan, 10**400, 1j, [1]])
def test_anything_else_is_none(limit):
    with pytest.raises(UsageError, match="wait_s must be seconds"):
        check_limit(limit, "wait_s")


@pytest.mark.parametrize("number", [2, 3, maxsize])
def test_a_number_of_things(number):
    check_count(number, "seats", least=2)


@pytest.mark.parametrize("bad", [1, 0, -3, maxsize + 1, 2.0, True, "3", None])
def test_what_is_none(bad):
    with pytest.raises(UsageError, match="seats must be an int from 2"):
        check_count(bad, "seats", least=2)


@pytest.mark.parametrize(
    "good", [{}, {"count": 10**30}, {"limit_s": 1}, {"limit_s": inf}, {"on": 5}]
)
def test_bounds(good):
    check_bounds(Config(**good))


@pytest.mark.parametrize("name", ["count", "limit_s"])
@pytest.mark.parametrize("bad", [0, -1, nan, "1", None, True, b"1"])
def test_what_is_no_bound(name, bad):
    with pytest.raises(UsageError, match=f"{name} must be positive"):
        check_bounds(Config(**{name: bad}))


def test_an_int_of_more_digits_than_are_written_out():
    with pytest.raises(UsageError, match="wait_s must be seconds"):
        check_limit(10**5000, "wait_s")
    with pytest.raises(UsageError, match="count must be positive"):
        check_bounds(Config(count=-(10**5000)))
    with pytest.raises(UsageError, match="seats must be an int from 1"):
        check_count(10**5000, "seats")


def test_there_is_no_half_of_a_thing():
    with pytest.raises(UsageError):
        check_bounds(Config(count=1.5))
