"""What a session of the pure twin sets aside: numbers that are taken without its lock.

The window keeps them, so a model of the window says what must come of them whatever
is delivered, recalled, interrupted or raced for.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import length_hint
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from sage import _core_py as pure
from sage.errors import (
    AuthenticationError,
    LimitReached,
    ReplayError,
    SessionClosed,
    StaleError,
)
from sage.limits import WARM_SESSIONS
from sage.session import STREAM
from sage.types import Role

from .test_threads import run_together
from .test_window import short_of_memory_at

WIDTH = 1024
# Generations longer than what is set aside at once, shorter, and of one record.
PROFILES = [
    replace(STREAM, generation_records=each, max_records=2600)
    for each in (700, 90, 1, 2600)
]


def ends(profile: Any = PROFILES[0]) -> list[pure.SessionCore]:
    return [
        pure.SessionCore(profile, bytes(32), bytes(32), role, session_id=bytes(16))
        for role in Role
    ]


def fate(act: Any, *args: Any) -> str:
    try:
        act(*args)
    except (ReplayError, StaleError) as exc:
        return str(exc)
    return "taken"


class Model:
    """Every number that was taken."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def fate(self, seq: int) -> str:
        if max(self.seen, default=0) - seq >= WIDTH:
            return "record too old"
        return "record seen before" if seq in self.seen else "taken"


DELIVERY = st.one_of(
    st.tuples(st.just("in order"), st.integers(1, 400)),
    st.tuples(st.just("shuffled"), st.integers(1, 300), st.integers(0, 99)),
    st.tuples(st.just("lost"), st.integers(1, 1200)),
    st.tuples(st.just("again"), st.integers(0, 1100), st.integers(1, 40)),
    st.tuples(st.just("authenticated"), st.integers(0, 300)),
    st.tuples(st.just("many"), st.integers(1, 300)),
    st.tuples(st.just("forged"), st.integers(-1100, 600)),
    st.tuples(st.just("cooled")),
)


@pytest.mark.parametrize("whole", [True, False], ids=["whole steps", "no whole steps"])
@settings(max_examples=150, deadline=None)
@given(profile=st.sampled_from(PROFILES), steps=st.lists(DELIVERY, max_size=12))
def test_what_is_delivered_is_taken_as_the_window_says(whole, profile, steps):
    usual, pure._CALLS_ARE_STEPS = pure._CALLS_ARE_STEPS, whole
    try:
        deliver(*ends(profile), profile.max_records, steps)
    finally:
        pure._CALLS_ARE_STEPS = usual


def deliver(
    ada: pure.SessionCore, grace: pure.SessionCore, last: int, steps: list[Any]
) -> None:
    records = ada.seal_many([b"%d" % seq for seq in range(last)])
    model, cursor = Model(), 0

    def open_one(seq: int, act: Any = grace.open) -> None:
        expected = model.fate(seq)
        assert fate(act, records[seq]) == expected
        if expected == "taken":
            model.seen.add(seq)

    for step, *args in steps:
        ahead = range(cursor, min(cursor + (args[0] if args else 0), last))
        if step == "in order":
            for seq in ahead:
                open_one(seq)
            cursor = ahead.stop
        elif step == "shuffled":
            for seq in random.Random(args[1]).sample(ahead, len(ahead)):
                open_one(seq)
            cursor = ahead.stop
        elif step == "lost":
            cursor = ahead.stop
        elif step == "again":
            for seq in range(max(cursor - args[0], 0), cursor, args[1]):
                open_one(seq)
        elif step == "authenticated":
            for seq in (*ahead, *ahead):
                expected = model.fate(seq)
                assert fate(grace.authenticate, records[seq]) == expected
                assert fate(grace.accept, seq) == expected
                model.seen.add(seq)
            cursor = ahead.stop
        elif step == "many":
            assert len(grace.open_many(records[cursor : ahead.stop])) == len(ahead)
            model.seen.update(ahead)
            cursor = ahead.stop
        elif step == "forged":
            seq = min(max(cursor + args[0], 0), last - 1)
            if model.fate(seq) == "taken":
                with pytest.raises(AuthenticationError):
                    grace.open(records[seq][:-1] + bytes([records[seq][-1] ^ 1]))
        else:
            grace._warm = False
            grace._cool()
        assert grace.received == len(model.seen)


