"""A resolver that asks once and answers often (REG-05, and how far it is stretched).

Without it every protected operation reads both records anew, which is what REG-05 says.
With it an operation may use a reading that began up to ``reuse_s`` before: a key that
was revoked is still accepted for that long, at most 5 s. Whoever wraps a resolver in
this one has chosen so; `docs/explanation/caching.md` says what it means.

* A **reading** serves whoever finds it young enough: 4 s for `resolve`, as many as they
  say for those who say so. Older ones are never served, whatever the registry does.
* **One read at a time** for each agent. Who asks meanwhile waits for the same one, and
  gets the same answer, good or bad. Who gives up leaves the others waiting.
* **So many reads** at once; where there would be more, the oldest gives way (`reads`).
* **Ahead of its end** a reading that is still in use is taken again, beside those who
  use it, so that nobody waits for a busy agent.
* **"Not there"** is an answer as well, for a second, kept apart from the readings, so
  that a flood of unknown names drives no known one out. "Unreachable" is none: the next
  one to ask tries again.
* **No way back**: what was seen of versions and revocations is in a `VersionFloor`,
  which each reading passes before anybody gets it. A revocation that the floor learns
  from elsewhere ends the readings that are kept: at once where it came through the same
  object, within a quarter of a second where another process wrote it to the same file.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Final

from ..errors import Code, DeadlineExceeded, ResolutionError, SageError, UsageError
from ..identity import Observation, Resolver, VersionFloor
from ..identity.revocations import Standing, standing_of
from ..limits import (
    OBSERVATION_MAX_AGE_S,
    RESOLUTION_AGED_MAX_S,
    RESOLUTION_CACHE_ENTRIES,
    RESOLUTION_NEGATIVE_S,
    RESOLUTION_READS_MAX,
    RESOLUTION_REUSE_S,
    RESOLVE_TIMEOUT_S,
)
from ..runtime import Cache
from ..runtime.parts import check_can
from .deadline import within
from .reads import Outcome, Read, Reads, unreachable

__all__ = ["CachingResolver", "ResolverStatistics"]

logger = logging.getLogger("sage.transport")


@dataclass(slots=True)
class ResolverStatistics:
    """What a caching resolver did since it was made. Only the resolver writes here.

    Attributes:
        hits: questions that a reading answered at once.
        negative_hits: questions that a kept refusal answered at once.
        misses: questions that waited for a read of their own.
        joins: questions that waited for somebody else's.
        refreshes: reads that were made ahead, with nobody waiting.
        failures: reads that ended in an error, whatever they were made for.
    """

    hits: int = 0
    negative_hits: int = 0
    misses: int = 0
    joins: int = 0
    refreshes: int = 0
    failures: int = 0


class CachingResolver:
    """Reads through another resolver, and reuses what it read for a few seconds.

    For one event loop. It is `Resolver` itself; a channel or service that gets it
    reuses readings up to `reuse_s`.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        reuse_s: float = RESOLUTION_REUSE_S,
        negative_s: float = RESOLUTION_NEGATIVE_S,
        floor: VersionFloor | None = None,
        max_entries: int = RESOLUTION_CACHE_ENTRIES,
        timeout_s: float = RESOLVE_TIMEOUT_S,
    ) -> None:
        """Put a cache in front of a resolver.

        Args:
            resolver: whom to ask. It is not closed with this one.
            reuse_s: how old a reading may be for `resolve`, 0 to 5.
            negative_s: how long "there is no such record" is believed, 0 to 5.
            floor: remembers versions and revocations. On a disk it should be, and
                the one of every other resolver of the same agent; when not given, it
                forgets at the end of the process.
            max_entries: agents whose readings are kept, and as many refusals.
            timeout_s: for one read.

        Raises:
            UsageError: a time or number that is out of range, or no resolver.
            ConfigError: no library to cache with is installed.
        """
        check_can(resolver, "resolve", "resolver")
        for name, value in (("reuse_s", reuse_s), ("negative_s", negative_s)):
            if not 0 <= value <= OBSERVATION_MAX_AGE_S:
                raise UsageError(f"{name} must be 0 to {OBSERVATION_MAX_AGE_S:g} s")
        if not timeout_s > 0:
            raise UsageError("timeout_s must be positive")
        self._resolver = resolver
        self._reuse_s, self._negative_s = float(reuse_s), float(negative_s)
        self._floor = floor if floor is not None else VersionFloor()
        self._timeout_s = timeout_s
        self._kept: Cache[_Kept] = Cache(max_entries)
        self._refused: Cache[SageError] = Cache(max_entries)
        self._closed = False
        self.statistics = ResolverStatistics()
        self._reads = Reads(RESOLUTION_READS_MAX, self._count_failure)

    @property
    def reuse_s(self) -> float:
        """How old a reading may be for `resolve`; an operation honours it."""
        return self._reuse_s

    async def resolve(
        self, did: str, *, now: float, max_age_s: float | None = None
    ) -> Observation:
        """Return a reading of ``did`` that is young enough, from memory if there is.

        Args:
            did: the agent.
            now: monotonic seconds at the start of the operation that this serves.
            max_age_s: how long before ``now`` the read may have begun; `reuse_s` by
                default, and at most 300 s. Longer than 5 s is not for operations of
                the protocol, which refuse such a reading; it is for whoever verifies
                signed HTTP and prefers that to asking again.

        Raises:
            ResolutionError: as `Resolver.resolve`; ``record.unreachable`` also where
                256 newer reads have begun before this one ended, or after `close`.
            UsageError: ``did`` is not a `str`.
        """
        limit = self._reuse_s if max_age_s is None else max_age_s
        kept = self._kept.get(did, now=now)
        # All that a hit costs: no task, no lock, nothing to wait for.
        if (
            kept is not None
            and now - kept.seen.observed_at <= limit
            and (
                (now < kept.look_at and kept.revocations == self._floor.revocations)
                or self._look(did, kept, now, limit)
            )
        ):
            self.statistics.hits += 1
            return kept.seen
        seen = await self._miss(did, now, limit, known=kept is not None)
        if not now - seen.observed_at <= limit:
            raise ResolutionError("an earlier reading", code=Code.RECORD_STALE)
        return seen

    def forget(self, did: str) -> None:
        """Drop what is kept of an agent, and keep nothing of a read under way.

        Versions and revocations that were seen stay seen.

        Raises:
            UsageError: ``did`` is not a `str`.
        """
        self._kept.evict(did)
        self._refused.evict(did)
        self._reads.forget(did)

    async def close(self) -> None:
        """End the reads under way: whoever waits gets ``record.unreachable``.

        Later questions are refused likewise. Idempotent.
        """
        self._closed = True
        self._kept.clear()
        self._refused.clear()
        await self._reads.close()

    async def _miss(
        self, did: str, now: float, limit: float, *, known: bool
    ) -> Observation:
        refusal = self._refused.get(did, now=now)
        if refusal is not None:
            self.statistics.negative_hits += 1
            raise copy.copy(refusal)
        read = self._reads.get(did)
        if read is not None and now - read.began_at <= limit:
            self.statistics.joins += 1
        else:
            self.statistics.misses += 1
            if self._closed:
                raise unreachable("the resolver was closed")
            read = self._reads.begin(did, self._read, now=now, known=known)
        outcome = await read.wait()
        if isinstance(outcome, SageError):
            raise copy.copy(outcome)
        return outcome

    def _look(self, did: str, kept: _Kept, now: float, limit: float) -> bool:
        """Whether a reading still stands; where its end is near, take it again."""
        kept.look_at = now + _LOOK_S
        try:
            self._floor.require_standing(kept.seen.record.id, kept.standing)
        except ResolutionError:
            self._kept.evict(did)
            return False
        kept.revocations = self._floor.revocations
        near = now - kept.seen.observed_at > limit * _REFRESH_AFTER
        free = self._reads.get(did) is None and not self._reads.full
        if near and free and not self._closed:
            self.statistics.refreshes += 1
            self._reads.begin(did, self._read, now=now, known=True)
        return True

    async def _read(self, read: Read) -> Outcome:
        """Ask; keep the answer, if it is still wanted; hand it to all who wait."""
        outcome: Outcome
        try:
            outcome = await self._ask(read.did, read.began_at)
        except SageError as exc:
            outcome = exc
        except Exception:
            logger.exception("a resolver failed in a way that it should not")
            outcome = unreachable("the resolver failed")
        wanted = self._reads.is_current(read)
        if not isinstance(outcome, SageError):
            self._keep(read.did, outcome, wanted=wanted)
        elif wanted:
            self._keep_refusal(read.did, outcome, read.began_at)
        return outcome

    def _count_failure(self) -> None:
        self.statistics.failures += 1

    async def _ask(self, did: str, now: float) -> Observation:
        question = self._resolver.resolve(did, now=now)
        try:
            seen = await within(self._timeout_s, question, f"resolving {did}")
        except DeadlineExceeded as exc:
            raise unreachable(str(exc)) from exc
        self._floor.admit(seen.record)
        return seen

    def _keep(self, did: str, seen: Observation, *, wanted: bool) -> None:
        kept = self._kept.get(did, now=seen.observed_at)
        newer = kept is None or seen.version >= kept.seen.version
        if wanted and newer:
            expires_at = seen.observed_at + RESOLUTION_AGED_MAX_S
            kept = _Kept(seen, standing_of(seen.record), self._floor.revocations)
            self._kept.put(did, kept, expires_at=expires_at)
            self._refused.evict(did)
        elif kept is not None and seen.version > kept.seen.version:
            # A slow read, overtaken, that knows more: what is kept is no longer true.
            self._kept.evict(did)

    def _keep_refusal(self, did: str, refusal: SageError, now: float) -> None:
        code = getattr(refusal, "code", None)
        if code is Code.RECORD_UNREACHABLE:
            return
        # The source has answered, and does not stand by what it said before.
        self._kept.evict(did)
        if code in _BELIEVED:
            refusal.__traceback__ = refusal.__cause__ = refusal.__context__ = None
            self._refused.put(did, refusal, expires_at=now + self._negative_s)


@dataclass(slots=True, eq=False)
class _Kept:
    """A reading, and when it is looked at again.

    Attributes:
        seen: the reading.
        standing: what it presents as good.
        revocations: what the floor had learned when it was last looked at.
        look_at: monotonic seconds from which on it is looked at again.
    """

    seen: Observation
    standing: Standing
    revocations: int
    look_at: float = 0.0


# From which part of its time on a reading is taken again. A quarter is left for it: a
# second of four, which a registry that is well needs a tenth of.
_REFRESH_AFTER: Final = 0.75

# How often a reading in use is held against the floor, which takes 10 µs, and is taken
# again where its end is near: not more often, should the registry fail.
_LOOK_S: Final = 0.25

# Answers about an agent. A name that cannot be one costs no read, so it is not kept.
_BELIEVED: Final = frozenset(
    (
        *(Code.RECORD_NOT_FOUND, Code.RECORD_INVALID, Code.RECORD_STALE),
        *(Code.SIZE_EXCEEDED, Code.POP_BAD, Code.KEY_UNPROVEN),
    )
)
