"""Counts, ages and sizes: the last that is allowed, the first that is not."""

from __future__ import annotations

import time

import pytest

from sage.errors import (
    AuthenticationError,
    BatchError,
    Code,
    DecodeError,
    LimitReached,
    ProtocolError,
    SessionClosed,
    SessionExpired,
    UsageError,
)
from sage.session import V0_10
from sage.types import Role

SEED, TH = bytes(range(32)), bytes(range(100, 132))
MAX_PLAINTEXT = 8_388_572


def header(seq):
    return seq.to_bytes(8, "big") + bytes(4) + seq.to_bytes(8, "big")


def test_the_thousandth_record_is_the_last(ends):
    ada, grace = ends()
    records = [ada.seal(b"", now=1.0) for _ in range(1000)]
    assert (ada.sent, ada.records_left) == (1000, 0)
    for _ in range(3):
        with pytest.raises(LimitReached, match="a session carries 1000 records"):
            ada.seal(b"", now=1.0)
    assert (ada.sent, ada.records_left) == (1000, 0)
    assert grace.open(records[999], now=1.0) == b""
    assert ada.open(grace.seal(b"still here", now=1.0), now=1.0) == b"still here"


@pytest.mark.parametrize("seq", [1000, 1001, 2**32, 2**64 - 1])
def test_a_record_beyond_the_last_is_refused(ends, snapshot, seq):
    ada, grace = ends()
    grace.open(ada.seal(b"", now=1.0), now=1.0)
    before = snapshot(grace)
    for act in (
        lambda: grace.open(header(seq) + bytes(16), now=1.0),
        lambda: grace.authenticate(header(seq) + bytes(16), now=1.0),
        lambda: grace.accept(seq, now=1.0),
    ):
        with pytest.raises(ProtocolError) as caught:
            act()
        assert caught.value.code is Code.SESSION_WINDOW
    assert snapshot(grace) == before


def test_999_is_the_highest_that_opens(ends):
    ada, grace = ends()
    for _ in range(999):
        ada.seal(b"", now=1.0)
    assert grace.open(ada.seal(b"last", now=1.0), now=1.0) == b"last"


@pytest.mark.parametrize("created", [0.0, 1000.5, -50.0])
def test_an_hour_is_too_old(ends, created):
    ada, grace = ends(now=created)
    last = created + 3599.999
    spoken = created
    while spoken < last - 600:
        spoken += 599.0
        grace.open(ada.seal(b"", now=spoken), now=spoken)
    record = ada.seal(b"in time", now=last)
    assert grace.authenticate(record, now=last) == (ada.sent - 1, b"in time")
    for late in (created + 3600.0, created + 3600.001, created + 1e9):
        for act in (
            lambda now=late: grace.open(record, now=now),
            lambda now=late: grace.authenticate(record, now=now),
            lambda now=late: grace.accept(ada.sent - 1, now=now),
            lambda now=late: ada.seal(b"", now=now),
        ):
            with pytest.raises(SessionExpired, match="session expired"):
                act()
    assert grace.open(record, now=last) == b"in time"


def test_ten_idle_minutes_are_too_many(ends):
    ada, _ = ends()
    assert ada.seal(b"", now=599.999)
    assert ada.seal(b"", now=599.999 + 599.999)
    with pytest.raises(SessionExpired):
        ada.seal(b"", now=599.999 + 599.999 + 600.0)
    _, grace = ends()
    with pytest.raises(SessionExpired):
        grace.seal(b"", now=600.0)


def test_only_emitted_and_accepted_records_keep_a_session_awake(ends):
    ada, grace = ends()
    record = ada.seal(b"", now=500.0)
    forged = record[:-1] + bytes([record[-1] ^ 1])
    with pytest.raises(AuthenticationError):
        grace.open(forged, now=599.0)
    grace.authenticate(record, now=599.0)
    with pytest.raises(UsageError):
        grace.seal("text", now=599.0)
    with pytest.raises(SessionExpired):
        grace.open(record, now=600.0)
    grace.accept(0, now=599.0)
    assert grace.seal(b"", now=1198.0)


def test_a_clock_that_runs_backwards(ends):
    ada, grace = ends(now=100.0)
    for now in (650.0, 5.0, -1e300, 650.0, 0.0):
        assert grace.open(ada.seal(b"x", now=now), now=now) == b"x"
    assert ada.seal(b"", now=1249.999)  # the idle clock was not set back
    with pytest.raises(SessionExpired):
        grace.open(ada.seal(b"", now=1249.999), now=1250.0)


def test_the_time_may_stand_behind_the_associated_data(ends):
    ada, grace = ends()
    assert grace.open(ada.seal(b"x", b"", 599.0), b"", 599.0) == b"x"
    assert (ada.expires_at, grace.expires_at) == (1199.0, 1199.0)
    for act in (ada.seal, grace.open):
        with pytest.raises(SessionExpired):
            act(ada.seal(b"", b"", 599.0), b"", 1199.0)


def test_the_monotonic_clock_is_read_where_no_time_is_given(twin):
    now = time.monotonic()

    def made(created):
        return twin.SessionCore(V0_10, SEED, TH, Role.INITIATOR, now=created)

    assert made(None).seal(b"")
    assert made(now).seal(b"")
    assert made(now - 590).seal(b"")
    assert made(None).seal(b"", now=now + 590)
    for created in (now - 600, now - 3600):
        old = made(created)
        for act in (
            lambda old=old: old.seal(b""),
            lambda old=old: old.open(header(0) + bytes(16)),
            lambda old=old: old.authenticate(header(0) + bytes(16)),
            lambda old=old: old.accept(0),
        ):
            with pytest.raises(SessionExpired):
                act()


