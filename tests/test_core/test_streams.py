"""Streams and drafts: keys and records by the formulas, ends by the rules."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import pytest

from sage import _core_py as pure
from sage._crypto import (
    AESGCM,
    ChaCha20Poly1305,
    hkdf_expand,
    hkdf_extract,
    sha256,
)
from sage.encoding import b64u_encode
from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    LimitReached,
    ProtocolError,
    SessionClosed,
    SessionExpired,
    UsageError,
)
from sage.session import DRAFT1, STREAM, STREAM_AES, V0_10
from sage.types import Role

SEED, TH, STREAM_ID = bytes(range(32)), bytes(range(100, 132)), bytes(range(50, 66))
SID = b64u_encode(STREAM_ID).encode()
LAST = 2**48 - 1
ENGINES = {"chacha20poly1305": ChaCha20Poly1305, "aes-256-gcm": AESGCM}
STREAMS = pytest.mark.parametrize("profile", [STREAM, STREAM_AES], ids=lambda p: p.aead)


def stream(twin: Any, profile: Any, role: Role, **kwargs: Any) -> Any:
    kwargs.setdefault("now", 0.0)
    return twin.SessionCore(profile, SEED, TH, role, session_id=STREAM_ID, **kwargs)


def draft1(twin: Any, role: Role | None, profile: Any = DRAFT1) -> Any:
    return twin.SessionCore(profile, SEED, None, role, session_id=STREAM_ID, now=0.0)


def be64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def stream_engine(profile: Any, direction: str, seq: int) -> tuple[Any, bytes]:
    """Return the engine of a record and the hash it is bound to (section s)."""
    sth = sha256(b"sage-stream|1" + TH + STREAM_ID + profile.aead.encode())
    root = hkdf_expand(SEED, b"sage-stream-root|1" + sth, 32)
    info = f"sage-stream-{direction}-key|1".encode() + sth + be64(seq // 65536)
    return ENGINES[profile.aead](hkdf_expand(root, info, 32)), sth


def stream_record(profile: Any, direction: str, seq: int, text: bytes, aad: bytes):
    engine, sth = stream_engine(profile, direction, seq)
    side = b"\x01" if direction == "s2c" else b"\x00"
    bound = b"sage-stream|1" + sth + side + be64(seq) + len(aad).to_bytes(4, "big")
    nonce = bytes(4) + be64(seq)
    return be64(seq) + nonce + engine.encrypt(nonce, text, bound + aad)


def place_of_sent(session: Any) -> int:
    """Return where a compiled session counts what it sent, by making it count."""

    def memory() -> bytes:
        return ctypes.string_at(id(session), session.__class__.__basicsize__)

    session.seal(b"", now=1.0)
    before = memory()
    session.seal(b"", now=1.0)
    (place,) = (at for at, byte in enumerate(memory()) if byte != before[at])
    return place


def set_sent(session: Any, seq: int) -> None:
    """Put the send counter forward, as only a test may."""
    if hasattr(session, "_sent"):
        session._sent = iter(()), seq
    else:
        where = id(session) + place_of_sent(session)
        ctypes.c_uint64.from_address(where).value = seq
    assert session.sent == seq


@STREAMS
@pytest.mark.parametrize("seq", [0, 1, 65535, 65536, 2**32 + 7, LAST - 1, LAST])
def test_records_are_what_the_formulas_say(twin, profile, seq):
    for role, direction in ((Role.INITIATOR, "c2s"), (Role.RESPONDER, "s2c")):
        sender, receiver = (stream(twin, profile, r) for r in (role, role.other))
        set_sent(sender, seq)
        record = sender.seal(b"token", b"aad", now=1.0)
        assert record == stream_record(profile, direction, seq, b"token", b"aad")
        assert receiver.open(record, b"aad", now=1.0) == b"token"


@STREAMS
def test_the_last_number_is_used_and_none_after_it(twin, profile, snapshot):
    ada, grace = (stream(twin, profile, role) for role in Role)
    set_sent(ada, LAST - 1)
    records = ada.seal_many([b"next to last", b"last"], now=1.0)
    assert [record[:8] for record in records] == [be64(LAST - 1), be64(LAST)]
    assert (ada.sent, ada.records_left) == (2**48, 0)
    before = snapshot(ada)
    for act in (
        lambda: ada.seal(b"", now=2.0),
        lambda: ada.seal_into(b"", bytearray(36), now=2.0),
        lambda: ada.seal_many([b""], now=2.0),
    ):
        with pytest.raises(LimitReached, match="a session carries 281474976710656"):
            act()
    assert snapshot(ada) == before
    assert grace.open_many(records, now=1.0) == [b"next to last", b"last"]
    beyond = stream_record(profile, "c2s", 2**48, b"", b"")
    before = snapshot(grace)
    with pytest.raises(ProtocolError) as caught:
        grace.open(beyond, now=2.0)
    assert caught.value.code is Code.SESSION_WINDOW
    assert snapshot(grace) == before


def test_as_many_as_fit_or_none(twin):
    ada = stream(twin, STREAM, Role.INITIATOR)
    set_sent(ada, LAST)
    with pytest.raises(LimitReached):
        ada.seal_many([b"fits", b"does not"], now=1.0)
    assert ada.sent == LAST
    assert ada.seal(b"fits", now=1.0)


@STREAMS
def test_sizes(twin, profile):
    ada, grace = (stream(twin, profile, role) for role in Role)
    longest, aad = bytes(2**20), bytes(255)
    record = ada.seal(longest, aad, now=1.0)
    assert len(record) == 2**20 + 36
    assert grace.open(record, aad, now=1.0) == longest
    with pytest.raises(UsageError, match="plaintext exceeds 1048576 bytes"):
        ada.seal(longest + b"x", now=1.0)
    with pytest.raises(UsageError, match="aad exceeds 255 bytes"):
        ada.seal(b"", aad + b"x", now=1.0)
    assert ada.sent == 1
    with pytest.raises(DecodeError) as caught:
        grace.open(record + b"x", aad, now=1.0)
    assert caught.value.code is Code.SIZE_EXCEEDED
    with pytest.raises(DecodeError) as caught:
        grace.open(record, aad + b"x", now=1.0)
    assert caught.value.code is Code.SIZE_EXCEEDED


def test_generations_of_a_stream(twin):
    """Each is one more key; the two newest that proved real are kept."""
    _, grace = (stream(twin, STREAM, role) for role in Role)
    for seq in (65535, 65536, 65000, 3 * 65536 - 10, 2 * 65536 + 65300, LAST):
        record = stream_record(STREAM, "c2s", seq, b"%d" % seq, b"")
        assert grace.open(record, now=1.0) == b"%d" % seq


def test_directions_aeads_and_streams_do_not_mix(twin):
    ada, grace = (stream(twin, STREAM, role) for role in Role)
    other = twin.SessionCore(
        STREAM, SEED, TH, Role.RESPONDER, session_id=STREAM_ID[::-1], now=0.0
    )
    aes = stream(twin, STREAM_AES, Role.RESPONDER)
    record = ada.seal(b"for Grace", now=1.0)
    for stranger in (ada, other, aes):
        with pytest.raises(AuthenticationError):
            stranger.open(record, now=1.0)
    assert grace.open(record, now=1.0) == b"for Grace"


# --- the session behind a stream ----------------------------------------------------


@STREAMS
def test_a_session_derives_its_streams(twin, profile):
    ada, grace = (twin.SessionCore(V0_10, SEED, TH, r, now=0.0) for r in Role)
    one = ada.derive(profile, STREAM_ID, now=5.0)
    other = grace.derive(profile, STREAM_ID, now=5.0)
    assert (one.id, one.role, one.profile) == (SID.decode(), ada.role, profile)
    assert one.seal(b"x", now=6.0) == stream_record(profile, "c2s", 0, b"x", b"")
    assert one.open(other.seal(b"y", now=6.0), now=6.0) == b"y"
    ada.close()
    assert one.seal(b"still there", now=7.0)
    with pytest.raises(SessionClosed):
        ada.derive(profile, STREAM_ID, now=7.0)


def test_an_id_gives_keys_once(twin):
    ada = twin.SessionCore(V0_10, SEED, TH, Role.INITIATOR, now=0.0)
    ada.derive(STREAM, STREAM_ID, now=1.0)
    for profile, stream_id in ((STREAM, STREAM_ID), (STREAM_AES, bytearray(STREAM_ID))):
        with pytest.raises(UsageError, match="a stream of this id was derived before"):
            ada.derive(profile, stream_id, now=1.0)
    assert ada.derive(STREAM, STREAM_ID[::-1], now=1.0)


def test_a_stream_ends_with_its_sessions_hour(twin):
    ada = twin.SessionCore(V0_10, SEED, TH, Role.INITIATOR, now=0.0)
    ada.seal(b"", now=599.0)
    derived = ada.derive(STREAM, STREAM_ID, now=1198.0)
    assert derived.expires_at == 1798.0
    for now in range(1700, 3600, 500):
        derived.seal(b"", now=now)
    assert derived.expires_at == 3600.0
    assert derived.seal(b"", now=3599.9)
    with pytest.raises(SessionExpired):
        derived.seal(b"", now=3600.0)
    with pytest.raises(SessionExpired):
        ada.derive(STREAM, STREAM_ID, now=1199.0)


def test_only_a_transcripts_session_derives_and_only_a_stream(twin):
    ada = twin.SessionCore(V0_10, SEED, TH, Role.INITIATOR, now=0.0)
    text = "only a transcript's session derives, and only a stream"
    for profile in (V0_10, DRAFT1):
        with pytest.raises(UsageError, match=text):
            ada.derive(profile, STREAM_ID, now=1.0)
    for session in (stream(twin, STREAM, Role.INITIATOR), draft1(twin, None)):
        with pytest.raises(UsageError, match=text):
            session.derive(STREAM, STREAM_ID, now=1.0)
    with pytest.raises(UsageError, match="session_id must be 16 bytes, not 3"):
        ada.derive(STREAM, b"abc", now=1.0)
    assert ada.derive(STREAM, STREAM_ID, now=1.0)  # the lock is free again


# --- failures -----------------------------------------------------------------------


def test_the_last_failure_ends_the_session(twin, snapshot):
    few = replace(STREAM, max_failed_opens=3)
    ada, grace = (stream(twin, few, role) for role in Role)
    genuine = ada.seal(b"genuine", now=1.0)
    forged = genuine[:-1] + bytes([genuine[-1] ^ 1])
    grace.open(ada.seal(b"", now=1.0), now=1.0)
    before = snapshot(grace)
    for count in (1, 2):
        with pytest.raises(AuthenticationError):
            grace.open(forged, now=1.0)
        assert (grace.failed_opens, grace.closed) == (count, False)
    with pytest.raises(DecodeError):
        grace.open(b"not even a record", now=1.0)
    assert grace.failed_opens == 2  # only tags count
    assert snapshot(grace) == before
    with pytest.raises(AuthenticationError):
        grace.open_into(forged, bytearray(100), now=1.0)
    assert (grace.failed_opens, grace.closed) == (3, True)
    assert grace.expires_at == float("-inf")
    for act in (
        lambda: grace.open(genuine, now=1.0),
        lambda: grace.seal(b"", now=1.0),
        lambda: grace.open_many([genuine], now=1.0),
        lambda: grace.accept(0, now=1.0),
    ):
        with pytest.raises(LimitReached, match="a session ends at 3 failed opens"):
            act()
    assert ada.seal(b"", now=1.0)


def test_forgeries_up_to_the_last_do_no_harm(twin):
    ada, grace = (stream(twin, replace(STREAM, max_failed_opens=3), r) for r in Role)
    genuine = ada.seal(b"genuine", now=1.0)
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            grace.open(genuine[:-1] + bytes([genuine[-1] ^ 1]), now=1.0)
    assert grace.open(genuine, now=1.0) == b"genuine"


# --- draft1 -------------------------------------------------------------------------


def draft1_keys() -> dict[str, bytes]:
    """Return the six keys of section (f), by the table."""
    prk = hkdf_extract(SID, SEED)
    block = hkdf_expand(prk, b"sage-session-keys-v1", 64)
    block += hkdf_expand(prk, b"sage-directional-keys-v1", 128)
    names = ["single", "single sign", "c2s", "c2s sign", "s2c", "s2c sign"]
    return {name: block[32 * at : 32 * at + 32] for at, name in enumerate(names)}


def draft1_key(direction: str, generation: int) -> bytes:
    if generation == 0:
        return draft1_keys()[direction]
    info = b"sage-session-rekey-v1" + direction.encode() + be64(generation)
    return hkdf_expand(hkdf_extract(SID, SEED), info, 32)


@pytest.mark.parametrize("interval", [1, 3, 256, 1000])
@pytest.mark.parametrize(
    ("role", "direction"),
    [(Role.INITIATOR, "c2s"), (Role.RESPONDER, "s2c"), (None, "single")],
)
def test_draft1s_records(twin, role, direction, interval):
    profile = replace(DRAFT1, generation_records=interval)
    sender = draft1(twin, role, profile)
    receiver = draft1(twin, role and role.other, profile)
    assert sender.role is role
    assert sender.id == SID.decode()
    nonces = set()
    for seq in range(600):
        record = sender.seal(b"text", b"aad", now=1.0)
        nonces.add(record[8:20])
        engine = ChaCha20Poly1305(draft1_key(direction, seq // interval))
        aad = be64(seq) + b"aad"
        assert record[:8] == be64(seq)
        assert engine.decrypt(record[8:20], record[20:], aad) == b"text"
        if role is not None:
            assert record[8:20] == bytes(4) + be64(seq)
        assert receiver.open(record, b"aad", now=1.0) == b"text"
    assert len(nonces) == 600


def test_draft1_takes_any_nonce_and_any_order(twin):
    grace = draft1(twin, Role.RESPONDER, replace(DRAFT1, generation_records=100))
    for seq in (950, 0, 999, 450, 1, 998, 100):
        nonce = sha256(b"%d" % seq)[:12]
        engine = ChaCha20Poly1305(draft1_key("c2s", seq // 100))
        record = be64(seq) + nonce + engine.encrypt(nonce, b"%d" % seq, be64(seq))
        assert grace.open(record, now=1.0) == b"%d" % seq
        with pytest.raises(AuthenticationError):
            grace.open(be64(2) + record[8:], now=1.0)


@pytest.mark.parametrize(
    ("role", "direction"), [(Role.INITIATOR, "c2s"), (Role.RESPONDER, "s2c")]
)
def test_a_sender_that_others_overtook_keeps_to_its_own_first_key(role, direction):
    # Of the pure twin alone: the other one looks for the engine as it reserves.
    ada = draft1(pure, role, replace(DRAFT1, generation_records=1))
    seq = ada._reserve(1.0, 1)
    ada.seal(b"of the next generation", now=1.0)
    record = ada._encrypt(seq, b"late", b"")
    engine = ChaCha20Poly1305(draft1_key(direction, 0))
    assert engine.decrypt(record[8:20], record[20:], be64(0)) == b"late"


def test_draft1s_limits(twin):
    for role in (None, Role.INITIATOR):
        ada = draft1(twin, role)
        assert ada.records_left == 1000
        ada.seal_many([b""] * 1000, now=1.0)
        with pytest.raises(LimitReached, match="a session carries 1000 records"):
            ada.seal(b"", now=1.0)
        with pytest.raises(SessionExpired):
            ada.open(bytes(36), now=601.0)
        with pytest.raises(SessionExpired):
            draft1(twin, role).seal(b"", now=600.0)


def test_what_each_layout_needs(twin):
    core, ada = twin.SessionCore, Role.INITIATOR
    for arguments, kwargs, text in [
        ((V0_10, SEED, TH, ada), {"session_id": STREAM_ID}, "follows from the"),
        ((V0_10, SEED, TH, None), {}, r"role must be a sage\.Role, not NoneType"),
        ((STREAM, SEED, TH, ada), {}, "session_id must be bytes-like, not NoneType"),
        ((STREAM, SEED, TH, None), {"session_id": STREAM_ID}, "role must be"),
        ((DRAFT1, SEED, TH, None), {"session_id": STREAM_ID}, "no transcript_hash"),
        ((DRAFT1, SEED, None, None), {"session_id": b"x"}, "must be 16 bytes, not 1"),
        ((DRAFT1, SEED, None, "x"), {"session_id": STREAM_ID}, "role must be"),
    ]:
        with pytest.raises(UsageError, match=text):
            core(*arguments, **kwargs)


@pytest.mark.parametrize("role", Role)
def test_draft1_records_of_a_batch_that_threads_share(twin, role):
    """Each thread sets the key of its direction anew, and not the peer's."""
    alone, shared = (draft1(twin, role) for _ in range(2))
    texts = [bytes([number]) * 5000 for number in range(6)]
    records = shared.seal_many(texts, threads=3, now=1.0)
    assert records == alone.seal_many(texts, now=1.0)
    assert draft1(twin, role.other).open_many(records, threads=3, now=1.0) == texts
