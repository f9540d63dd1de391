from __future__ import annotations

import dataclasses
import json
import secrets

import pytest

from sage._crypto import (
    x25519_exchange,
    x25519_load_private,
    x25519_public_bytes,
)
from sage.encoding import b64u_encode, jcs
from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    ProtocolError,
    StaleError,
    UsageError,
)
from sage.handshake import Initiation, Initiator, State, initiator, transcript
from sage.identity.keys import KemKey, PublicKey, SigningKey
from sage.types import Role

ZERO = b64u_encode(bytes(32))


def without(members, name):
    return {key: value for key, value in members.items() if key != name}


def in_transcript(message, **members):
    return message | {"transcript": message["transcript"] | members}


@pytest.fixture
def answer(pair):
    """A valid completion as a JSON object, and its pair."""
    return json.loads(pair.answered())


def refused(pair, data, kind, code):
    """The completion is refused, and the attempt is over and wiped."""
    exporter = pair.initiator._exporter
    assert any(exporter)
    with pytest.raises(kind) as raised:
        pair.finish(data)
    assert type(raised.value) is kind
    assert raised.value.code == code
    assert_wiped(pair.initiator, exporter)
    with pytest.raises(UsageError):
        pair.finish(data)


def assert_wiped(engine, exporter):
    assert engine.state is State.CLOSED
    assert exporter == bytes(32)
    assert engine._ephemeral is None


# --- what works -----------------------------------------------------------------


def test_before_it_starts(pair):
    engine = pair.initiator
    assert engine.state is State.NEW
    assert len(engine.ctx) == 36
    assert len(engine.nonce) == 22
    with pytest.raises(UsageError):
        _ = engine.initiation


def test_the_initiation(pair):
    payload = pair.start()
    initiation = pair.initiator.initiation
    assert pair.initiator.state is State.INIT_SENT
    assert Initiation.decode(payload) == initiation
    assert payload == initiation.encode()
    assert initiation.ctx == pair.initiator.ctx
    assert initiation.nonce == pair.initiator.nonce
    assert (initiation.init_did, initiation.resp_did) == (pair.ADA, pair.GRACE)
    assert initiation.init_kid == pair.init.kid
    assert initiation.resp_kid == pair.resp.kid
    assert initiation.kem_kid == pair.kem.kid


def test_everything_is_fresh_each_time(make_pair):
    seen = [make_pair() for _ in range(5)]
    messages = [Initiation.decode(pair.start()) for pair in seen]
    for name in ("ctx", "nonce", "enc", "eph_c"):
        assert len({getattr(message, name) for message in messages}) == 5
    assert len({m.enc for m in messages} | {m.eph_c for m in messages}) == 10


def test_both_ends_agree(pair):
    ours, theirs = pair.run()
    assert ours.seed == theirs.seed
    assert ours.transcript_hash == theirs.transcript_hash
    assert ours.binding.session_id == theirs.binding.session_id
    assert pair.initiator.state is State.ESTABLISHED
    assert ours.binding.role is Role.INITIATOR


def test_worked_example_through_both_ends(worked, worked_pair):
    payload = worked_pair.start()
    assert json.loads(payload) == {
        name: value
        for name, value in worked["transcript"].items()
        if name not in ("ephS", "kid")
    }
    completion = worked_pair.respond(payload)
    message = json.loads(completion)
    assert jcs(message["transcript"]) == worked["transcript_jcs"].encode()
    tag = bytes.fromhex(worked["ack_tag_hex"])
    assert message["ackTagB64"] == b64u_encode(tag)
    found = worked_pair.finish(completion)
    assert found.seed.hex() == worked["seed_hex"]
    assert found.transcript_hash.hex() == worked["th_hex"]
    assert found.binding.session_id == worked["sid"]
    assert found.binding.kid == worked["transcript"]["kid"]
    assert worked_pair.responder.secrets.seed.hex() == worked["seed_hex"]


def test_spent_secrets_are_wiped_on_success(pair):
    data = pair.answered()
    exporter = pair.initiator._exporter
    found = pair.finish(data)
    assert exporter == bytes(32)
    assert pair.initiator._ephemeral is None
    assert any(found.seed)


