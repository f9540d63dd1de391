"""Each member, alone and together: what is refused, as what, under which code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from sage.encoding import b64u_encode, jcs
from sage.envelope import Request, Response, decode_envelope
from sage.envelope.schema import (
    COMMON_OPTIONAL,
    COMMON_REQUIRED,
    check_member,
    check_names,
    check_version,
    decode_member,
)
from sage.errors import (
    Code,
    DecodeError,
    PeerError,
    ProtocolError,
    SageError,
    UsageError,
)
from sage.limits import PAYLOAD_MAX_BYTES
from sage.types import Role

Row: TypeAlias = tuple[str, Any, tuple[type[PeerError], Code]]

MALFORMED = (DecodeError, Code.ENVELOPE_MALFORMED)
BASE64 = (DecodeError, Code.BASE64_MALFORMED)
TOO_LONG = (DecodeError, Code.SIZE_EXCEEDED)
BAD_ID = (DecodeError, Code.ID_MALFORMED)
BINDING = (ProtocolError, Code.SIG_BINDING)
VERSION = (ProtocolError, Code.VERSION_UNSUPPORTED)
SIGNATURE = (DecodeError, Code.SIG_MALFORMED)

NOT_TEXT: list[Any] = [1, 1.5, True, [], {}]
NOT_OBJECTS: list[Any] = ["", 1, True, []]
NOT_BOOLS: list[Any] = [0, 1, "true", 1.0, []]
NOT_UUID4 = [
    "",
    "123E4567-E89B-42D3-A456-426614174000",
    "123e4567-e89b-12d3-a456-426614174000",
    "123e4567-e89b-42d3-c456-426614174000",
    "123e4567e89b42d3a456426614174000",
    "123e4567-e89b-42d3-a456-426614174000\n",
    "{123e4567-e89b-42d3-a456-426614174000}",
    "١23e4567-e89b-42d3-a456-426614174000",
]
NOT_16_BYTES = ["", "A" * 21, "A" * 23, "A" * 22 + "==", "A" * 21 + "B", "+" * 22]
NOT_DIDS = [
    ("", BAD_ID),
    ("did:sage:web:agents.example.com", BAD_ID),
    ("DID:sage:web:agents.example.com:ada", BAD_ID),
    ("did:sage:web:agents.example.com:ada\n", BAD_ID),
    ("did:sage:web:agents.example.com:ada#sig-1", BAD_ID),
    ("did:sage:solana:main:ada", (DecodeError, Code.ID_UNKNOWN_KIND)),
]
NOT_TIMES: list[Any] = [-1, 1.5, 1e3, True, "1730000000", [1730000000], {}]


def rows() -> list[Row]:
    table: list[Row] = []
    for name in ("version", "id", "did", "recipient", "kid", "nonce", "encoding"):
        table += [(name, value, MALFORMED) for value in NOT_TEXT]
    for name in ("context_id", "task_id", "session_id", "role"):
        table += [(name, value, MALFORMED) for value in NOT_TEXT]
    table += [("version", v, VERSION) for v in ("", "0.10.1", "0.10", "0.10.0\n")]
    for name in ("id", "context_id", "task_id"):
        table += [(name, value, MALFORMED) for value in NOT_UUID4]
    table += [("did", value, error) for value, error in NOT_DIDS]
    table += [("recipient", value, error) for value, error in NOT_DIDS]
    table += [
        ("kid", "did:sage:web:agents.example.com:ada", BAD_ID),
        ("kid", "did:sage:web:agents.example.com:ada#", BAD_ID),
        ("kid", "did:sage:web:agents.example.com:ada#a#b", BAD_ID),
        ("kid", "did:sage:web:agents.example.com:eve#sig-1", BINDING),
        ("kid", "did:sage:web:agents.example.com:ada-2#sig-1", BINDING),
        ("did", "did:sage:web:agents.example.com:eve", BINDING),
    ]
    for name in ("created", "expires"):
        table += [(name, value, MALFORMED) for value in NOT_TIMES]
    table += [
        ("expires", 1_730_000_000, MALFORMED),
        ("expires", 1_729_999_999, MALFORMED),
        ("expires", 1_730_000_301, MALFORMED),
        ("created", 1_730_000_060, MALFORMED),
    ]
    table += [("nonce", value, BASE64) for value in NOT_16_BYTES]
    table += [("session_id", value, BASE64) for value in NOT_16_BYTES]
    table += [("encoding", v, MALFORMED) for v in ("", "Plain", "plain\n", "session ")]
    table += [("role", v, MALFORMED) for v in ("", "Initiator", "initiator\n")]
    table += [("metadata", value, MALFORMED) for value in NOT_OBJECTS]
    table += [
        ("metadata", {name: ""}, MALFORMED)
        for name in ("", "A", "1a", "_a", "a-b", "a" * 33, "a\n", "ä", "a.b")
    ]
    table += [("metadata", {"a": v}, MALFORMED) for v in (None, *NOT_TEXT)]
    table += [
        ("metadata", {f"k{n}": "" for n in range(33)}, MALFORMED),
        ("metadata", {"a": "x" * 1025}, TOO_LONG),
        ("metadata", {"a": "é" * 513}, TOO_LONG),
        ("metadata", {f"k{n}": "x" * 1020 for n in range(4)}, TOO_LONG),
        ("metadata", {"a": "\0" * 1000}, TOO_LONG),
    ]
    table += [("signature", value, SIGNATURE) for value in NOT_TEXT]
    table += [
        ("signature", value, SIGNATURE)
        for value in ("", "A", "AB", "A" * 86 + "==", "A" * 88, "+" * 86, "A" * 10**6)
    ]
    return table


REQUEST_ROWS: list[Row] = [
    *[("payload", value, MALFORMED) for value in NOT_TEXT],
    *[("payload", v, BASE64) for v in ("A", "AA==", "AB", "a+b/", "AAAA\n", "A A A")],
]
RESPONSE_ROWS: list[Row] = [
    *[(n, v, MALFORMED) for n in ("message_id", "data") for v in NOT_TEXT],
    *[("request_hash", value, MALFORMED) for value in NOT_TEXT],
    *[("message_id", value, MALFORMED) for value in NOT_UUID4],
    *[("data", value, BASE64) for value in ("A", "AA==", "AB", "a+b/")],
    *[("request_hash", v, BASE64) for v in ("", "A" * 42, "A" * 44, "A" * 42 + "B")],
    *[("success", value, MALFORMED) for value in NOT_BOOLS],
    # Without success there is a reason, with it there is none.
    ("success", False, MALFORMED),
    *[("error", value, MALFORMED) for value in (*NOT_TEXT, "", "other")],
    ("error", "unavailable", MALFORMED),
]


@pytest.fixture(scope="module")
def request_json(signed_request: Callable[..., Request]) -> dict[str, Any]:
    return dict(signed_request().to_json())


@pytest.fixture(scope="module")
def response_json(
    signed_request: Callable[..., Request], signed_response: Callable[..., Response]
) -> dict[str, Any]:
    members = signed_response(signed_request()).to_json()
    # The tables above are about Ada.
    ada, grace = members["recipient"], members["did"]
    kid = f"{ada}#sig-1"
    return {
        **members,
        "did": ada,
        "recipient": grace,
        "kid": kid,
        "created": 1730000000,
    }


def refused(members: dict[str, Any], error: tuple[type[PeerError], Code]) -> None:
    with pytest.raises(error[0]) as caught:
        decode_envelope(jcs(members))
    assert type(caught.value) is error[0]
    assert caught.value.code == error[1]


def named(row: Any) -> str:
    return repr(row)[:40]


@pytest.mark.parametrize(("name", "value", "error"), rows() + REQUEST_ROWS, ids=named)
def test_a_request_member_is_refused(
    name: str,
    value: Any,
    error: tuple[type[PeerError], Code],
    request_json: dict[str, Any],
) -> None:
    members = {**request_json, name: value}
    if name == "session_id":
        members |= {"encoding": "session", "role": "initiator"}
        members["context_id"] = members["id"]
    refused(members, error)


@pytest.mark.parametrize(("name", "value", "error"), rows() + RESPONSE_ROWS, ids=named)
def test_a_response_member_is_refused(
    name: str,
    value: Any,
    error: tuple[type[PeerError], Code],
    response_json: dict[str, Any],
) -> None:
    members = {**response_json, "expires": 1_730_000_060, name: value}
    refused(members, error)


def test_the_members_that_the_tables_start_from_are_accepted(
    request_json: dict[str, Any], response_json: dict[str, Any]
) -> None:
    assert isinstance(decode_envelope(jcs(request_json)), Request)
    assert isinstance(decode_envelope(jcs(response_json)), Response)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": ""},
        {"a" + "0" * 31: "x" * 1024},
        {"a_b": "é" * 512, "z": "\U0001f600"},
        {f"k{n}": "x" for n in range(32)},
        {f"k{n}": "x" * (1015 + (n < 3)) for n in range(4)},  # 4096 bytes of JSON
    ],
    ids=len,
)
def test_metadata_at_its_limits_is_accepted(
    metadata: dict[str, Any], request_json: dict[str, Any]
) -> None:
    decoded = decode_envelope(jcs({**request_json, "metadata": metadata}))
    assert decoded.metadata == metadata


def test_metadata_beyond_4096_bytes_is_refused(request_json: dict[str, Any]) -> None:
    metadata: dict[str, Any] = {f"k{n}": "x" * (1015 + (n < 4)) for n in range(4)}
    assert len(jcs(metadata)) == 4097
    refused({**request_json, "metadata": metadata}, TOO_LONG)


@pytest.mark.parametrize("ttl", [1, 300])
def test_times_at_their_limits_are_accepted(
    ttl: int, request_json: dict[str, Any]
) -> None:
    for created in (0, 2**53 - 1 - ttl):
        times = {"created": created, "expires": created + ttl}
        assert decode_envelope(jcs({**request_json, **times})).created == created


@pytest.mark.parametrize("created", [-1, -60, 2**53 - 1, 2**53])
def test_times_beyond_them_are_not_though_they_suit_each_other(
    created: int, new_request: Callable[..., Request], request_json: dict[str, Any]
) -> None:
    times = {"created": created, "expires": created + 60}
    with pytest.raises(UsageError, match="2\\^53"):
        new_request(**times)
    if created < 0:  # beyond 2^53 it is not JSON of ours
        refused({**request_json, **times}, MALFORMED)


@pytest.mark.parametrize("encoding", ["", "Session", "session ", "other"])
def test_what_has_a_session_names_its_encoding(
    encoding: str, request_json: dict[str, Any]
) -> None:
    session = {"session_id": "A" * 22, "role": "initiator", "encoding": "session"}
    members = {**request_json, **session, "context_id": request_json["id"]}
    assert decode_envelope(jcs(members)).encoding == "session"
    refused({**members, "encoding": encoding}, MALFORMED)


@pytest.mark.parametrize("name", [*COMMON_REQUIRED, "payload"])
def test_a_required_member_may_not_be_missing(
    name: str, request_json: dict[str, Any]
) -> None:
    members = {key: value for key, value in request_json.items() if key != name}
    error = MALFORMED if name != "signature" else (DecodeError, Code.SIG_MISSING)
    refused(members, error)
    refused({**members, name: None}, error)


@pytest.mark.parametrize("name", COMMON_OPTIONAL)
def test_an_optional_member_may_be_missing_but_not_null(
    name: str, request_json: dict[str, Any]
) -> None:
    assert name not in request_json
    refused({**request_json, name: None}, MALFORMED)


@pytest.mark.parametrize("name", ["extra", "Version", "data", "success", "error", ""])
def test_an_unknown_member_is_refused(name: str, request_json: dict[str, Any]) -> None:
    refused({**request_json, name: "x"}, MALFORMED)


def test_an_unsigned_envelope_with_another_fault_is_malformed(
    request_json: dict[str, Any],
) -> None:
    members = dict(request_json)
    del members["signature"], members["nonce"]
    refused(members, MALFORMED)


def test_a_plain_envelope_has_no_session(request_json: dict[str, Any]) -> None:
    refused({**request_json, "session_id": "A" * 22}, MALFORMED)


@pytest.mark.parametrize("name", ["session_id", "context_id", "role"])
def test_a_session_envelope_needs_all_of_its_session(
    name: str, signed_request: Callable[..., Request]
) -> None:
    members = signed_request(session=True).to_json()
    assert isinstance(decode_envelope(jcs(members)), Request)
    del members[name]
    refused(members, MALFORMED)


def test_the_version_is_read_before_its_members(request_json: dict[str, Any]) -> None:
    members = {**request_json, "version": "0.11.0", "another": None, "id": 7}
    refused(members, VERSION)


def test_a_payload_may_have_8_mib_and_not_a_byte_more(
    request_json: dict[str, Any],
) -> None:
    most = b64u_encode(bytes(PAYLOAD_MAX_BYTES))
    decoded = Request.decode(jcs({**request_json, "payload": most}))
    assert decoded.payload == bytes(PAYLOAD_MAX_BYTES)
    for text in (b64u_encode(bytes(PAYLOAD_MAX_BYTES + 1)), "!" * (len(most) + 1)):
        # Not base64 at all, and refused for its length: it was never decoded.
        refused({**request_json, "payload": text}, TOO_LONG)


def test_binary_members_are_checked_as_bytes_too() -> None:
    for name, value, code in [
        ("payload", bytearray(3), Code.ENVELOPE_MALFORMED),
        ("payload", bytes(PAYLOAD_MAX_BYTES + 1), Code.SIZE_EXCEEDED),
        ("request_hash", bytes(31), Code.ENVELOPE_MALFORMED),
        ("request_hash", "A" * 32, Code.ENVELOPE_MALFORMED),
        ("signature", bytes(66), Code.SIG_MALFORMED),
        ("signature", b"", Code.SIG_MALFORMED),
        ("role", "initiator", Code.ENVELOPE_MALFORMED),
    ]:
        with pytest.raises(DecodeError) as caught:
            check_member(name, value)
        assert caught.value.code == code


def test_a_lone_surrogate_in_metadata_is_the_callers_fault(
    new_request: Callable[..., Request],
) -> None:
    with pytest.raises(UsageError):
        new_request(metadata={"a": "\ud800"})


def test_the_parts_alone() -> None:
    check_version({"version": "0.10.0"})
    with pytest.raises(DecodeError) as caught:
        check_version({})
    assert caught.value.code == Code.ENVELOPE_MALFORMED
    check_names({"a": 1}, required=["a"], optional=["b"])
    assert decode_member("role", "responder") is Role.RESPONDER
    assert decode_member("data", "AAAA") == bytes(3)
    assert decode_member("id", "as it is") == "as it is"


def test_no_error_is_outside_the_tree() -> None:
    for _, _, (kind, code) in rows():
        assert issubclass(kind, SageError)
        assert isinstance(code, Code)
