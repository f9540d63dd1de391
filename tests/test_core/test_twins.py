"""Twin against twin: the same value, or the same error with the same words.

The compiled one stands here once on each engine that the machine has.
"""

from __future__ import annotations

import inspect
import os
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage import _core_py as pure
from sage.errors import BatchError
from sage.session import V0_10, Profile
from sage.types import Role

from .engines import KERNELS

if os.environ.get("SAGE_NO_EXTENSIONS") == "1":
    pytest.skip("there is one twin only, on purpose", allow_module_level=True)

from sage import _core as compiled

SEED, TH = bytes(range(32)), bytes(range(100, 132))

# Small limits, so that a few steps reach all of them.
TINY = Profile(
    name="tiny",
    session_label=b"tiny-session",
    key_labels=(b"tiny-c2s", b"tiny-s2c"),
    aad_label=b"tiny-record",
    generation_records=2,
    max_records=9,
    max_age_s=100.0,
    idle_s=40.0,
    record_max_bytes=36 + 50,
    caller_aad_max_bytes=20,
    max_failed_opens=12,
)
TINY_STREAM = replace(TINY, layout="stream", root_label=b"tiny-root")
TINY_AES = replace(TINY_STREAM, aead="aes-256-gcm")
TINY_DRAFT1 = replace(
    TINY,
    layout="draft1",
    block_labels=(b"tiny-shared", b"tiny-directional"),
    shared_key_label=b"tiny-single",
)
PROFILES = (TINY, TINY_STREAM, TINY_AES, TINY_DRAFT1)


def released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


class OddNumber(int):
    """One that `float` refuses, in words of its own."""

    def __float__(self) -> float:
        return None  # type: ignore[return-value]


STRANGE = st.sampled_from(
    [
        None,
        0,
        -1,
        True,
        1.5,
        10**400,
        float("nan"),
        float("inf"),
        "text",
        "\ud800",
        [],
        (1, 2),
        {},
        object,
        Role.INITIATOR,
        V0_10,
        memoryview(b"0123456789")[::2],
        memoryview(b"0123456789")[::-1],
        memoryview(b""),
        np.arange(12, dtype=np.uint8).reshape(3, 4).T,
        np.arange(12, dtype=np.uint8)[::3],
        np.zeros((2, 0), np.float64),
        np.float64(3.5),
        np.int64(7),
        OddNumber(3),
        np.array(["a"], dtype=object),
        np.zeros(2, dtype="i4,f8"),
    ]
) | st.builds(released)

DATA = (
    st.binary(max_size=60)
    | st.binary(max_size=60).map(bytearray)
    | st.binary(max_size=60).map(memoryview)
    | st.binary(max_size=7).map(lambda data: np.frombuffer(data * 8, np.int64))
    | STRANGE
)
NOW = st.floats(-10, 130) | st.integers(0, 60) | STRANGE.filter(lambda v: v is not None)
SEQ = st.integers(-1, 12) | st.integers(0, 2**65) | STRANGE

ROWS = (
    st.tuples(st.integers(0, 4), st.integers(0, 90)).map(
        lambda shape: np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    )
    | st.integers(1, 50).map(lambda n: memoryview(bytes(2 * n)).cast("B", (2, n)))
    | DATA
)
THREADS = st.integers(1, 3) | STRANGE
OUT = st.integers(0, 100).map(bytearray) | DATA

