"""What a stranger sends moves nothing, however much of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from sage._accel import backend
from sage.errors import AuthenticationError, Code, PeerError, ReplayError
from sage.session import STREAM, Session
from sage.types import Role

FAST, ALL = 100_000, 1_000_000


def forgeries(record: bytes, seen: list[bytes], count: int):
    """Yield flipped, cut, lengthened, renumbered, replayed and invented records.

    Those with a number of their own lie anywhere, far in the future included.
    """
    chance = random.Random(0x5A6E)
    for number in range(count):
        kind = number % 6
        if kind == 0:
            bit = chance.randrange(len(record) * 8)
            changed = bytearray(record)
            changed[bit >> 3] ^= 1 << (bit & 7)
            yield bytes(changed)
        elif kind == 1:
            yield record[: chance.randrange(len(record))]
        elif kind == 2:
            # Well formed, under any generation's number but a wrong key.
            seq = chance.choice([chance.randrange(1000), chance.randrange(2**64)])
            be = seq.to_bytes(8, "big")
            yield be + bytes(4) + be + record[20:-1] + bytes([record[-1] ^ 0x40])
        elif kind == 3:
            yield record + chance.randbytes(chance.randrange(1, 40))
        elif kind == 4:
            yield chance.choice(seen)
        else:
            yield chance.randbytes(chance.randrange(120))


def bombard(ada, grace, snapshot, generation_records, count):
    """Send a session whatever a stranger can, then the one genuine record."""
    # Into the second generation: both kept keys are in use.
    seen = ada.seal_many([b""] * (generation_records + 44), b"aad", now=1.0)
    grace.open_many(seen, b"aad", now=1.0)
    genuine, early = ada.seal_many([b"genuine"] * 2, b"aad", now=1.0)
    grace.open(early, b"aad", now=1.0)
    grace.open_many([], now=1.0)
    grace.authenticate(genuine, b"aad", now=1.0)
    before, refused = snapshot(grace), 0
    for forged in forgeries(genuine, seen, count):
        try:
            grace.open(forged, b"aad", now=2.0)
        except PeerError:
            refused += 1
    assert refused == count
    assert snapshot(grace) == before
    assert 0 < grace.failed_opens < count
    assert grace.open(genuine, b"aad", now=2.0) == b"genuine"
    assert snapshot(grace) != before


def test_a_hundred_thousand_forgeries_then_the_genuine_record(ends, snapshot):
    bombard(*ends(), snapshot, 256, FAST)


def test_a_stream_under_fire(twin, snapshot):
    few = replace(STREAM, generation_records=256)
    ada, grace = (
        twin.SessionCore(few, bytes(32), bytes(32), role, session_id=bytes(16), now=0.0)
        for role in Role
    )
    bombard(ada, grace, snapshot, 256, FAST // 4)


@pytest.mark.slow
def test_a_million_forgeries_then_the_genuine_record(ends, snapshot):
    bombard(*ends(), snapshot, 256, ALL)


def test_a_million_forgeries_on_the_core_that_runs(snapshot):
    ada, grace = (Session.v0_10(bytes(32), bytes(32), role, now=0.0) for role in Role)
    count = ALL if backend()["core"] == "cython" else FAST
    bombard(ada, grace, snapshot, 256, count)


@pytest.mark.parametrize("seq", [0, 255, 256, 511, 600, 768, 999])
def test_a_forged_generation_displaces_nothing(ends, snapshot, seq):
    ada, grace = ends()
    records = [ada.seal(b"", now=1.0) for _ in range(1000)]
    # A kept key's engine is made when it is first needed, whoever needs it; here
    # both have been needed.
    for number in (10, 300, 301, 20):
        grace.open(records[number], now=1.0)
    before = snapshot(grace)
    forged = records[seq][:-1] + bytes([records[seq][-1] ^ 1])
    for act in (grace.open, grace.authenticate):
        with pytest.raises(AuthenticationError) as caught:
            act(forged, now=1.0)
        assert caught.value.code is Code.SESSION_AEAD
    assert snapshot(grace) == before
    assert grace.open(records[seq], now=1.0) == b""


def test_an_error_names_nothing(ends):
    ada, grace = ends()
    record = bytearray(ada.seal(b"secret", now=1.0))
    record[-1] ^= 1
    with pytest.raises(AuthenticationError) as caught:
        grace.open(record, now=1.0)
    assert caught.value.args == ("authentication failed",)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_replay_is_told_before_the_tag_is_looked_at(ends):
    ada, grace = ends()
    record = ada.seal(b"", now=1.0)
    grace.open(record, now=1.0)
    with pytest.raises(ReplayError):
        grace.open(record[:-1] + b"?", now=1.0)
