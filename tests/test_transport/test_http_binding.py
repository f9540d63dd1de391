"""An envelope and the HTTP message around it, against the published exchange."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sage
from sage.encoding import b64u_encode
from sage.envelope import (
    FAILURES,
    Request,
    Response,
    check_request,
    check_response,
    decode_envelope,
    sign,
    verify_request,
    verify_response,
)
from sage.errors import AuthenticationError, Code, PeerError, UsageError
from sage.http import (
    Policy,
    RequestMessage,
    ResponseMessage,
    begin_request,
    begin_response,
)
from sage.identity import PublicKey, SigningKey
from sage.transport.http_binding import (
    STATUS_OF,
    canonical_endpoint,
    check_binding,
    wrap_request,
    wrap_response,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "0.10.0"
VECTOR = json.loads((VECTORS / "wire-http-binding-0.10.0.json").read_text())
NOW = VECTOR["reference_now"]
ADA, GRACE = "did:sage:web:agents.example:ada", "did:sage:web:agents.example:grace"
URL = "https://agents.example/sage"


def published_key(end: str) -> PublicKey:
    member = VECTOR["public_keys"][end]
    raw = base64.b64decode(member["public_spki_der_b64"])[-32:]
    return PublicKey(member["kid"], member["alg"], raw)


def fields_of(message: dict) -> tuple[tuple[str, str], ...]:
    return (
        ("Content-Type", message["content_type"]),
        ("Content-Digest", message["content_digest"]),
        ("X-SAGE-DID", message["x_sage_did"]),
        ("X-SAGE-Version", message["x_sage_version"]),
        ("Signature-Input", message["signature_input"]),
        ("Signature", message["signature_field"]),
    )


@pytest.fixture
def published_request() -> RequestMessage:
    message = VECTOR["http_request"]
    return RequestMessage(
        method=message["method"],
        target_uri=message["target_uri"],
        fields=fields_of(message),
        content=message["body_utf8"].encode(),
    )


@pytest.fixture
def published_response() -> ResponseMessage:
    message = VECTOR["http_response"]
    return ResponseMessage(
        status=message["status"],
        fields=fields_of(message),
        content=message["body_utf8"].encode(),
    )


def test_the_published_request(published_request):
    pending = begin_request(published_request, policy=Policy.v10(), unix_time=NOW)
    request = decode_envelope(published_request.content)
    assert isinstance(request, Request)
    check_binding(request, pending)
    check_request(request, recipient=request.recipient, unix_time=NOW)
    key = published_key("initiator")
    verify_request(request, key)
    pending.finish(key)


def test_the_published_response(published_request, published_response):
    pending = begin_response(
        published_response,
        request=published_request,
        policy=Policy.v10(),
        unix_time=NOW,
    )
    request = decode_envelope(published_request.content)
    response = decode_envelope(published_response.content)
    assert isinstance(request, Request)
    assert isinstance(response, Response)
    check_binding(response, pending)
    check_response(response, request, unix_time=NOW)
    key = published_key("responder")
    verify_response(response, request, key)
    pending.finish(key)
    assert STATUS_OF[response.error] == published_response.status


def test_the_published_keys_do_not_stand_for_each_other(published_request):
    pending = begin_request(published_request, policy=Policy.v10(), unix_time=NOW)
    with pytest.raises(PeerError):
        pending.finish(published_key("responder"))


def test_what_we_send_has_the_published_shape(published_request):
    """The same envelope, under a key of ours: all but the signatures is alike."""
    request = decode_envelope(published_request.content)
    key = SigningKey.generate(request.kid)
    ours = wrap_request(sign(request, key), key, endpoint=published_request.target_uri)
    theirs = dict(published_request.fields)
    mine = dict(ours.fields)
    assert mine.keys() == theirs.keys()
    for name in mine.keys() - {"Signature", "Content-Digest"}:
        assert mine[name] == theirs[name]
    assert (ours.method, ours.target_uri) == ("POST", published_request.target_uri)


# --- our own, both ways -----------------------------------------------------------


def envelope(key: SigningKey, **changes) -> Request:
    members = {
        "id": str(uuid.uuid4()),
        "did": ADA,
        "recipient": GRACE,
        "kid": key.kid,
        "created": NOW,
        "expires": NOW + 60,
        "nonce": b64u_encode(uuid.uuid4().bytes),
        "context_id": str(uuid.uuid4()),
    }
    return sign(Request(**members | changes), key)


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate(ADA + "#sign-1")


def test_a_request_and_its_response_go_both_ways(key):
    request = envelope(key, payload=b"\x00\xff" * 1000)
    sent = wrap_request(request, key, endpoint=URL)
    pending = begin_request(sent, policy=Policy.v10(URL), unix_time=NOW)
    assert decode_envelope(sent.content) == request
    check_binding(request, pending)
    pending.finish(PublicKey(key.kid, key.algorithm, key.public_key))
    grace = SigningKey.generate(GRACE + "#sign-1")
    for error in (None, *FAILURES):
        response = sign(
            Response.answer(
                request,
                id=str(uuid.uuid4()),
                kid=grace.kid,
                created=NOW,
                expires=NOW + 60,
                nonce=b64u_encode(uuid.uuid4().bytes),
                error=error,
            ),
            grace,
        )
        back = wrap_response(response, grace, request=sent)
        assert back.status == STATUS_OF[error]
        answered = begin_response(
            back, request=sent, policy=Policy.v10(), unix_time=NOW
        )
        check_binding(response, answered)
        answered.finish(PublicKey(grace.kid, "ed25519", grace.public_key))


@pytest.mark.parametrize(
    "changes",
    [
        {"created": NOW - 1},
        {"expires": NOW + 61},
        {"nonce": b64u_encode(bytes(16))},
        {"did": GRACE, "kid": GRACE + "#sign-1", "recipient": ADA},
    ],
)
def test_an_envelope_that_says_something_else(key, changes):
    request = envelope(key)
    sent = wrap_request(request, key, endpoint=URL)
    pending = begin_request(sent, policy=Policy.v10(), unix_time=NOW)
    with pytest.raises(AuthenticationError) as refused:
        check_binding(replace(request, **changes), pending)
    assert refused.value.code is Code.SIG_BINDING


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("X-SAGE-Message-ID", "id"),
        ("X-SAGE-Context-ID", "context_id"),
        ("x-sage-task-id", "task_id"),
    ],
)
def test_optional_fields_say_what_the_body_says(key, name, member):
    request = envelope(key, task_id=str(uuid.uuid4()))
    sent = wrap_request(request, key, endpoint=URL)

    def check(value, other=request):
        dressed = sent.with_fields((name, value))
        pending = begin_request(dressed, policy=Policy.v10(), unix_time=NOW)
        check_binding(other, pending)

    check(getattr(request, member))
    with pytest.raises(AuthenticationError):
        check(str(uuid.uuid4()))
    if member != "id":
        # A member that is missing is a mismatch too.
        with pytest.raises(AuthenticationError):
            check(getattr(request, member), replace(request, **{member: None}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-sage-did", GRACE),
        ("x-sage-did", None),
        ("x-sage-version", "0.9.0"),
        ("x-sage-version", None),
    ],
)
def test_the_fields_that_are_always_there_say_what_the_body_says(key, name, value):
    """Also under a policy that leaves them to whoever reads the body."""
    request = envelope(key)
    sent = wrap_request(request, key, endpoint=URL)
    others = [line for line in sent.fields if line[0].lower() != name]
    lines = [*others, *([] if value is None else [(name, value)])]
    pending = SimpleNamespace(
        keyid=key.kid,
        created=request.created,
        expires=request.expires,
        nonce=request.nonce,
        message=replace(sent, fields=tuple(lines)),
    )
    with pytest.raises(AuthenticationError) as refused:
        check_binding(request, pending)
    assert refused.value.code is Code.SIG_BINDING


@pytest.mark.parametrize("name", ["X-SAGE-Meta-Purpose", "x-sage-more", "X-Sage-"])
def test_no_other_field_of_ours(key, name):
    sent = wrap_request(envelope(key), key, endpoint=URL).with_fields((name, "x"))
    pending = begin_request(sent, policy=Policy.v10(), unix_time=NOW)
    with pytest.raises(PeerError) as refused:
        check_binding(decode_envelope(sent.content), pending)
    assert refused.value.code is Code.SIG_BINDING


def test_the_private_suite_has_no_place_on_http():
    key = SigningKey.generate(ADA + "#sign-1", "sage-secp256k1-keccak256")
    with pytest.raises(UsageError):
        wrap_request(envelope(key), key, endpoint=URL)


def test_an_envelope_without_a_signature_is_not_wrapped(key):
    with pytest.raises(UsageError):
        wrap_request(replace(envelope(key), signature=None), key, endpoint=URL)


# --- endpoints --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://a.example", "https://a.example/"),
        ("https://A.Example:443/Sage", "https://a.example/Sage"),
        ("https://a.example:8443/sage?a=%2F", "https://a.example:8443/sage?a=%2F"),
        ("https://[::1]:8443/", "https://[::1]:8443/"),
        ("https://a.example/sage?", "https://a.example/sage"),
    ],
)
def test_an_endpoint_is_written_in_one_way(url, canonical):
    assert canonical_endpoint(url) == canonical
    assert canonical_endpoint(canonical) == canonical


@given(st.text(max_size=60))
def test_any_text_is_an_endpoint_or_refused(text):
    try:
        found = canonical_endpoint("https://" + text)
    except UsageError:
        return
    assert canonical_endpoint(found) == found


def test_every_failure_has_a_status():
    assert STATUS_OF.keys() == {None, *FAILURES}
    assert sage.RemoteFailure("unavailable").reason in STATUS_OF
