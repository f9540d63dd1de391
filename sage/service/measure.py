"""Where the service's events become metrics: one line at each place that counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final

from ..envelope import Request, Response
from ..errors import PeerError, RemoteFailure, ReplayError, ResolutionError
from ..identity import Observation, Resolver
from ..identity.did import _parse_did
from ..identity.proof import _verify_once
from ..identity.signature import check_public_key
from ..limits import OBSERVATION_MAX_AGE_S
from ..transport.metrics import (
    NO_METRICS,
    Cache,
    CacheStatistics,
    Carriage,
    Direction,
    Metrics,
    Outcome,
    diagnose,
    guarded,
    outcome_of,
)
from ..types import Role
from .clock import Clock

__all__ = [
    "MeasuredResolver",
    "Timer",
    "count_answer",
    "count_failure",
    "count_refusal",
    "observed",
    "record_counters",
    "watch_caches",
]


class Timer:
    """Counts how its block ends, and how long it takes.

    Args:
        clock: the clock.
        count: takes the outcome and the seconds.
    """

    __slots__ = ("_began", "_clock", "_count")

    def __init__(self, clock: Clock, count: Callable[[Outcome, float], None]) -> None:
        self._clock, self._count = clock, count

    def __enter__(self) -> None:
        self._began = self._clock.now()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._count(outcome_of(error), self._clock.now() - self._began)


_REASONS: Final = {
    None: Outcome.OK,
    "authentication_failed": Outcome.REFUSED,
    "policy_denied": Outcome.REFUSED,
    "unavailable": Outcome.TIMEOUT,
}


def count_answer(
    metrics: Metrics,
    carriage: Carriage,
    request: Request,
    response: Response,
    *,
    seconds: float,
) -> None:
    """Count what a service has accepted and answered: a handshake or a request."""
    outcome = _REASONS.get(response.error, Outcome.FAILED)
    if request.encoding == "plain":
        metrics.handshake(Role.RESPONDER, outcome, seconds)
    else:
        metrics.request(Role.RESPONDER, carriage, outcome, seconds)


def count_refusal(metrics: Metrics, error: BaseException) -> str:
    """Count what was refused, and return its diagnostic code for the log."""
    code = diagnose(error)
    metrics.refusal(code, replay=isinstance(error, ReplayError))
    return code


def count_failure(metrics: Metrics, error: BaseException) -> str:
    """Count what a client refused, if that is how it failed; return its code."""
    ours = isinstance(error, PeerError | ResolutionError)
    if ours and not isinstance(error, RemoteFailure):
        return count_refusal(metrics, error)
    return diagnose(error)


def record_counters(
    metrics: Metrics, role: Role
) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """Return what counts the records of streams, by their sizes: in, and out."""
    # Bound once: a record takes a few microseconds, and looking up an enumeration's
    # member twice would take a tenth of one.
    count = metrics.stream_record
    return partial(count, role, Direction.IN), partial(count, role, Direction.OUT)


class MeasuredResolver:
    """Counts the resolutions of another resolver.

    Args:
        resolver: whom to ask.
        metrics: where it counts.
        clock: measures them.
    """

    def __init__(self, resolver: Resolver, metrics: Metrics, clock: Clock) -> None:
        self._resolver, self._metrics, self._clock = resolver, metrics, clock

    @property
    def reuse_s(self) -> float:
        """How old a reading may be, as the resolver itself announces it."""
        reuse_s: float = getattr(self._resolver, "reuse_s", 0.0)
        return min(reuse_s, OBSERVATION_MAX_AGE_S)

    async def resolve(self, did: str, *, now: float) -> Observation:
        """Ask; see `Resolver.resolve`."""
        with Timer(self._clock, self._metrics.resolution):
            return await self._resolver.resolve(did, now=now)


def observed(
    resolver: Resolver, metrics: Metrics | None, clock: Clock
) -> tuple[Resolver, Metrics]:
    """Return a resolver that is counted and metrics that never raise.

    Where nobody listens, the resolver comes back as it is.
    """
    if metrics is None or metrics is NO_METRICS:
        return resolver, NO_METRICS
    safe = guarded(metrics)
    watch_caches(resolver, safe)
    return MeasuredResolver(resolver, safe, clock), safe


def watch_caches(resolver: Resolver, metrics: Metrics) -> None:
    """Tell metrics of every cache: those of names and keys, and the resolver's."""
    metrics.watch_cache(Cache.NAME, _parse_did.cache_info)
    metrics.watch_cache(Cache.PUBLIC_KEY, check_public_key.cache_info)
    metrics.watch_cache(Cache.PROOF, _verify_once.cache_info)
    if hasattr(resolver, "statistics"):
        metrics.watch_cache(Cache.RECORD, _Statistics(resolver))


class _Statistics:
    """Reads what a caching resolver says of itself; equal for the same resolver."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def __call__(self) -> CacheStatistics:
        statistics: CacheStatistics = self._resolver.statistics  # type: ignore[attr-defined]
        return statistics

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Statistics) and other._resolver is self._resolver

    def __hash__(self) -> int:
        return id(self._resolver)
