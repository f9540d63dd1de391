"""Ada: fixed keys, a record, and tools to make records that lifecycle never would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sage.encoding import b64u_encode
from sage.identity import (
    AgentRecord,
    KemKey,
    ServiceEntry,
    SigningKey,
    activate,
    create_record,
    parse_did,
    proof_challenge,
)

DID = "did:sage:web:agents.example:ada"


def _raw(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()


@pytest.fixture(scope="session")
def signing_key() -> Callable[..., SigningKey]:
    def make(name: str, algorithm: str = "ed25519", did: str = DID) -> SigningKey:
        return SigningKey.from_private_bytes(f"{did}#{name}", algorithm, _raw(name))

    return make


@pytest.fixture(scope="session")
def kem_key() -> Callable[..., KemKey]:
    def make(name: str, did: str = DID) -> KemKey:
        return KemKey.from_private_bytes(f"{did}#{name}", _raw(name))

    return make


@pytest.fixture(scope="session")
def ada(
    signing_key: Callable[..., SigningKey], kem_key: Callable[..., KemKey]
) -> SimpleNamespace:
    """Ada's keys by purpose, and her active record."""
    keys = SimpleNamespace(
        did=DID,
        sign=signing_key("sign-1"),
        eth=signing_key("sign-eth", "sage-secp256k1-keccak256"),
        p256=signing_key("sign-p256", "ecdsa-p256-sha256"),
        kem=kem_key("kem-1"),
        service=ServiceEntry("inbox", "SageInbox", "https://agents.example/ada"),
    )
    keys.created = create_record(
        DID, "ops", [keys.sign, keys.eth, keys.p256], [keys.kem], [keys.service]
    )
    keys.record = activate(keys.created)
    return keys


@pytest.fixture(scope="session")
def entry_json() -> Callable[..., dict[str, Any]]:
    """Make one key entry with a valid proof; members can be replaced or added."""

    def make(
        key: SigningKey | KemKey, signer: SigningKey | None = None, /, **members: Any
    ) -> dict[str, Any]:
        did, _, name = key.kid.partition("#")
        signer = signer or key
        parsed = parse_did(did)
        challenge = proof_challenge(
            parsed.registry_id, parsed.agent_id, name, key.algorithm, key.public_key
        )
        return {
            "name": name,
            "alg": key.algorithm,
            "key": b64u_encode(key.public_key),
            "proof": {
                "signer": signer.kid,
                "value": b64u_encode(signer.sign(challenge)),
            },
            "state": "accepted",
        } | members

    return make


@pytest.fixture(scope="session")
def record_json() -> Callable[..., dict[str, Any]]:
    """Make a record's object around entries; members can be replaced or added."""

    def make(*keys: dict[str, Any], **members: Any) -> dict[str, Any]:
        return {
            "id": DID,
            "controller": "ops",
            "keys": list(keys),
            "services": [],
            "state": "active",
            "version": "7",
        } | members

    return make


@pytest.fixture
def unproven(ada: SimpleNamespace) -> AgentRecord:
    """A copy of Ada's record that nobody checked."""
    record = ada.record
    return AgentRecord(
        record.id,
        record.controller,
        record.keys,
        record.services,
        record.state,
        record.version,
    )
