"""Long AES records, which the compiled core may leave to `cryptography`.

Whoever works on them, the records are the same, and so is every refusal. A profile with
three records a generation lets keys come and go: the newest, the one before, and those
that nobody keeps.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sage import _core_py as pure
from sage.errors import AuthenticationError, BatchError, SessionClosed

from .engines import KERNELS
from .faults import needs_libcrypto
from .test_engines import KINDS, SMALL, ends, text

pytestmark = needs_libcrypto

SHORT, LONG = 8191, 8192
MIXED = [text(size) for size in (LONG, 0, 40_000, SHORT, LONG + 1, 100, LONG)]
DIRECT = [kernels for kernels in KERNELS if kernels.direct]
RECORDS = itertools.count(2**40)


@pytest.fixture
def core() -> Iterator[Any]:
    """The compiled kernels on libcrypto; what is chosen for long records is undone."""
    (kernels,) = DIRECT
    yield kernels
    kernels.module.send_bulk_elsewhere(None)


@pytest.fixture
def made(core: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The objects of `cryptography` that keys were set in."""
    found: list[Any] = []
    both_ends(core)  # a profile notes once what its engine can do
    real = core.module.AESGCM

    def make(key: Any) -> Any:
        found.append(real(key))
        return found[-1]

    monkeypatch.setattr(core.module, "AESGCM", make)
    return found


def both_ends(core: Any, profile: Any = SMALL["AES stream"]) -> tuple[Any, Any]:
    return ends(profile, core, core)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_records_are_those_of_the_pure_twin(core, made, elsewhere):
    core.module.send_bulk_elsewhere(elsewhere)
    expected_from, _ = both_ends(pure)
    expected = [expected_from.seal(row, b"aad", now=1.0) for row in MIXED]
    sealed = {}

    ada, grace = both_ends(core)
    sealed["seal"] = [ada.seal(row, b"aad", now=1.0) for row in MIXED]
    assert [grace.open(r, b"aad", now=1.0) for r in expected] == MIXED

    ada, grace = both_ends(core)
    sealed["seal_into"] = []
    for row, record in zip(MIXED, expected, strict=True):
        out = bytearray(len(row) + 36)
        assert ada.seal_into(row, out, b"aad", now=1.0) == len(out)
        sealed["seal_into"].append(bytes(out))
        opened = bytearray(len(row))
        assert grace.open_into(record, opened, b"aad", now=1.0) == len(row)
        assert opened == row

    ada, _ = both_ends(core)
    sealed["in place"] = []
    for row in MIXED:
        out = bytearray(row) + bytes(36)
        ada.seal_into(memoryview(out)[: len(row)], out, b"aad", now=1.0)
        sealed["in place"].append(bytes(out))

    for threads in (1, 3):
        ada, grace = both_ends(core)
        sealed[f"seal_many, {threads}"] = ada.seal_many(
            MIXED, b"aad", threads=threads, now=1.0
        )
        assert grace.open_many(expected, b"aad", threads=threads, now=1.0) == MIXED

    assert [way for way, records in sealed.items() if records != expected] == []
    assert bool(made) is elsewhere


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("size", [SHORT, LONG])
@pytest.mark.parametrize("threads", [1, 3])
def test_arrays_are_those_of_the_pure_twin(core, made, elsewhere, size, threads):
    core.module.send_bulk_elsewhere(elsewhere)
    rows = np.frombuffer(text(7 * size), np.uint8).reshape(7, size)
    expected = both_ends(pure)[0].seal_batch(rows, now=1.0)
    ada, grace = both_ends(core)
    assert (ada.seal_batch(rows, threads=threads, now=1.0) == expected).all()
    assert (grace.open_batch(expected, threads=threads, now=1.0) == rows).all()
    assert bool(made) is (elsewhere and size == LONG)


def test_one_object_serves_a_generation(core, made):
    core.module.send_bulk_elsewhere(True)
    ada, grace = both_ends(core)
    records = [ada.seal(text(LONG), now=1.0) for _ in range(3)]
    assert len(made) == 1
    assert [grace.open(r, now=1.0) for r in records] == [text(LONG)] * 3
    assert len(made) == 2
    ada.seal(text(LONG), now=1.0)
    assert len(made) == 3


def test_old_records_open_under_keys_that_are_kept_and_that_are_not(core):
    core.module.send_bulk_elsewhere(True)
    ada, grace = both_ends(core)
    records = [ada.seal(text(LONG), now=1.0) for _ in range(12)]
    # The newest generation, the one before, and two that nobody keeps.
    for at in (11, 8, 7, 2, 3, 0, 10, 5):
        assert grace.open(records[at], now=1.0) == text(LONG)


