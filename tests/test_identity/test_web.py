from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.encoding import jcs
from sage.errors import Code, ResolutionError, UsageError
from sage.identity import (
    check_media,
    deactivate,
    encode_web_response,
    parse_web_response,
    well_known_url,
)
from sage.limits import WEB_RESPONSE_MAX_BYTES

DID = "did:sage:web:agents.example:ada"
NOW = 1_790_000_000
VECTORS = json.loads(
    (
        Path(__file__).parents[1] / "vectors/0.10.0/web-registry-media-0.10.0.json"
    ).read_text()
)
JSON = [("Content-Type", "application/json")]


def refusal(body: Any, *, did: str = DID, now: Any = NOW) -> Code:
    with pytest.raises(ResolutionError) as caught:
        parse_web_response(
            body if isinstance(body, bytes) else jcs(body), did, unix_time=now
        )
    return caught.value.code


@pytest.fixture
def good(ada: SimpleNamespace) -> dict[str, Any]:
    return {"record": ada.record.to_json(), "issued": NOW, "expires": NOW + 5}


# --- media ----------------------------------------------------------


def test_all_vectors_are_here() -> None:
    assert len(VECTORS["cases"]) == 13


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_media_vectors(case: dict[str, Any]) -> None:
    headers = [(name, value) for name, value in case["header_lines"]]
    trailers = [(name, value) for name, value in case.get("trailer_lines", [])]
    if case["expected"] == "MEDIA_ACCEPT":
        check_media(headers, trailers)
        return
    assert case["expected"] == "RECORD_INVALID"
    with pytest.raises(ResolutionError) as caught:
        check_media(headers, trailers)
    assert caught.value.code is Code.RECORD_INVALID


def test_other_headers_do_not_matter() -> None:
    check_media(
        [("Date", "today"), *JSON, ("Cache-Control", "no-store")], [("Digest", "x")]
    )
    check_media([("content-type", " application/json\t")])
    check_media(iter(JSON), iter([]))


@pytest.mark.parametrize(
    ("headers", "trailers"),
    [
        ([("Content-Type", "")], []),
        ([("Content-Type", "application/json;")], []),
        ([("Content-Type", "application/ json")], []),
        ([("Content-Type", "text/json")], []),
        ([("Content-Type", "application/json\n")], []),
        ([("Content-Type ", "application/json")], []),
        (JSON * 3, []),
        ([*JSON, ("CONTENT-ENCODING", "")], []),
        ([*JSON, ("content-encoding", "br")], []),
        (JSON, JSON),
        (JSON, [("content-ENCODING", "identity")]),
        ([], JSON),
    ],
    ids=str,
)
def test_other_media(headers: Any, trailers: Any) -> None:
    with pytest.raises(ResolutionError) as caught:
        check_media(headers, trailers)
    assert caught.value.code is Code.RECORD_INVALID


# --- addresses ----------------------------------------------------------


def test_where_a_record_is() -> None:
    assert well_known_url("did:sage:web:agents.example:Ada_1.x") == (
        "agents.example",
        "/.well-known/sage/agents/Ada_1.x",
    )


@pytest.mark.parametrize(
    ("did", "code"),
    [
        (f"did:sage:eip155:1:0x{'ab' * 20}:ada", Code.ID_UNKNOWN_KIND),
        ("did:sage:solana:x:ada", Code.ID_UNKNOWN_KIND),
        ("did:sage:web:127.0.0.1:ada", Code.ID_MALFORMED),
        ("did:sage:web:agents.example:..", Code.ID_MALFORMED),
        (DID + "#sign-1", Code.ID_MALFORMED),
    ],
)
def test_where_no_record_is(did: str, code: Code) -> None:
    with pytest.raises(ResolutionError) as caught:
        well_known_url(did)
    assert caught.value.code is code
    assert refusal(b"{}", did=did) is code


# --- bodies ----------------------------------------------------------


