"""What a record says is over, and what it presents as good (REG-03).

Entries of a record are never removed, a revoked key is never accepted again, its name
and its bytes are never used anew, and a deactivated agent stays so. A registry that
shows otherwise, in whatever version, contradicts what it said before. To notice that
without keeping whole records, each of these things gets a *mark* of 16 bytes: the
agent, the name of a key, the key itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .._crypto import sha256
from ..limits import AGENT_RECORD_MAX_KEYS
from .record import AgentRecord, KeyEntry

__all__ = ["AGENT_MARK", "MARKS_MAX", "Standing", "standing_of"]

_MARK_BYTES: Final = 16


def _mark(kind: str, value: bytes) -> bytes:
    return sha256(kind.encode() + b"\0" + value)[:_MARK_BYTES]


# Revoked, it means that the agent is deactivated.
AGENT_MARK: Final = _mark("agent", b"")

# No lawful history has more: a name and a key for each entry, and the agent.
MARKS_MAX: Final = 2 * AGENT_RECORD_MAX_KEYS + 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What one record says about its agent and keys, as marks.

    Attributes:
        revoked: what is over for good.
        accepted: what is presented as good.
    """

    revoked: frozenset[bytes] = frozenset()
    accepted: frozenset[bytes] = frozenset()


def standing_of(record: AgentRecord) -> Standing:
    """Return the marks of a record; one that is deactivated presents nothing."""
    by_state: dict[str, set[bytes]] = {"revoked": set(), "accepted": set()}
    for entry in record.keys:
        by_state[entry.state] |= _marks_of(entry)
    if record.state == "deactivated":
        return Standing(frozenset(by_state["revoked"] | {AGENT_MARK}))
    return Standing(
        frozenset(by_state["revoked"]), frozenset(by_state["accepted"] | {AGENT_MARK})
    )


def _marks_of(entry: KeyEntry) -> set[bytes]:
    return {_mark("name", entry.name.encode()), _mark("key", entry.key)}
