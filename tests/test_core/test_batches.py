"""Records into buffers, many in a call, and rows of arrays."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest

from sage.errors import (
    AuthenticationError,
    BatchError,
    Code,
    DecodeError,
    LimitReached,
    ReplayError,
    SessionClosed,
    SessionExpired,
    UsageError,
)
from sage.session import STREAM, STREAM_AES, V0_10
from sage.types import Role

SEED, TH, NAME = bytes(range(32)), bytes(range(100, 132)), bytes(16)
SIZES = [0, 1, 64, 2012, 2048, 2049, 70_000]


@pytest.fixture(params=[V0_10, STREAM, STREAM_AES], ids=lambda p: p.name + p.aead[:3])
def pair(request, twin) -> tuple[Any, Any, Any]:
    """Return two initiators, which seal alike, and their responder."""
    name = None if request.param is V0_10 else NAME
    roles = (Role.INITIATOR, Role.INITIATOR, Role.RESPONDER)
    return tuple(
        twin.SessionCore(request.param, SEED, TH, role, session_id=name, now=0.0)
        for role in roles
    )


def text(size: int) -> bytes:
    return bytes(at * 7 & 255 for at in range(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spare", [0, 5])
def test_into_a_buffer(pair, size, spare):
    reference, ada, grace = pair
    expected = reference.seal(text(size), b"aad", now=1.0)
    out = bytearray(b"\xaa" * (size + 36 + spare))
    assert ada.seal_into(text(size), out, b"aad", now=1.0) == size + 36
    assert out == expected + b"\xaa" * spare
    room = bytearray(b"\xbb" * (size + spare))
    assert grace.open_into(expected, room, b"aad", now=1.0) == size
    assert room == text(size) + b"\xbb" * spare
    assert (ada.sent, grace.received) == (1, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("offset", [0, 1, 20, 36])
def test_in_place(pair, size, offset):
    """The plaintext may lie anywhere in the buffer that the record goes to."""
    reference, ada, grace = pair
    expected = reference.seal(text(size), now=1.0)
    buffer = bytearray(size + 72)
    buffer[offset : offset + size] = text(size)
    view = memoryview(buffer)
    assert ada.seal_into(view[offset : offset + size], buffer, now=1.0) == size + 36
    assert buffer[: size + 36] == expected
    buffer[offset : offset + size + 36] = expected
    assert grace.open_into(view[offset : offset + size + 36], buffer, now=1.0) == size
    assert buffer[:size] == text(size)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (bytes(100), "out must be writable"),
        (memoryview(bytes(100)), "out must be writable"),
        (bytearray(99), "out must be 100 bytes or more, not 99"),
        (bytearray(), "out must be 100 bytes or more, not 0"),
        (memoryview(bytearray(300))[::2], "out must be contiguous and made of bytes"),
        (np.zeros(100, np.int32), "out must be contiguous and made of bytes"),
        (None, "out must be bytes-like, not NoneType"),
        ("x" * 100, "out must be bytes-like, not str"),
        (100, "out must be bytes-like, not int"),
    ],
)
def test_no_room(pair, snapshot, out, message):
    """Nothing is used up and nothing is moved for a buffer that does not fit."""
    reference, ada, grace = pair
    record = reference.seal(bytes(100), now=1.0)
    before = snapshot(ada), snapshot(grace)
    with pytest.raises(UsageError, match=message):
        ada.seal_into(bytes(64), out, now=2.0)
    with pytest.raises(UsageError, match=message):
        grace.open_into(record, out, now=2.0)
    assert (snapshot(ada), snapshot(grace)) == before
    assert grace.open(record, now=2.0) == bytes(100)


@pytest.mark.parametrize("size", SIZES)
def test_what_does_not_verify_leaves_nothing_behind(pair, size):
    reference, _, grace = pair
    record = reference.seal(text(size), now=1.0)
    grace.open(reference.seal(b"", now=1.0), now=1.0)
    room = bytearray(b"\xbb" * (size + 3))
    forged = record[:-1] + bytes([record[-1] ^ 1])
    with pytest.raises(AuthenticationError):
        grace.open_into(forged, room, now=1.0)
    assert room == bytes(size) + b"\xbb" * 3
    with pytest.raises(DecodeError):
        grace.open_into(record[:35], room, now=1.0)
    grace.open(record, now=1.0)
    room = bytearray(b"\xbb" * size)
    with pytest.raises(ReplayError):
        grace.open_into(record, room, now=1.0)
    assert room == bytes(size)


def test_many(pair):
    reference, ada, grace = pair
    rows = [text(size) for size in SIZES] + [bytearray(b"x"), memoryview(b"y")]
    expected = [reference.seal(row, b"aad", now=1.0) for row in rows]
    records = ada.seal_many(rows, b"aad", now=1.0)
    assert records == expected
    assert {type(record) for record in records} == {bytes}
    opened = grace.open_many(map(bytearray, reversed(records)), b"aad", now=1.0)
    assert opened == [bytes(row) for row in reversed(rows)]
    assert (ada.sent, grace.received) == (len(rows), len(rows))


def test_none_is_no_message(pair, snapshot):
    _, ada, grace = pair
    before = snapshot(ada), snapshot(grace)
    assert ada.seal_many([], now=5.0) == []
    assert grace.open_many([], now=5.0) == []
    assert ada.seal_batch(np.zeros((0, 9), np.uint8), now=5.0).shape == (0, 45)
    assert grace.open_batch(np.zeros((0, 45), np.uint8), now=5.0).shape == (0, 9)
    assert (snapshot(ada), snapshot(grace)) == before


def test_many_across_generations(twin):
    ada, grace = (twin.SessionCore(V0_10, SEED, TH, r, now=0.0) for r in Role)
    rows = [b"%d" % number for number in range(1000)]
    assert grace.open_many(ada.seal_many(rows, now=1.0), now=1.0) == rows
    ada, grace = (twin.SessionCore(V0_10, SEED, TH, r, now=0.0) for r in Role)
    array = np.arange(20_000, dtype=np.uint8).reshape(1000, 20)
    assert (grace.open_batch(ada.seal_batch(array, now=1.0), now=1.0) == array).all()
    with pytest.raises(LimitReached):
        ada.seal_many([b""], now=1.0)


@pytest.mark.parametrize("wrong", ["text", None, 5, [b"x", 5], ["x"], [None]])
def test_what_cannot_be_many(pair, snapshot, wrong):
    _, ada, grace = pair
    before = snapshot(ada), snapshot(grace)
    for act in (ada.seal_many, grace.open_many):
        with pytest.raises(UsageError):
            act(wrong, now=2.0)
    with pytest.raises(UsageError, match=r"plaintexts\[1\] must be bytes-like"):
        ada.seal_many([b"x", 5], now=2.0)
    with pytest.raises(UsageError, match="plaintext exceeds"):
        ada.seal_many([b"x", bytes(2**23)], now=2.0)
    assert (snapshot(ada), snapshot(grace)) == before


@pytest.mark.parametrize("bad", [[0], [4], [0, 4], [1, 2, 3], [0, 1, 2, 3, 4]])
def test_the_good_ones_of_many_are_delivered(pair, snapshot, bad):
    _, ada, grace = pair
    grace.open(ada.seal(b"", now=1.0), now=1.0)
    rows = [b"%d" % number for number in range(5)]
    records = ada.seal_many(rows, now=1.0)
    sent = [
        record[:-1] + bytes([record[-1] ^ 1]) if number in bad else record
        for number, record in enumerate(records)
    ]
    with pytest.raises(BatchError) as caught:
        grace.open_many(sent, now=1.0)
    error = caught.value
    assert error.index == bad[0]
    assert error.error is error.errors[bad[0]]
    assert list(error.errors) == bad
    assert {type(e) for e in error.errors.values()} == {AuthenticationError}
    assert error.code is Code.SESSION_AEAD
    assert str(error) == f"record {bad[0]} of a batch: authentication failed"
    assert error.opened == [
        None if number in bad else row for number, row in enumerate(rows)
    ]
    assert grace.received == 1 + 5 - len(bad)
    assert grace.failed_opens == len(bad)
    # No state moved for the bad ones: the genuine records open yet, and once.
    assert grace.open_many([records[n] for n in bad], now=1.0) == [rows[n] for n in bad]
    before = snapshot(grace)
    with pytest.raises(BatchError) as caught:
        grace.open_many(records, now=2.0)
    assert {type(e) for e in caught.value.errors.values()} == {ReplayError}
    assert snapshot(grace) == before


def test_each_kind_of_bad_record_has_its_own_error(pair):
    _, ada, grace = pair
    good = ada.seal_many([b"a", b"b"], now=1.0)
    with pytest.raises(BatchError) as caught:
        grace.open_many([good[1], good[1], b"short", good[0]], now=1.0)
    assert {at: type(e) for at, e in caught.value.errors.items()} == {
        1: ReplayError,
        2: DecodeError,
    }
    assert caught.value.opened == [b"b", None, None, b"a"]


def test_a_session_at_its_end_opens_none_of_many(pair):
    _, ada, grace = pair
    records = ada.seal_many([b"a", b"b"], now=1.0)
    wire = np.frombuffer(b"".join(records), np.uint8).reshape(2, 37)
    for act in (
        lambda: grace.open_many(records, now=600.0),
        lambda: grace.open_batch(wire, now=600.0),
    ):
        with pytest.raises(SessionExpired):
            act()
    grace.close()
    for act in (
        lambda: grace.open_many(None),
        lambda: grace.open_batch(None),
        lambda: grace.seal_many(None),
        lambda: grace.seal_batch(None),
        lambda: grace.seal_into(None, None),
        lambda: grace.open_into(None, None),
        lambda: grace.derive(None, None),
    ):
        with pytest.raises(SessionClosed):
            act()


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("given", [False, True])
def test_rows(pair, size, given):
    reference, ada, grace = pair
    rows = np.frombuffer(text(3 * size), np.uint8).reshape(3, size)
    expected = [reference.seal(row, b"aad", now=1.0) for row in rows]
    out = np.full((3, size + 36), 9, np.uint8) if given else None
    wire = ada.seal_batch(rows, out, b"aad", now=1.0)
    assert (out is None) or wire is out
    assert [bytes(row) for row in wire] == expected
    room = np.full((3, size), 9, np.uint8) if given else None
    opened = grace.open_batch(wire, room, b"aad", now=1.0)
    assert (room is None) or opened is room
    assert type(opened) is np.ndarray
    assert (opened == rows).all()


def test_rows_without_numpy(pair, monkeypatch):
    _, ada, grace = pair
    monkeypatch.delitem(sys.modules, "numpy")
    rows = memoryview(text(30)).cast("B", (3, 10))
    wire = ada.seal_batch(rows, now=1.0)
    assert (type(wire), wire.shape, wire.readonly) == (memoryview, (3, 46), False)
    opened = grace.open_batch(wire, now=1.0)
    assert (type(opened), opened.shape) == (memoryview, (3, 10))
    assert opened == rows
    with pytest.raises(UsageError, match="a memoryview cannot be empty"):
        grace.open_batch(memoryview(bytes(36)).cast("B", (1, 36)), now=1.0)


@pytest.mark.parametrize("size", [8, 5000])
def test_the_good_rows_are_delivered(pair, size):
    _, ada, grace = pair
    rows = np.frombuffer(text(5 * size), np.uint8).reshape(5, size)
    wire = ada.seal_batch(rows, now=1.0)
    wire[2, -1] ^= 1
    wire[4, 0] ^= 0x80
    with pytest.raises(BatchError) as caught:
        grace.open_batch(wire, now=1.0)
    error = caught.value
    assert (error.index, list(error.errors)) == (2, [2, 4])
    assert (error.opened[[0, 1, 3]] == rows[[0, 1, 3]]).all()
    assert not error.opened[[2, 4]].any()
    wire[2, -1] ^= 1
    wire[4, 0] ^= 0x80
    assert (grace.open_batch(wire[[2, 4]], now=1.0) == rows[[2, 4]]).all()
    assert grace.received == 5


def test_what_is_no_array_of_rows(pair, snapshot):
    _, ada, grace = pair
    rows, wire = np.zeros((2, 9), np.uint8), np.zeros((2, 45), np.uint8)
    before = snapshot(ada), snapshot(grace)
    for wrong, message in [
        (b"flat", "must have two dimensions, not 1"),
        (np.zeros((2, 3, 4), np.uint8), "must have two dimensions, not 3"),
        (np.zeros((2, 9), np.int16), "must be contiguous and made of bytes"),
        (np.zeros((9, 2), np.uint8).T, "must be contiguous and made of bytes"),
        ([[1, 2]], "must be bytes-like, not list"),
        (None, "must be bytes-like, not NoneType"),
    ]:
        for act in (ada.seal_batch, grace.open_batch):
            with pytest.raises(UsageError, match=message):
                act(wrong, now=2.0)
    for act, given, message in [
        (ada.seal_batch, rows, "out must be 2 rows of 45 bytes"),
        (grace.open_batch, wire, "out must be 2 rows of 9 bytes"),
    ]:
        for out in (np.zeros((2, 10), np.uint8), np.zeros((3, 9), np.uint8), b"flat"):
            with pytest.raises(UsageError, match="out must be"):
                act(given, out, now=2.0)
        with pytest.raises(UsageError, match=message):
            act(given, np.zeros((1, 1), np.uint8), now=2.0)
    with pytest.raises(DecodeError) as caught:
        grace.open_batch(np.zeros((2, 35), np.uint8), now=2.0)
    assert caught.value.code is Code.SESSION_MALFORMED
    assert (snapshot(ada), snapshot(grace)) == before


def test_what_is_refused_as_a_whole_leaves_no_plaintext(ends):
    ada, grace = ends()
    wire = ada.seal_batch(np.full((3, 8), 7, np.uint8), now=1.0)
    out = np.full((3, 8), 0xAA, np.uint8)
    with pytest.raises(SessionExpired):
        grace.open_batch(wire, out, now=1e6)
    assert 7 not in out


def test_a_refused_batch_lets_go_of_its_buffers(ends):
    ada, grace = ends()
    rows = np.zeros((3, 8), np.uint8)
    wire = bytearray(ada.seal_batch(rows, now=1.0).tobytes())
    wire[-1] ^= 1
    gc.disable()  # whatever it would free was held too long
    try:
        for now in (1.0, 1e6):
            with pytest.raises((BatchError, SessionExpired)):
                grace.open_batch(memoryview(wire).cast("B", (3, 44)), now=now)
            wire.append(0)
            wire.pop()
    finally:
        gc.enable()
