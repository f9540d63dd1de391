"""The published response, byte for byte, and answers that fit their request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sage.encoding import jcs, parse_strict
from sage.envelope import (
    FAILURES,
    Request,
    Response,
    check_response,
    sign,
    verify_response,
)
from sage.errors import UsageError
from sage.identity import PublicKey, SigningKey
from sage.types import Role


@pytest.fixture
def published(wire: dict[str, Any]) -> tuple[Request, Response]:
    request = Request.decode(wire["http_request"]["body_utf8"])
    return request, Response.decode(wire["http_response"]["body_utf8"])


def test_the_published_response_is_read(
    published: tuple[Request, Response], wire: dict[str, Any]
) -> None:
    body = parse_strict(wire["http_response"]["body_utf8"])
    assert published[1].to_json() == body
    assert published[1].encode() == jcs(body)
    assert published[1].error == "unavailable"
    assert published[1].data == b""


def test_its_signing_input_is_the_published_one(
    published: tuple[Request, Response], wire: dict[str, Any]
) -> None:
    expected = wire["wire_response_signature_input_ascii"].encode()
    assert published[1].signing_input() == expected


def test_it_answers_the_published_request(
    published: tuple[Request, Response],
    wire: dict[str, Any],
    wire_key: Callable[[str], PublicKey],
) -> None:
    request, response = published
    check_response(response, request, unix_time=wire["reference_now"])
    proof = verify_response(response, request, wire_key("responder"))
    assert (proof.request, proof.response) == (request, response)
    assert proof.peer == "did:sage:web:processor.example.com:processor"


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize("error", [None, *FAILURES])
def test_an_answer_fits_its_request(
    session: bool,
    error: str | None,
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
) -> None:
    request = signed_request(
        session=session, task_id="0b9c2a52-6a4f-4c7e-9d2f-1f7a6f0d6c55"
    )
    response = signed_response(request, error=error, metadata={"a": "b"})
    check_response(response, request, unix_time=request.created)
    assert response.success is (error is None)
    assert response.task_id == request.task_id
    assert response.role is (Role.RESPONDER if session else None)


def test_an_answer_needs_a_signed_request(
    new_request: Callable[..., Request], signed_response: Callable[..., Response]
) -> None:
    with pytest.raises(UsageError, match="not signed"):
        signed_response(new_request())


def test_an_answer_is_checked_like_everything_else(
    signed_request: Callable[..., Request], signed_response: Callable[..., Response]
) -> None:
    for changes in (
        {"error": "why not"},
        {"id": "1"},
        {"data": "text"},
        {"expires": 1},
    ):
        with pytest.raises(UsageError):
            signed_response(signed_request(), **changes)


def test_data_is_set_after_the_rest(
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    grace: SigningKey,
) -> None:
    request = signed_request(session=True)
    header = signed_response(request, data=b"")
    response = sign(header.with_data(bytes(36)), grace)
    assert response.data == bytes(36)
    assert response.caller_aad() == header.caller_aad()
    assert Response.decode(response.encode()) == response
    with pytest.raises(UsageError):
        header.with_data("text")  # type: ignore[arg-type]
