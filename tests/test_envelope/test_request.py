"""The published request, byte for byte, and what its hash covers."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from sage.encoding import b64u_decode, b64u_encode, jcs, parse_strict
from sage.envelope import Request, sign, verify_request
from sage.errors import UsageError
from sage.identity import PublicKey, SigningKey


@pytest.fixture
def published(wire: dict[str, Any]) -> Request:
    return Request.decode(wire["http_request"]["body_utf8"])


def test_the_published_request_is_read(
    published: Request, wire: dict[str, Any]
) -> None:
    body = parse_strict(wire["http_request"]["body_utf8"])
    assert published.to_json() == body
    assert published.encode() == jcs(body)


def test_its_signing_input_is_the_published_one(
    published: Request, wire: dict[str, Any]
) -> None:
    expected = wire["wire_request_signature_input_ascii"].encode()
    assert published.signing_input() == expected


def test_its_signature_verifies(
    published: Request, wire_key: Callable[[str], PublicKey]
) -> None:
    proof = verify_request(published, wire_key("initiator"))
    assert proof.request is published
    assert proof.peer == "did:sage:web:agents.example.com:billing-bot"


def test_its_hash_is_the_one_that_the_response_carries(
    published: Request, wire: dict[str, Any]
) -> None:
    answer = parse_strict(wire["http_response"]["body_utf8"])
    assert isinstance(answer, dict)
    assert b64u_encode(published.hash()) == answer["request_hash"]


def test_its_caller_aad_is_what_is_left(
    published: Request, wire: dict[str, Any]
) -> None:
    body = parse_strict(wire["http_request"]["body_utf8"])
    assert isinstance(body, dict)
    payload = b64u_decode(str(body.pop("payload")))
    del body["signature"]
    assert published.caller_aad() == jcs(body)
    assert published.payload == payload


def test_the_hash_covers_the_signature(
    new_request: Callable[..., Request], ada: SigningKey
) -> None:
    request = sign(new_request(), ada)
    assert request.hash() == sha256(request.encode()).digest()
    other = Request(**{**vars(new_request(id=request.id)), "signature": bytes(64)})
    assert other.hash() != request.hash()
    # A new body forgets the hash with the signature.
    with pytest.raises(UsageError):
        request.with_payload(request.payload).hash()


@pytest.mark.parametrize("payload", ["text", None, bytearray(1), bytes(2**23 + 1)])
def test_a_payload_is_at_most_8_mib_of_bytes(
    payload: Any, new_request: Callable[..., Request]
) -> None:
    with pytest.raises(UsageError):
        new_request().with_payload(payload)


def test_a_request_in_a_session_is_built_around_its_own_aad(
    new_request: Callable[..., Request], ada: SigningKey
) -> None:
    header = new_request(session=True)
    record = sha256(header.caller_aad()).digest() + bytes(4)
    request = sign(header.with_payload(record), ada)
    received = Request.decode(request.encode())
    assert received.payload[:32] == sha256(received.caller_aad()).digest()
