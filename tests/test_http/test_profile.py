"""The two profiles say what the protocol says."""

from __future__ import annotations

from sage.http import GENERAL, V10
from sage.http.component import named_components

from .conftest import load

WIRE = load("0.10.0/wire-http-binding-0.10.0.json")


def identifiers(names: tuple[str, ...]) -> list[str]:
    return [component.identifier for component in named_components(names)]


def test_v10_covers_what_its_vector_covers() -> None:
    assert identifiers(V10.request) == WIRE["http_request"]["covered_components"]
    assert identifiers(V10.response) == WIRE["http_response"]["covered_components"]
    assert V10.parameters == ("keyid", "alg", "created", "expires", "nonce", "tag")
    assert V10.tag == "sage-0.10.0"
    assert V10.label == "sig1"
    assert V10.algorithms == {"ed25519", "ecdsa-p256-sha256"}
    assert (V10.exact, V10.low_s, V10.max_lifetime_s) == (True, True, 300)


def test_general_has_the_order_of_the_draft() -> None:
    request = load("draft1/rfc9421.json")["vectors"][0]["input"]
    response = load("draft1/rfc9421.json")["vectors"][3]["input"]
    assert (
        identifiers(GENERAL.request + GENERAL.request_content)
        + identifiers(GENERAL.request_optional)
    ) == request["covered"]
    assert (
        identifiers(GENERAL.response)
        + identifiers(GENERAL.response_request)
        + identifiers(GENERAL.response_content)
    ) == response["covered"]
    assert not GENERAL.exact
    assert GENERAL.algorithms == {
        "ecdsa-p256-sha256",
        "ecdsa-p384-sha384",
        "ed25519",
        "hmac-sha256",
        "rsa-pss-sha512",
    }
