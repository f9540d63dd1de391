"""The agent record: which keys speak for an agent (REG-01, REG-02, ID-03).

A record is data that a registry vouches for. `parse_record` makes one from bytes
and checks everything that can be checked without a clock: the closed schema and
every proof of possession. What depends on the time of asking, expiry, is decided
by the look-ups, which is why each of them takes ``unix_time``.

Two codes stand for doubtful proofs, and they say different things. ``pop.bad``: a
proof was checked and is wrong; the whole record is refused, because its registry
published what it must not. ``key.unproven``: nobody here has checked, either
because the suite's library is missing, or because the `AgentRecord` was put
together by hand and never went through `parse_record`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ..encoding import b64u_encode, jcs
from ..errors import AuthenticationError, Code, ResolutionError
from ..types import Did, JsonObject, KeyUrl
from .did import parse_key_url
from .keys import PublicKey
from .signature import ALGORITHMS, KEM_ALGORITHM

__all__ = [
    "AgentRecord",
    "KeyEntry",
    "KeyState",
    "Proof",
    "RecordState",
    "ServiceEntry",
]

RecordState = Literal["created", "active", "deactivated"]
KeyState = Literal["accepted", "revoked"]


@dataclass(frozen=True, slots=True)
class Proof:
    """Who vouches for a key, and the signature over `proof_challenge` (REG-04)."""

    signer: KeyUrl
    value: bytes

    def to_json(self) -> JsonObject:
        """Return the two members as the record writes them."""
        return {"signer": self.signer, "value": b64u_encode(self.value)}


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key of a record. Only its state ever changes, and only to ``revoked``.

    Attributes:
        name: the fragment of its key URL.
        alg: a name from `ALGORITHMS`, or ``x25519``.
        key: the raw public key.
        proof: a signing key's own signature, or an X25519 key's endorsement.
        state: ``accepted`` or ``revoked``.
        expires: wall seconds from which on it is unusable, or ``None``.
    """

    name: str
    alg: str
    key: bytes
    proof: Proof
    state: KeyState = "accepted"
    expires: int | None = None

    @property
    def signs(self) -> bool:
        """Whether this is a signing key; the other sort agrees on keys."""
        return self.alg in ALGORITHMS

    def is_usable(self, unix_time: int) -> bool:
        """Whether it is accepted and unexpired; at ``expires`` it is expired."""
        return self.state == "accepted" and not self.has_expired(unix_time)

    def has_expired(self, unix_time: int) -> bool:
        """Whether its time is over; a clock that is not a number is never early."""
        return self.expires is not None and not unix_time < self.expires

    def to_json(self) -> JsonObject:
        """Return the members as the record writes them."""
        members: JsonObject = {
            "name": self.name,
            "alg": self.alg,
            "key": b64u_encode(self.key),
            "proof": self.proof.to_json(),
            "state": self.state,
        }
        if self.expires is not None:
            members["expires"] = self.expires
        return members


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """One endpoint of an agent. Discovery only: it authorises nothing."""

    name: str
    type: str
    uri: str

    def to_json(self) -> JsonObject:
        """Return the members as the record writes them."""
        return {"name": self.name, "type": self.type, "uri": self.uri}


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """What a registry says about one agent, at one version.

    Make one with `parse_record` or `create_record`: only those check it.

    Attributes:
        id: the agent.
        controller: who may change the record, 1 to 256 ASCII characters.
        keys: 1 to 128 entries sorted by name, revoked ones included.
        services: 0 to 16 entries sorted by name.
        state: ``created``, ``active`` or ``deactivated``.
        version: 1 to 2^64 - 1, one more with each change.
    """

    id: Did
    controller: str
    keys: tuple[KeyEntry, ...]
    services: tuple[ServiceEntry, ...]
    state: RecordState
    version: int
    # Set by `check_proofs` alone. `dataclasses.replace` does not carry it over.
    _proven: bool = field(default=False, init=False, repr=False, compare=False)
    # Each operation asks for the same keys again.
    _public_keys: dict[str, PublicKey] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def proven(self) -> bool:
        """Whether every proof of possession in this very object was verified."""
        return self._proven

    def to_json(self) -> JsonObject:
        """Return the closed JSON object of REG-01."""
        return {
            "id": self.id,
            "controller": self.controller,
            "keys": [entry.to_json() for entry in self.keys],
            "services": [service.to_json() for service in self.services],
            "state": self.state,
            "version": str(self.version),
        }

    def encode(self) -> bytes:
        """Return the record as canonical JSON, at most 65,536 bytes."""
        return jcs(self.to_json())

    def entry(self, name: str) -> KeyEntry | None:
        """Return the entry of that name, in whatever state, or ``None``."""
        for entry in self.keys:
            if entry.name == name:
                return entry
        return None

    def key_url(self, name: str) -> KeyUrl:
        """Return the full key URL of an entry's name."""
        return KeyUrl(f"{self.id}#{name}")

    def find_signing_key(
        self, kid: str, *, unix_time: int, alg: str | None = None
    ) -> PublicKey:
        """Return exactly the named signing key, in the order of ID-03.

        Args:
            kid: the full key URL that a message names.
            unix_time: wall seconds.
            alg: the algorithm that the message names, if it names one.

        Raises:
            DecodeError: ``kid`` is not a key URL (``id.malformed``,
                ``id.unknown-kind``).
            AuthenticationError: ``kid`` belongs to another agent (``sig.binding``);
                the key is of another algorithm than ``alg``, or does not sign
                (``sig.alg-mismatch``).
            ResolutionError: ``record.inactive``, ``key.not-in-record``,
                ``key.unproven``, ``key.revoked`` or ``key.expired``.
        """
        entry = self._find(kid, unix_time)
        if not entry.signs or alg not in (None, entry.alg):
            raise AuthenticationError(code=Code.SIG_ALG_MISMATCH)
        return self._public(entry)

    def find_kem_key(self, kid: str, *, unix_time: int) -> PublicKey:
        """Return exactly the named X25519 key.

        Raises:
            DecodeError, AuthenticationError, ResolutionError: as
                `find_signing_key`, and ``key.expired`` where the record has no
                usable signing key left (REG-02).
        """
        entry = self._find(kid, unix_time)
        if entry.alg != KEM_ALGORITHM:
            raise AuthenticationError(code=Code.SIG_ALG_MISMATCH)
        self.select_signing_key(unix_time)
        return self._public(entry)

    def select_signing_key(self, unix_time: int) -> PublicKey:
        """Return the usable signing key whose name sorts first.

        Raises:
            ResolutionError: ``record.inactive``, ``key.unproven``, ``key.expired``
                where all that are accepted have expired, or ``key.not-in-record``.
        """
        return self._select([entry for entry in self.keys if entry.signs], unix_time)

    def select_kem_key(self, unix_time: int) -> PublicKey:
        """Return the X25519 key for a new handshake (REG-02).

        The accepted, unexpired entry whose name sorts first.

        Raises:
            ResolutionError: as `select_signing_key`; also where there is a usable
                X25519 key but no usable signing key.
        """
        self.select_signing_key(unix_time)
        return self._select(
            [entry for entry in self.keys if entry.alg == KEM_ALGORITHM], unix_time
        )

    def _find(self, kid: str, unix_time: int) -> KeyEntry:
        parsed = parse_key_url(kid)
        if parsed.did.did != self.id:
            raise AuthenticationError(code=Code.SIG_BINDING)
        self._require_active()
        entry = self.entry(parsed.key_name)
        if entry is None:
            raise _refusal("the record has no key of that name", Code.KEY_NOT_IN_RECORD)
        self._require_proven()
        if entry.state != "accepted":
            raise _refusal("the key is revoked", Code.KEY_REVOKED)
        if entry.has_expired(unix_time):
            raise _refusal("the key has expired", Code.KEY_EXPIRED)
        return entry

    def _select(self, candidates: list[KeyEntry], unix_time: int) -> PublicKey:
        self._require_active()
        self._require_proven()
        accepted = [entry for entry in candidates if entry.state == "accepted"]
        for entry in _by_name(accepted):
            if entry.is_usable(unix_time):
                return self._public(entry)
        if accepted:
            raise _refusal("every such key has expired", Code.KEY_EXPIRED)
        raise _refusal("the record has no such key", Code.KEY_NOT_IN_RECORD)

    def _require_active(self) -> None:
        if self.state != "active":
            raise _refusal(f"the record is {self.state}", Code.RECORD_INACTIVE)

    def _require_proven(self) -> None:
        if not self._proven:
            raise _refusal("the record's proofs were not checked", Code.KEY_UNPROVEN)

    def _public(self, entry: KeyEntry) -> PublicKey:
        key = self._public_keys.get(entry.name)
        if key is None:
            key = PublicKey(self.key_url(entry.name), entry.alg, entry.key)
            self._public_keys[entry.name] = key
        return key


def _by_name(entries: list[KeyEntry]) -> Iterator[KeyEntry]:
    return iter(sorted(entries, key=lambda entry: entry.name))


def _refusal(message: str, code: Code) -> ResolutionError:
    return ResolutionError(message, code=code)
