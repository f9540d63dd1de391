"""An agent: its name, its keys, and the record that tells others about them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ..encoding import b64u_decode, b64u_encode, jcs, parse_strict
from ..errors import ConfigError, SageError, UsageError
from ..identity import (
    AgentRecord,
    KemKey,
    ServiceEntry,
    SigningKey,
    activate,
    create_record,
    decrypt_secret,
    encrypt_secret,
    parse_did,
    parse_record,
    read_private_file,
    write_private_file,
)
from ..limits import SCRYPT_N
from ..types import Did, JsonObject, KeyUrl

__all__ = ["Agent"]

_FORMAT = "sage-agent-1"


class Agent:
    """An identity that can act: a DID with its private keys and its record.

    Made by `generate` or `load`. The private keys never show in ``repr`` and cannot
    be pickled.

    Attributes:
        did: the agent's DID.
        record: the agent record to publish.
        signing_key: signs envelopes and handshakes.
        kem_key: what others encapsulate to.
        is_new: generated in this process, so that nothing sent to these keys can
            have been accepted before.
    """

    def __init__(
        self,
        record: AgentRecord,
        signing_key: SigningKey,
        kem_key: KemKey,
        *,
        is_new: bool = False,
    ) -> None:
        self.record = record
        self.signing_key = signing_key
        self.kem_key = kem_key
        self.is_new = is_new

    @property
    def did(self) -> Did:
        """The agent's DID."""
        return self.record.id

    @classmethod
    def generate(
        cls,
        did: str,
        *,
        controller: str | None = None,
        services: Sequence[ServiceEntry] = (),
        algorithm: str = "ed25519",
    ) -> Agent:
        """Make new keys and an active record with proofs of possession.

        Args:
            did: ``did:sage:web:<domain>:<agent-id>``.
            controller: who answers for the agent, 1..256 ASCII characters; the DID
                itself when not given.
            services: the endpoints that the record names, at most 16.
            algorithm: of the signing key, one of `identity.ALGORITHMS`.

        Raises:
            DecodeError: not a DID in normal form (``id.malformed``).
            UsageError: an unknown algorithm.
        """
        name = parse_did(did).did
        signing_key = SigningKey.generate(KeyUrl(f"{name}#sign-1"), algorithm)
        kem_key = KemKey.generate(KeyUrl(f"{name}#kem-1"))
        created = create_record(
            name,
            controller if controller is not None else name,
            [signing_key],
            [kem_key],
            services=services,
        )
        return cls(activate(created), signing_key, kem_key, is_new=True)

    def save(
        self, path: str | os.PathLike[str], *, passphrase: str, scrypt_n: int = SCRYPT_N
    ) -> None:
        """Write an encrypted file, mode 0600, all of it or nothing.

        Args:
            path: where to; an existing file is replaced.
            passphrase: not empty. Turned into a key by scrypt (RFC 7914).
            scrypt_n: scrypt's cost, a power of two; memory is 1024·n bytes.

        Raises:
            ConfigError: the passphrase is empty, or the file cannot be written.
        """
        plaintext = jcs(
            {
                "format": _FORMAT,
                "record": b64u_encode(self.record.encode()),
                "signing": _private_json(self.signing_key, self.signing_key.algorithm),
                "kem": _private_json(self.kem_key, "x25519"),
            }
        )
        sealed = encrypt_secret(plaintext, passphrase, entropy=os.urandom, n=scrypt_n)
        write_private_file(Path(path), sealed)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str) -> Agent:
        """Read a file that `save` wrote.

        Raises:
            ConfigError: missing, readable by others, altered, not an agent file, or
                the passphrase is wrong.
        """
        plaintext = decrypt_secret(read_private_file(Path(path)), passphrase)
        try:
            return _agent_from_json(parse_strict(plaintext))
        except (SageError, KeyError, TypeError) as exc:
            raise ConfigError(f"{path} does not hold an agent: {exc}") from exc

    def with_record(self, record: AgentRecord) -> Agent:
        """Return the same agent under a newer record of its own.

        Raises:
            UsageError: the record is another agent's, or lacks one of the keys.
        """
        names = {entry.name: entry.key for entry in record.keys}
        for key in (self.signing_key, self.kem_key):
            if record.id != self.did or names.get(_key_name(key)) != key.public_key:
                raise UsageError("the record does not hold this agent's keys")
        return Agent(record, self.signing_key, self.kem_key, is_new=self.is_new)

    def wipe(self) -> None:
        """Drop the private keys. Best effort: Python cannot erase every copy."""
        self.signing_key.wipe()
        self.kem_key.wipe()

    def __repr__(self) -> str:
        return f"<Agent {self.did} version {self.record.version}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Agent holds private keys and cannot be pickled")


def _key_name(key: SigningKey | KemKey) -> str:
    return key.kid.partition("#")[2]


def _private_json(key: SigningKey | KemKey, algorithm: str) -> JsonObject:
    return {
        "name": _key_name(key),
        "alg": algorithm,
        "private": b64u_encode(key.private_bytes()),
    }


def _agent_from_json(value: object) -> Agent:
    if not isinstance(value, dict) or value.get("format") != _FORMAT:
        raise UsageError(f"its format is not {_FORMAT}")
    record = parse_record(b64u_decode(value["record"]))
    signing, kem = value["signing"], value["kem"]
    agent = Agent(
        record,
        SigningKey.from_private_bytes(
            KeyUrl(f"{record.id}#{signing['name']}"),
            signing["alg"],
            b64u_decode(signing["private"]),
        ),
        KemKey.from_private_bytes(
            KeyUrl(f"{record.id}#{kem['name']}"), b64u_decode(kem["private"])
        ),
    )
    return agent.with_record(record)
