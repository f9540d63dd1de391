"""Changing an agent's keys without a moment in which nobody can talk to it.

::

    settled ──prepare──> prepared ──announce──> announced ──switch──> switched
       └<──────────────────────────────────────────────────────revoke─────┘

``prepare`` makes a new pair and saves it; nobody knows of it. ``announce`` publishes
it. Its names sort before those that it follows, so that from now on peers agree on new
sessions with the new pair, while sessions with the old one go on. ``switch`` signs what
the agent itself begins with the new key, once every peer can have seen it. ``revoke``
takes the old pair out of the record, once no session that was made with it can be
left, and forgets it.

A step saves before it publishes, and each begins by publishing once more what is
saved. So wherever a process dies, what is published is never ahead of what is saved,
and the same step does the rest when it is taken again. An announcement is done once it
is saved that it was published: the wait before ``switch`` counts from there, because
until then peers may hold a reading of the record before it.

A key of the new pair may be revoked meanwhile. Then ``switch`` gives that pair up, and
``revoke`` first goes back to the old one: no step leaves the agent without keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Final

from ..envelope.replay_guard import check_unix_time
from ..errors import UsageError
from ..identity import (
    KEM_ALGORITHM,
    AgentRecord,
    KemKey,
    SigningKey,
    add_keys,
    check_successor,
    revoke_key,
)
from ..limits import (
    ROTATION_OVERLAP_MAX_S,
    ROTATION_OVERLAP_S,
    ROTATION_SETTLE_S,
)
from .agent import Agent
from .clock import Clock
from .key_ring import KeyPair, KeyRing

__all__ = ["Rotation", "Stage"]


class Stage(Enum):
    """How far a rotation came."""

    SETTLED = "settled"
    PREPARED = "prepared"
    ANNOUNCED = "announced"
    SWITCHED = "switched"


class Rotation:
    """Rotates the keys of one agent, step by step.

    Whoever uses it sees to it that one process at a time does so for an agent: two
    would save over each other's keys.

    Args:
        agent: a live one; each step changes it in place, so that channels and services
            that use it go on with the right keys.
        save: writes the agent to where it will be loaded from, such as
            ``lambda agent: agent.save(path, passphrase=…)``.
        publish: makes a record the one that others resolve. It is called again with
            a record that is published already, and must accept that, as
            `write_record_file` does.
        overlap_s: how long both pairs are good after ``switch``. Sessions live for an
            hour at most; a shorter overlap closes some of them. A year at most.
        clock: for how long a publication takes.

    Raises:
        UsageError: ``overlap_s`` is out of range, or not an int.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        save: Callable[[Agent], None],
        publish: Callable[[AgentRecord], object],
        overlap_s: int = ROTATION_OVERLAP_S,
        clock: Clock | None = None,
    ) -> None:
        if type(overlap_s) is not int or not 0 <= overlap_s <= ROTATION_OVERLAP_MAX_S:
            raise UsageError(f"overlap_s is 0 to {ROTATION_OVERLAP_MAX_S} s")
        self._agent, self._save, self._publish = agent, save, publish
        self._overlap_s = overlap_s
        self._clock = clock if clock is not None else Clock()

    @property
    def stage(self) -> Stage:
        """How far it came; for an announcement, whether or not it was published."""
        ring = self._agent.ring
        if ring.retired is not None:
            return Stage.SWITCHED
        if ring.following is None:
            return Stage.SETTLED
        announced = ring.record.entry(_name(ring.following.signing_key)) is not None
        return Stage.ANNOUNCED if announced else Stage.PREPARED

    @property
    def not_before(self) -> int:
        """Wall seconds from which on the next step may be taken; 0 for at once.

        The rest of a step that was cut off may be taken at once, and so may the way
        back from a pair that was revoked: the old one is good, and none is taken away.
        """
        if self._is_cut_off or self._must_go_back:
            return 0
        waits = {Stage.ANNOUNCED: ROTATION_SETTLE_S, Stage.SWITCHED: self._overlap_s}
        wait = waits.get(self.stage)
        return 0 if wait is None else self._agent.ring.moved_at + wait

    def step(
        self, *, unix_time: int, early: bool = False, algorithm: str | None = None
    ) -> Stage:
        """Take the next step, or the rest of one that was cut off.

        Args:
            unix_time: whole wall seconds.
            early: take it before its time, at the price of sessions and handshakes
                that fail; for a key that somebody else may have.
            algorithm: of the new signing key; the old one's when not given. Counts
                for the first step only.

        Returns:
            The stage after it. The rest of an announcement is a step of its own, after
            which the wait for the next one begins.

        Raises:
            UsageError: ``unix_time`` is not an int from 0, and nothing was done;
                before its time, when what is saved was published once more
                and nothing else was done; or the record is not active, has no usable
                key to endorse with, or has no room left; or the last signing or KEM
                key would be revoked, because one of each pair was.
            ConfigError, ResolutionError: from ``save`` or ``publish``. The step may
                be taken again.
        """
        # It is saved with the keys, and a file with any other time is not read again.
        check_unix_time(unix_time)
        began = self._clock.now()
        self._publish(self._agent.record)
        if not early and unix_time < self.not_before:
            raise UsageError(
                f"the next step is not before {self.not_before}, "
                f"in {self.not_before - unix_time} s"
            )

        def moment() -> int:
            return unix_time + int(self._clock.now() - began)

        stage, ring = self.stage, self._agent.ring
        if self._is_cut_off:
            self._note_publication(moment())
        elif stage is Stage.SETTLED:
            self._move(_prepared(ring, algorithm), moment())
        elif stage is Stage.PREPARED:
            self._move(_announced(ring, unix_time), moment())
            self._note_publication(moment())
        elif stage is Stage.ANNOUNCED and _is_good(ring, ring.following):
            self._move(_switched(ring), moment())
        elif stage is Stage.ANNOUNCED:
            self._revoke(ring.following, unix_time)
        elif self._must_go_back:
            self._move(_switched_back(ring), moment())
        else:
            self._revoke(ring.retired, unix_time)
        return self.stage

    @property
    def _is_cut_off(self) -> bool:
        """Whether an announcement is saved of which nobody knows that it came out."""
        return self.stage is Stage.ANNOUNCED and not self._agent.ring.announced

    @property
    def _must_go_back(self) -> bool:
        """Whether the pair in use was revoked, and the one before it was not."""
        ring = self._agent.ring
        return (
            ring.retired is not None
            and _is_good(ring, ring.retired)
            and not _is_good(ring, ring.current)
        )

    def _note_publication(self, moved_at: int) -> None:
        """Save that it succeeded, and when, for whoever waits from there on."""
        self._move(replace(self._agent.ring, announced=True), moved_at)

    def _revoke(self, gone: KeyPair | None, unix_time: int) -> None:
        """Revoke what is left of a pair, one version each, then forget it."""
        for key in gone or ():
            ring = self._agent.ring
            entry = ring.record.entry(_name(key))
            if entry is not None and entry.state == "accepted":
                record = revoke_key(ring.record, entry.name, unix_time=unix_time)
                if record.state == "deactivated":
                    raise UsageError(f"{entry.name} is the last signing key")
                if isinstance(key, KemKey) and not _has_kem_key(record):
                    raise UsageError(f"{entry.name} is the last KEM key")
                # The time of the switch stays: half a revocation is not a step.
                self._move(replace(ring, record=record), ring.moved_at)
        ring = self._agent.ring
        self._move(replace(ring, following=None, retired=None, announced=False), 0)
        if gone is not None:
            gone.wipe()

    def _move(self, ring: KeyRing, moved_at: int) -> None:
        """Save, then use, then publish: nobody learns of a key that could be lost."""
        before = self._agent.ring
        ring = replace(ring, moved_at=moved_at)
        if ring.record != before.record:
            check_successor(before.record, ring.record)
        saved = self._agent.with_ring(ring)
        self._save(saved)
        self._agent.adopt(ring)
        if ring.record != before.record:
            self._publish(ring.record)


