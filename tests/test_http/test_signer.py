"""What the drop-ins sign with: now, and never the same nonce twice."""

from __future__ import annotations

import dataclasses
import time

import pytest

from sage.errors import Code, ProtocolError, UsageError
from sage.http import (
    Policy,
    RequestMessage,
    ResponseMessage,
    Signer,
    verify_request,
    verify_response,
)


@pytest.fixture
def request_() -> RequestMessage:
    return RequestMessage(
        method="POST",
        target_uri="https://a.example/x",
        fields=(("Content-Type", "text/plain"),),
        content=b"content",
    )


def key_of(agent):
    kid = agent.signing_key.kid
    return agent.record.find_signing_key(kid, unix_time=int(time.time()))


def test_what_cannot_sign_is_refused_before_the_first_request(ada):
    for key in (ada, None, "key"):
        with pytest.raises(UsageError, match="signing_key"):
            Signer(key=key)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"ttl_s": ttl_s} for ttl_s in (0, -1, 60.0, "60", True, None)),
        *({"label": label} for label in ("", "Sig1", "a b", 1, None)),
        *({"tag": tag} for tag in ("sägé", "a\nb", 1)),
    ],
)
def test_what_no_signature_can_say_is_refused_before_the_first_request(ada, wrong):
    with pytest.raises(UsageError):
        Signer(key=ada.signing_key, **wrong)


def test_requests_are_signed_now_for_a_minute(ada, request_):
    before = int(time.time())
    signer = Signer(key=ada.signing_key)
    signed = [request_.with_fields(*signer.sign_request(request_)) for _ in range(10)]
    proofs = [
        verify_request(request, key_of(ada), unix_time=before) for request in signed
    ]
    assert len({proof.nonce for proof in proofs}) == 10
    assert all(len(proof.nonce or "") == 22 for proof in proofs)
    for proof in proofs:
        assert before <= (proof.created or 0) <= time.time()
        assert (proof.expires or 0) - (proof.created or 0) == 60


def test_a_response_is_bound_to_its_request(ada, grace, request_):
    asked = request_.with_fields(*Signer(key=ada.signing_key).sign_request(request_))
    answer = ResponseMessage(status=200, content=b"answer")
    fields = Signer(key=grace.signing_key).sign_response(answer, request=asked)
    proof = verify_response(
        answer.with_fields(*fields),
        key_of(grace),
        request=asked,
        unix_time=int(time.time()),
    )
    assert '"signature";req' in proof.covered
    assert '"content-digest"' in proof.covered


def test_the_head_of_a_stream_is_signed_without_a_digest(ada, grace, request_):
    asked = request_.with_fields(*Signer(key=ada.signing_key).sign_request(request_))
    fields = (("Content-Type", "text/event-stream"),)
    stream = ResponseMessage(status=200, fields=fields, content=None)
    signed = stream.with_fields(
        *Signer(key=grace.signing_key).sign_response(stream, request=asked)
    )
    now = int(time.time())
    with pytest.raises(ProtocolError) as refused:
        verify_response(signed, key_of(grace), request=asked, unix_time=now)
    assert refused.value.code is Code.DIGEST_MISSING
    proof = verify_response(
        signed,
        key_of(grace),
        request=asked,
        policy=Policy(require_digest=False),
        unix_time=now,
    )
    assert proof.covered == (
        '"@status"',
        '"@method";req',
        '"@target-uri";req',
        '"@authority";req',
        '"content-digest";req',
        '"signature";req',
        '"content-type"',
    )


def test_the_settings_are_the_callers(ada, request_):
    signer = Signer(
        key=ada.signing_key,
        label="mine",
        tag="orders",
        components=["@method", "@target-uri", "@authority", "content-digest"],
        ttl_s=5,
    )
    signed = request_.with_fields(*signer.sign_request(request_))
    policy = Policy(label="mine", tag="orders")
    proof = verify_request(
        signed, key_of(ada), policy=policy, unix_time=int(time.time())
    )
    assert (proof.expires or 0) - (proof.created or 0) == 5
    assert '"content-type"' not in proof.covered


def test_more_fields_are_covered_where_a_request_has_them(ada, request_):
    signer = Signer(key=ada.signing_key, also_cover=["x-trace", "content-type"])
    policy = Policy(also_cover=("x-trace",))
    now = int(time.time())
    traced = request_.with_fields(("X-Trace", "1"))
    for content in (b"", b"content"):
        request = dataclasses.replace(traced, content=content)
        signed = request.with_fields(*signer.sign_request(request))
        proof = verify_request(signed, key_of(ada), policy=policy, unix_time=now)
        assert '"x-trace"' in proof.covered
        assert ('"content-digest"' in proof.covered) is bool(content)
    signed = request_.with_fields(*signer.sign_request(request_))
    assert '"x-trace"' not in verify_request(signed, key_of(ada), unix_time=now).covered


@pytest.mark.parametrize(
    "settings",
    [
        {"also_cover": "x-trace"},
        {"components": "@method"},
        {"components": ["@method", 5]},
        {"also_cover": ["x y"]},
        {"components": 5},
    ],
)
def test_what_cannot_be_covered_is_refused_before_the_first_request(ada, settings):
    with pytest.raises(UsageError):
        Signer(key=ada.signing_key, **settings)
