"""What the tests of signed HTTP share: vectors as messages, keys, one request."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.errors import PeerError
from sage.http import (
    HttpKey,
    HttpPublicKey,
    RequestMessage,
    ResponseMessage,
    sign_request,
)
from sage.identity import PublicKey, SigningKey

VECTORS = Path(__file__).parents[1] / "vectors"
NOW = 1_790_000_000


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the code of the documented error it ends with."""
    try:
        return call()
    except PeerError as exc:
        return exc.code


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def rfc_case(case_id: str) -> dict[str, Any]:
    """Return one case of RFC 9421, appendix B, its message and key made real."""
    document = load("rfc9421/appendix-b.json")
    (case,) = (case for case in document["cases"] if case["id"] == case_id)
    return {
        **case,
        "view": rfc_message(case),
        "key": rfc_key(case, document["keys"][case["keyid"]]),
    }


RFC_CASES = [case["id"] for case in load("rfc9421/appendix-b.json")["cases"]]


def rfc_message(case: dict[str, Any]) -> RequestMessage | ResponseMessage:
    message = case["message"]
    first, second, *_ = message["start_line"].split(" ")
    fields = [(name, value) for name, value in message["headers"]]
    if case["id"] == "B.2.4":
        # The base was published with the digest of another content.
        line = case["signature_base"].split("\n")[2].partition(": ")[2]
        fields = [(n, line if n == "Content-Digest" else v) for n, v in fields]
    fields += [("Signature-Input", case["signature_input"])]
    fields += [("Signature", case["signature"])]
    content = message["body"].encode()
    if first.startswith("HTTP/"):
        return ResponseMessage(
            status=int(second), fields=tuple(fields), content=content
        )
    host = dict(message["headers"])["Host"]
    return RequestMessage(
        method=first,
        target_uri=f"https://{host}{second}",
        fields=tuple(fields),
        content=content,
    )


def rfc_key(case: dict[str, Any], entry: dict[str, Any]) -> HttpPublicKey:
    if case["algorithm"] == "hmac-sha256":
        secret = b64decode(entry["secret_b64"])
        return HttpKey.from_secret(case["keyid"], secret).verification_key()
    return HttpPublicKey.from_pem(
        case["keyid"], case["algorithm"], entry["public_pem"].encode()
    )


def wire_fields(
    part: dict[str, Any], signed: bool = True
) -> tuple[tuple[str, str], ...]:
    """Return the header lines of a 0.10.0 vector."""
    fields = (
        ("Content-Type", part["content_type"]),
        ("Content-Digest", part["content_digest"]),
        ("X-SAGE-DID", part["x_sage_did"]),
        ("X-SAGE-Version", part["x_sage_version"]),
    )
    if not signed:
        return fields
    return (
        *fields,
        ("Signature-Input", part["signature_input"]),
        ("Signature", part["signature_field"]),
    )


def spki_key(entry: dict[str, Any]) -> PublicKey:
    """Return the public key of a 0.10.0 vector's record."""
    size = 32 if entry["alg"] == "ed25519" else 65
    der = b64decode(entry["public_spki_der_b64"])
    return PublicKey(entry["kid"], entry["alg"], der[-size:])


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey.from_private_bytes(
        "did:sage:web:agents.example:ada#sign-1", "ed25519", bytes(range(32))
    )


@pytest.fixture(scope="session")
def public_key(key: SigningKey) -> PublicKey:
    return PublicKey(key.kid, key.algorithm, key.public_key)


@pytest.fixture(scope="session")
def request_message() -> RequestMessage:
    return RequestMessage(
        method="POST",
        target_uri="https://grace.example/inbox?page=1",
        fields=(("Host", "grace.example"), ("Content-Type", "application/json")),
        content=b'{"hello": "world"}',
    )


@pytest.fixture(scope="session")
def signed(key: SigningKey, request_message: RequestMessage) -> RequestMessage:
    added = sign_request(
        request_message, key, created=NOW, expires=NOW + 60, nonce="one-use"
    )
    return request_message.with_fields(*added)


def without(message: RequestMessage, *names: str) -> RequestMessage:
    """Return a request without some of its fields."""
    kept = (line for line in message.fields if line[0].lower() not in names)
    return changed(message, fields=tuple(kept))


def changed(message: Any, **what: Any) -> Any:
    """Return a message with something else in it."""
    names = type(message).__dataclass_fields__
    return type(message)(**{n: getattr(message, n) for n in names} | what)


def with_field(message: Any, name: str, value: str) -> Any:
    """Return a message with one field's value put in the place of the old one."""
    lines = tuple(
        (n, value if n.lower() == name.lower() else v) for n, v in message.fields
    )
    return changed(message, fields=lines)


def field_of(message: Any, name: str) -> str:
    (value,) = (v for n, v in message.fields if n.lower() == name.lower())
    return value
