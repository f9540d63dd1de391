"""An agent: its name, its keys, and the record that tells others about them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from ..encoding import parse_strict
from ..errors import Code, ConfigError, ResolutionError, SageError, UsageError
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
    read_private_file,
    write_private_file,
)
from ..limits import SCRYPT_N
from ..types import Did, KeyUrl
from .key_ring import KeyPair, KeyRing

__all__ = ["Agent"]


class Agent:
    """An identity that can act: a DID with its private keys and its record.

    Made by `generate` or `load`. The private keys never show in ``repr`` and cannot
    be pickled. During a rotation there are more keys than the two that it uses by
    itself; see `Rotation`.

    Attributes:
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
        self._ring = KeyRing(record, KeyPair(signing_key, kem_key))
        self.is_new = is_new

    @property
    def did(self) -> Did:
        """The agent's DID."""
        return self.record.id

    @property
    def record(self) -> AgentRecord:
        """The agent record to publish."""
        return self._ring.record

    @property
    def signing_key(self) -> SigningKey:
        """What signs handshakes that this agent begins."""
        return self._ring.current.signing_key

    @property
    def kem_key(self) -> KemKey:
        """What others encapsulate to, where no rotation is under way."""
        return self._ring.current.kem_key

    @property
    def ring(self) -> KeyRing:
        """The record with every key that is held, as one value."""
        return self._ring

    def find_signing_key(self, kid: str) -> SigningKey:
        """Return the held signing key of that name: what a session was pinned to.

        Raises:
            ResolutionError: it is not held, or not any more (``key.not-in-record``).
        """
        for pair in self._ring.pairs:
            if pair.signing_key.kid == kid:
                return pair.signing_key
        raise _not_held("signing key")

    def find_kem_key(self, kid: str) -> KemKey:
        """Return the held X25519 key of that name.

        Raises:
            ResolutionError: it is not held, or not any more (``key.not-in-record``).
        """
        for pair in self._ring.pairs:
            if pair.kem_key.kid == kid:
                return pair.kem_key
        raise _not_held("KEM key")

    def adopt(self, ring: KeyRing) -> None:
        """Go on with these keys and this record, in one step.

        What is under way keeps the key that it began with, as long as it is held.

        Raises:
            UsageError: another agent's, an older record, or the record lacks one of
                the two keys in use.
        """
        if ring.record.version < self.record.version:
            raise UsageError("an older record than the agent's")
        self._require_own(ring.record, ring.current)
        self._ring = ring

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
        plaintext = self._ring.encode()
        sealed = encrypt_secret(plaintext, passphrase, entropy=os.urandom, n=scrypt_n)
        write_private_file(path, sealed)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str) -> Agent:
        """Read a file that `save` wrote.

        Raises:
            ConfigError: missing, readable by others, altered, not an agent file, or
                the passphrase is wrong.
        """
        plaintext = decrypt_secret(read_private_file(path), passphrase)
        try:
            return cls._of(KeyRing.from_json(parse_strict(plaintext)))
        except (SageError, KeyError, TypeError) as exc:
            raise ConfigError(f"{path} does not hold an agent: {exc}") from exc

    def with_record(self, record: AgentRecord) -> Agent:
        """Return the same agent under a newer record of its own.

        Raises:
            UsageError: the record is another agent's, older than the one it has, or
                lacks one of the keys.
        """
        if record.version < self.record.version:
            raise UsageError(f"the agent has version {self.record.version} already")
        return self.with_ring(replace(self._ring, record=record))

    def with_ring(self, ring: KeyRing) -> Agent:
        """Return the same agent with other keys; see `adopt`.

        Raises:
            UsageError: another agent's, or the record lacks one of the two keys in use.
        """
        self._require_own(ring.record, ring.current)
        return self._of(ring, is_new=self.is_new)

    def wipe(self) -> None:
        """Drop the private keys. Best effort: Python cannot erase every copy."""
        for pair in self._ring.pairs:
            pair.wipe()

    def __repr__(self) -> str:
        return f"<Agent {self.did} version {self.record.version}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Agent holds private keys and cannot be pickled")

    @classmethod
    def _of(cls, ring: KeyRing, *, is_new: bool = False) -> Agent:
        agent = cls(ring.record, *ring.current, is_new=is_new)
        agent.adopt(ring)
        return agent

    def _require_own(self, record: AgentRecord, pair: KeyPair) -> None:
        names = {record.key_url(entry.name): entry.key for entry in record.keys}
        for key in pair:
            if record.id != self.did or names.get(key.kid) != key.public_key:
                raise UsageError("the record does not hold this agent's keys")


def _not_held(what: str) -> ResolutionError:
    return ResolutionError(
        f"this agent does not hold that {what}", code=Code.KEY_NOT_IN_RECORD
    )
