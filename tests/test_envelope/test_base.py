"""Members become bytes: canonical, cut in the right places, and the same again."""

from __future__ import annotations

import copy
import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.encoding import b64u_encode, jcs
from sage.envelope import FAILURES, Envelope, Request, Response, decode_envelope, sign
from sage.envelope.base import parse_envelope
from sage.errors import Code, DecodeError, UsageError
from sage.identity import SigningKey
from sage.limits import ENVELOPE_MAX_BYTES
from sage.types import Role

uuids = st.uuids(version=4).map(str)
tokens = st.binary(min_size=16, max_size=16).map(b64u_encode)
names = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"), max_size=40)
signatures = st.binary(min_size=64, max_size=65)
dids = st.from_regex(r"did:sage:web:[a-z]{1,9}\.example:[a-z0-9]{1,9}", fullmatch=True)


@st.composite
def envelopes(draw: st.DrawFn, signed: bool = False) -> Envelope:
    did, created = draw(dids), draw(st.integers(0, 2**53 - 301))
    members: dict[str, Any] = {
        "id": draw(uuids),
        "did": did,
        "recipient": draw(dids),
        "kid": f"{did}#{draw(st.from_regex(r'[A-Za-z0-9_-]{1,32}', fullmatch=True))}",
        "created": created,
        "expires": created + draw(st.integers(1, 300)),
        "nonce": draw(tokens),
        "context_id": draw(st.none() | uuids),
        "task_id": draw(st.none() | uuids),
        "role": draw(st.none() | st.sampled_from(Role)),
        "metadata": draw(st.none() | st.dictionaries(names, texts, max_size=5)),
        "signature": draw(signatures if signed else st.none() | signatures),
    }
    if draw(st.booleans()):
        members |= {
            "encoding": "session",
            "session_id": draw(tokens),
            "context_id": draw(uuids),
            "role": draw(st.sampled_from(Role)),
        }
    if draw(st.booleans()):
        return Request(**members, payload=draw(st.binary(max_size=99)))
    success = draw(st.booleans())
    return Response(
        **members,
        message_id=draw(uuids),
        request_hash=draw(st.binary(min_size=32, max_size=32)),
        success=success,
        error=None if success else draw(st.sampled_from(FAILURES)),
        data=draw(st.binary(max_size=99)),
    )


@given(envelopes(signed=True))
def test_what_is_encoded_decodes_to_the_same(envelope: Envelope) -> None:
    decoded = decode_envelope(envelope.encode())
    assert decoded == envelope
    assert type(decoded) is type(envelope)
    assert decoded.encode() == envelope.encode()


@given(envelopes())
def test_the_bytes_are_the_canonical_json_of_the_members(envelope: Envelope) -> None:
    # The definition, member by member, against the cut and joined pieces.
    members = envelope.to_json()
    body = "payload" if isinstance(envelope, Request) else "data"
    kind = b"request" if isinstance(envelope, Request) else b"response"
    unsigned = {k: v for k, v in members.items() if k != "signature"}
    aad = {k: v for k, v in unsigned.items() if k != body}
    assert envelope.signing_input() == b"sage-wire-%b|0.10.0\n" % kind + jcs(unsigned)
    assert envelope.caller_aad() == jcs(aad)
    if envelope.signature is not None:
        assert envelope.encode() == jcs(members)


@given(envelopes(), st.binary(max_size=50))
def test_a_new_body_changes_the_body_and_drops_the_signature(
    envelope: Envelope, body: bytes
) -> None:
    envelope.signing_input()  # whatever is kept of it must not show
    changed: Envelope
    if isinstance(envelope, Request):
        changed = envelope.with_payload(body)
        wanted: Envelope = dataclasses.replace(envelope, payload=body, signature=None)
    else:
        assert isinstance(envelope, Response)
        changed = envelope.with_data(body)
        wanted = dataclasses.replace(envelope, data=body, signature=None)
    assert changed == wanted
    assert changed.signing_input() == wanted.signing_input()
    assert changed.caller_aad() == envelope.caller_aad()


@given(envelopes())
def test_absent_members_stay_absent(envelope: Envelope) -> None:
    assert None not in envelope.to_json().values()


@given(envelopes())
def test_an_envelope_prints_neither_payload_nor_signature(envelope: Envelope) -> None:
    without = dataclasses.replace(
        envelope, signature=None, **{envelope._BODY: b"something else"}
    )
    assert repr(envelope) == repr(without)