def test_associated_data(ends):
    ada, grace = ends()
    longest, longer = bytes(4033), bytes(4034)
    assert grace.open(ada.seal(b"x", longest, now=1.0), longest, now=1.0) == b"x"
    with pytest.raises(UsageError, match="aad exceeds 4033 bytes"):
        ada.seal(b"x", longer, now=1.0)
    assert ada.sent == 1
    record = ada.seal(b"x", now=1.0)
    for act in (grace.open, grace.authenticate):
        with pytest.raises(DecodeError, match="aad exceeds 4033 bytes") as caught:
            act(record, longer, now=1.0)
        assert caught.value.code is Code.SIZE_EXCEEDED


def test_the_longest_record(ends):
    ada, grace = ends()
    record = ada.seal(bytes(MAX_PLAINTEXT), now=1.0)
    assert len(record) == 8_388_608
    assert grace.open(record, now=1.0) == bytes(MAX_PLAINTEXT)
    with pytest.raises(UsageError, match="plaintext exceeds 8388572 bytes"):
        ada.seal(bytes(MAX_PLAINTEXT + 1), now=1.0)
    assert ada.sent == 1
    for act in (grace.open, grace.authenticate):
        with pytest.raises(DecodeError) as caught:
            act(record + b"x", now=1.0)
        assert str(caught.value) == "a record is 36..8388608 bytes, not 8388609"
        assert caught.value.code is Code.SIZE_EXCEEDED


def test_the_shortest_record(ends):
    ada, grace = ends()
    record = ada.seal(b"", now=1.0)
    assert len(record) == 36
    for size in range(36):
        with pytest.raises(DecodeError) as caught:
            grace.open(record[:size], now=1.0)
        assert str(caught.value) == f"a record is 36..8388608 bytes, not {size}"
        assert caught.value.code is Code.SESSION_MALFORMED
    assert grace.open(record, now=1.0) == b""


def test_the_nonce_must_be_the_sequence_number(ends):
    ada, grace = ends()
    record = ada.seal(b"x", now=1.0)
    for position in range(8, 20):
        changed = bytearray(record)
        changed[position] ^= 0x80
        with pytest.raises(AuthenticationError) as caught:
            grace.open(changed, now=1.0)
        assert str(caught.value) == "authentication failed"
        assert caught.value.code is Code.SESSION_AEAD
    assert grace.open(record, now=1.0) == b"x"


def test_nothing_works_after_close(ends):
    ada, grace = ends()
    record = grace.seal(b"", now=1.0)
    name = ada.id
    for _ in range(2):
        ada.close()
        assert ada.closed is True
        for act in (
            lambda: ada.seal(b"", now=1.0),
            lambda: ada.seal(None, None, now="soon"),
            lambda: ada.seal(None),
            lambda: ada.seal(bytes(8 << 20)),
            lambda: ada.seal(b"", None),
            lambda: ada.seal(b"", bytes(1 << 16)),
            lambda: ada.seal(b"", now="soon"),
            lambda: ada.open(record, now=1.0),
            lambda: ada.open(None, None, now="soon"),
            lambda: ada.open(None),
            lambda: ada.open(record[:35]),
            lambda: ada.open(bytes(9 << 20)),
            lambda: ada.open(record, None),
            lambda: ada.open(record, bytes(1 << 16)),
            lambda: ada.open(record, now="soon"),
            lambda: ada.authenticate(record, now=1.0),
            lambda: ada.authenticate(None, now="soon"),
            lambda: ada.accept(0, now=1.0),
            lambda: ada.accept(None, now="soon"),
        ):
            with pytest.raises(SessionClosed, match="session closed"):
                act()
    assert (ada.id, ada.role, ada.sent) == (name, Role.INITIATOR, 0)


@pytest.mark.parametrize(
    ("name", "row", "others", "error"),
    [
        ("seal_many", b"", {}, SessionClosed),
        ("seal_many", "bad", {}, UsageError),
        ("seal_many", bytes(8 << 20), {}, UsageError),
        ("seal_many", bytearray(9), {"aad": "bad"}, UsageError),
        ("seal_many", b"", {"aad": bytes(5000)}, UsageError),
        ("seal_many", b"", {"threads": "bad"}, UsageError),
        ("open_many", b"", {}, BatchError),
        ("open_many", header(1) + bytes(16), {}, SessionClosed),
        ("open_many", bytes(40), {"aad": "bad"}, UsageError),
        ("open_many", bytes(40), {"aad": bytes(5000)}, DecodeError),
    ],
)
def test_a_session_that_closes_while_its_rows_are_read(ends, name, row, others, error):
    ada, _ = ends()

    def rows():
        ada.close()
        yield row

    with pytest.raises(error):
        getattr(ada, name)(rows(), **others)


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("seal", (b"",), SessionClosed),
        ("seal_into", (b"", bytearray(36)), SessionClosed),
        ("open", (bytes(5),), DecodeError),
        ("open", (bytes(36), bytes(5000)), DecodeError),
        ("open", (None,), UsageError),
        ("open", (header(0)[:19] + b"x" + bytes(16),), AuthenticationError),
        ("open", (header(0) + bytes(16),), SessionClosed),
        ("open_into", (bytes(5), bytearray(9)), DecodeError),
        ("open_many", ([bytes(5)],), BatchError),
        ("authenticate", (bytes(5),), DecodeError),
        ("authenticate", (header(0) + bytes(16),), SessionClosed),
    ],
)
def test_a_session_that_closes_while_the_time_is_read(ends, name, arguments, error):
    ada, _ = ends()

    class Closing(float):
        def __float__(self):
            ada.close()
            return 1.0

    with pytest.raises(error):
        getattr(ada, name)(*arguments, now=Closing())
