"""The published vectors, whole: RFC 9421, 1.0.0-draft.1 and 0.10.0."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from typing import Any

import pytest

from sage.errors import Code
from sage.http import (
    V10,
    HttpKey,
    HttpPublicKey,
    Policy,
    RequestMessage,
    ResponseMessage,
    begin_request,
    begin_response,
    sign_request,
    sign_response,
    verify_request,
)
from sage.identity import PublicKey, parse_key_url

from .conftest import RFC_CASES, changed, load, outcome, rfc_case, spki_key, wire_fields

# --- RFC 9421, appendix B --------------------------------------------------------

# Its examples show the mechanism, not what to ask for: few cover what our defaults
# demand, and none says until when it holds. Each thing waived is named.
LOOSE = Policy(
    label=None,
    cover=(),
    require_expires=False,
    require_nonce=False,
    require_digest=False,
    require_request=False,
)
RFC_TIME = 1618884480


@pytest.mark.parametrize("case_id", RFC_CASES)
def test_appendix_b(case_id: str) -> None:
    case = rfc_case(case_id)
    message, key = case["view"], case["key"]
    if isinstance(message, RequestMessage):
        pending = begin_request(message, policy=LOOSE, unix_time=RFC_TIME)
    else:
        # The published message carries another content than its digest.
        message = changed(message, content=None)
        pending = begin_response(
            message, request=None, policy=LOOSE, unix_time=RFC_TIME
        )
    assert pending.base.decode() == case["signature_base"]
    proof = pending.finish(key)
    assert proof.keyid == case["keyid"]
    assert proof.key.algorithm == case["algorithm"]


@pytest.mark.parametrize("case_id", RFC_CASES)
def test_appendix_b_would_not_pass_by_default(case_id: str) -> None:
    message = rfc_case(case_id)["view"]
    if isinstance(message, RequestMessage):
        found = outcome(lambda: begin_request(message, unix_time=RFC_TIME))
        assert found in (Code.SIG_UNKNOWN_LABEL, Code.SIG_COVERAGE)


# --- 1.0.0-draft.1 ------------------------------------------------------------------

DRAFT1 = {v["name"]: v for v in load("draft1/rfc9421.json")["vectors"]}
# A fixed created, no expires: as the vectors' own description says.
DRAFT1_POLICY = Policy(
    algorithms=frozenset({"ed25519", "ecdsa-p256-sha256", "es256k"}),
    require_expires=False,
    require_alg=True,
    max_age_s=None,
)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def draft1_key(given: dict[str, Any]) -> HttpKey:
    secret = hashlib.sha256(given["key_label"].encode()).digest()
    if given["alg"] == "ecdsa-p256-sha256":
        scalar = int.from_bytes(secret, "big") % P256_ORDER
        secret = scalar.to_bytes(32, "big")
    return HttpKey.from_private_bytes(given["keyid"], given["alg"], secret)


def draft1_request(given: dict[str, Any]) -> RequestMessage:
    return RequestMessage(
        method=given["method"],
        target_uri=given["url"],
        fields=tuple(given["headers"].items()),
        content=given["body"].encode(),
    )


def draft1_signed(given: dict[str, Any]) -> dict[str, str]:
    """Sign a request as the vector's generator did, under the general profile."""
    fields = sign_request(
        draft1_request(given),
        draft1_key(given),
        created=given["created"],
        expires=None,
        nonce=given["nonce"],
    )
    return dict(fields)


@pytest.mark.parametrize("name", [name for name in DRAFT1 if "request" in name])
def test_draft1_requests(name: str) -> None:
    vector = DRAFT1[name]
    given, wanted = vector["input"], vector["output"]
    added = draft1_signed(given)
    assert added["Content-Digest"] == wanted["content_digest"]
    assert added["Signature-Input"] == wanted["signature_input"]
    if vector["mode"] == "deterministic":
        assert added["Signature"] == wanted["signature"]
    received = draft1_request(given).with_fields(
        ("Content-Digest", wanted["content_digest"]),
        ("Signature-Input", wanted["signature_input"]),
        ("Signature", wanted["signature"]),
    )
    now = given["created"] + 10_000
    pending = begin_request(received, policy=DRAFT1_POLICY, unix_time=now)
    assert pending.base.decode() == wanted["signature_base"]
    assert list(pending.covered) == given["covered"]
    proof = pending.finish(draft1_key(given).verification_key())
    assert proof.peer == given["headers"]["x-sage-did"]
    # The expected DID is bound to the key.
    eve = ("x-sage-did", "did:sage:ethereum:0x" + "3" * 40)
    other = changed(
        received,
        fields=tuple(eve if n == "x-sage-did" else (n, v) for n, v in received.fields),
    )
    assert (
        outcome(lambda: begin_request(other, policy=DRAFT1_POLICY, unix_time=now))
        is Code.SIG_BINDING
    )