@settings(max_examples=150, deadline=None)
@given(
    profile=st.sampled_from(PROFILES),
    counts=st.lists(st.integers(-300, 300).filter(bool), max_size=20),
)
def test_numbers_follow_one_another_however_they_are_taken(profile, counts):
    """Negative: so many by one call. Nothing in between is left out or given twice."""
    ada, grace = ends(profile)
    used = 0
    for count in counts:
        if used + abs(count) > profile.max_records:
            break
        if count < 0:
            records = ada.seal_many([b""] * -count)
        else:
            records = [ada.seal(b"") for _ in range(count)]
        numbers = [int.from_bytes(record[:8], "big") for record in records]
        assert numbers == list(range(used, used + abs(count)))
        assert grace.open_many(records) == [b""] * len(records)
        used += abs(count)
        assert (ada.sent, ada.records_left) == (used, profile.max_records - used)
    ada.seal_many([b""] * ada.records_left)
    with pytest.raises(LimitReached):
        ada.seal(b"")
    assert ada.records_left == 0


def check_keys(session: pure.SessionCore) -> None:
    """Fail if a session takes a key for another generation's."""
    inwards, outwards = session._direction_in, session._direction_out
    for direction, generation, where in (
        (outwards, session._generation_out, pure._KEY_OUT),
        (inwards, session._generation_in, pure._KEY_IN),
        (inwards, session._generation_before, pure._KEY_BEFORE),
    ):
        if generation >= 0:
            key = session._derived_key(direction, generation)
            assert session._block[where] == key
    generation, key = session._tried
    assert generation < 0 or key == session._derived_key(inwards, generation)


class Interrupted(BaseException):
    pass


KEPT: list[Interrupted] = []


