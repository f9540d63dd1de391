from __future__ import annotations

import dataclasses
import json
import secrets

import pytest

from sage.encoding import b64u_encode, jcs
from sage.errors import (
    Code,
    DecodeError,
    PeerError,
    ProtocolError,
    StaleError,
    UsageError,
)
from sage.handshake import Completion, Responder, State
from sage.identity.keys import KemKey, PublicKey, SigningKey
from sage.types import Role

EVE = "did:sage:web:agents.example:eve"


def without(members, name):
    return {key: value for key, value in members.items() if key != name}


@pytest.fixture
def proposal(pair):
    """A valid initiation as a JSON object, and its pair."""
    return json.loads(pair.start())


def refused(pair, payload, kind, code, **more):
    with pytest.raises(PeerError) as raised:
        pair.respond(payload, **more)
    assert type(raised.value) is kind
    assert raised.value.code == code
    assert_over(pair.responder)
    with pytest.raises(UsageError):
        pair.respond(payload, **more)


def assert_over(responder):
    assert responder.state is State.CLOSED
    with pytest.raises(UsageError):
        _ = responder.secrets


# --- what works -----------------------------------------------------------------


def test_the_completion(pair):
    payload = pair.start()
    completion = Completion.decode(pair.respond(payload))
    assert pair.responder.state is State.RESPONSE_SENT
    assert jcs(completion.echo) == payload
    pair.keys["resp_key"].verify(completion.signing_input(), completion.signature)
    found = pair.responder.secrets
    assert found.binding.role is Role.RESPONDER
    assert found.binding.kid == completion.kid
    assert any(found.seed)


def test_everything_is_fresh_each_time(make_pair):
    answers = [Completion.decode(make_pair().answered()) for _ in range(5)]
    for name in ("eph_s", "kid", "ack_tag"):
        assert len({getattr(answer, name) for answer in answers}) == 5


def test_the_secrets_are_provisional_until_confirmed(pair):
    pair.answered()
    provisional = pair.responder.secrets
    pair.confirm()
    assert pair.responder.state is State.ESTABLISHED
    assert pair.responder.secrets is provisional


def test_an_envelope_may_have_more_attributes(pair, make_pair):
    @dataclasses.dataclass(frozen=True)
    class Request(type(pair.envelope)):
        payload: bytes = b""

    payload = pair.start()
    envelope = Request(**dataclasses.asdict(pair.envelope), payload=payload)
    pair.respond(payload, envelope=envelope)


# --- out of turn ------------------------------------------------------------------


def test_no_secrets_before_the_completion(pair):
    with pytest.raises(UsageError):
        _ = pair.responder.secrets
    with pytest.raises(UsageError):
        pair.confirm()
    assert pair.responder.state is State.NEW


def test_a_second_response_is_refused_and_changes_nothing(pair):
    payload = pair.start()
    pair.respond(payload)
    found = pair.responder.secrets
    seed = bytes(found.seed)
    for again in (payload, b"", b"garbage"):
        with pytest.raises(UsageError):
            pair.respond(again)
        assert pair.responder.state is State.RESPONSE_SENT
        assert pair.responder.secrets is found
        assert found.seed == seed
    pair.confirm()
    with pytest.raises(UsageError):
        pair.respond(payload)
    assert pair.responder.state is State.ESTABLISHED


def test_a_second_confirmation_is_refused(pair):
    pair.run()
    with pytest.raises(UsageError):
        pair.confirm()
    assert pair.responder.state is State.ESTABLISHED


@pytest.mark.parametrize("end", ["close", "fail"])
def test_ending_wipes(pair, end):
    pair.answered()
    seed = pair.responder.secrets.seed
    assert any(seed)
    getattr(pair.responder, end)()
    assert seed == bytes(32)
    assert_over(pair.responder)
    with pytest.raises(UsageError):
        pair.confirm()


def test_closing_an_established_handshake_wipes_what_is_left(pair):
    _, theirs = pair.run()
    pair.responder.close()
    assert theirs.seed == bytes(32)
    assert_over(pair.responder)


# --- the protocol's negative cases: initiation ---------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suite", "other"),
        ("combiner", "other"),
        ("v", "0.9.0"),
        ("unknown", "x"),
        ("ctx", "22222222-2222-4222-8222-222222222222"),
        ("nonce", b64u_encode(b"\1" * 16)),
        ("respKid", "did:sage:web:agents.example:grace#sign-2"),
        ("kemKid", "did:sage:web:agents.example:grace#kem-2"),
        ("initKid", "did:sage:web:agents.example:ada#sign-2"),
        ("initKid", f"{EVE}#sign-1"),
        ("initDid", EVE),
        ("respDid", EVE),
    ],
)
def test_binding(pair, proposal, name, value):
    payload = jcs(proposal | {name: value})
    refused(pair, payload, ProtocolError, Code.HANDSHAKE_BINDING)


