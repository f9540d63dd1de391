"""What a compiled session costs: bytes, blocks, and allocations a record."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sage._accel import backend
from sage.limits import WARM_SESSIONS
from sage.session import STREAM, STREAM_AES, Session
from sage.session.profile import Profile
from sage.types import Role

if backend()["core"] != "cython":
    pytest.skip("these are promises of the compiled core", allow_module_level=True)

SEED, TH, NAME = bytes(range(32)), bytes(range(100, 132)), bytes(16)
CALLS = 10_000
MANY = 4000


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def pair(profile: Profile = STREAM) -> tuple[Any, Any]:
    ada, grace = (Session.stream(SEED, TH, NAME, role, profile.aead) for role in Role)
    return ada, grace


def blocks(act: Callable[[], Any]) -> tuple[int, Any]:
    """Return how many blocks a call leaves allocated, with what it returns alive."""
    before = sys.getallocatedblocks()
    kept = act()
    return sys.getallocatedblocks() - before, kept


def made(role: Role) -> list[Session]:
    return [Session.v0_10(SEED, TH, role, now=0.0) for _ in range(MANY)]


def test_an_idle_session_is_small():
    count, sessions = blocks(lambda: made(Role.INITIATOR))
    assert count / MANY <= 1.01  # the object, and a share of the list
    assert {sys.getsizeof(session) for session in sessions} <= set(range(513))


def test_a_session_that_was_used_is_small_again():
    """Engines are kept for the newest users only: others hold their block alone."""
    senders, receivers = made(Role.INITIATOR), made(Role.RESPONDER)

    def use() -> None:
        for sender, receiver in zip(senders, receivers, strict=True):
            for one, other in ((sender, receiver), (receiver, sender)):
                other.open(one.seal(b"x", now=1.0), now=1.0)

    count, _ = blocks(use)
    # Two engines a session, three blocks each.
    assert count <= WARM_SESSIONS * 6 + 16
    assert 1 + count / (2 * MANY) <= 4


def test_one_that_was_displaced_goes_on(twin):
    def ends() -> tuple[Any, Any]:
        ada, grace = (
            twin.SessionCore(STREAM, SEED, TH, role, session_id=NAME, now=0.0)
            for role in Role
        )
        return ada, grace

    pairs = [ends() for _ in range(2 * WARM_SESSIONS)]
    for number in range(3):
        for ada, grace in pairs:
            for one, other in ((ada, grace), (grace, ada)):
                record = one.seal(b"%d" % number, now=1.0)
                assert other.open(record, now=1.0) == b"%d" % number
    del pairs[::2]  # leaves holes in the ring
    for ada, grace in pairs + [ends() for _ in range(WARM_SESSIONS)]:
        assert grace.open(ada.seal(b"x", now=1.0), now=1.0) == b"x"


@pytest.mark.parametrize("size", [0, 32, 2048, 4096])
@pytest.mark.parametrize("profile", [STREAM, STREAM_AES], ids=lambda p: p.aead)
def test_sealing_allocates_the_record_and_nothing_else(profile, size):
    ada, grace = pair(profile)
    plaintext, kept = bytes(size), [b""] * CALLS
    ada.seal(plaintext)

    def seal() -> None:
        for number in range(CALLS):
            kept[number] = ada.seal(plaintext)

    count, _ = blocks(seal)
    assert abs(count - CALLS) <= 8
    opened = [b""] * CALLS
    grace.open(ada.seal(plaintext))

    def open_() -> None:
        for number in range(CALLS):
            opened[number] = grace.open(kept[number])

    kept = ada.seal_many([plaintext] * CALLS)
    count, _ = blocks(open_)
    # An empty bytes is one object for all.
    assert abs(count - (CALLS if size else 0)) <= 8


@pytest.mark.parametrize("size", [0, 32, 2048, 4096, 70_000])
@pytest.mark.parametrize("profile", [STREAM, STREAM_AES], ids=lambda p: p.aead)
def test_into_a_buffer_allocates_nothing(profile, size):
    ada, grace = pair(profile)
    plaintext, out, room = bytes(size), bytearray(size + 36), bytearray(size)
    rounds = CALLS if size < 4096 else 500

    def turn() -> None:
        for _ in range(rounds):
            ada.seal_into(plaintext, out)
            grace.open_into(out, room)

    turn()
    count, _ = blocks(turn)
    assert abs(count) <= 8
    assert grace.received == 2 * rounds


def test_rows_allocate_no_object_each():
    np = pytest.importorskip("numpy")
    ada, grace = pair()
    rows = np.zeros((CALLS, 64), np.uint8)
    wire, room = np.zeros((CALLS, 100), np.uint8), np.zeros((CALLS, 64), np.uint8)

    def turn() -> None:
        ada.seal_batch(rows, wire)
        grace.open_batch(wire, room)

    turn()
    count, _ = blocks(turn)
    assert abs(count) <= 8


def test_a_failure_leaves_nothing_behind():
    ada, grace = pair()
    forged = ada.seal(b"x")[:-1] + b"?"

    def refuse() -> None:
        for _ in range(1000):
            try:
                grace.open(forged)
            except Exception:  # its type is another test's matter
                continue

    refuse()
    count, _ = blocks(refuse)
    assert abs(count) <= 8