def test_closing_afterwards_leaves_the_callers_secrets(pair):
    found = pair.finish(pair.answered())
    pair.initiator.close()
    assert any(found.seed)


@pytest.mark.parametrize(
    "algorithm", ["ed25519", "ecdsa-p256-sha256", "sage-secp256k1-keccak256"]
)
def test_every_signature_suite(make_pair, algorithm):
    resp = SigningKey.generate(f"{make_pair.GRACE}#sign-1", algorithm)
    ours, theirs = make_pair(resp=resp).run()
    assert ours.seed == theirs.seed


# --- out of turn ------------------------------------------------------------------


def test_a_second_start_is_refused(pair):
    pair.start()
    first = pair.initiator.initiation
    with pytest.raises(UsageError):
        pair.start()
    assert pair.initiator.initiation is first
    assert pair.initiator.state is State.INIT_SENT


def test_a_second_finish_is_refused(pair):
    data = pair.answered()
    pair.finish(data)
    with pytest.raises(UsageError):
        pair.finish(data)
    assert pair.initiator.state is State.ESTABLISHED


def test_finish_before_start_is_refused_and_changes_nothing(pair, make_pair):
    with pytest.raises(UsageError):
        pair.finish(make_pair().answered())
    assert pair.initiator.state is State.NEW
    pair.run()


def test_nothing_works_after_close(pair):
    data = pair.answered()
    exporter = pair.initiator._exporter
    pair.initiator.close()
    assert_wiped(pair.initiator, exporter)
    for call in (pair.start, lambda: pair.finish(data)):
        with pytest.raises(UsageError):
            call()


def test_fail_wipes(pair):
    pair.start()
    exporter = pair.initiator._exporter
    assert any(exporter)
    pair.initiator.fail()
    assert_wiped(pair.initiator, exporter)


# --- the protocol's negative cases: completion --------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("v", "task", "ctx", "initDid", "respDid", "initKid", "respKid", "kemKid"),
        *("suite", "combiner", "nonce", "enc", "ephC"),
    ],
)
def test_any_echo_change(pair, answer, name):
    original = answer["transcript"][name]
    other = {"nonce": b64u_encode(b"\2" * 16), "enc": ZERO, "ephC": ZERO}
    changed = in_transcript(answer, **{name: other.get(name, original + "-changed")})
    # Even with a right tag and signature for what it says.
    th = transcript.transcript_hash(changed["transcript"])
    tag = transcript.ack_tag(pair.responder.secrets.seed, th)
    data = pair.signed(changed | {"ackTagB64": b64u_encode(tag)})
    refused(pair, data, ProtocolError, Code.HANDSHAKE_ECHO)


def test_a_completion_for_another_attempt(pair, make_pair):
    other = make_pair()
    data = other.answered()
    pair.start()
    refused(pair, data, ProtocolError, Code.HANDSHAKE_ECHO)


def test_wrong_ack(pair, answer):
    data = pair.signed(answer | {"ackTagB64": ZERO})
    refused(pair, data, AuthenticationError, Code.HANDSHAKE_ACK)


def test_ack_of_a_responder_without_the_kem_key(pair, answer):
    """It signs and knows ephS, but cannot open enc."""
    ephemeral = x25519_load_private(secrets.token_bytes(32))
    public = b64u_encode(x25519_public_bytes(ephemeral))
    changed = in_transcript(answer, ephS=public)
    th = transcript.transcript_hash(changed["transcript"])
    seed = transcript.agree(
        secrets.token_bytes(32), ephemeral, pair.initiator.initiation.eph_c, th
    )
    tag = b64u_encode(transcript.ack_tag(seed, th))
    data = pair.signed(changed | {"ackTagB64": tag})
    refused(pair, data, AuthenticationError, Code.HANDSHAKE_ACK)


def test_another_handle_needs_another_ack(pair, answer):
    handle = answer["transcript"]["kid"][:-1] + "0"
    if handle == answer["transcript"]["kid"]:
        handle = handle[:-1] + "1"
    data = pair.signed(in_transcript(answer, kid=handle))
    refused(pair, data, AuthenticationError, Code.HANDSHAKE_ACK)


