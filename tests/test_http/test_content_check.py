"""Which check a content gets, and what each refuses."""

from __future__ import annotations

import time

import pytest

from sage.errors import AuthenticationError, Code, DecodeError, ProtocolError
from sage.http import (
    ContentDigester,
    Policy,
    RequestMessage,
    sign_request,
    verify_request,
)
from sage.http.content_check import AnyContent, NoContent, content_check


def proof(ada, content: bytes | None, policy: Policy, **options: object):
    request = RequestMessage(
        method="POST", target_uri="https://a.example/", content=content
    )
    now = int(time.time())
    fields = sign_request(
        request, ada.signing_key, created=now, expires=now + 60, nonce="n", **options
    )
    (key,) = [
        ada.record.find_signing_key(ada.signing_key.kid, unix_time=now),
    ]
    signed = request.with_fields(*fields)
    return verify_request(signed, key, policy=policy, unix_time=now)


def test_a_covered_digest_is_what_counts(ada):
    check = content_check(proof(ada, b"content", Policy()), Policy())
    assert isinstance(check, ContentDigester)
    check.update(b"conten")
    with pytest.raises(AuthenticationError) as refused:
        check.finish()
    assert refused.value.code is Code.DIGEST_MISMATCH


def test_without_one_there_is_no_content(ada):
    check = content_check(proof(ada, b"", Policy()), Policy())
    assert isinstance(check, NoContent)
    check.update(b"")
    check.finish()
    with pytest.raises(ProtocolError) as refused:
        check.update(b"x")
    assert refused.value.code is Code.DIGEST_MISSING


def test_where_none_is_required_any_content_of_that_length_is_good(ada):
    policy = Policy(require_digest=False, max_content_bytes=3)
    check = content_check(proof(ada, b"", policy), policy)
    assert isinstance(check, AnyContent)
    check.update(b"xyz")
    check.finish()
    with pytest.raises(DecodeError) as refused:
        check.update(b"x")
    assert refused.value.code is Code.SIZE_EXCEEDED