def test_the_drafts_secp256k1_is_asked_for_by_name() -> None:
    given = DRAFT1["request-es256k"]["input"]
    request = draft1_request(given).with_fields(*draft1_signed(given).items())
    policy = DRAFT1_POLICY.replace(algorithms=None)
    key = draft1_key(given).verification_key()
    assert (
        outcome(
            lambda: verify_request(
                request, key, policy=policy, unix_time=given["created"]
            )
        )
        is Code.SIG_ALG_MISMATCH
    )


def test_the_drafts_response() -> None:
    vector = DRAFT1["response-ed25519"]
    given, wanted = vector["input"], vector["output"]
    asked = draft1_signed(given["request"])
    assert asked["Signature"] == wanted["request_signature"]
    assert asked["Signature-Input"] == wanted["request_signature_input"]
    request = draft1_request(given["request"]).with_fields(*asked.items())
    response = ResponseMessage(
        status=given["status"],
        fields=tuple(given["headers"].items()),
        content=given["body"].encode(),
    )
    key = draft1_key(given)
    added = sign_response(
        response,
        key,
        request=request,
        created=given["created"],
        expires=None,
        nonce=given["nonce"],
    )
    assert dict(added) == {
        "Content-Digest": wanted["content_digest"],
        "Signature-Input": wanted["signature_input"],
        "Signature": wanted["signature"],
    }
    pending = begin_response(
        response.with_fields(*added),
        request=request,
        policy=DRAFT1_POLICY,
        unix_time=given["created"],
    )
    assert pending.base.decode() == wanted["signature_base"]
    assert list(pending.covered) == given["covered"]
    pending.finish(key.verification_key())


# --- 0.10.0: one whole exchange ------------------------------------------------------

WIRE = load("0.10.0/wire-http-binding-0.10.0.json")


class Recorded:
    """A signer whose private key was thrown away: it signs one base, once known.

    That the recorded signature is this base's is checked under the public key.
    """

    def __init__(self, public: PublicKey, field: str) -> None:
        self.kid, self.algorithm = public.kid, public.algorithm
        self._public = public
        self._signature = b64decode(field.removeprefix("sig1=:").removesuffix(":"))

    def sign(self, message: Any, /) -> bytes:
        self._public.verify(message, self._signature)
        return self._signature


def wire_request(part: dict[str, Any], *, signed: bool) -> RequestMessage:
    return RequestMessage(
        method=part["method"],
        target_uri=part["target_uri"],
        fields=wire_fields(part, signed=signed),
        content=part["body_utf8"].encode(),
    )


def wire_response(part: dict[str, Any], *, signed: bool) -> ResponseMessage:
    return ResponseMessage(
        status=part["status"],
        fields=wire_fields(part, signed=signed),
        content=part["body_utf8"].encode(),
    )


def times(part: dict[str, Any]) -> dict[str, Any]:
    return {name: part[name] for name in ("created", "expires", "nonce")}


def test_the_wire_is_verified() -> None:
    asked, answered = WIRE["http_request"], WIRE["http_response"]
    now = WIRE["reference_now"]
    request = wire_request(asked, signed=True)
    pending = begin_request(
        request, policy=Policy.v10(asked["target_uri"]), unix_time=now
    )
    assert pending.base.decode() == asked["signature_base_ascii"]
    proof = pending.finish(spki_key(WIRE["public_keys"]["initiator"]))
    assert (proof.keyid, proof.nonce) == (asked["keyid"], asked["nonce"])
    reply = begin_response(
        wire_response(answered, signed=True),
        request=request,
        policy=Policy.v10(),
        unix_time=now,
    )
    assert reply.base.decode() == answered["signature_base_ascii"]
    assert reply.finish(spki_key(WIRE["public_keys"]["responder"])).tag == V10.tag


def test_the_wire_is_produced() -> None:
    asked, answered = WIRE["http_request"], WIRE["http_response"]
    initiator = Recorded(
        spki_key(WIRE["public_keys"]["initiator"]), asked["signature_field"]
    )
    unsigned = wire_request(asked, signed=False)
    without_digest = changed(
        unsigned, fields=tuple(f for f in unsigned.fields if f[0] != "Content-Digest")
    )
    added = sign_request(without_digest, initiator, profile=V10, **times(asked))
    assert dict(added) == {
        "Content-Digest": asked["content_digest"],
        "Signature-Input": asked["signature_input"],
        "Signature": asked["signature_field"],
    }
    responder = Recorded(
        spki_key(WIRE["public_keys"]["responder"]), answered["signature_field"]
    )
    added = sign_response(
        wire_response(answered, signed=False),
        responder,
        request=wire_request(asked, signed=True),
        profile=V10,
        **times(answered),
    )
    assert dict(added) == {
        "Signature-Input": answered["signature_input"],
        "Signature": answered["signature_field"],
    }


# --- 0.10.0: the clauses about HTTP --------------------------------------------------

CLAUSES = load("0.10.0/standards-clauses-0.10.0.json")
CASES = {case["case_id"]: case for case in CLAUSES["cases"]}


