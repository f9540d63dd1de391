"""The timing wheel against a plain dictionary of times."""

from __future__ import annotations

from math import ceil, copysign, floor, inf, nan

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sage.errors import UsageError
from sage.session.expiry import TimingWheel

KEYS = st.sampled_from([f"key {n}" for n in range(12)])
TIMES = (
    st.floats(-1e6, 1e6)
    | st.integers(-50, 50).map(float)
    | st.sampled_from([inf, -inf, 1e300, -1e300])
)


def drain(wheel, now):
    found = []
    while (keys := wheel.pop_due(now)) is not None:
        found.append(keys)
    return found


class WheelMachine(RuleBasedStateMachine):
    @initialize(tick_s=st.sampled_from([0.1, 1, 1.0, 7.5, 1e-3, 1e5]))
    def start(self, tick_s):
        self.tick_s = tick_s
        self.wheel = TimingWheel(tick_s)
        self.model = {}

    def slot(self, when):
        tick = when / self.tick_s
        # Beyond that, every time is in the first bucket or in the last.
        return ceil(tick) if abs(tick) < 2**63 else copysign(2.0**63, tick)

    @rule(key=KEYS, when=TIMES)
    def add(self, key, when):
        self.wheel.add(key, when)
        self.model[key] = when

    @rule(key=KEYS)
    def remove(self, key):
        self.wheel.remove(key)
        self.model.pop(key, None)

    @rule(now=st.floats(-1e6, 1e6) | st.integers(-50, 50).map(float))
    def pop_due(self, now):
        buckets = drain(self.wheel, now)
        keys = [key for bucket in buckets for key in bucket]
        tick = floor(now / self.tick_s)
        due = {key for key, when in self.model.items() if self.slot(when) <= tick}
        assert sorted(keys) == sorted(due)
        # A bucket is one tick, and the earliest comes first.
        ticks = [{self.slot(self.model[k]) for k in bucket} for bucket in buckets]
        assert all(len(slots) <= 1 for slots in ticks)
        flat = [slot for slots in ticks for slot in slots]
        assert flat == sorted(set(flat))
        for key in keys:
            del self.model[key]
        assert drain(self.wheel, now) == []

    @precondition(lambda self: self.model)
    @rule()
    def pop_soonest(self):
        key, time = self.wheel.pop_soonest()
        first = min(self.slot(when) for when in self.model.values())
        assert self.slot(self.model.pop(key)) == first
        assert time == pytest.approx(max(-(2**63), min(first, 2**63)) * self.tick_s)

    @precondition(lambda self: not self.model)
    @rule()
    def pop_nothing(self):
        assert self.wheel.pop_soonest() is None
        assert self.wheel.pop_due(1e6) is None

    @rule()
    def clear(self):
        self.wheel.clear()
        self.model.clear()
        assert self.wheel.buckets == 0

    @invariant()
    def same_keys(self):
        if hasattr(self, "wheel"):
            assert len(self.wheel) == len(self.model)
            assert all(key in self.wheel for key in self.model)


WheelMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestWheel = WheelMachine.TestCase


def test_never_early_and_at_most_one_tick_late():
    wheel = TimingWheel(1.0)
    wheel.add("a", 600.25)
    assert drain(wheel, 600.99) == []
    assert drain(wheel, 601.0) == [["a"]]
    wheel.add("b", 600.0)
    assert drain(wheel, 600.0) == [["b"]]


def test_a_jump_looks_at_each_bucket_once_however_far_it_goes():
    wheel = TimingWheel(0.001)
    for number in range(100):
        wheel.add(str(number), float(number // 10))
    assert wheel.buckets == 10
    assert [len(keys) for keys in drain(wheel, 1e15)] == [10] * 10
    assert wheel.buckets == len(wheel) == 0
    assert drain(wheel, -1e15) == []


def test_what_is_filed_again_does_not_come_up_in_the_same_tick():
    # 0.30000000000000004 / 0.1 rounds to 3: a tick at 0.3 must not find it again.
    wheel = TimingWheel(0.1)
    now, when = 0.3, 0.30000000000000004
    wheel.add("a", now, after=now)
    assert wheel.pop_due(now) is None
    wheel.add("a", when, after=now)
    assert wheel.pop_due(now) is None
    assert drain(wheel, now + 0.1) == [["a"]]


def test_for_ever_and_at_once():
    wheel = TimingWheel()
    wheel.add("never", inf)
    wheel.add("now", -inf)
    assert drain(wheel, -1e18) == [["now"]]
    assert drain(wheel, 1e18) == []
    assert wheel.pop_soonest() == ("never", float(2**63))


def test_a_thousand_removals_from_the_front_are_not_a_thousand_walks():
    # Taking the first of a dictionary again and again walks over the gaps.
    wheel = TimingWheel()
    for number in range(20_000):
        wheel.add(str(number), 5.0)
    for number in range(10_000):
        wheel.remove(str(number))
    found = {wheel.pop_soonest()[0] for _ in range(10_000)}
    assert found == {str(number) for number in range(10_000, 20_000)}


def test_buckets_are_bounded_by_the_ticks_and_not_by_the_keys():
    wheel = TimingWheel()
    for round_ in range(100):
        for number in range(50):
            wheel.add(f"{round_} {number}", float(number))
            wheel.remove(f"{round_} {number}")
    assert wheel.buckets == 50
    assert len(wheel) == 0
    assert wheel.pop_soonest() is None
    assert wheel.buckets == 0


@pytest.mark.parametrize("wrong", [0, -1.0, inf, 10**400, nan, True, "1", None])
def test_wrong_ticks(wrong):
    with pytest.raises(UsageError, match="tick_s"):
        TimingWheel(wrong)
