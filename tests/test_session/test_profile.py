"""The profile's numbers and labels, against the protocol's text."""

from __future__ import annotations

import dataclasses

import pytest

from sage.errors import UsageError
from sage.session import V0_10, Profile


def test_v0_10_is_what_the_protocol_says():
    assert dataclasses.asdict(V0_10) == {
        "name": "0.10.0",
        "layout": "transcript",
        "aead": "chacha20poly1305",
        "session_label": b"sage-session|0.10.0",
        "root_label": b"",
        "block_labels": (b"", b""),
        "key_labels": (b"sage-c2s-key|0.10.0", b"sage-s2c-key|0.10.0"),
        "shared_key_label": b"",
        "aad_label": b"sage-record|0.10.0",
        "generation_records": 256,
        "max_records": 1000,
        "max_age_s": 3600.0,
        "idle_s": 600.0,
        "record_max_bytes": 8_388_608,
        "caller_aad_max_bytes": 4033,
        "max_failed_opens": 2**36,
    }


def test_a_profile_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        V0_10.max_records = 10**6  # type: ignore[misc]
    assert isinstance(hash(V0_10), int)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"key_labels": (b"same", b"same")}, "two different key labels"),
        ({"generation_records": 0}, "1 <= generation_records"),
        ({"generation_records": 1001}, "generation_records <= max_records"),
        ({"max_records": 2**48 + 1}, "max_records <= 2"),
        ({"max_age_s": 0}, "must be positive"),
        ({"idle_s": float("nan")}, "must be positive"),
        ({"record_max_bytes": 35}, "record_max_bytes must be within"),
        ({"record_max_bytes": 2**31}, "record_max_bytes must be within"),
        ({"caller_aad_max_bytes": -1}, "caller_aad_max_bytes must be within"),
    ],
)
def test_limits_that_no_session_could_keep(change, text):
    with pytest.raises(UsageError, match=text):
        dataclasses.replace(V0_10, **change)


def test_another_profile_needs_no_other_code(twin):
    """The kernels take labels and limits from the profile alone."""
    from sage._crypto import ChaCha20Poly1305, hkdf_expand
    from sage.types import Role

    other = Profile(
        name="other",
        session_label=b"other-session",
        key_labels=(b"to", b"fro"),
        aad_label=b"a rather longer label than the protocol's",
        generation_records=3,
        max_records=5000,
        max_age_s=10.0,
        idle_s=10.0,
        record_max_bytes=1000,
        caller_aad_max_bytes=10,
    )
    seed, th = bytes(32), bytes(range(32))
    ada, grace = (twin.SessionCore(other, seed, th, role, now=0.0) for role in Role)
    for seq in range(5000):
        record = ada.seal(b"x", b"aad", now=1.0)
        if seq % 997 == 0:
            generation = (seq // 3).to_bytes(8, "big")
            engine = ChaCha20Poly1305(hkdf_expand(seed, b"to" + th + generation, 32))
            be = seq.to_bytes(8, "big")
            aad = other.aad_label + th + b"\x00" + be + b"\x00\x00\x00\x03aad"
            assert record[:20] == be + bytes(4) + be
            assert engine.decrypt(record[8:20], record[20:], aad) == b"x"
        if seq % 2:
            assert grace.open(record, b"aad", now=1.0) == b"x"
    assert grace.received == 2500
    assert ada.records_left == 0
