"""What a cache keeps, for how long, and what it never accepts; on both libraries."""

from __future__ import annotations

import math
import sys
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sage.errors import ConfigError, UsageError
from sage.runtime import Cache

BACKENDS = ["cachebox", "cachetools"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave only one of the two libraries."""
    for name in BACKENDS:
        if name != request.param:
            monkeypatch.setitem(sys.modules, name, None)
    return str(request.param)


def test_an_entry_lives_until_its_time(backend: str) -> None:
    cache: Cache[int] = Cache(2)
    assert cache.backend == backend
    cache.put("a", 1, expires_at=10.0)
    assert cache.get("a", now=9.99) == 1
    assert cache.get("a", now=10.0) is None
    assert len(cache) == 0  # found to be over, and dropped


def test_the_least_recently_used_gives_way(backend: str) -> None:
    cache: Cache[int] = Cache(2)
    cache.put("a", 1, expires_at=10.0)
    cache.put("b", 2, expires_at=10.0)
    assert cache.get("a", now=0.0) == 1
    cache.put("c", 3, expires_at=10.0)
    assert [cache.get(key, now=0.0) for key in "abc"] == [1, None, 3]
    assert len(cache) == 2


def test_what_was_put_last_counts(backend: str) -> None:
    cache: Cache[int] = Cache(2)
    cache.put("a", 1, expires_at=10.0)
    cache.put("a", 2, expires_at=5.0)
    assert (cache.get("a", now=4.0), len(cache)) == (2, 1)
    assert cache.get("a", now=6.0) is None


def test_evicted_is_gone(backend: str) -> None:
    cache: Cache[int] = Cache(2)
    cache.put("a", 1, expires_at=10.0)
    cache.evict("a")
    cache.evict("a")
    assert cache.get("a", now=0.0) is None
    cache.put("b", 1, expires_at=10.0)
    cache.clear()
    assert len(cache) == 0


@pytest.mark.parametrize("now", [math.nan, math.inf])
def test_a_clock_that_is_none_finds_nothing(backend: str, now: float) -> None:
    cache: Cache[int] = Cache(2)
    cache.put("a", 1, expires_at=10.0)
    assert cache.get("a", now=now) is None


class Sly(str):
    """A key whose comparison would call back into the cache, which hangs."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a key of another type was compared")

    __hash__ = str.__hash__


@pytest.mark.parametrize("key", [b"a", 1, None, ["a"], Sly("a")])
def test_only_text_is_a_key(backend: str, key: object) -> None:
    cache: Cache[int] = Cache(2)
    cache.put("a", 1, expires_at=10.0)
    for call in (
        lambda: cache.get(key, now=0.0),  # type: ignore[arg-type]
        lambda: cache.put(key, 1, expires_at=1.0),  # type: ignore[arg-type]
        lambda: cache.evict(key),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError):
            call()


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None, 2**63])
def test_a_size_that_is_none(size: object) -> None:
    with pytest.raises(UsageError):
        Cache(size)  # type: ignore[arg-type]


def test_without_either_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BACKENDS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="sage-secure"):
        Cache(1)


class Model(RuleBasedStateMachine):
    """The cache against an ordered dictionary that does the same slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: Cache[int] = Cache(3)
        self.model: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self.now = 0.0

    keys = st.sampled_from("abcdef")

    @rule(key=keys, value=st.integers(), ttl_s=st.sampled_from([0.0, 1.0, 3.0]))
    def put(self, key: str, value: int, ttl_s: float) -> None:
        self.cache.put(key, value, expires_at=self.now + ttl_s)
        self.model[key] = value, self.now + ttl_s
        self.model.move_to_end(key)
        if len(self.model) > 3:
            self.model.popitem(last=False)

    @rule(key=keys)
    def get(self, key: str) -> None:
        value, expires_at = self.model.get(key, (None, math.inf))
        if key in self.model:
            self.model.move_to_end(key)
        if expires_at <= self.now:
            del self.model[key]
            value = None
        assert self.cache.get(key, now=self.now) == value

    @rule(key=keys)
    def evict(self, key: str) -> None:
        self.cache.evict(key)
        self.model.pop(key, None)

    @rule(step_s=st.sampled_from([0.5, 1.0, 2.0]))
    def wait(self, step_s: float) -> None:
        self.now += step_s

    @invariant()
    def sizes_agree(self) -> None:
        assert len(self.cache) == len(self.model)


TestModel = Model.TestCase


@given(st.lists(st.text(), max_size=50))
@settings(max_examples=50)
def test_it_never_holds_more_than_it_may(keys: list[str]) -> None:
    cache: Cache[str] = Cache(5)
    for key in keys:
        cache.put(key, key, expires_at=1.0)
        assert cache.get(key, now=0.0) == key
        assert len(cache) <= 5