@pytest.mark.parametrize("lifetime_s", [1, 2, 5])
def test_what_a_registry_says_is_understood(
    ada: SimpleNamespace, lifetime_s: int
) -> None:
    body = encode_web_response(ada.record, unix_time=NOW, lifetime_s=lifetime_s)
    for now in range(NOW, NOW + lifetime_s):
        record = parse_web_response(body, DID, unix_time=now)
        assert record == ada.record
        assert record.proven
    for now in (NOW - 1, NOW + lifetime_s, NOW + 1000, 0, -1, float("nan")):
        assert refusal(body, now=now) is Code.RECORD_INVALID


def test_every_state_is_served(ada: SimpleNamespace) -> None:
    for record in (ada.created, deactivate(ada.record)):
        body = encode_web_response(record, unix_time=NOW, lifetime_s=1)
        assert parse_web_response(bytearray(body), DID, unix_time=NOW) == record


@pytest.mark.parametrize("lifetime_s", [0, 6, -1, 300, 1.5, True, None, "5"])
def test_lifetimes_that_are_not_served(ada: SimpleNamespace, lifetime_s: Any) -> None:
    with pytest.raises(UsageError):
        encode_web_response(ada.record, unix_time=NOW, lifetime_s=lifetime_s)


@pytest.mark.parametrize(
    "members",
    [
        {"expires": NOW},
        {"expires": NOW + 6},
        {"expires": NOW - 1},
        {"issued": NOW + 1, "expires": NOW + 2},
        {"issued": NOW - 5, "expires": NOW},
        {"issued": NOW - 1, "expires": NOW + 5},
        {"issued": str(NOW)},
        {"issued": NOW + 0.5},
        {"issued": None},
        {"issued": True},
        {"expires": None},
        {"expires": str(NOW + 5)},
        {"record": None},
        {"record": []},
        {"record": {}},
        {"record": "{}"},
        {"extra": 1},
        {"signature": "x"},
    ],
    ids=str,
)
def test_bad_responses(good: dict[str, Any], members: dict[str, Any]) -> None:
    assert refusal(good | members) is Code.RECORD_INVALID


def test_times_are_not_negative(good: dict[str, Any]) -> None:
    body = good | {"issued": -3, "expires": 2}
    assert refusal(body, now=0) is Code.RECORD_INVALID


def test_the_object_is_closed(good: dict[str, Any]) -> None:
    for name in good:
        missing = {key: value for key, value in good.items() if key != name}
        assert refusal(missing) is Code.RECORD_INVALID
    twice = jcs(good).replace(b'"issued":', b'"issued":1,"issued":')
    for body in (twice, b"", b"[]", b"null", b"\xff", jcs(good) + b"x"):
        assert refusal(body) is Code.RECORD_INVALID


def test_a_record_that_does_not_hold(good: dict[str, Any]) -> None:
    value = good["record"]["keys"][0]["proof"]["value"]
    other = good["record"]["keys"][1]["proof"]["value"]
    assert value != other
    good["record"]["keys"][0]["proof"]["value"] = other
    assert refusal(good) is Code.POP_BAD


def test_the_record_is_the_one_asked_for(good: dict[str, Any]) -> None:
    for did in (
        "did:sage:web:agents.example:eve",
        "did:sage:web:other.example:ada",
        "did:sage:web:agents.example:Ada",
    ):
        assert refusal(good, did=did) is Code.RECORD_INVALID


def test_sizes_are_bounded(ada: SimpleNamespace, good: dict[str, Any]) -> None:
    body = jcs(good)
    fits = body + b" " * (WEB_RESPONSE_MAX_BYTES - len(body))
    assert parse_web_response(fits, DID, unix_time=NOW) == ada.record
    assert refusal(fits + b" ") is Code.SIZE_EXCEEDED
    # A record of its own may be too long inside a response that is not.
    good["record"]["controller"] = "x" * 66_000
    assert len(jcs(good)) < WEB_RESPONSE_MAX_BYTES
    assert refusal(good) is Code.SIZE_EXCEEDED


@settings(deadline=None)
@given(data=st.binary())
def test_any_bytes_give_a_documented_error(data: bytes) -> None:
    assert refusal(data) is Code.RECORD_INVALID


@pytest.mark.parametrize("body", [None, 5])
def test_bodies_are_buffers(body: Any) -> None:
    with pytest.raises(UsageError):
        parse_web_response(body, DID, unix_time=NOW)