def _prepared(ring: KeyRing, algorithm: str | None) -> KeyRing:
    following = KeyPair(
        SigningKey.generate(
            ring.record.key_url(_next_name(ring.record, "sign")),
            algorithm or ring.current.signing_key.algorithm,
        ),
        KemKey.generate(ring.record.key_url(_next_name(ring.record, "kem"))),
    )
    # What cannot be announced is not worth being saved.
    add_keys(ring.record, [following.signing_key], [following.kem_key])
    return replace(ring, following=following)


def _announced(ring: KeyRing, unix_time: int) -> KeyRing:
    assert ring.following is not None  # noqa: S101
    signing, kem = ring.following
    return replace(
        ring, record=add_keys(ring.record, [signing], [kem], unix_time=unix_time)
    )


def _switched(ring: KeyRing) -> KeyRing:
    assert ring.following is not None  # noqa: S101
    return replace(
        ring,
        current=ring.following,
        following=None,
        retired=ring.current,
        announced=False,
    )


def _switched_back(ring: KeyRing) -> KeyRing:
    assert ring.retired is not None  # noqa: S101
    return replace(ring, current=ring.retired, retired=ring.current)


def _is_good(ring: KeyRing, pair: KeyPair | None) -> bool:
    entries = [ring.record.entry(_name(key)) for key in pair or ()]
    return all(entry is not None and entry.state == "accepted" for entry in entries)


def _has_kem_key(record: AgentRecord) -> bool:
    return any(
        entry.alg == KEM_ALGORITHM and entry.state == "accepted"
        for entry in record.keys
    )


# New handshakes take the usable key whose name sorts first (REG-02), and names are
# never used again: ours count down. A record has room for 128 keys, revoked ones too.
_COUNTED: Final = re.compile(r"0[0-9]{3}")
_FIRST: Final = 999


def _next_name(record: AgentRecord, prefix: str) -> str:
    """Return ``<prefix>-0999``, or one less than the lowest such name."""
    ends = (entry.name.removeprefix(f"{prefix}-") for entry in record.keys)
    counts = [int(end) for end in ends if _COUNTED.fullmatch(end)]
    return f"{prefix}-{min(counts, default=_FIRST + 1) - 1:04d}"


def _name(key: SigningKey | KemKey) -> str:
    return key.kid.partition("#")[2]