STEP = st.one_of(
    st.tuples(st.just("seal"), DATA, DATA, NOW),
    st.tuples(st.just("seal_into"), DATA, OUT, DATA, NOW),
    st.tuples(
        st.just("seal_many"), st.lists(DATA, max_size=4) | STRANGE, DATA, NOW, THREADS
    ),
    st.tuples(st.just("seal_batch"), ROWS, st.none() | ROWS, DATA, NOW, THREADS),
    st.tuples(st.just("open_into"), st.integers(0, 20), OUT, DATA, NOW),
    st.tuples(
        st.just("open_many"), st.lists(st.integers(0, 20), max_size=4), NOW, THREADS
    ),
    st.tuples(st.just("open_batch"), ROWS, st.none() | ROWS, DATA, NOW, THREADS),
    st.tuples(st.just("deliver_batch"), st.integers(0, 10**6), st.integers(0, 30)),
    st.tuples(st.just("send"), st.binary(max_size=20), st.integers(0, 30)),
    st.tuples(st.just("deliver"), st.integers(0, 20), st.integers(0, 30)),
    st.tuples(st.just("authenticate"), st.integers(0, 20), st.integers(0, 30)),
    st.tuples(st.just("damage"), st.integers(0, 20), st.integers(0, 10**6), NOW),
    st.tuples(st.just("open"), DATA, DATA, NOW),
    st.tuples(st.just("accept"), SEQ, NOW),
    st.tuples(st.just("close")),
)


def plain(value: Any) -> Any:
    """Return arrays as their kind, shape and bytes, so that they compare."""
    if type(value) is bytes:
        return value
    try:
        view = memoryview(value)
        return type(value).__name__, view.shape, view.tobytes()
    except (TypeError, ValueError, NotImplementedError):  # no buffer, or released
        return value


