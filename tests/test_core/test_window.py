"""The replay window against a set that never forgets."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from sage.errors import Code, ReplayError, StaleError, UsageError

TOP = 2**64 - 1
WIDTH = 1024
WORDS = {
    "record seen before": Code.SESSION_REPLAY,
    "record too old": Code.SESSION_WINDOW,
}


def verdict(act, seq):
    """Return what a window says, as the error's code or None."""
    try:
        act(seq)
    except (ReplayError, StaleError) as exc:
        return WORDS[str(exc)] if exc.code is WORDS[str(exc)] else exc
    return None


class Model:
    """The window's definition, with all the memory in the world."""

    def __init__(self):
        self.seen = set()

    def check(self, seq):
        highest = max(self.seen, default=0)
        if highest - seq >= WIDTH:
            return Code.SESSION_WINDOW
        return Code.SESSION_REPLAY if seq in self.seen else None


def machine(window_class):
    class Windows(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.window, self.model = window_class(), Model()

        def _accept(self, seq):
            expected = self.model.check(seq)
            assert verdict(self.window.check, seq) is expected
            assert verdict(self.window.accept, seq) is expected
            if expected is None:
                self.model.seen.add(seq)
                assert verdict(self.window.check, seq) is Code.SESSION_REPLAY

        def _near(self, offset):
            highest = max(self.model.seen, default=0)
            return min(max(highest + offset, 0), TOP)

        @rule(seq=st.integers(0, TOP))
        def anywhere(self, seq):
            self._accept(seq)

        @rule(seq=st.integers(0, 3 * WIDTH))
        def low(self, seq):
            self._accept(seq)

        @rule(back=st.integers(0, 2 * WIDTH))
        def top(self, back):
            self._accept(TOP - back)

        @rule(offset=st.integers(-WIDTH - 2, WIDTH + 2))
        def near(self, offset):
            self._accept(self._near(offset))

        @rule(offset=st.sampled_from([-1025, -1024, -1023, -1, 0, 1, 1023, 1024, 1025]))
        def edge(self, offset):
            self._accept(self._near(offset))

        @rule(count=st.integers(1, 70))
        def in_order(self, count):
            for _ in range(count):
                self._accept(self._near(1))

        @rule(offset=st.integers(-WIDTH - 2, 2))
        def look(self, offset):
            seq = self._near(offset)
            expected = self.model.check(seq)
            assert verdict(self.window.check, seq) is expected
            assert verdict(self.window.check, seq) is expected

    return Windows


def test_against_a_model(twin):
    run_state_machine_as_test(
        machine(twin.ReplayWindow),
        settings=settings(max_examples=60, stateful_step_count=60, deadline=None),
    )


def walk(window, steps, seed):
    """Step along the whole range, near the highest and back, beside a set.

    The model keeps what the window may remember, and forgets it later than the
    window does.
    """
    chance = random.Random(seed)
    choose, near, accept = chance.random, chance.randrange, window.accept
    seen, highest, refused = set(), 0, 0
    for _ in range(steps):
        pick = choose()
        if pick < 0.6:
            seq = highest + near(-8, 4)
        elif pick < 0.9:
            seq = highest + near(-1040, 3)
        elif pick < 0.999:
            seq = highest + near(-3, 1500)
        else:
            seq = near(TOP - 5000, TOP + 1) if pick > 0.99999 else highest + 2**33
        if not 0 <= seq <= TOP:
            # At the end of the range: begin again, with a new window.
            window, seen, highest = type(window)(), set(), 0
            accept = window.accept
            continue
        fresh = seq > highest or (highest - seq < WIDTH and seq not in seen)
        try:
            accept(seq)
            kind = None
        except (ReplayError, StaleError) as exc:
            kind = type(exc)
        if not fresh:
            refused += 1
            assert kind is (StaleError if highest - seq >= WIDTH else ReplayError), seq
            continue
        assert kind is None, (seq, highest)
        seen.add(seq)
        highest = max(highest, seq)
        if len(seen) > 8 * WIDTH:
            seen = {kept for kept in seen if highest - kept < 2 * WIDTH}
    return refused


def test_a_long_walk(twin):
    steps = 300_000
    assert steps // 10 < walk(twin.ReplayWindow(), steps, 0x5A6E) < steps


@pytest.mark.slow
def test_a_very_long_walk(twin):
    steps = 10_000_000
    assert steps // 10 < walk(twin.ReplayWindow(), steps, 0x5A6F) < steps


def test_a_walk_at_the_top_of_the_range(twin):
    for top in (2**48 - 1, TOP):
        window, seen, highest = twin.ReplayWindow(), set(), 0
        chance = random.Random(top)
        for _ in range(20_000):
            seq = top - chance.randrange(3 * WIDTH)
            fresh = seq > highest or (highest - seq < WIDTH and seq not in seen)
            assert (verdict(window.accept, seq) is None) is fresh
            if fresh:
                seen.add(seq)
                highest = max(highest, seq)
        assert len(seen) > WIDTH // 2


@pytest.mark.parametrize("start", [0, 5, 1023, 1024, 1025, 2**32, TOP - 1024, TOP])
def test_each_place_in_the_window_is_taken_once(twin, start):
    window = twin.ReplayWindow()
    window.accept(start)
    lowest = max(0, start - WIDTH + 1)
    for seq in range(lowest, start):
        window.accept(seq)
    for seq in range(lowest, start + 1):
        assert verdict(window.accept, seq) is Code.SESSION_REPLAY
    if lowest:
        assert verdict(window.accept, lowest - 1) is Code.SESSION_WINDOW
        assert verdict(window.check, 0) is Code.SESSION_WINDOW


@pytest.mark.parametrize("jump", [1, 2, 63, 64, 65, 1000, 1023, 1024, 1025, 2**40])
def test_a_jump_forgets_only_what_falls_out(twin, jump):
    window = twin.ReplayWindow()
    for seq in range(3 * WIDTH):
        window.accept(seq)
    highest = 3 * WIDTH - 1 + jump
    window.accept(highest)
    for seq in range(highest - WIDTH + 1, highest):
        expected = Code.SESSION_REPLAY if seq < 3 * WIDTH else None
        assert verdict(window.check, seq) is expected
    assert verdict(window.check, highest - WIDTH) is Code.SESSION_WINDOW


def short_of_memory_at(event: int, act: Any) -> bool:
    """Let an allocation of ``act`` fail, the first, the second ...; return if it did.

    It makes fewer than forty.
    """
    memory = pytest.importorskip("_testcapi", reason="CPython's own tests are missing")
    memory.set_nomemory(event, event + 1)
    try:
        act()
    except (MemoryError, SystemError):  # where CPython does not say of what it is short
        return True
    finally:
        memory.remove_mem_hooks()
    return False


@pytest.mark.parametrize("jump", [1, 2, 700, 1500, -3])
def test_a_window_without_memory_moves_as_a_whole_or_not_at_all(twin, jump):
    """Whatever is not told of a seen record, it is not forgotten."""
    failed = 0
    for event in range(40):
        window, seen = twin.ReplayWindow(), set(range(1500)) - {1496}
        for seq in sorted(seen):
            window.accept(seq)
        failed += short_of_memory_at(event, lambda w=window: w.accept(1499 + jump))
        seen_by_now = verdict(window.check, 1499 + jump) is Code.SESSION_REPLAY
        highest = 1499 + max(jump, 0) * seen_by_now
        for seq in range(highest - WIDTH + 1, 1500):
            expected = Code.SESSION_REPLAY if seq in seen else None
            if seq != 1499 + jump:
                assert verdict(window.check, seq) is expected, (event, seq)
    # One that comes late needs none on later versions of Python.
    needless = jump < 0 and sys.version_info >= (3, 12)
    assert failed or needless or twin.__name__ != "sage._core_py"


def test_an_interrupt_of_a_traced_window_forgets_nothing(twin):
    """A tracer is called at each line, and there a signal's handler may raise."""
    for event in range(30):
        window, left = twin.ReplayWindow(), event
        for seq in range(1500):
            window.accept(seq)

        def tracer(frame, kind, arg):
            nonlocal left
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
            return tracer

        usual = sys.gettrace()
        sys.settrace(tracer)
        try:
            window.accept(2199)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(usual)
        assert all(verdict(window.check, seq) for seq in range(1500)), event


@pytest.mark.parametrize(
    ("seq", "text"),
    [
        (-1, "seq must be within 0..18446744073709551615"),
        (TOP + 1, "seq must be within 0..18446744073709551615"),
        (10**40, "seq must be within 0..18446744073709551615"),
        (1.0, "seq must be an int, not float"),
        (True, "seq must be an int, not bool"),
        ("1", "seq must be an int, not str"),
        (None, "seq must be an int, not NoneType"),
    ],
)
def test_what_is_no_sequence_number(twin, seq, text):
    window = twin.ReplayWindow()
    for act in (window.check, window.accept):
        with pytest.raises(UsageError) as caught:
            act(seq)
        assert str(caught.value) == text


def test_a_window_has_one_size_and_takes_no_other(twin):
    with pytest.raises(TypeError, match="positional argument"):
        twin.ReplayWindow(2048)
