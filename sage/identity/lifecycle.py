"""The controller's side: making records and changing them (REG-03).

::

    absent ──create──> created ──activate──> active ──deactivate──> deactivated
                          └───────────────deactivate──────────────────┘

Each function returns a new record with one version more; the old one stays as it
was. Nothing leads back: entries are never removed, revoked keys never accepted
again, a deactivated record never changes, and the controller stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import ResolutionError, UsageError
from ..limits import AGENT_RECORD_VERSION_MAX
from ..types import Did, KeyUrl
from .did import parse_did
from .keys import KemKey, SigningKey
from .proof import challenge_of
from .record import AgentRecord, KeyEntry, Proof, ServiceEntry
from .record_schema import parse_record

__all__ = [
    "activate",
    "add_keys",
    "create_record",
    "deactivate",
    "revoke_key",
    "set_services",
]


def create_record(
    did: str,
    controller: str,
    signing_keys: Sequence[SigningKey],
    kem_keys: Sequence[KemKey],
    services: Sequence[ServiceEntry] = (),
    expires: int | None = None,
) -> AgentRecord:
    """Make the first version of a record, with every proof of possession in it.

    Args:
        did: the agent; every key must be named below it.
        controller: who may change the record, 1 to 256 printable ASCII characters.
        signing_keys: at least one; the first endorses the KEM keys.
        kem_keys: any number; without one the agent cannot be shaken hands with.
        services: at most 16 endpoints.
        expires: wall seconds from which on these keys are unusable, or ``None``.

    Returns:
        The record in state ``created``, version 1. `activate` makes it usable.

    Raises:
        UsageError: the arguments do not make a valid record.
    """
    if not signing_keys:
        raise UsageError("a record needs a signing key")
    keys = _entries(did, signing_keys, kem_keys, signing_keys[0], expires)
    return _checked(
        AgentRecord(
            Did(did), controller, _sorted(keys), _sorted(services), "created", 1
        )
    )


def activate(record: AgentRecord, *, unix_time: int | None = None) -> AgentRecord:
    """Make a created record usable.

    Args:
        record: in state ``created``.
        unix_time: wall seconds; where given, a record whose signing keys have all
            expired is refused.

    Raises:
        UsageError: the record is in another state, or has no usable signing key.
    """
    _require_state(record, "created")
    if unix_time is not None and not _can_sign(record.keys, unix_time):
        raise UsageError("the record has no unexpired signing key")
    return _next(record, state="active")


def add_keys(
    record: AgentRecord,
    signing_keys: Sequence[SigningKey] = (),
    kem_keys: Sequence[KemKey] = (),
    *,
    endorser: SigningKey | None = None,
    expires: int | None = None,
    unix_time: int | None = None,
) -> AgentRecord:
    """Add keys to an active record, in one mutation.

    Args:
        record: in state ``active``.
        signing_keys: each proves itself.
        kem_keys: endorsed by ``endorser``.
        endorser: an accepted, unexpired signing key of the record, or one of
            ``signing_keys``; the first of those if left out.
        expires: wall seconds from which on these keys are unusable, or ``None``.
        unix_time: wall seconds; where given, what has expired is refused.

    Raises:
        UsageError: nothing to add, a name or key that the record has or had, an
            ``expires`` that has passed, an endorser that is missing, revoked or
            expired, or another state.
    """
    _require_state(record, "active")
    if not signing_keys and not kem_keys:
        raise UsageError("there is no key to add")
    if expires is not None and unix_time is not None and expires <= unix_time:
        raise UsageError("the keys would have expired already")
    if endorser is None and signing_keys:
        endorser = signing_keys[0]
    added = _entries(record.id, signing_keys, kem_keys, endorser, expires)
    signers = {
        record.key_url(entry.name): entry.key
        for entry in (*record.keys, *added)
        if entry.state == "accepted"
        and (unix_time is None or entry.is_usable(unix_time))
    }
    if endorser and signers.get(endorser.kid) != endorser.public_key:
        raise UsageError("the endorser is not a usable signing key of the record")
    return _next(record, keys=_sorted([*record.keys, *added]))


def revoke_key(record: AgentRecord, name: str, *, unix_time: int) -> AgentRecord:
    """Revoke a key for good; without a usable signing key left, deactivate.

    Args:
        record: in state ``created`` or ``active``.
        name: the entry's name.
        unix_time: wall seconds, to know which keys are still usable.

    Raises:
        UsageError: no accepted key of that name, or another state.
    """
    _require_state(record, "created", "active")
    entry = record.entry(name)
    if entry is None or entry.state != "accepted":
        raise UsageError(f"there is no accepted key {name!r}")
    keys = tuple(
        replace(key, state="revoked") if key is entry else key for key in record.keys
    )
    state = record.state if _can_sign(keys, unix_time) else "deactivated"
    return _next(record, keys=keys, state=state)


def deactivate(record: AgentRecord) -> AgentRecord:
    """End a record for good. It stays readable; its name is never used again.

    Raises:
        UsageError: it is deactivated already.
    """
    _require_state(record, "created", "active")
    return _next(record, state="deactivated")


def set_services(record: AgentRecord, services: Sequence[ServiceEntry]) -> AgentRecord:
    """Replace all services of an active record.

    Raises:
        UsageError: they are not valid services, or another state.
    """
    _require_state(record, "active")
    return _next(record, services=_sorted(services))


def _entries(
    did: str,
    signing_keys: Sequence[SigningKey],
    kem_keys: Sequence[KemKey],
    endorser: SigningKey | None,
    expires: int | None,
) -> list[KeyEntry]:
    entries = [_entry(did, key, key, expires) for key in signing_keys]
    if kem_keys and endorser is None:
        raise UsageError("a KEM key needs a signing key that endorses it")
    if endorser is not None:
        entries += [_entry(did, key, endorser, expires) for key in kem_keys]
    return entries


def _entry(
    did: str, key: SigningKey | KemKey, signer: SigningKey, expires: int | None
) -> KeyEntry:
    owner, _, name = key.kid.partition("#")
    if owner != did:
        raise UsageError(f"{key.kid} is not a key of {did}")
    entry = KeyEntry(
        name, key.algorithm, key.public_key, Proof(signer.kid, b""), expires=expires
    )
    value = signer.sign(challenge_of(parse_did(owner), entry))
    return replace(entry, proof=Proof(KeyUrl(signer.kid), value))


def _sorted(entries: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.name))


def _can_sign(keys: Sequence[KeyEntry], unix_time: int) -> bool:
    return any(entry.signs and entry.is_usable(unix_time) for entry in keys)


def _require_state(record: AgentRecord, *states: str) -> None:
    if record.state not in states:
        raise UsageError(f"the record is {record.state}, not {' or '.join(states)}")


def _next(record: AgentRecord, **changes: Any) -> AgentRecord:
    if record.version >= AGENT_RECORD_VERSION_MAX:
        raise UsageError("the record has no versions left")
    return _checked(replace(record, version=record.version + 1, **changes))


def _checked(record: AgentRecord) -> AgentRecord:
    """Read our own record as a stranger would, so that none is published wrong."""
    try:
        return parse_record(record.to_json())
    except ResolutionError as exc:
        raise UsageError(str(exc)) from exc