def outcome(act: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what a call gives or raises, in a form that compares."""
    try:
        return "value", plain(act(*args, **kwargs))
    except BatchError as exc:
        errors = {at: (type(e), str(e)) for at, e in exc.errors.items()}
        same = exc.error is exc.errors[exc.index]
        return str(exc), exc.code, exc.index, same, errors, plain(exc.opened)
    except Exception as exc:
        return type(exc), str(exc), getattr(exc, "code", None)


def contents(out: Any) -> Any:
    """Return a buffer of its own for each twin to fill."""
    if isinstance(out, (bytearray, np.ndarray)):
        return out.copy()
    return out


class Wire:
    """Both ends on one twin, and what went over the wire."""

    def __init__(self, core: Any, profile: Profile = TINY) -> None:
        th = None if profile is TINY_DRAFT1 else TH
        session_id = None if profile is TINY else TH[:16]
        self.ada, self.grace = (
            core.SessionCore(profile, SEED, th, role, session_id=session_id, now=0.0)
            for role in Role
        )
        self.sent: list[bytes] = [b""]
        self.delivered = 1  # of these, in order or not, or lost

    def do(self, step: tuple[Any, ...]) -> Any:
        name, *args = step
        return getattr(self, name)(*args), self.state()

    def state(self) -> Any:
        return [
            (e.id, e.role, e.sent, e.received, e.closed, e.records_left, repr(e))
            for e in (self.ada, self.grace)
        ], [(e.failed_opens, e.expires_at) for e in (self.ada, self.grace)]

    def seal(self, plaintext: Any, aad: Any, now: Any) -> Any:
        found = outcome(self.ada.seal, plaintext, aad, now=now)
        if found[0] == "value":
            self.sent.append(found[1])
        return found

    def seal_into(self, plaintext: Any, out: Any, aad: Any, now: Any) -> Any:
        out = contents(out)
        found = outcome(self.ada.seal_into, plaintext, out, aad, now=now)
        if found[0] == "value":
            self.sent.append(bytes(memoryview(out).cast("B")[: found[1]]))
        return found, plain(out)

    def seal_many(self, plaintexts: Any, aad: Any, now: Any, threads: Any) -> Any:
        found = outcome(self.ada.seal_many, plaintexts, aad, threads=threads, now=now)
        if found[0] == "value":
            self.sent += found[1]
        return found

    def seal_batch(self, rows: Any, out: Any, aad: Any, now: Any, threads: Any) -> Any:
        out = contents(out)
        return outcome(
            self.ada.seal_batch, rows, out, aad, threads=threads, now=now
        ), plain(out)

    def open_into(self, index: int, out: Any, aad: Any, now: Any) -> Any:
        record, out = self.sent[index % len(self.sent)], contents(out)
        return outcome(self.grace.open_into, record, out, aad, now=now), plain(out)

    def open_many(self, indices: list[int], now: Any, threads: Any) -> Any:
        records = [self.sent[index % len(self.sent)] for index in indices]
        return outcome(self.grace.open_many, records, threads=threads, now=now)

    def open_batch(self, wire: Any, out: Any, aad: Any, now: Any, threads: Any) -> Any:
        out = contents(out)
        return outcome(
            self.grace.open_batch, wire, out, aad, threads=threads, now=now
        ), plain(out)

    def deliver_batch(self, where: int, now: int) -> Any:
        rows = np.arange(15, dtype=np.uint8).reshape(3, 5)
        found = outcome(self.ada.seal_batch, rows, now=now)
        if found[0] != "value":
            return found
        wire = np.frombuffer(bytearray(found[1][2]), np.uint8).reshape(3, 41)
        if where % 3:
            wire.reshape(-1)[where % wire.size] ^= 1
        return found, outcome(self.grace.open_batch, wire, now=now)

    def send(self, plaintext: bytes, now: int) -> Any:
        return self.seal(plaintext, b"", now)

    def deliver(self, index: int, now: int) -> Any:
        record = self.sent[index % len(self.sent)]
        return outcome(self.grace.open, record, now=now)

    def authenticate(self, index: int, now: int) -> Any:
        record = self.sent[index % len(self.sent)]
        return outcome(self.grace.authenticate, record, now=now)

    def damage(self, index: int, where: int, now: Any) -> Any:
        record = bytearray(self.sent[index % len(self.sent)] or bytes(40))
        record[where % len(record)] ^= 1 + where % 255
        return outcome(self.grace.open, record, now=now)

    def open(self, record: Any, aad: Any, now: Any) -> Any:
        return outcome(self.grace.open, record, aad, now=now), outcome(
            self.grace.authenticate, record, aad, now=now
        )

    def accept(self, seq: Any, now: Any) -> Any:
        return outcome(self.grace.accept, seq, now=now)

    def close(self) -> Any:
        return outcome(self.grace.close)

    def send_run(self, count: int, now: float) -> Any:
        return [self.seal(b"%d" % turn, b"", now) for turn in range(count)]

    def send_many(self, count: int, now: float) -> Any:
        return self.seal_many([b"many"] * count, b"", now, 1)

    def deliver_run(self, count: int, shuffled: int, now: float) -> Any:
        run = self.sent[self.delivered :][:count]
        self.delivered += len(run)
        if shuffled:
            random.Random(shuffled).shuffle(run)
        return [outcome(self.grace.open, record, now=now) for record in run]

    def deliver_many(self, count: int, now: float) -> Any:
        run = self.sent[self.delivered :][:count]
        self.delivered += len(run)
        return outcome(self.grace.open_many, run, now=now)

    def lose(self, count: int) -> Any:
        self.delivered = min(self.delivered + count, len(self.sent))

    def again(self, back: int, step: int, now: float) -> Any:
        some = self.sent[max(self.delivered - back, 0) : self.delivered : step]
        return [outcome(self.grace.open, record, now=now) for record in some]


@settings(max_examples=400, deadline=None)
@given(profile=st.sampled_from(PROFILES), steps=st.lists(STEP, max_size=40))
def test_sessions(profile, steps):
    wires = [Wire(core, profile) for core in KERNELS]
    for step in steps:
        first, *others = (wire.do(step) for wire in wires)
        for core, other in zip(KERNELS[1:], others, strict=True):
            assert first == other, (core, step)


# Generations longer than the pure twin sets aside at once, and shorter.
LONG = [
    replace(
        TINY_STREAM,
        generation_records=each,
        max_records=1500,
        max_failed_opens=2**36,
    )
    for each in (300, 90, 1500)
]
SOME, THEN = st.integers(1, 400), st.floats(0, 39)
LONG_STEP = st.one_of(
    st.tuples(st.just("send_run"), SOME, THEN),
    st.tuples(st.just("send_many"), SOME, THEN),
    st.tuples(st.just("deliver_run"), SOME, st.integers(0, 3), THEN),
    st.tuples(st.just("deliver_many"), SOME, THEN),
    st.tuples(st.just("lose"), SOME),
    st.tuples(st.just("again"), st.integers(1, 1300), st.integers(1, 99), THEN),
    st.tuples(st.just("damage"), st.integers(0, 1500), st.integers(0, 10**6), THEN),
    st.tuples(st.just("authenticate"), st.integers(0, 1500), THEN),
    st.tuples(st.just("accept"), st.integers(0, 1500), THEN),
)


@settings(max_examples=150, deadline=None)
@given(
    profile=st.sampled_from(LONG), steps=st.lists(LONG_STEP, min_size=8, max_size=30)
)
def test_long_sessions(profile, steps):
    """As many records as fill what a session sets aside, in order and out of it."""
    wires = [Wire(core, profile) for core in KERNELS]
    for step in steps:
        first, *others = (wire.do(step) for wire in wires)
        for core, other in zip(KERNELS[1:], others, strict=True):
            assert first == other, (core, step)


@settings(max_examples=400, deadline=None)
@given(plaintext=DATA, aad=DATA, now=NOW)
def test_single_calls(plaintext, aad, now):
    wires = [Wire(core) for core in KERNELS]
    for name in ("seal", "open"):
        first, *others = (wire.do((name, plaintext, aad, now)) for wire in wires)
        assert others == [first] * len(others)


@settings(max_examples=500, deadline=None)
@given(
    profile=st.sampled_from([*PROFILES, V0_10]) | STRANGE,
    seed=st.just(SEED) | DATA,
    th=st.just(TH) | st.none() | DATA,
    role=st.sampled_from(Role) | st.none() | STRANGE,
    session_id=st.none() | st.just(TH[:16]) | DATA,
    deadline=st.none() | NOW,
    now=st.just(0.0) | NOW,
)
def test_making_a_session(profile, seed, th, role, session_id, deadline, now):
    def facts(core: Any) -> Any:
        session = core.SessionCore(
            profile, seed, th, role, session_id=session_id, deadline=deadline, now=now
        )
        sealed = outcome(session.seal, b"", now=1.0)
        if session.role is None and sealed[0] == "value":
            sealed = len(sealed[1])  # under a random nonce
        derived = outcome(session.derive, TINY_STREAM, TH[1:17], now=1.0)
        if derived[0] == "value":
            derived = repr(derived[1]), outcome(derived[1].seal, b"", now=1.0)
        return repr(session), session.expires_at, sealed, derived

    first, *others = (outcome(facts, core) for core in KERNELS)
    assert others == [first] * len(others)


@settings(max_examples=200, deadline=None)
@given(seqs=st.lists(SEQ | st.integers(2**64 - 2000, 2**64 - 1), max_size=30))
def test_windows(seqs):
    windows = pure.ReplayWindow(), compiled.ReplayWindow()
    for seq in seqs:
        for name in ("check", "accept", "check"):
            first, second = (outcome(getattr(w, name), seq) for w in windows)
            assert first == second, (name, seq)


def public(value: Any) -> set[str]:
    if not isinstance(value, type):  # a function's attributes are the language's
        return set()
    return {name for name in dir(value) if not name.startswith("_")}


@pytest.mark.parametrize("name", pure.__all__)
def test_the_same_surface(name):
    one, other = getattr(pure, name), getattr(compiled, name)
    assert pure.__all__ == compiled.__all__
    assert public(one) == public(other)
    for method in public(one):
        first, second = getattr(one, method), getattr(other, method)
        assert second.__doc__, method
        assert first.__doc__.partition("\n")[0].rstrip(".") == (
            second.__doc__.partition("\n")[0].rstrip(".")
        )
        if callable(first):
            assert (
                [
                    (p.name, p.kind, p.default)
                    for p in [*inspect.signature(first).parameters.values()][1:]  # self
                ]
                == [
                    (p.name, p.kind, p.default)
                    for p in [*inspect.signature(second).parameters.values()][1:]
                ]
            )