SCHEMA = {
    "short-ack": lambda m: m | {"ackTagB64": b64u_encode(bytes(31))},
    "padded-ack": lambda m: m | {"ackTagB64": m["ackTagB64"] + "="},
    "wrong-version": lambda m: m | {"v": "0.9.0"},
    "wrong-task": lambda m: m | {"task": "hpke/complete@v1"},
    "unknown-member": lambda m: m | {"extra": "x"},
    "unknown-transcript-member": lambda m: in_transcript(m, extra="x"),
    "bad-handle": lambda m: in_transcript(m, kid="not-a-uuid"),
    "short-ephS": lambda m: in_transcript(m, ephS=b64u_encode(bytes(31))),
}


@pytest.mark.parametrize("change", SCHEMA.values(), ids=SCHEMA)
def test_signed_but_malformed(pair, answer, change):
    data = pair.signed(change(answer))
    refused(pair, data, DecodeError, Code.HANDSHAKE_SCHEMA)


UNSIGNED = {
    "padded-signature": lambda m: m | {"sigB64": m["sigB64"] + "=="},
    "missing-signature": lambda m: without(m, "sigB64"),
    "empty-signature": lambda m: m | {"sigB64": ""},
}


@pytest.mark.parametrize("change", UNSIGNED.values(), ids=UNSIGNED)
def test_malformed_signature(pair, answer, change):
    refused(pair, jcs(change(answer)), DecodeError, Code.HANDSHAKE_SCHEMA)


@pytest.mark.parametrize("size", [64, 65])
def test_bad_signature(pair, answer, size):
    data = jcs(answer | {"sigB64": b64u_encode(bytes(size))})
    refused(pair, data, AuthenticationError, Code.HANDSHAKE_SIGNATURE)


def test_signature_of_somebody_else(pair, answer, make_pair):
    impostor = make_pair(resp=SigningKey.generate(pair.resp.kid))
    data = impostor.signed(answer)
    refused(pair, data, AuthenticationError, Code.HANDSHAKE_SIGNATURE)


def test_signature_without_the_label(pair, answer):
    body = jcs(without(answer, "sigB64"))
    data = jcs(answer | {"sigB64": b64u_encode(pair.resp.sign(body))})
    refused(pair, data, AuthenticationError, Code.HANDSHAKE_SIGNATURE)


def test_the_refusal_says_nothing(pair, answer):
    data = jcs(answer | {"sigB64": b64u_encode(bytes(64))})
    with pytest.raises(AuthenticationError, match=r"^authentication failed$"):
        pair.finish(data)


@pytest.mark.parametrize("public", [bytes(32), b"\1" + bytes(31)])
def test_unusable_eph_s(pair, answer, public):
    data = pair.signed(in_transcript(answer, ephS=b64u_encode(public)))
    refused(pair, data, ProtocolError, Code.HANDSHAKE_INVALID_DH)


def test_bounds(pair, answer):
    refused(pair, jcs(answer) + b" " * 16_384, DecodeError, Code.HANDSHAKE_BOUNDS)


def test_what_is_no_buffer_also_ends_it(pair, answer):
    exporter = pair.initiator._exporter
    with pytest.raises(UsageError):
        pair.finish("text")
    assert_wiped(pair.initiator, exporter)


# --- keys ---------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["init_key", "resp_key", "kem_key"])
@pytest.mark.parametrize("field", ["kid", "algorithm", "key"])
def test_a_key_that_changed_meanwhile(pair, which, field):
    data = pair.answered()
    exporter = pair.initiator._exporter
    now = {"kid": f"{pair.ADA}#other", "algorithm": "other", "key": b"k" * 32}[field]
    changed = dataclasses.replace(pair.keys[which], **{field: now})
    with pytest.raises(ProtocolError) as raised:
        pair.finish(data, **{which: changed})
    assert raised.value.code == Code.HANDSHAKE_BINDING
    assert_wiped(pair.initiator, exporter)


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), bytes(31)])
def test_an_unusable_kem_key_on_record(make_pair, point):
    pair = make_pair()
    keys = pair.keys | {"kem_key": dataclasses.replace(pair.keys["kem_key"], key=point)}
    engine = Initiator(pair.init, **keys, entropy=secrets.token_bytes)
    with pytest.raises(ProtocolError) as raised:
        engine.start(now=0.0, expires=pair.EXPIRES)
    assert raised.value.code == Code.HANDSHAKE_INVALID_KEM
    assert engine.state is State.CLOSED