def clause_request(case: dict[str, Any], field: str) -> RequestMessage:
    part = CLAUSES["http_request"] | {
        "signature_input": case["signature_input"],
        "signature_field": field,
    }
    return wire_request(part, signed=True)


@pytest.mark.parametrize("case_id", ["msca-http-ed25519", "msca-http-p256"])
def test_the_two_algorithms(case_id: str) -> None:
    case = CASES[case_id]
    request = clause_request(case, case["signature_field"])
    now = CLAUSES["http_request"]["created"]
    pending = begin_request(request, policy=Policy.v10(), unix_time=now)
    assert pending.base.decode() == case["signature_base_ascii"]
    assert pending.keyid == case["outer_keyid"] == case["inner_kid"]
    pending.finish(spki_key(case["record_key"]))
    answer = case["response"]
    part = CLAUSES["http_response"] | answer
    reply = begin_response(
        wire_response(part, signed=True),
        request=request,
        policy=Policy.v10(),
        unix_time=now,
    )
    assert reply.base.decode() == answer["signature_base_ascii"]
    reply.finish(spki_key(answer["record_key"]))
    # Bound to exactly the field that was received.
    other = CASES[
        "msca-http-p256" if case_id.endswith("ed25519") else "msca-http-ed25519"
    ]
    crossed = begin_response(
        wire_response(part, signed=True),
        request=clause_request(case, other["signature_field"]),
        policy=Policy.v10(),
        unix_time=now,
    )
    assert (
        outcome(lambda: crossed.finish(spki_key(answer["record_key"]))) is Code.SIG_BAD
    )


def test_the_private_algorithm_stays_off_http() -> None:
    case = CASES["msca-http-private-alg"]
    assert case["expected"]["decision"] == "REJECT_HTTP_ALG"
    request = clause_request(case, "sig1=:YQ==:")
    now = CLAUSES["http_request"]["created"]
    assert (
        outcome(lambda: begin_request(request, policy=Policy.v10(), unix_time=now))
        is Code.SIG_ALG_MISMATCH
    )


def test_a_private_key_is_no_key_for_http() -> None:
    case = CASES["msca-http-only-private-key"]
    assert case["expected"]["decision"] == "REJECT_NO_MATCHING_HTTP_KEY"
    (entry,) = case["record_keys"]
    signed = CASES["msca-http-ed25519"]
    text = signed["signature_input"].replace("#sign-ed", "#sign-k1")
    request = clause_request({"signature_input": text}, signed["signature_field"])
    now = CLAUSES["http_request"]["created"]
    pending = begin_request(request, policy=Policy.v10(), unix_time=now)
    assert pending.keyid == case["outer_keyid"]
    point = bytes.fromhex(CLAUSES["jwk_representation"]["public_sec1_hex"])
    key = PublicKey(entry["kid"], entry["alg"], point)
    assert outcome(lambda: pending.finish(key)) is Code.SIG_ALG_MISMATCH


def test_no_key_stands_in_for_another() -> None:
    case = CASES["msca-http-no-substitution"]
    assert case["expected"]["decision"] == "REJECT_KEYID_MISMATCH"
    signed = CASES["msca-http-ed25519"]
    request = clause_request(signed, signed["signature_field"])
    now = CLAUSES["http_request"]["created"]
    pending = begin_request(request, policy=Policy.v10(), unix_time=now)
    assert pending.keyid == case["outer_keyid"] != case["inner_kid"]
    good = spki_key(signed["record_key"])
    inner = PublicKey(case["inner_kid"], good.algorithm, good.key)
    assert outcome(lambda: pending.finish(inner)) is Code.SIG_BINDING


@pytest.mark.parametrize(
    "identifier", CASES["msca-did-url-prefix-case"]["identifiers"], ids=str
)
def test_the_prefix_of_a_did_is_lower_case(identifier: dict[str, str]) -> None:
    value, expected = identifier["value"], identifier["expected"]
    if expected == "VALID_PREFIX":
        assert parse_key_url(value).url == value
        return
    signed = CASES["msca-http-ed25519"]
    text = signed["signature_input"].replace(signed["outer_keyid"], value)
    request = clause_request({"signature_input": text}, signed["signature_field"])
    now = CLAUSES["http_request"]["created"]
    assert (
        outcome(lambda: begin_request(request, policy=Policy.v10(), unix_time=now))
        == expected
    )


def test_keys_by_name_are_the_same_keys() -> None:
    """`HttpPublicKey` and the identity's `PublicKey` agree on the vectors."""
    for case_id in ("msca-http-ed25519", "msca-http-p256"):
        case = CASES[case_id]
        key = spki_key(case["record_key"])
        other = HttpPublicKey.from_public_bytes(key.kid, key.algorithm, key.key)
        other.verify(
            case["signature_base_ascii"].encode(), b64decode(case["signature_b64"])
        )
