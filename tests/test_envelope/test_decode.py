"""Whatever arrives becomes an envelope or a documented error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sage.encoding import jcs
from sage.envelope import Request, Response, decode_envelope, verify_request
from sage.errors import AuthenticationError, DecodeError, ProtocolError, UsageError
from sage.identity import PublicKey, SigningKey

WRONG: list[Any] = [None, [], {}, 0, 1.5, True, False, "", "\n"]
MEMBERS = [
    *("version", "id", "did", "recipient", "kid", "created", "expires", "nonce"),
    *("encoding", "signature", "context_id", "task_id", "session_id", "role"),
    *("metadata", "payload", "message_id", "request_hash", "success", "error", "data"),
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=30)
    | st.sampled_from(["0.10.0", "plain", "session", "initiator", "A" * 22, "A" * 43])
    | st.uuids(version=4).map(str)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def decode_or_refuse(data: bytes | str) -> Request | Response | None:
    try:
        return decode_envelope(data)
    except (DecodeError, ProtocolError):
        return None


@given(st.binary(max_size=300) | st.text(max_size=300))
@example(b"")
@example(b"\x00")
@example("\ud800")
def test_any_bytes_or_text(data: bytes | str) -> None:
    assert decode_or_refuse(data) is None


@given(values | st.dictionaries(st.sampled_from(MEMBERS), values))
def test_any_json(value: Any) -> None:
    decode_or_refuse(json.dumps(value))


@given(data=st.data())
def test_any_single_change_of_a_member(
    data: st.DataObject,
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
) -> None:
    # What still decodes after a change says something else than before.
    request = signed_request(session=data.draw(st.booleans()), metadata={"a": "b"})
    error = data.draw(st.sampled_from([None, "unavailable"]))
    envelope = data.draw(
        st.sampled_from([request, signed_response(request, error=error)])
    )
    members: dict[str, Any] = envelope.to_json()
    name = data.draw(st.sampled_from(MEMBERS))
    if name in members and data.draw(st.booleans()):
        del members[name]
    else:
        members[name] = data.draw(values)
    decoded = decode_or_refuse(json.dumps(members))
    if decoded is not None and members != envelope.to_json():
        assert decoded != envelope
        assert decoded.encode() != envelope.encode()


@given(data=st.data())
def test_any_changed_byte_is_refused_or_fails_the_signature(
    data: st.DataObject, signed_request: Callable[..., Request], ada: SigningKey
) -> None:
    request = signed_request(metadata={"purpose": "test"})
    wire = bytearray(request.encode())
    position = data.draw(st.integers(0, len(wire) - 1))
    wire[position] ^= data.draw(st.integers(1, 255))
    decoded = decode_or_refuse(bytes(wire))
    if decoded is None:
        return
    assert isinstance(decoded, Request)
    key = PublicKey(ada.kid, ada.algorithm, ada.public_key)
    with pytest.raises((AuthenticationError, ProtocolError)):
        verify_request(decoded, key)


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_is_dropped_nulled_and_retyped(
    name: str,
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
) -> None:
    request = signed_request(
        session=True, task_id="0b9c2a52-6a4f-4c7e-9d2f-1f7a6f0d6c55"
    )
    for envelope in (request, signed_response(request, error="unavailable")):
        members: dict[str, Any] = envelope.to_json()
        for value in WRONG:
            if (name, value) in [("metadata", {}), ("payload", ""), ("data", "")]:
                continue  # the three that may be empty
            changed = {**members, name: value}
            if changed != members:
                assert decode_or_refuse(jcs(changed)) is None, (name, value)
        dropped = {key: value for key, value in members.items() if key != name}
        if name in members and name != "task_id":
            assert decode_or_refuse(jcs(dropped)) is None


def test_the_received_text_need_not_be_canonical(
    signed_request: Callable[..., Request], ada: SigningKey
) -> None:
    request = signed_request(metadata={"a": "é\U0001f600"})
    members = dict(reversed(request.to_json().items()))
    text = json.dumps(members, indent=1)  # other order, white space, escapes
    received = decode_envelope(text)
    assert received == request
    assert isinstance(received, Request)
    assert received.hash() == request.hash()
    verify_request(received, PublicKey(ada.kid, ada.algorithm, ada.public_key))


def test_buffers_of_every_kind(signed_request: Callable[..., Request]) -> None:
    request = signed_request()
    data = request.encode()
    for form in (data, bytearray(data), memoryview(data), data.decode()):
        assert decode_envelope(form) == request
    for wrong in (None, 7, ["{}"]):
        with pytest.raises(UsageError):
            decode_envelope(wrong)  # type: ignore[arg-type]


def test_the_kind_follows_from_the_members(
    signed_request: Callable[..., Request], signed_response: Callable[..., Response]
) -> None:
    request = signed_request()
    assert type(decode_envelope(request.encode())) is Request
    assert type(decode_envelope(signed_response(request).encode())) is Response


@pytest.mark.parametrize("kind", [str, str.encode, lambda t: memoryview(t.encode())])
def test_a_crowd_of_values_is_not_parsed(kind: Callable[[str], Any]) -> None:
    """Parsing would take seconds and half a gigabyte; an envelope has sixty values."""
    crowd = "[" + "{}," * 5_000_000 + "{}]"
    started = time.process_time()
    with pytest.raises(DecodeError) as refusal:
        decode_envelope(kind(crowd))
    assert refusal.value.code == "envelope.malformed"
    assert time.process_time() - started < 0.3
