"""The profile's numbers and labels, against the protocol's text."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from sage.errors import UsageError
from sage.session import DRAFT1, STREAM, STREAM_AES, V0_10, Profile
from sage.session.profile import draft1_profile, stream_profile


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


@pytest.mark.parametrize("profile", [STREAM, STREAM_AES], ids=lambda p: p.aead)
def test_streams_are_what_the_protocol_says(profile):
    assert dataclasses.asdict(profile) == {
        "name": "stream-1",
        "layout": "stream",
        "aead": "aes-256-gcm" if profile is STREAM_AES else "chacha20poly1305",
        "session_label": b"sage-stream|1",
        "root_label": b"sage-stream-root|1",
        "block_labels": (b"", b""),
        "key_labels": (b"sage-stream-c2s-key|1", b"sage-stream-s2c-key|1"),
        "shared_key_label": b"",
        "aad_label": b"sage-stream|1",
        "generation_records": 65_536,
        "max_records": 2**48,
        "max_age_s": 3600.0,
        "idle_s": 600.0,
        "record_max_bytes": 2**20 + 36,
        "caller_aad_max_bytes": 255,
        "max_failed_opens": 2**36,
    }


def test_draft1_is_what_the_protocol_says():
    assert dataclasses.asdict(DRAFT1) == {
        "name": "1.0.0-draft.1",
        "layout": "draft1",
        "aead": "chacha20poly1305",
        "session_label": b"",
        "root_label": b"",
        "block_labels": (b"sage-session-keys-v1", b"sage-directional-keys-v1"),
        "key_labels": (b"sage-session-rekey-v1c2s", b"sage-session-rekey-v1s2c"),
        "shared_key_label": b"sage-session-rekey-v1single",
        "aad_label": b"",
        "generation_records": 256,
        "max_records": 1000,
        "max_age_s": 3600.0,
        "idle_s": 600.0,
        "record_max_bytes": 8_388_608,
        "caller_aad_max_bytes": 4088,
        "max_failed_opens": 2**36,
    }


def test_profiles_by_their_parameters():
    assert stream_profile("chacha20poly1305") is STREAM
    assert stream_profile("aes-256-gcm") is STREAM_AES
    assert draft1_profile(256) == DRAFT1
    records = [draft1_profile(n).generation_records for n in (0, 1, 1000, 1001, 10**30)]
    assert records == [1000, 1, 1000, 1000, 1000]


def test_a_profile_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        V0_10.max_records = 10**6  # type: ignore[misc]
    assert isinstance(hash(V0_10), int)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"key_labels": (b"same", b"same")}, "two different key labels"),
        ({"shared_key_label": b"shared"}, "only in the layout draft1"),
        ({"layout": "stream", "shared_key_label": b"shared"}, "only in the layout"),
        ({"generation_records": 0}, "1 <= generation_records"),
        ({"generation_records": 1001}, "generation_records <= max_records"),
        ({"max_records": 2**48 + 1}, "max_records <= 2"),
        ({"max_age_s": 0}, "must be positive"),
        ({"idle_s": float("nan")}, "must be positive"),
        ({"idle_s": 10**400}, "must be positive"),
        ({"idle_s": True}, "must be positive"),
        ({"max_age_s": "3600"}, "must be positive"),
        ({"max_age_s": Decimal(3600)}, "must be positive"),
        ({"name": 5}, "labels of bytes"),
        ({"key_labels": None}, "labels of bytes"),
        ({"key_labels": (b"one",)}, "two of a kind"),
        ({"key_labels": ["a", "b"]}, "labels of bytes"),
        ({"block_labels": [b"a", b"b"]}, "labels of bytes"),
        ({"aad_label": bytearray(b"a")}, "labels of bytes"),
        ({"max_records": 1000.0}, "counts of int"),
        ({"generation_records": "1"}, "counts of int"),
        ({"max_failed_opens": None}, "counts of int"),
        ({"record_max_bytes": True}, "counts of int"),
        ({"record_max_bytes": 35}, "record_max_bytes must be within"),
        ({"record_max_bytes": 2**31}, "record_max_bytes must be within"),
        ({"caller_aad_max_bytes": -1}, "caller_aad_max_bytes must be within"),
        ({"max_failed_opens": 0}, "max_failed_opens must be within"),
        ({"max_failed_opens": 2**36 + 1}, "max_failed_opens must be within"),
        ({"layout": "draft2"}, "layout must be one of transcript, stream, draft1"),
        ({"aead": "aes-128-gcm"}, "aead must be one of chacha20poly1305, aes-256-gcm"),
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
