"""The registry's side: which change of a record is one (REG-03).

A registry compares what it has with what it is offered. The record itself is
already parsed, so its schema and proofs are known to be right; what is left are
the rules that two versions keep between them.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import Code, ResolutionError
from .record import AgentRecord, KeyEntry

__all__ = ["check_successor"]


def check_successor(
    previous: AgentRecord, new: AgentRecord, *, unix_time: int | None = None
) -> None:
    """Check that ``new`` follows from ``previous`` by exactly one mutation.

    One mutation: activate, add keys, revoke keys, replace the services, or
    deactivate. Revoking and deactivating may come together, because revoking the
    last usable signing key must deactivate.

    Args:
        previous: what the registry holds.
        new: what it is offered.
        unix_time: wall seconds; where given, expiry counts: a live record needs a
            usable signing key, and a new endorsement one whose signer is usable.

    Raises:
        ResolutionError: not exactly one version more: ``record.stale`` where it is
            not newer, ``record.invalid`` where it skips one; another agent or
            controller, an entry that was removed, changed or taken back from
            revocation, or a change that its state does not allow
            (``record.invalid``); proofs that nobody checked (``key.unproven``).
    """
    if not new.proven:
        raise ResolutionError("the proofs were not checked", code=Code.KEY_UNPROVEN)
    if (new.id, new.controller) != (previous.id, previous.controller):
        raise _refused("another agent or controller")
    if new.version <= previous.version:
        raise ResolutionError("the record is not newer", code=Code.RECORD_STALE)
    if new.version != previous.version + 1:
        raise _refused("a version was skipped")
    changes = _changes(previous, new)
    if changes not in _MUTATIONS.get((previous.state, new.state), ()):
        raise _refused(f"{previous.state} to {new.state} with {sorted(changes)}")
    if unix_time is not None:
        _check_times(previous, new, unix_time)


# What may differ, besides the version, on the way from one state to the next.
_NOTHING, _ADD, _REVOKE, _SERVICES = map(
    frozenset, ([], ["keys added"], ["keys revoked"], ["services"])
)
_MUTATIONS = {
    ("created", "created"): (_REVOKE,),
    ("created", "active"): (_NOTHING,),
    ("created", "deactivated"): (_NOTHING, _REVOKE),
    ("active", "active"): (_NOTHING, _ADD, _REVOKE, _SERVICES),
    ("active", "deactivated"): (_NOTHING, _REVOKE),
}


def _changes(previous: AgentRecord, new: AgentRecord) -> frozenset[str]:
    changes = set()
    kept = {entry.name: entry for entry in new.keys}
    for old in previous.keys:
        entry = kept.pop(old.name, None)
        if entry == old:
            continue
        if entry is None or entry != replace(old, state="revoked"):
            raise _refused(f"key {old.name!r} was removed, changed or accepted again")
        changes.add("keys revoked")
    for entry in kept.values():
        if not _is_fresh(entry, new):
            raise _refused(f"key {entry.name!r} is added revoked or without a signer")
        changes.add("keys added")
    if new.services != previous.services:
        changes.add("services")
    return frozenset(changes)


def _is_fresh(entry: KeyEntry, record: AgentRecord) -> bool:
    """Whether an added entry, and the key that vouches for it, are accepted."""
    signer = _signer(entry, record)
    return entry.state == "accepted" and signer.state == "accepted"


def _check_times(previous: AgentRecord, new: AgentRecord, unix_time: int) -> None:
    old = {entry.name for entry in previous.keys}
    for entry in new.keys:
        if entry.name not in old and not _signer(entry, new).is_usable(unix_time):
            raise _refused(f"the signer of key {entry.name!r} has expired")
    live = any(entry.signs and entry.is_usable(unix_time) for entry in new.keys)
    if new.state == "deactivated" or live:
        return
    # An expired record may stay as it is; it may not be activated or cut further.
    if previous.state != new.state or "keys revoked" in _changes(previous, new):
        raise _refused("no usable signing key is left")


def _signer(entry: KeyEntry, record: AgentRecord) -> KeyEntry:
    signer = record.entry(entry.proof.signer.partition("#")[2])
    if signer is None:  # cannot happen: the proofs were checked
        raise _refused(f"key {entry.name!r} has no signer")
    return signer


def _refused(message: str) -> ResolutionError:
    return ResolutionError(f"not a successor: {message}", code=Code.RECORD_INVALID)
