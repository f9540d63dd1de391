"""The everyday session: the kernels' core under a profile's name."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
from pathlib import Path

import pytest

from sage._accel import SessionCore, backend
from sage.encoding import b64u_encode
from sage.errors import (
    AuthenticationError,
    LimitReached,
    ReplayError,
    SessionClosed,
    SessionExpired,
    UsageError,
)
from sage.session import (
    STREAM,
    STREAM_AES,
    V0_10,
    Session,
    draft1_seed,
    draft1_session_id,
    session_id,
)
from sage.types import Role

SEED, TH = bytes(range(32)), bytes(range(100, 132))


def both(now=0.0):
    return (Session.v0_10(SEED, TH, role, now=now) for role in Role)


def test_a_conversation():
    ada, grace = both()
    assert isinstance(ada, Session)
    assert isinstance(ada, SessionCore)
    assert ada.profile is V0_10
    assert ada.id == grace.id == session_id(TH)
    for number in range(20):
        sent = b"%d" % number
        assert grace.open(ada.seal(sent, b"ask", now=1.0), b"ask", now=1.0) == sent
        assert ada.open(grace.seal(sent, b"tell", now=1.0), b"tell", now=1.0) == sent
    assert (ada.sent, ada.received, ada.records_left) == (20, 20, 980)
    ada.close()
    with pytest.raises(SessionClosed):
        ada.seal(b"")


def test_its_limits():
    ada, _ = both()
    for _ in range(1000):
        ada.seal(b"", now=1.0)
    with pytest.raises(LimitReached):
        ada.seal(b"", now=1.0)
    _, grace = both()
    with pytest.raises(SessionExpired):
        grace.seal(b"", now=600.0)


def test_it_is_as_closed_as_the_core():
    ada, _ = both()
    assert repr(ada).startswith("<Session 0.10.0 initiator ")
    assert SEED.hex() not in repr(ada)
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            act(ada)
    with pytest.raises(AttributeError):
        ada.note = "a session has no room for notes"
    if backend()["core"] == "cython":
        assert not gc.is_tracked(ada)
        assert sys.getsizeof(ada) <= 512  # what pymalloc serves, header included


def test_wrong_arguments():
    with pytest.raises(UsageError, match="seed must be 32 bytes, not 3"):
        Session.v0_10(b"abc", TH, Role.INITIATOR)
    with pytest.raises(UsageError, match=r"role must be a sage\.Role, not str"):
        Session.v0_10(SEED, TH, "initiator")


# --- streams ------------------------------------------------------------------------

STREAM_ID = bytes(range(16))


@pytest.mark.parametrize("aead", ["chacha20poly1305", "aes-256-gcm"])
def test_a_stream_and_its_session(aead):
    ada, _ = both()
    one = ada.derive_stream(STREAM_ID, aead, now=1.0)
    other = Session.stream(SEED, TH, STREAM_ID, Role.RESPONDER, aead, now=0.0)
    assert type(one) is Session
    assert one.profile is other.profile is (STREAM_AES if "aes" in aead else STREAM)
    assert one.id == other.id == b64u_encode(STREAM_ID)
    for number in range(2000):  # more than a session of the handshake carries
        text = b"%d" % number
        assert other.open(one.seal(text, b"ask", now=2.0), b"ask", now=2.0) == text
        assert one.open(other.seal(text, now=2.0), now=2.0) == text
    assert one.records_left == 2**48 - 2000
    assert (ada.sent, ada.received) == (0, 0)


def test_what_makes_no_stream():
    ada, _ = both()
    for act in (
        lambda aead: ada.derive_stream(STREAM_ID, aead),
        lambda aead: Session.stream(SEED, TH, STREAM_ID, Role.INITIATOR, aead),
    ):
        for aead in ("aes-128-gcm", "ChaCha20Poly1305", "", None):
            with pytest.raises(UsageError, match="aead must be one of"):
                act(aead)
    with pytest.raises(UsageError, match="session_id must be 16 bytes, not 15"):
        ada.derive_stream(STREAM_ID[1:], now=1.0)
    ada.close()
    with pytest.raises(SessionClosed):
        ada.derive_stream(STREAM_ID)


# --- 1.0.0-draft.1: the golden vectors ------------------------------------------------

GOLDEN = {
    vector["name"]: vector
    for vector in json.loads(
        (Path(__file__).parents[1] / "vectors/draft1/session.json").read_text()
    )["vectors"]
}


def golden_session(name, role=None):
    given = GOLDEN[name]["input"]
    seed = draft1_seed(
        given["label"],
        given["context_id"],
        bytes.fromhex(given["eph_a"]),
        bytes.fromhex(given["eph_b"]),
        bytes.fromhex(given["shared_secret"]),
    )
    name = draft1_session_id(given["label"], seed)
    return Session.draft1(seed, name, role, given["rekey_interval"], now=0.0)


def test_every_golden_vector_is_used():
    assert set(GOLDEN) == {"seed-and-id", "encrypt-decrypt", "directional-with-aad"}


def test_the_golden_shared_records():
    vector = GOLDEN["encrypt-decrypt"]
    given, expected = vector["input"], vector["output"]
    grace, text = golden_session("encrypt-decrypt"), given["plaintext"].encode()
    for name, seq in (("seq0", 0), ("seq256", expected["seq256_seq"])):
        record = bytes.fromhex(expected[name])
        assert int.from_bytes(record[:8], "big") == seq
        assert grace.open(record, now=1.0) == text
        with pytest.raises(ReplayError):
            grace.open(record, now=1.0)
    assert expected["seq0"].startswith(expected["seq0_header"])
    assert grace.role is None
    assert repr(grace).startswith("<Session 1.0.0-draft.1 shared GelgDHw0KS4rTteO")


def test_the_golden_directional_records():
    vector = GOLDEN["directional-with-aad"]
    given, expected = vector["input"], vector["output"]
    text, aad = given["plaintext"].encode(), expected["aad"].encode()
    c2s, with_aad = (bytes.fromhex(expected[name]) for name in ("c2s", "with_aad"))
    grace = golden_session("directional-with-aad", Role.RESPONDER)
    assert grace.open(c2s, now=1.0) == text
    ada = golden_session("directional-with-aad", Role.INITIATOR)
    with pytest.raises(AuthenticationError):
        ada.open(c2s, now=1.0)
    opened = []
    for role in (None, Role.RESPONDER):
        receiver = golden_session("directional-with-aad", role)
        with pytest.raises(AuthenticationError):
            receiver.open(with_aad, aad + b"x", now=1.0)
        try:
            opened.append(receiver.open(with_aad, aad, now=1.0))
        except AuthenticationError:
            continue
    assert opened == [text]


def test_a_conversation_with_a_draft():
    seed = bytes(range(32))
    name = draft1_session_id("", seed)
    for ours, theirs in ((None, None), (Role.INITIATOR, Role.RESPONDER)):
        for interval in (0, 1, 7, 10**9):
            ada, grace = (
                Session.draft1(seed, name, role, interval, now=0.0)
                for role in (ours, theirs)
            )
            for number in range(30):
                text = b"%d" % number
                assert grace.open(ada.seal(text, now=1.0), now=1.0) == text
                assert ada.open(grace.seal(text, now=1.0), now=1.0) == text


def test_what_makes_no_draft():
    full = "A" * 22
    for name in (
        "",
        "short",
        full[1:],
        full[1:] + "B",
        full + "A",
        "é" * 22,
        None,
        b"",
    ):
        with pytest.raises(UsageError, match="session_id must be the base64url of 16"):
            Session.draft1(SEED, name)
    for interval in (-1, 1.5, "256", None, True, []):
        with pytest.raises(UsageError, match="rekey_interval must be an int, 0 or"):
            Session.draft1(SEED, full, None, interval)
    with pytest.raises(UsageError, match="seed must be 32 bytes"):
        Session.draft1(b"abc", full)
    with pytest.raises(UsageError, match=r"role must be a sage\.Role, not str"):
        Session.draft1(SEED, full, "initiator")
