"""Proof of possession: a key is in a record because its holder wants it (REG-04).

A signing key signs its own challenge. An X25519 key cannot sign; a signing key of
the same record endorses it. That shows the controller's will, not possession: the
handshake shows possession.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..errors import (
    AuthenticationError,
    Code,
    ConfigError,
    ResolutionError,
    UsageError,
)
from ..limits import PUBLIC_KEY_CACHE_ENTRIES
from ..types import Buffer
from .did import ParsedDid, parse_did
from .record import AgentRecord, KeyEntry
from .signature import as_bytes, verify

__all__ = ["check_proofs", "proof_challenge"]

_LABEL: Final = b"sage-pop-0.10.0"


def proof_challenge(
    registry_id: str, agent_id: str, name: str, alg: str, key: Buffer
) -> bytes:
    """Return the bytes that a proof of possession signs (REG-04).

    Wire: ``"sage-pop-0.10.0"``, then for each argument in turn a 2-byte big-endian
    length and the bytes. The registry and the name are in it, so a proof cannot be
    taken to another registry or put under another name.

    Raises:
        UsageError: a text that is not ASCII, or an argument that is none, no buffer or
            longer than 65,535 bytes.
    """
    texts = (registry_id, agent_id, name, alg)
    try:
        fields = (*(text.encode("ascii") for text in texts), as_bytes(key, "key"))
        return _LABEL + b"".join(len(part).to_bytes(2, "big") + part for part in fields)
    except (AttributeError, UnicodeEncodeError, OverflowError) as exc:
        raise UsageError(f"no challenge can be made of this: {exc}") from exc


def challenge_of(did: ParsedDid, entry: KeyEntry) -> bytes:
    """Return the challenge for an entry of one agent's record."""
    return proof_challenge(
        did.registry_id, did.agent_id, entry.name, entry.alg, entry.key
    )


def check_proofs(record: AgentRecord) -> AgentRecord:
    """Verify every proof in a record that fits the schema; return the record.

    An endorsement may come from a signer that has since been revoked or has
    expired: the entry is kept so that this can still be checked. Signing keys are
    verified first, so an endorsement never rests on an unverified signer.

    Raises:
        ResolutionError: a proof by the wrong signer or with a wrong signature
            (``pop.bad``), or of a suite that cannot be checked here because its
            library is missing (``key.unproven``).
    """
    did = parse_did(record.id)
    signers = {record.key_url(entry.name): entry for entry in record.keys}
    for entry in sorted(record.keys, key=lambda entry: not entry.signs):
        signer = signers.get(entry.proof.signer)
        if signer is None or not signer.signs or (entry.signs and signer is not entry):
            raise ResolutionError(
                f"key {entry.name!r} is vouched for by the wrong key", code=Code.POP_BAD
            )
        _check_signature(did, entry, signer)
    object.__setattr__(record, "_proven", True)
    return record


def _check_signature(did: ParsedDid, entry: KeyEntry, signer: KeyEntry) -> None:
    challenge = challenge_of(did, entry)
    try:
        _verify_once(signer.alg, signer.key, challenge, entry.proof.value)
    except AuthenticationError:
        raise ResolutionError(
            f"the proof of key {entry.name!r} does not verify", code=Code.POP_BAD
        ) from None
    except ConfigError as exc:
        raise ResolutionError(
            f"the proof of key {entry.name!r} cannot be checked here: {exc}",
            code=Code.KEY_UNPROVEN,
        ) from exc


@lru_cache(maxsize=PUBLIC_KEY_CACHE_ENTRIES)
def _verify_once(alg: str, key: bytes, challenge: bytes, value: bytes) -> None:
    """Verify a proof, once for the same bytes; only success is remembered.

    This is arithmetic, not an observation: what a registry says now about the state
    of a key is read afresh each time (REG-05).
    """
    verify(alg, key, challenge, value)