def test_a_whole_other_initiator_or_responder(pair, proposal):
    for changed in (
        {"initDid": EVE, "initKid": f"{EVE}#sign-1"},
        {"respDid": EVE, "respKid": f"{EVE}#sign-1", "kemKid": f"{EVE}#kem-1"},
    ):
        with pytest.raises(ProtocolError) as raised:
            pair.responder._require_binding(
                type(pair.initiator.initiation).decode(jcs(proposal | changed)),
                pair.envelope,
            )
        assert raised.value.code == Code.HANDSHAKE_BINDING


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("context_id", None),
        ("context_id", "22222222-2222-4222-8222-222222222222"),
        ("nonce", b64u_encode(b"\1" * 16)),
        ("kid", "did:sage:web:agents.example:ada#sign-2"),
        ("did", EVE),
        ("recipient", EVE),
    ],
)
def test_an_envelope_that_says_otherwise(pair, field, value):
    payload = pair.start()
    envelope = dataclasses.replace(pair.envelope, **{field: value})
    refused(pair, payload, ProtocolError, Code.HANDSHAKE_BINDING, envelope=envelope)


def test_another_key_of_the_initiator_than_the_pinned_one(pair, proposal):
    """Even where the envelope names the same key as the initiation."""
    kid = f"{pair.ADA}#sign-2"
    refused(
        pair,
        jcs(proposal | {"initKid": kid}),
        ProtocolError,
        Code.HANDSHAKE_BINDING,
        envelope=dataclasses.replace(pair.envelope, kid=kid),
    )


@pytest.mark.parametrize("name", ["task", "enc", "ephC"])
def test_schema(pair, proposal, name):
    payload = jcs(without(proposal, name))
    refused(pair, payload, DecodeError, Code.HANDSHAKE_SCHEMA)


def test_a_completion_is_no_initiation(pair, make_pair):
    refused(pair, make_pair().answered(), ProtocolError, Code.HANDSHAKE_BINDING)


def test_bounds(pair, proposal):
    payload = jcs(proposal) + b" " * 16_384
    refused(pair, payload, DecodeError, Code.HANDSHAKE_BOUNDS)


@pytest.mark.parametrize("public", [bytes(32), b"\1" + bytes(31)])
def test_unusable_ephemeral_keys(make_pair, public):
    for name, code in (
        ("enc", Code.HANDSHAKE_INVALID_KEM),
        ("ephC", Code.HANDSHAKE_INVALID_DH),
    ):
        pair = make_pair()
        payload = jcs(json.loads(pair.start()) | {name: b64u_encode(public)})
        refused(pair, payload, ProtocolError, code)


def test_what_is_no_buffer_also_ends_it(pair):
    with pytest.raises(UsageError):
        pair.respond("text")
    assert_over(pair.responder)


def test_a_key_that_cannot_sign_any_more_leaves_no_secrets(make_pair):
    resp = SigningKey.generate(f"{make_pair.GRACE}#sign-1")
    pair = make_pair(resp=resp)
    payload = pair.start()
    resp.wipe()
    with pytest.raises(UsageError):
        pair.respond(payload)
    assert_over(pair.responder)


# --- keys ---------------------------------------------------------------------------


def test_our_record_must_show_our_keys(make_pair):
    pair = make_pair()
    ours = {
        "init_key": pair.keys["init_key"],
        "resp_key": pair.keys["resp_key"],
        "kem_public": pair.keys["kem_key"],
    }
    other_kem = KemKey.generate(pair.kem.kid)
    for wrong in (
        {"resp_key": pair.keys["init_key"]},
        {"kem_public": PublicKey(pair.kem.kid, "x25519", other_kem.public_key)},
    ):
        with pytest.raises(UsageError):
            Responder(pair.resp, pair.kem, **ours | wrong, entropy=secrets.token_bytes)


def test_entropy_that_is_none(make_pair):
    pair = make_pair(resp_entropy=lambda size: b"")
    with pytest.raises(UsageError):
        pair.answered()
    assert_over(pair.responder)


# --- time -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "unix_passed", "expires", "late"),
    [
        (299.999, 59, (60, 60), False),
        (300.0, 59, (60, 60), True),
        (299.999, 60, (60, 60), True),
        (1.0, 30, (30, 60), True),  # the initiation's envelope
        (1.0, 29, (30, 60), False),
        (1.0, 30, (60, 30), True),  # the completion's envelope
        (1.0, 29, (60, 30), False),
    ],
)
def test_confirmation_in_time(pair, passed, unix_passed, expires, late):
    initiation_expires, response_expires = (pair.UNIX + s for s in expires)
    pair.respond(
        pair.start(), expires=initiation_expires, response_expires=response_expires
    )
    seed = pair.responder.secrets.seed
    times = {"now": pair.NOW + passed, "unix_time": pair.UNIX + unix_passed}
    assert pair.responder.expired(**times) is late
    if not late:
        pair.confirm(**times)
        assert pair.responder.state is State.ESTABLISHED
        return
    with pytest.raises(StaleError) as raised:
        pair.confirm(**times)
    assert raised.value.code == Code.HANDSHAKE_EXPIRED
    assert seed == bytes(32)
    assert_over(pair.responder)


def test_an_initiation_that_has_expired(make_pair):
    """The envelope's 30 s of grace do not apply to a handshake."""
    pair = make_pair()
    refused(
        pair,
        pair.start(),
        StaleError,
        Code.HANDSHAKE_EXPIRED,
        unix_time=pair.EXPIRES,
    )
    pair = make_pair()
    pair.respond(pair.start(), unix_time=pair.EXPIRES - 1)


def test_a_wall_clock_set_back(pair):
    pair.respond(pair.start(), unix_time=pair.UNIX)
    with pytest.raises(StaleError):
        pair.confirm(now=pair.NOW + 60, unix_time=pair.UNIX - 1000)