@pytest.mark.parametrize("place", [8, 20, 5000, -1])
def test_a_forgery_is_refused_and_leaves_nothing(core, snapshot, place):
    core.module.send_bulk_elsewhere(True)
    ada, grace = both_ends(core)
    grace.open(ada.seal(text(LONG), now=1.0), now=1.0)
    record = ada.seal(text(LONG), now=1.0)
    forged = bytearray(record)
    forged[place] ^= 1
    before = snapshot(grace)
    with pytest.raises(AuthenticationError):
        grace.open(bytes(forged), now=1.0)
    out = bytearray(b"x" * LONG)
    with pytest.raises(AuthenticationError):
        grace.open_into(bytes(forged), out, now=1.0)
    assert out == bytes(LONG)
    with pytest.raises(BatchError) as caught:
        grace.open_many([bytes(forged)], now=1.0)
    assert caught.value.opened == [None]
    wire = np.frombuffer(bytes(forged), np.uint8).reshape(1, -1)
    with pytest.raises(BatchError) as caught:
        grace.open_batch(wire, now=1.0)
    assert not caught.value.opened.any()
    assert snapshot(grace) == before
    assert grace.failed_opens == (4 if place != 8 else 0)
    assert grace.open(record, now=1.0) == text(LONG)


@pytest.mark.parametrize("act", ["close", "drop"])
def test_the_object_goes_with_the_session(core, made, act):
    core.module.send_bulk_elsewhere(True)
    ada, grace = both_ends(core)
    for _ in range(5):  # the first of a generation is opened before its key is kept
        grace.open(ada.seal(text(LONG), now=1.0), now=1.0)
    before = [sys.getrefcount(one) for one in made]
    if act == "close":
        ada.close()
        grace.close()
    else:
        del ada, grace
    # One to send with, two to receive with; what the first generation was sent with had
    # gone before.
    after = [sys.getrefcount(one) for one in made]
    assert len(made) == 4
    assert sum(before) - sum(after) == 3
    assert len(set(after)) == 1


def stand_in(core: Any, monkeypatch: pytest.MonkeyPatch, encrypt_into: Any) -> Any:
    """Seal what goes to `cryptography` in a way of the test's own; return a session.

    A profile of its own, because it notes once what its engine can do.
    """
    real = core.module.AESGCM

    class StandIn:
        def __init__(self, key: Any) -> None:
            self.real = real(key)

        def encrypt_into(self, *args: Any) -> int:
            return encrypt_into(self.real, *args)

        encrypt = decrypt = decrypt_into = None

    monkeypatch.setattr(core.module, "AESGCM", StandIn)
    profile, *rest = KINDS["AES stream"]
    return both_ends(core, (replace(profile, max_records=next(RECORDS)), *rest))[0]


def test_a_session_that_closes_meanwhile_gives_nothing_out(core, monkeypatch):
    core.module.send_bulk_elsewhere(True)

    def close_and_seal(real: Any, *args: Any) -> int:
        ada.close()
        return real.encrypt_into(*args)

    ada = stand_in(core, monkeypatch, close_and_seal)
    with pytest.raises(SessionClosed):
        ada.seal(text(LONG), now=1.0)


TRIALS = (8192, 16384, 65536)


@pytest.mark.parametrize("quick_from", [*TRIALS, None])
def test_the_first_long_record_finds_out_from_where_the_other_is_quicker(
    core, monkeypatch, quick_from
):
    asked = []

    def seal(real: Any, nonce: Any, data: Any, aad: Any, out: Any) -> int:
        asked.append(len(data))
        times = 1
        if len(data) in TRIALS:  # no record is as long
            times = 0 if quick_from is not None and len(data) >= quick_from else 9
        return sum(real.encrypt_into(nonce, data, aad, out) for _ in range(times))

    ada = stand_in(core, monkeypatch, seal)
    core.module.send_bulk_elsewhere(None)
    ada.seal(text(SHORT), now=1.0)
    assert asked == []
    plaintexts = [text(size + 1) for size in (*TRIALS, 20, LONG)]
    records = [ada.seal(row, now=1.0) for row in plaintexts]
    trials = [size for size in TRIALS if size <= (quick_from or size)]
    assert asked[: 5 * len(trials)] == [size for size in trials for _ in range(5)]
    assert asked[5 * len(trials) :] == [
        len(row)
        for row in plaintexts
        if quick_from is not None and len(row) >= quick_from
    ]
    grace = both_ends(pure, KINDS["AES stream"])[1]
    assert [grace.open(record, now=1.0) for record in records] == plaintexts


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", ["seal_many", "seal_batch"])
def test_threads_that_are_quicker_together_keep_their_batch(
    core, made, share, threads, batch
):
    core.module.send_bulk_elsewhere(True, share)
    rows = np.frombuffer(text(4 * LONG), np.uint8).reshape(4, LONG)
    ada, grace = both_ends(core)
    if batch == "seal_many":
        records = ada.seal_many([bytes(row) for row in rows], threads=threads, now=1.0)
        grace.open_many(records, threads=threads, now=1.0)
    else:
        wire = ada.seal_batch(rows, threads=threads, now=1.0)
        grace.open_batch(wire, threads=threads, now=1.0)
    assert bool(made) is (share * threads < 0.75)
