"""Twin against twin: the same value, or the same error with the same words."""

from __future__ import annotations

import inspect
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage import _core_py as pure
from sage.session import V0_10, Profile
from sage.types import Role

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
)


def released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


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

STEP = st.one_of(
    st.tuples(st.just("seal"), DATA, DATA, NOW),
    st.tuples(st.just("send"), st.binary(max_size=20), st.integers(0, 30)),
    st.tuples(st.just("deliver"), st.integers(0, 20), st.integers(0, 30)),
    st.tuples(st.just("authenticate"), st.integers(0, 20), st.integers(0, 30)),
    st.tuples(st.just("damage"), st.integers(0, 20), st.integers(0, 10**6), NOW),
    st.tuples(st.just("open"), DATA, DATA, NOW),
    st.tuples(st.just("accept"), SEQ, NOW),
    st.tuples(st.just("close")),
)


def outcome(act: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what a call gives or raises, in a form that compares."""
    try:
        return "value", act(*args, **kwargs)
    except Exception as exc:
        return type(exc), str(exc), getattr(exc, "code", None)


class Wire:
    """Both ends on one twin, and what went over the wire."""

    def __init__(self, core: Any) -> None:
        self.ada, self.grace = (
            core.SessionCore(TINY, SEED, TH, role, now=0.0) for role in Role
        )
        self.sent: list[bytes] = [b""]

    def do(self, step: tuple[Any, ...]) -> Any:
        name, *args = step
        return getattr(self, name)(*args), self.state()

    def state(self) -> Any:
        return [
            (e.id, e.role, e.sent, e.received, e.closed, e.records_left, repr(e))
            for e in (self.ada, self.grace)
        ]

    def seal(self, plaintext: Any, aad: Any, now: Any) -> Any:
        found = outcome(self.ada.seal, plaintext, aad, now=now)
        if found[0] == "value":
            self.sent.append(found[1])
        return found

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


@settings(max_examples=400, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_sessions(steps):
    wires = Wire(pure), Wire(compiled)
    for step in steps:
        first, second = (wire.do(step) for wire in wires)
        assert first == second, step


@settings(max_examples=400, deadline=None)
@given(plaintext=DATA, aad=DATA, now=NOW)
def test_single_calls(plaintext, aad, now):
    wires = Wire(pure), Wire(compiled)
    first, second = (wire.do(("seal", plaintext, aad, now)) for wire in wires)
    assert first == second
    first, second = (wire.do(("open", plaintext, aad, now)) for wire in wires)
    assert first == second


@settings(max_examples=300, deadline=None)
@given(
    profile=st.sampled_from([TINY, V0_10]) | STRANGE,
    seed=st.just(SEED) | DATA,
    th=st.just(TH) | DATA,
    role=st.sampled_from(Role) | STRANGE,
    now=st.just(0.0) | NOW,
)
def test_making_a_session(profile, seed, th, role, now):
    def facts(core: Any) -> Any:
        session = core.SessionCore(profile, seed, th, role, now=now)
        return repr(session), outcome(session.seal, b"", now=1.0)

    assert outcome(facts, pure) == outcome(facts, compiled)


@settings(max_examples=200, deadline=None)
@given(seqs=st.lists(SEQ | st.integers(2**64 - 2000, 2**64 - 1), max_size=30))
def test_windows(seqs):
    windows = pure.ReplayWindow(), compiled.ReplayWindow()
    for seq in seqs:
        for name in ("check", "accept", "check"):
            first, second = (outcome(getattr(w, name), seq) for w in windows)
            assert first == second, (name, seq)


def test_one_twin_opens_what_the_other_seals():
    for here, there in ((pure, compiled), (compiled, pure)):
        ada = here.SessionCore(V0_10, SEED, TH, Role.INITIATOR, now=0.0)
        grace = there.SessionCore(V0_10, SEED, TH, Role.RESPONDER, now=0.0)
        for size in (0, 1, 64, 2047, 2048, 2049, 100_000):
            for sender, receiver in ((ada, grace), (grace, ada)):
                record = sender.seal(bytes(size), b"aad", now=1.0)
                assert receiver.open(record, b"aad", now=1.0) == bytes(size)


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
            assert [
                (p.name, p.kind, p.default)
                for p in inspect.signature(first).parameters.values()
            ] == [
                (p.name, p.kind, p.default)
                for p in inspect.signature(second).parameters.values()
            ]
