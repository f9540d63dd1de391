"""Two agents, and envelopes between them that are right until a test changes them."""

from __future__ import annotations

import json
import os
import uuid
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.encoding import b64u_encode
from sage.envelope import Request, Response, sign
from sage.identity import PublicKey, SigningKey
from sage.types import Did, Role, SessionId

VECTORS = Path(__file__).parents[1] / "vectors"
T0 = 1_730_000_000


def public(key: SigningKey) -> PublicKey:
    return PublicKey(key.kid, key.algorithm, key.public_key)


def did_of(key: SigningKey) -> Did:
    return Did(key.kid.partition("#")[0])


@pytest.fixture(scope="session")
def ada() -> SigningKey:
    return SigningKey.generate("did:sage:web:agents.example.com:ada#sig-1")


@pytest.fixture(scope="session")
def grace() -> SigningKey:
    return SigningKey.generate("did:sage:web:agents.example.com:grace#sig-1")


@pytest.fixture(scope="session")
def new_request(ada: SigningKey, grace: SigningKey) -> Callable[..., Request]:
    """Build a request from Ada to Grace, plain or (``session=True``) in a session."""

    def build(*, session: bool = False, **changes: Any) -> Request:
        members: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "did": did_of(ada),
            "recipient": did_of(grace),
            "kid": ada.kid,
            "created": T0,
            "expires": T0 + 60,
            "nonce": b64u_encode(os.urandom(16)),
            "payload": b"hello",
        }
        if session:
            members |= {
                "encoding": "session",
                "context_id": str(uuid.uuid4()),
                "session_id": SessionId(b64u_encode(os.urandom(16))),
                "role": Role.INITIATOR,
                "payload": bytes(36),
            }
        return Request(**members | changes)

    return build


@pytest.fixture(scope="session")
def signed_request(
    new_request: Callable[..., Request], ada: SigningKey
) -> Callable[..., Request]:
    return lambda **changes: sign(new_request(**changes), ada)


@pytest.fixture(scope="session")
def signed_response(grace: SigningKey) -> Callable[..., Response]:
    """Build Grace's response to a signed request."""

    def build(request: Request, **changes: Any) -> Response:
        members: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "kid": grace.kid,
            "created": T0 + 1,
            "expires": T0 + 61,
            "nonce": b64u_encode(os.urandom(16)),
            "data": b"hello yourself",
        }
        return sign(Response.answer(request, **members | changes), grace)

    return build


@pytest.fixture(scope="session")
def wire() -> dict[str, Any]:
    """Return the published request and response, with every intermediate."""
    path = VECTORS / "0.10.0" / "wire-http-binding-0.10.0.json"
    vector: dict[str, Any] = json.loads(path.read_text())
    return vector


@pytest.fixture(scope="session")
def wire_key(wire: dict[str, Any]) -> Callable[[str], PublicKey]:
    """Return the published public key of one end."""

    def load(role: str) -> PublicKey:
        entry = wire["public_keys"][role]
        # SubjectPublicKeyInfo of Ed25519: the key is the last 32 bytes (RFC 8410).
        raw = b64decode(entry["public_spki_der_b64"])[-32:]
        return PublicKey(entry["kid"], entry["alg"], raw)

    return load