def test_an_envelope_does_not_change(new_request: Callable[..., Request]) -> None:
    given_metadata = {"a": "b"}
    request = new_request(metadata=given_metadata)
    aad = request.caller_aad()
    given_metadata["a"] = "c"
    with pytest.raises(TypeError):
        request.metadata["a"] = "c"  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.id = str(uuid.uuid4())  # type: ignore[misc]
    assert request.metadata == {"a": "b"}
    assert dataclasses.replace(request).caller_aad() == aad


def test_equal_envelopes_have_equal_hashes(
    signed_request: Callable[..., Request],
) -> None:
    request = signed_request(metadata={"a": "b"})
    again = decode_envelope(request.encode())
    assert again == request
    assert hash(again) == hash(request)
    assert copy.copy(request) == request


def test_signing_needs_the_key_that_the_envelope_names(
    new_request: Callable[..., Request], ada: SigningKey, grace: SigningKey
) -> None:
    with pytest.raises(UsageError, match="another key"):
        sign(new_request(), grace)
    request = new_request()
    assert request.signature is None
    signed_once = sign(request, ada)
    assert request.signature is None
    assert signed_once.signature == ada.sign(request.signing_input())
    # Ed25519 is deterministic; signing again is signing the same.
    assert sign(signed_once, ada) == signed_once


def test_an_unsigned_envelope_cannot_be_sent(
    new_request: Callable[..., Request],
) -> None:
    with pytest.raises(UsageError, match="not signed"):
        new_request().encode()
    with pytest.raises(UsageError, match="not signed"):
        new_request().hash()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": 7},
        {"created": None},
        {"created": True},
        {"expires": 1_730_000_301},
        {"kid": "did:sage:web:agents.example.com:eve#sig-1"},
        {"version": "0.10.1"},
        {"version": None},
        {"nonce": "short"},
        {"encoding": "session"},
        {"encoding": None},
        {"session_id": "A" * 22},
        {"role": "initiator"},
        {"metadata": {"A": "b"}},
        {"metadata": []},
        {"metadata": {5: "b"}},
        {"metadata": {b"a": "b"}},
        {"payload": None},
        {"payload": "text"},
        {"payload": bytes(8 * 1024 * 1024 + 1)},
        {"signature": bytes(66)},
        {"signature": "A" * 64},
        {"signature": bytearray(64)},
    ],
    ids=lambda changes: repr(changes)[:40],
)
def test_what_the_caller_gets_wrong_is_a_usage_error(
    changes: dict[str, Any], new_request: Callable[..., Request]
) -> None:
    with pytest.raises(UsageError):
        new_request(**changes)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.JSON_MALFORMED),
        (b"{}{}", Code.JSON_MALFORMED),
        (b'{"id":1,"\\u0069d":2}', Code.JSON_MALFORMED),
        (b"\xff", Code.JSON_MALFORMED),
        (b"\xef\xbb\xbf{}", Code.JSON_MALFORMED),
        (b"[" * 100_000, Code.JSON_MALFORMED),
        (b"[]", Code.ENVELOPE_MALFORMED),
        (b"null", Code.ENVELOPE_MALFORMED),
        (b'"version"', Code.ENVELOPE_MALFORMED),
        (b" " * (ENVELOPE_MAX_BYTES + 1), Code.SIZE_EXCEEDED),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_not_an_object_is_no_envelope(data: bytes, code: Code) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_envelope(data)
    assert caught.value.code == code
    with pytest.raises(DecodeError):
        Request.decode(data)


@pytest.mark.parametrize("form", [bytes, bytearray, bytes.decode])
def test_so_many_values_are_not_even_parsed(form: Callable[[bytes], Any]) -> None:
    most = b"[" + b"0," * 8192 + b"0]"
    with pytest.raises(DecodeError, match="not an object"):
        parse_envelope(form(most))
    with pytest.raises(DecodeError, match="more values") as caught:
        parse_envelope(form(b"," + most))
    assert caught.value.code == Code.ENVELOPE_MALFORMED


def test_each_kind_decodes_only_itself(
    signed_request: Callable[..., Request], signed_response: Callable[..., Response]
) -> None:
    request = signed_request()
    response = signed_response(request)
    assert Request.decode(request.encode()) == request
    assert Response.decode(response.encode()) == response
    for kind, other in ((Request, response), (Response, request)):
        with pytest.raises(DecodeError) as caught:
            kind.decode(other.encode())
        assert caught.value.code == Code.ENVELOPE_MALFORMED
