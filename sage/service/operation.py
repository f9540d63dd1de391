"""One protected operation and its fresh view of both agents' records (REG-05).

Before every operation both ends' records are read anew; at the final gate, right
before something is sealed or accepted, the reading must not be older than 5 s. A
key that was revoked, expired, changed or cannot be seen any more closes the session
that it was pinned to.

A reading from before the operation is refused, unless the resolver announces, as
`CachingResolver` does, that it reuses readings and for how long (``reuse_s``).
"""

from __future__ import annotations

import asyncio

from ..errors import Code, ResolutionError
from ..handshake import Binding
from ..identity import AgentRecord, MemoryResolver, Observation, PublicKey, Resolver
from ..limits import OBSERVATION_MAX_AGE_S
from ..types import Did
from .clock import Clock

__all__ = ["Operation"]


class Operation:
    """The two records that one operation stands on.

    Args:
        resolver: where records are read.
        clock: for ages and expiries.
        init_did: the initiator of the handshake.
        resp_did: its responder.
    """

    def __init__(
        self, resolver: Resolver, clock: Clock, *, init_did: Did, resp_did: Did
    ) -> None:
        self._resolver, self._clock = resolver, clock
        # Whatever a resolver says: never longer than the protocol's own limit.
        self._reuse_s = min(getattr(resolver, "reuse_s", 0.0), OBSERVATION_MAX_AGE_S)
        self._dids = init_did, resp_did
        self._observations: tuple[Observation, Observation] | None = None
        # What `require_current` found good last: nothing in it can change.
        self._current: tuple[object, Binding, int] | None = None

    async def observe(self) -> None:
        """Read both records now.

        Raises:
            ResolutionError: either cannot be read; or a reading is from before this
                call, and the resolver does not reuse any, or is older than 5 s at
                its end (``record.stale``).
        """
        now = self._clock.now()
        observations = self._observe_at_once(now)
        if observations is None:
            reading = (self._resolver.resolve(did, now=now) for did in self._dids)
            seen_each = await asyncio.gather(*reading)
            init, resp = [await self._renewed(seen, now) for seen in seen_each]
            observations = init, resp
        for seen in observations:
            seen.require_fresh(self._clock.now())
            # Written so that a time that is not a number is refused.
            if not seen.observed_at >= now - self._reuse_s:
                raise ResolutionError("an earlier reading", code=Code.RECORD_STALE)
        self._observations = observations

    async def pass_gate(self) -> None:
        """Read again where the last reading is missing or older than 5 s.

        Raises:
            ResolutionError: either record cannot be read.
        """
        now = self._clock.now()
        if self._observations is None or any(
            now - seen.observed_at > OBSERVATION_MAX_AGE_S
            for seen in self._observations
        ):
            await self.observe()

    @property
    def init_record(self) -> AgentRecord:
        """The initiator's record, as observed."""
        return self._seen()[0].record

    @property
    def resp_record(self) -> AgentRecord:
        """The responder's record, as observed."""
        return self._seen()[1].record

    def current_keys(self, binding: Binding) -> tuple[PublicKey, PublicKey, PublicKey]:
        """Return the initiator's, responder's and KEM key as the records hold them.

        Raises:
            ResolutionError: one of them is gone, revoked or expired.
        """
        unix_time = self._clock.unix_time()
        return (
            self.init_record.find_signing_key(binding.init_kid, unix_time=unix_time),
            self.resp_record.find_signing_key(binding.resp_kid, unix_time=unix_time),
            self.resp_record.find_kem_key(binding.kem_kid, unix_time=unix_time),
        )

    def require_current(self, binding: Binding) -> None:
        """Check that the pinned keys are still what the records hold.

        Raises:
            ResolutionError: a key is gone, revoked, expired or another one.
        """
        unix_time = self._clock.unix_time()
        asked = self._seen(), binding, unix_time
        if self._is_known(asked):
            return
        pinned = binding.init_key, binding.resp_key, binding.kem_key
        if self.current_keys(binding) != pinned:
            raise ResolutionError("a pinned key has changed", code=Code.RECORD_INVALID)
        self._current = asked

    async def _renewed(self, seen: Observation, began_at: float) -> Observation:
        """Read again what was reused, and has grown too old beside a slower reading."""
        now = self._clock.now()
        if seen.observed_at >= began_at or now - seen.observed_at <= (
            OBSERVATION_MAX_AGE_S
        ):
            return seen
        return await self._resolver.resolve(seen.record.id, now=now)

    def _observe_at_once(self, now: float) -> tuple[Observation, Observation] | None:
        """Read both records of a resolver that never waits, without two tasks."""
        resolver = self._resolver
        # Not a subclass: that may have a `resolve` of its own.
        if type(resolver) is not MemoryResolver:
            return None
        init, resp = (resolver.look_up(did, now=now) for did in self._dids)
        return init, resp

    def _is_known(self, asked: tuple[object, Binding, int]) -> bool:
        known = self._current
        return (
            known is not None
            and known[0] is asked[0]
            and known[1] is asked[1]
            and known[2] == asked[2]
        )

    def _seen(self) -> tuple[Observation, Observation]:
        assert self._observations is not None, "observe() comes first"  # noqa: S101
        return self._observations