def handle_at(event: int, handle: Any, act: Any, *, traced: bool = False) -> bool:
    """Do something at a call or return within ``act``, as a signal's handler could.

    Args:
        event: which call or return; in a traced process, which line as well.
        handle: what is done there.
        act: what is done above it.
        traced: whether the process is.

    Returns:
        Whether there was such an event.
    """
    left, watch = event, sys.settrace if traced else sys.setprofile

    def handler(frame: Any, kind: str, arg: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename == pure.__file__:
            left -= 1
            if left == -1:
                watch(None)
                handle()
        return handler

    watch(handler)
    try:
        act()
    finally:
        watch(None)
    return left < 0


def interrupt_at(event: int, act: Any) -> bool:
    def interrupt() -> None:
        raise Interrupted

    try:
        handle_at(event, interrupt, act)
    except Interrupted as exc:
        KEPT[:] = [exc]  # and with its traceback whatever was at hand
        return True
    return False


def window_with(taken: list[int], *, highest: int = 2000) -> pure.ReplayWindow:
    """Make a window that has set 255 numbers aside, of which some were taken."""
    window = pure.ReplayWindow()
    window.accept(highest)
    window._set_aside(highest + 256)
    for offset in taken:
        window._left.remove(offset)
    return window


@pytest.mark.parametrize("stop_at", [interrupt_at, short_of_memory_at])
@pytest.mark.parametrize("seq", [2256, 2300, 1999, 2100, 5000])
@pytest.mark.parametrize(
    "taken", [[], [1], list(range(1, 256)), [4, 2, 255], list(range(1, 256, 2))]
)
def test_what_is_stopped_loses_and_repeats_nothing(taken, seq, stop_at):
    """At each call or allocation: the window has moved as a whole, or not at all."""
    event, done = 0, 0
    while done < 3:  # of a few allocations that fail nobody hears
        window = window_with(taken)
        before, after = ({2000, *(2000 + offset for offset in taken)} for _ in range(2))
        if seq not in before:
            after.add(seq)
        done += not stop_at(event, lambda w=window: fate(w.accept, seq))
        counted = window._count()
        assert counted in {len(before), len(after)}
        model = Model()
        model.seen = after if counted == len(after) else before
        for number in (*range(900, 3400, 7), *range(1990, 2270)):
            assert fate(window.check, number) == model.fate(number), (event, number)
        for number in (seq, 2002, 2001, 2259, 2256, 2003):
            expected = model.fate(number)
            assert fate(window.accept, number) == expected, (event, number)
            if expected == "taken":
                model.seen.add(number)
        assert window._count() == len(model.seen)
        event += 1
    assert event > (3 if stop_at is interrupt_at else 2)


def test_what_is_set_aside_is_never_moved_elsewhere():
    """`remove` would need memory for that, and fail when it is half done."""
    window = window_with([])
    room = window._left.__alloc__()
    for seq in random.Random(1).sample(range(2001, 2256), 255):
        window.accept(seq)
        assert window._left.__alloc__() == room
    assert window._count() == 256


def test_who_sends_what_is_too_old_has_nothing_looked_through(monkeypatch):
    window = window_with([1, 9])
    looked: list[int] = []
    taken_ahead = pure.ReplayWindow._taken_ahead

    def counted(window: pure.ReplayWindow) -> bytes:
        looked.append(1)
        return taken_ahead(window)

    monkeypatch.setattr(pure.ReplayWindow, "_taken_ahead", counted)
    for seq in (0, 500, 976, 2000, 2001, 2002, 1300):
        fate(window.check, seq)
    assert not looked
    assert fate(window.check, 977) == fate(window.check, 985) == "record too old"
    assert fate(window.check, 986) == "taken"
    assert len(looked) == 3


@pytest.mark.parametrize("sealed", [1, 2, 90, 91])
@pytest.mark.parametrize("how", ["seal", "many"])
def test_an_interrupted_seal_gives_no_number_twice(sealed, how):
    event, done = 0, False
    while not done:
        ada, grace = ends(PROFILES[1])
        records = [ada.seal(b"") for _ in range(sealed)]

        def act(ada=ada, records=records):
            if how == "many":
                records += ada.seal_many([b""] * 12)
            else:
                records.append(ada.seal(b""))

        done = not interrupt_at(event, act)
        records += [ada.seal(b"") for _ in range(200)]
        records += ada.seal_many([b""] * 5)
        numbers = [record[:8] for record in records]
        assert sorted(set(numbers)) == numbers
        assert int.from_bytes(numbers[-1], "big") == ada.sent - 1
        assert grace.open_many(records) == [b""] * len(records)
        event += 1
    assert event > 10


@pytest.mark.parametrize("sealed", [0, 1, 2, 89, 90, 91])
@pytest.mark.parametrize("beneath", ["seal", "many"])
@pytest.mark.parametrize("above", ["seal", "many", "new generation"])
def test_a_handler_that_seals_beneath_takes_other_numbers(sealed, beneath, above):
    """It must not use the session; if it does, no nonce is used twice for that."""
    event, done = 0, False
    while not done:
        ada, grace = ends(PROFILES[1])
        records = [ada.seal(b"") for _ in range(sealed)]

        def handle(ada=ada, records=records):
            count = {"seal": 1, "many": 3, "new generation": 91}[above]
            records += [ada.seal(b"") for _ in range(count)]

        def act(ada=ada, records=records):
            if beneath == "many":
                records += ada.seal_many([b""] * 7)
            else:
                records.append(ada.seal(b""))

        done = not handle_at(event, handle, act)
        records += [ada.seal(b"") for _ in range(5)]
        assert len({record[:8] for record in records}) == len(records)
        assert grace.open_many(sorted(records)) == [b""] * len(records)
        check_keys(ada)
        event += 1
    assert event > 5


@pytest.mark.parametrize("at", [0, 1, 5, 257, 300])
@pytest.mark.parametrize("other", [-3, 0, 1, 95, 300])
def test_a_handler_that_opens_above_loses_nothing(at, other):
    """It must not use the session; if it does, no other record is refused for that."""
    ada, _ = ends()
    records = ada.seal_many([b"%d" % seq for seq in range(1000)])
    event, done = 0, False
    while not done:
        _, grace = ends()
        opened = [grace.open(record) for record in records[:at]]

        def open_one(seq, grace=grace, opened=opened):
            with suppress(ReplayError):
                opened.append(grace.open(records[seq]))

        done = not handle_at(
            event, lambda: open_one(max(at + other, 0)), lambda: open_one(at)
        )
        for seq in range(max(at - 3, 0), at + 350):
            open_one(seq)
        assert sorted(opened) == sorted(b"%d" % seq for seq in range(at + 350))
        event += 1
    assert event > 2


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("other", [-1, 0, 1, 90, 200])
def test_a_handler_beneath_a_new_key_leaves_each_generation_its_own(
    other, forged, traced
):
    """It must not use the session; if it does, no key is taken for another's."""
    ada, _ = ends(PROFILES[1])
    records = ada.seal_many([b"%d" % seq for seq in range(400)])
    event, done = 0, False
    while not done:
        _, grace = ends(PROFILES[1])
        opened = grace.open_many(records[:90])

        def open_one(record, grace=grace, opened=opened):
            with suppress(ReplayError, AuthenticationError):
                opened.append(grace.open(record))

        beneath = records[90 + other]
        if forged:
            beneath = beneath[:-1] + bytes([beneath[-1] ^ 1])
        done = not handle_at(
            event,
            partial(open_one, beneath),
            partial(open_one, records[90]),
            traced=traced,
        )
        check_keys(grace)
        if not traced:
            assert b"90" in opened
            assert grace._generation_before < grace._generation_in
            grace._cool()
            for record in records[90:]:
                open_one(record)
            assert sorted(opened) == sorted(b"%d" % seq for seq in range(400))
        event += 1
    assert event > 20


@pytest.mark.parametrize("name", ["seal", "open"])
@pytest.mark.parametrize("sent", [0, 1, 89, 90])
def test_a_handler_that_closes_the_session_beneath_leaves_no_key(sent, name):
    event, done = 0, False
    while not done:
        ada, grace = ends(PROFILES[1])
        for _ in range(sent):
            grace.open(ada.seal(b""))
        session = ada if name == "seal" else grace
        argument = b"" if name == "seal" else ada.seal(b"")
        with suppress(SessionClosed):
            done = not handle_at(
                event, session.close, partial(getattr(session, name), argument)
            )
        if not done:
            assert session.closed
            assert not any(session._block)
            assert not any(session._tried[1])
            assert not session._sealers
            assert not session._openers
            assert session._seal_ahead is pure._SEAL_NONE_AHEAD
            assert session._open_ahead is pure._OPEN_NONE_AHEAD
        event += 1
    assert event > 5 or sent in (1, 89)


@pytest.fixture(params=["untraced", "traced"])
def _ever_switching(request):
    """Let threads take turns whenever they may; traced, between any two lines."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    if request.param == "traced":

        def tracer(frame: Any, kind: str, arg: Any) -> Any:
            return tracer if frame.f_code.co_filename == pure.__file__ else None

        threading.settrace(tracer)
    yield
    threading.settrace(None)  # type: ignore[arg-type]
    sys.setswitchinterval(interval)


class Yielding:
    """Lets the others in once the tag verified, and once a record is sealed."""

    def __init__(self, key: Any) -> None:
        self._aead = ChaCha20Poly1305(key)

    def encrypt(self, nonce: Any, data: Any, aad: Any) -> bytes:
        sealed = self._aead.encrypt(nonce, data, aad)
        time.sleep(0)
        return sealed

    def decrypt(self, nonce: Any, data: Any, aad: Any) -> bytes:
        opened = self._aead.decrypt(nonce, data, aad)
        time.sleep(0)
        return opened


@pytest.fixture
def _yielding(monkeypatch):
    monkeypatch.setattr(pure, "ChaCha20Poly1305", Yielding)


@pytest.mark.usefixtures("_ever_switching", "_yielding")
@pytest.mark.parametrize("profile", PROFILES[:2], ids=["long", "short"])
def test_threads_that_open_the_same_records(profile):
    """Of eight that deliver all of them, each in its own order, one is let in each."""
    ada, grace = ends(profile)
    records = [ada.seal(b"%d" % seq) for seq in range(900)]
    taken: Counter[bytes] = Counter()
    refused: Counter[str] = Counter()

    def work(number: int) -> None:
        chance = random.Random(number)
        for start in range(0, 900, 20):
            some = records[start : start + 20]
            if number > 3:
                chance.shuffle(some)
            for record in some:
                try:
                    plaintext = grace.open(record)
                except (ReplayError, StaleError) as exc:
                    refused[str(exc)] += 1
                else:
                    taken[plaintext] += 1

    run_together(work)
    assert taken == {b"%d" % seq: 1 for seq in range(900)}
    assert grace.received == 900
    assert sum(refused.values()) <= 7 * 900


@pytest.mark.usefixtures("_ever_switching", "_yielding")
@pytest.mark.parametrize("profile", PROFILES[:2], ids=["long", "short"])
def test_threads_that_seal_singly_and_by_the_many(profile):
    ada, grace = ends(profile)
    records = []

    def work(number: int) -> None:
        for turn in range(40):
            if (turn + number) % 4:
                records.append(ada.seal(b""))
            else:
                some = ada.seal_many([b""] * 7)
                first = int.from_bytes(some[0][:8], "big")
                for seq, record in enumerate(some, first):
                    assert record[:8] == seq.to_bytes(8, "big")
                records.extend(some)

    run_together(work)
    records.sort()
    assert [int.from_bytes(r[:8], "big") for r in records] == list(range(len(records)))
    assert ada.sent == len(records) == 8 * (30 + 10 * 7)
    assert grace.open_many(records) == [b""] * len(records)


def meanwhile(grace: pure.SessionCore, act: Any) -> None:
    """Do something between the next record's tag and its acceptance."""
    first, left, decrypt = grace._open_ahead
    assert decrypt is not pure._nothing_ahead

    def decrypt_and_act(*args: Any) -> bytes:
        opened = decrypt(*args)
        grace._open_ahead = first, left, decrypt
        act()
        return opened

    grace._open_ahead = first, left, decrypt_and_act


def test_what_happens_between_the_tag_and_the_acceptance():
    ada, grace = ends()
    records = [ada.seal(b"%d" % seq) for seq in range(700)]
    for record in records[:3]:
        grace.open(record)
    # Another was quicker with the same record.
    meanwhile(grace, lambda: grace.open(records[3]))
    with pytest.raises(ReplayError):
        grace.open(records[3])
    # What was set aside is recalled, because the sender is far ahead.
    meanwhile(grace, lambda: grace.open(records[600]))
    assert grace.open(records[4]) == b"4"
    with pytest.raises(ReplayError):
        grace.open(records[4])
    grace.open(records[601])
    # The session is closed.
    meanwhile(grace, grace.close)
    with pytest.raises(SessionClosed):
        grace.open(records[602])


def test_a_last_number_that_others_take_first(monkeypatch):
    ada, grace = ends()
    records = ada.seal_many([b""] * (PROFILES[0].max_records - 5))
    records.append(ada.seal(b""))

    def taken_first(numbers: Any, count: int) -> Any:
        next(numbers)
        return islice(numbers, count)

    with monkeypatch.context() as patch:
        patch.setattr(pure, "islice", taken_first)
        with pytest.raises(LimitReached):
            ada.seal_many([b""] * 4)
    assert ada.records_left == 0
    with pytest.raises(LimitReached):
        ada.seal(b"")
    assert len(grace.open_many(records)) == len(records)


def test_what_is_accepted_unseen_leaves_no_older_key_ready():
    ada, grace = ends(PROFILES[1])
    records = ada.seal_many([b""] * 91)
    for record in records[:3]:
        grace.open(record)
    seq, _ = grace.authenticate(records[90])
    grace.accept(seq)
    assert grace._open_ahead is pure._OPEN_NONE_AHEAD


def test_where_there_is_no_memory_to_set_aside_no_record_is_lost(monkeypatch):
    def without_memory(window: pure.ReplayWindow, count: int) -> None:
        raise MemoryError

    ada, grace = ends()
    with monkeypatch.context() as patch:
        patch.setattr(pure.ReplayWindow, "_set_aside", without_memory)
        for _ in range(3):
            assert grace.open(ada.seal(b"kept")) == b"kept"
    assert grace.received == 3
    grace.open(ada.seal(b""))
    assert grace._open_ahead is not pure._OPEN_NONE_AHEAD


def test_who_is_displaced_at_that_moment_keeps_no_key_ready(monkeypatch):
    monkeypatch.setattr(pure, "_keep_warm", lambda session: None)
    ada, grace = ends()
    for _ in range(3):
        grace.open(ada.seal(b""))
        assert (ada._sealers, grace._openers) == ({}, {})
        assert ada._seal_ahead is pure._SEAL_NONE_AHEAD
        assert grace._open_ahead is pure._OPEN_NONE_AHEAD


def test_who_is_displaced_keeps_no_key_ready():
    (ada, grace), others = ends(), [ends() for _ in range(WARM_SESSIONS)]
    for _ in range(3):
        grace.open(ada.seal(b""))
    for session, ready in ((ada, ada._seal_ahead), (grace, grace._open_ahead)):
        assert ready[-1] is not pure._nothing_ahead, session
    for one, another in others:
        for _ in range(2):
            another.open(one.seal(b""))
    for session in (ada, grace):
        assert session._seal_ahead is pure._SEAL_NONE_AHEAD
        assert session._open_ahead is pure._OPEN_NONE_AHEAD
    assert length_hint(ada._sent[0]) > 0
    assert grace.open(ada.seal(b"and on")) == b"and on"
    assert (ada.sent, grace.received) == (4, 4)


def test_nothing_is_set_aside_where_a_call_is_no_step(monkeypatch):
    monkeypatch.setattr(pure, "_CALLS_ARE_STEPS", False)
    ada, grace = ends()
    for _ in range(300):
        grace.open(ada.seal(b""))
    assert (ada.sent, grace.received) == (300, 300)
    assert not length_hint(ada._sent[0])
    assert not grace._window._ahead
    assert ada._seal_ahead is pure._SEAL_NONE_AHEAD
    assert grace._open_ahead is pure._OPEN_NONE_AHEAD