def test_keys_that_do_not_belong_together(make_pair):
    pair = make_pair()
    eve = "did:sage:web:agents.example:eve"
    kem_of_eve = KemKey.generate(f"{eve}#kem-1")
    for wrong in (
        {"init_key": pair.keys["resp_key"]},
        {"kem_key": PublicKey(kem_of_eve.kid, "x25519", kem_of_eve.public_key)},
        {"kem_key": pair.keys["resp_key"]},
        {"resp_key": dataclasses.replace(pair.keys["resp_key"], kid="no url")},
    ):
        with pytest.raises(UsageError):
            Initiator(pair.init, **pair.keys | wrong, entropy=secrets.token_bytes)


def test_entropy_that_is_none(make_pair):
    with pytest.raises(UsageError):
        make_pair(entropy=lambda size: b"")


# --- time -----------------------------------------------------------------------------


def test_a_time_that_is_none_makes_no_keys(pair):
    with pytest.raises(TypeError):
        pair.start(now=None)
    assert pair.initiator.state is State.NEW
    assert not pair.initiator._exporter
    assert pair.initiator._ephemeral is None


@pytest.mark.parametrize(
    ("passed", "unix_passed", "late"),
    [
        (299.999, 59, False),
        (300.0, 59, True),
        (299.999, 60, True),
        (301.0, 61, True),
    ],
)
def test_deadlines(pair, passed, unix_passed, late):
    data = pair.answered()
    times = {"now": pair.NOW + passed, "unix_time": pair.UNIX + unix_passed}
    if not late:
        pair.finish(data, **times)
        return
    exporter = pair.initiator._exporter
    with pytest.raises(StaleError) as raised:
        pair.finish(data, **times)
    assert raised.value.code == Code.HANDSHAKE_EXPIRED
    assert_wiped(pair.initiator, exporter)


def test_a_wall_clock_set_back(make_pair):
    for unix_time, late in ((None, False), (make_pair.UNIX, True)):
        pair = make_pair()
        data = pair.respond(pair.start(unix_time=unix_time))
        times = {"now": pair.NOW + 60, "unix_time": pair.UNIX - 1000}
        if late:
            with pytest.raises(StaleError):
                pair.finish(data, **times)
        else:
            pair.finish(data, **times)


# --- hygiene ----------------------------------------------------------------------


@pytest.fixture
def wiped(monkeypatch):
    """The contents of every buffer that was wiped, and the buffers."""
    from sage.handshake import binding, hpke, responder

    seen = []

    def spy(*buffers):
        seen.extend((bytes(buffer), buffer) for buffer in buffers)
        real(*buffers)

    real = initiator.wipe
    for module in (hpke, transcript, initiator, responder, binding):
        monkeypatch.setattr(module, "wipe", spy)
    return seen


def test_every_intermediate_secret_is_wiped(worked, worked_keys, worked_pair, wiped):
    worked_pair.run()[0].wipe()
    public = x25519_public_bytes(worked_keys["kem"])
    dh = x25519_exchange(worked_keys["enc"], public)
    contents = [content.hex() for content, _ in wiped]
    for name in (
        *("kem_shared_secret", "exporter_secret", "exporter"),
        *("ss_e2e", "ack_key"),
    ):
        # Once at either end.
        assert contents.count(worked[f"{name}_hex"]) == 2, name
    assert contents.count(dh.hex()) == 2
    assert contents.count((b"HPKE-v1KEM\x00\x20eae_prk" + dh).hex()) == 2
    assert contents.count(worked["exporter_hex"] + worked["ss_e2e_hex"]) == 2
    assert contents.count(worked["seed_hex"]) == 1
    assert not any(any(buffer) for _, buffer in wiped)


def test_a_seed_whose_ack_is_wrong_is_wiped(worked, worked_pair, wiped):
    answer = json.loads(worked_pair.answered())
    with pytest.raises(AuthenticationError):
        worked_pair.finish(worked_pair.signed(answer | {"ackTagB64": ZERO}))
    assert worked["seed_hex"] in [content.hex() for content, _ in wiped]
    assert not any(any(buffer) for _, buffer in wiped)
