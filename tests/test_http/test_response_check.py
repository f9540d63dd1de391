"""Who may answer, and which answers are believed without a digest."""

from __future__ import annotations

import dataclasses
import os
import time

import pytest

import sage
from sage.encoding import b64u_encode
from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    PeerError,
    ProtocolError,
    UsageError,
)
from sage.http import (
    V10,
    HttpKey,
    Policy,
    RequestMessage,
    ResponseCheck,
    ResponseMessage,
    Signer,
    encode_digest,
    sign_request,
    sign_response,
)

GRACE = "did:sage:web:agents.example:grace"
EVENTS = (("content-type", "Text/Event-Stream ; charset=utf-8"),)


@pytest.fixture
def asked(ada) -> RequestMessage:
    request = RequestMessage(method="GET", target_uri="https://a.example/x")
    return request.with_fields(*Signer(key=ada.signing_key).sign_request(request))


@pytest.fixture
def check(resolver) -> ResponseCheck:
    return ResponseCheck(
        resolver=resolver, peer=GRACE, unsigned_streams={"text/event-stream"}
    )


def answer(grace, asked, **options) -> ResponseMessage:
    """Return a signed response, its content not yet read."""
    response = ResponseMessage(status=options.pop("status", 200), **options)
    fields = Signer(key=grace.signing_key).sign_response(response, request=asked)
    return dataclasses.replace(response.with_fields(*fields), content=None)


async def test_a_content_must_be_the_digests(check, grace, asked):
    held = await check.check(answer(grace, asked, content=b"abc"), request=asked)
    assert held is not None
    held.update(b"abc")
    held.finish()
    held.update(b"d")
    with pytest.raises(AuthenticationError) as refused:
        held.finish()
    assert refused.value.code is Code.DIGEST_MISMATCH
    assert refused.value.may_have_run


async def test_an_empty_content_needs_no_digest(check, grace, asked):
    empty = (("Content-Length", "0"),)
    held = await check.check(answer(grace, asked, fields=empty), request=asked)
    assert held is not None
    held.finish()
    with pytest.raises(ProtocolError) as refused:
        held.update(b"x")
    assert refused.value.code is Code.DIGEST_MISSING
    assert refused.value.may_have_run


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 204), ("GET", 304), ("HEAD", 200)]
)
async def test_what_has_no_content_gets_none(check, ada, grace, method, status):
    plain = RequestMessage(method=method, target_uri="https://agents.example/a")
    signer = Signer(key=ada.signing_key)
    asked = plain.with_fields(*signer.sign_request(plain))
    described = (("Content-Digest", encode_digest(b"what GET would get")),)
    for fields in ((), described):
        response = answer(grace, asked, status=status, fields=fields, content=None)
        held = await check.check(response, request=asked)
        assert held is not None
        held.update(b"")
        held.finish()
        with pytest.raises(ProtocolError) as refused:
            held.update(b"from in between")
        assert refused.value.code is Code.DIGEST_MISSING


def strictly(message, sign, key, **options):
    """Return a message signed under 0.10.0."""
    described = message.with_fields(
        ("Content-Type", "application/json"),
        ("X-SAGE-DID", key.kid.partition("#")[0]),
        ("X-SAGE-Version", "0.10.0"),
    )
    now, nonce = int(time.time()), b64u_encode(os.urandom(16))
    times = {"created": now, "expires": now + 60, "nonce": nonce}
    return described.with_fields(*sign(described, key, profile=V10, **times, **options))


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 204), ("GET", 304), ("HEAD", 200)]
)
async def test_a_strict_policy_takes_no_content_with_its_digest_alone(
    resolver, ada, grace, method, status
):
    check = ResponseCheck(
        resolver=resolver,
        peer=GRACE,
        policy=Policy.v10(),
        unsigned_streams={"text/event-stream"},
    )
    plain = RequestMessage(method=method, target_uri="https://agents.example/a")
    asked = strictly(plain, sign_request, ada.signing_key)
    empty = ResponseMessage(status=status)
    signed = strictly(empty, sign_response, grace.signing_key, request=asked)
    held = await check.check(dataclasses.replace(signed, content=None), request=asked)
    assert held is not None
    held.finish()
    with pytest.raises(PeerError):
        held.update(b"from in between")
    loose = answer(grace, asked, status=status, content=None)
    for fields in (loose.fields, (*loose.fields, *EVENTS)):
        with pytest.raises(PeerError) as refused:
            await check.check(dataclasses.replace(loose, fields=fields), request=asked)
        assert refused.value.may_have_run


async def test_a_named_stream_is_believed(check, grace, asked):
    stream = answer(grace, asked, fields=EVENTS, content=None)
    assert await check.check(stream, request=asked) is None


async def test_a_named_stream_with_a_digest_is_checked(check, grace, asked):
    events = answer(grace, asked, fields=EVENTS, content=b"data: 1\n\n")
    assert await check.check(events, request=asked) is not None


async def test_a_refusal_is_told_by_its_status(check, asked):
    with pytest.raises(ProtocolError, match="401") as refused:
        await check.check(ResponseMessage(status=401), request=asked)
    assert refused.value.code is Code.SIG_MISSING
    assert refused.value.may_have_run


async def test_other_streams_are_not_believed(check, grace, asked):
    stream = answer(grace, asked, fields=(("content-type", "a/b"),), content=None)
    with pytest.raises(ProtocolError) as refused:
        await check.check(stream, request=asked)
    assert refused.value.code is Code.DIGEST_MISSING


async def test_a_stream_whose_type_is_anybodys_is_not_believed(check, grace, asked):
    stream = ResponseMessage(status=200, content=None)
    fields = Signer(key=grace.signing_key).sign_response(stream, request=asked)
    typed = stream.with_fields(*fields, *EVENTS)
    with pytest.raises(ProtocolError) as refused:
        await check.check(typed, request=asked)
    assert refused.value.code is Code.SIG_COVERAGE


async def test_a_server_without_a_did_is_known_by_its_key(ada, asked):
    key = HttpKey.generate("server", "ecdsa-p384-sha384")
    response = ResponseMessage(status=200, content=b"abc")
    fields = sign_response(
        response, key, request=asked, created=1, expires=None, nonce=None
    )
    policy = Policy(require_nonce=False, require_expires=False, max_age_s=None)
    check = ResponseCheck(keys={"server": key.verification_key()}, policy=policy)
    arrived = dataclasses.replace(response.with_fields(*fields), content=None)
    assert await check.check(arrived, request=asked) is not None


def test_whose_answers_must_be_said():
    with pytest.raises(UsageError, match="name a peer"):
        ResponseCheck(resolver=sage.MemoryResolver())
    with pytest.raises(UsageError):
        ResponseCheck()
    with pytest.raises(UsageError):
        ResponseCheck(peer=GRACE)
    with pytest.raises(DecodeError):
        ResponseCheck(resolver=sage.MemoryResolver(), peer="grace")
