"""What is counted: the events, the closed sets of their labels, and nobody listening.

Authenticate, then accept, then act: a label comes from a closed set of ours, never
from the bytes of a peer, and so no agent's name, session, path or word is ever in one.
What strangers can move is `Metrics.connections`, `Metrics.resolution` and
`Metrics.refusal`, which count what *we* did about them; everything else counts what
was verified.

The methods of `Metrics` do nothing. `PrometheusMetrics` counts; a class of one's own
may send the same events elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from ..errors import (
    Code,
    ConfigError,
    DeadlineExceeded,
    PeerError,
    RemoteFailure,
    ResolutionError,
    ResourceError,
    TransportError,
)
from ..types import Role

__all__ = [
    "DIAGNOSES",
    "NO_METRICS",
    "Cache",
    "CacheStatistics",
    "Carriage",
    "Direction",
    "Metrics",
    "Outcome",
    "diagnose",
    "guarded",
    "outcome_of",
]

logger = logging.getLogger("sage.metrics")


class Carriage(StrEnum):
    """What carried a request."""

    WEBSOCKET = "websocket"
    HTTPS = "https"


class Direction(StrEnum):
    """Which way bytes went, as we see it."""

    IN = "in"
    OUT = "out"


class Outcome(StrEnum):
    """How a request, a handshake or a resolution ended."""

    OK = "ok"
    FAILED = "failed"  # an authentic answer that says so
    REFUSED = "refused"  # not acceptable: a signature, a record, a replay
    EXHAUSTED = "exhausted"  # no room, or a session used up
    TIMEOUT = "timeout"
    LOST = "lost"  # the connection, or another socket, ended first
    CANCELLED = "cancelled"  # by whoever asked
    ERROR = "error"  # a defect or a fault here


class Cache(StrEnum):
    """What is kept to save work."""

    RECORD = "record"
    PUBLIC_KEY = "public_key"
    PROOF = "proof"
    NAME = "name"


class CacheStatistics(Protocol):
    """How often a cache could help since it was made; `functools` has the same."""

    @property
    def hits(self) -> int:
        """Questions that it answered."""

    @property
    def misses(self) -> int:
        """Questions that it did not."""


ReadCache: TypeAlias = Callable[[], CacheStatistics]


class Metrics:
    """Listens to every event and does nothing; the base of what does something.

    The methods are called in the event loop: they must not wait. What one raises is
    logged once and goes no further (see `guarded`).
    """

    def request(
        self, role: Role, carriage: Carriage, outcome: Outcome, seconds: float
    ) -> None:
        """A request ended.

        Args:
            role: ours.
            carriage: what carried it.
            outcome: how it ended.
            seconds: from its arrival or its call to the answer.
        """

    def payload(self, role: Role, direction: Direction, size: int) -> None:
        """A payload of so many plaintext bytes was accepted, or answered with."""

    def handshake(self, role: Role, outcome: Outcome, seconds: float) -> None:
        """A handshake ended; a service counts only those that it completed."""

    def connections(self, role: Role, change: int) -> None:
        """So many connections more, or fewer."""

    def sessions(self, role: Role, change: int) -> None:
        """So many sessions of version 0.10.0 more, or fewer."""

    def streams(self, role: Role, change: int) -> None:
        """So many streams more, or fewer."""

    def stream_record(self, role: Role, direction: Direction, size: int) -> None:
        """A record of a stream, of so many sealed bytes, was sent or opened."""

    def refusal(self, code: str, *, replay: bool = False) -> None:
        """Something was refused.

        Args:
            code: a `Code`, or one of the other `DIAGNOSES`.
            replay: it was authentic, but seen before.
        """

    def resolution(self, outcome: Outcome, seconds: float) -> None:
        """Somebody's record was asked for."""

    def watch_cache(self, cache: Cache, read: ReadCache) -> None:
        """A cache whose statistics can be read at any time, from any thread."""

    def exposition(self) -> bytes | None:
        """Return everything in the Prometheus text format; ``None`` if it has none.

        May take its time: it is called in a thread.
        """
        return None


NO_METRICS: Final = Metrics()
"""Nobody listens. A call costs some 50 ns."""

_OTHER: Final = (
    (DeadlineExceeded, "deadline"),
    (TransportError, "connection"),
    (ResourceError, "exhausted"),
    (ConfigError, "config"),
)
DIAGNOSES: Final = frozenset({*map(str, Code), "other", *(name for _, name in _OTHER)})
"""Every word that `diagnose` has: the codes, and a kind for what carries none."""


def diagnose(error: BaseException) -> str:
    """Return an error's diagnostic code, or the kind of error that it is."""
    code = getattr(error, "code", None)
    if isinstance(code, Code):
        return code.value
    return next((name for kind, name in _OTHER if isinstance(error, kind)), "other")


_OUTCOMES: Final = (
    (RemoteFailure, Outcome.FAILED),
    (PeerError | ResolutionError, Outcome.REFUSED),
    (ResourceError, Outcome.EXHAUSTED),
    (TimeoutError, Outcome.TIMEOUT),
    (TransportError, Outcome.LOST),
    (asyncio.CancelledError, Outcome.CANCELLED),
)


def outcome_of(error: BaseException | None) -> Outcome:
    """Return how something ended that ended with this error, or with none."""
    if error is None:
        return Outcome.OK
    found = (outcome for kind, outcome in _OUTCOMES if isinstance(error, kind))
    return next(found, Outcome.ERROR)


_EVENTS: Final = (
    "connections",
    "handshake",
    "payload",
    "refusal",
    "request",
    "resolution",
    "sessions",
    "stream_record",
    "streams",
    "watch_cache",
)


def guarded(metrics: Metrics) -> Metrics:
    """Return metrics whose events never raise, so that traffic goes on without them.

    The first exception is logged, with its traceback; the others would be the same.
    """
    if metrics is NO_METRICS:
        return metrics
    guard, failed = Metrics(), False

    def quiet(event: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object, **options: object) -> None:
            nonlocal failed
            try:
                event(*args, **options)
            except Exception:
                if not failed:
                    failed = True
                    logger.exception("metrics failed; only this once is it logged")

        return call

    for name in _EVENTS:
        setattr(guard, name, quiet(getattr(metrics, name)))
    return guard
