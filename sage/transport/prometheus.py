"""Metrics for Prometheus, in a registry of their own.

Every series that can ever be exists from the start, at zero: no label appears because
of what a peer does, rates are right from the first event on, and no event looks a
label up (`labels()` costs four times what `inc()` does).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from .._accel import backend
from ..limits import RECORD_PLAINTEXT_MAX_BYTES
from ..types import Role
from .metrics import (
    DIAGNOSES,
    Cache,
    Carriage,
    Direction,
    Metrics,
    Outcome,
    ReadCache,
)

__all__ = ["PrometheusMetrics"]

# From a request on loopback, 0.3 ms, to the time limits of 10 and 30 s.
_SECONDS: Final = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
_BYTES: Final = (64, 256, *(4**n for n in range(5, 12)), RECORD_PLAINTEXT_MAX_BYTES)


class PrometheusMetrics(Metrics):
    """Counts every event; safe to share among services, channels and threads.

    Args:
        registry: where the collectors register; a new one when not given. Never the
            global registry of `prometheus_client`.

    Attributes:
        registry: the registry, for collectors of one's own.

    Raises:
        ValueError: ``registry`` has collectors of these names already.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._make_traffic()
        self._make_states()
        self._caches = _Caches()
        self.registry.register(self._caches)

    def _make_traffic(self) -> None:
        requests = self._counter(
            "sage_requests", "Requests by how they ended.", "role transport outcome"
        )
        self._requests = {
            (role, carriage, outcome): requests.labels(role.value, carriage, outcome)
            for role, carriage, outcome in product(Role, Carriage, Outcome)
        }
        seconds = self._histogram(
            "sage_request_seconds",
            "Seconds from a request to its answer.",
            "role transport",
        )
        self._request_seconds = {
            (role, carriage): seconds.labels(role.value, carriage)
            for role, carriage in product(Role, Carriage)
        }
        payload = self._histogram(
            "sage_payload_bytes",
            "Plaintext bytes of payloads.",
            "role direction",
            buckets=_BYTES,
        )
        self._payload = {
            (role, direction): payload.labels(role.value, direction)
            for role, direction in product(Role, Direction)
        }
        records = self._counter(
            "sage_stream_records", "Records of streams.", "role direction"
        )
        sizes = self._counter(
            "sage_stream_bytes", "Sealed bytes of streams' records.", "role direction"
        )
        self._records = {
            (role, direction): (
                records.labels(role.value, direction),
                sizes.labels(role.value, direction),
            )
            for role, direction in product(Role, Direction)
        }

    def _make_states(self) -> None:
        shakes = self._counter(
            "sage_handshakes", "Handshakes by how they ended.", "role outcome"
        )
        self._handshakes = {
            (role, outcome): shakes.labels(role.value, outcome)
            for role, outcome in product(Role, Outcome)
        }
        seconds = self._histogram(
            "sage_handshake_seconds", "Seconds that a handshake took.", "role"
        )
        self._handshake_seconds = {role: seconds.labels(role.value) for role in Role}
        self._connections = self._gauges("sage_connections", "Open connections.")
        self._sessions = self._gauges("sage_sessions", "Sessions held.")
        self._streams = self._gauges("sage_streams", "Open streams.")
        refusals = self._counter("sage_refusals", "What was refused, and why.", "code")
        self._refusals = {name: refusals.labels(name) for name in DIAGNOSES}
        self._replays = Counter(
            "sage_replays",
            "What was authentic, but seen before.",
            registry=self.registry,
        )
        resolutions = self._counter(
            "sage_resolutions", "Agent records asked for.", "outcome"
        )
        self._resolutions = {name: resolutions.labels(name) for name in Outcome}
        self._resolution_seconds = Histogram(
            "sage_resolution_seconds",
            "Seconds that a resolution took.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        build = Gauge(
            "sage_build_info",
            "What runs here; always 1.",
            ("core", "engine", "version"),
            registry=self.registry,
        )
        facts = backend()
        build.labels(facts["core"], facts["engine"], _version()).set(1)

    # --- the events ---------------------------------------------------------------

    def request(
        self, role: Role, carriage: Carriage, outcome: Outcome, seconds: float
    ) -> None:
        """See `Metrics.request`."""
        self._requests[role, carriage, outcome].inc()
        self._request_seconds[role, carriage].observe(seconds)

    def payload(self, role: Role, direction: Direction, size: int) -> None:
        """See `Metrics.payload`."""
        self._payload[role, direction].observe(size)

    def handshake(self, role: Role, outcome: Outcome, seconds: float) -> None:
        """See `Metrics.handshake`."""
        self._handshakes[role, outcome].inc()
        self._handshake_seconds[role].observe(seconds)

    def connections(self, role: Role, change: int) -> None:
        """See `Metrics.connections`."""
        self._connections[role].inc(change)

    def sessions(self, role: Role, change: int) -> None:
        """See `Metrics.sessions`."""
        self._sessions[role].inc(change)

    def streams(self, role: Role, change: int) -> None:
        """See `Metrics.streams`."""
        self._streams[role].inc(change)

    def stream_record(self, role: Role, direction: Direction, size: int) -> None:
        """See `Metrics.stream_record`."""
        records, sizes = self._records[role, direction]
        records.inc()
        sizes.inc(size)

    def refusal(self, code: str, *, replay: bool = False) -> None:
        """See `Metrics.refusal`."""
        self._refusals.get(code, self._refusals["other"]).inc()
        if replay:
            self._replays.inc()

    def resolution(self, outcome: Outcome, seconds: float) -> None:
        """See `Metrics.resolution`."""
        self._resolutions[outcome].inc()
        self._resolution_seconds.observe(seconds)

    def watch_cache(self, cache: Cache, read: ReadCache) -> None:
        """See `Metrics.watch_cache`. The same one twice is the same as once."""
        self._caches.watch(cache, read)

    def exposition(self) -> bytes:
        """Return everything in the Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)

    # --- helpers --------------------------------------------------------------------

    def _counter(self, name: str, text: str, labels: str) -> Counter:
        return Counter(name, text, labels.split(), registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: str, buckets: Iterable[float] = _SECONDS
    ) -> Histogram:
        return Histogram(
            name,
            text,
            labels.split(),
            buckets=tuple(buckets),
            registry=self.registry,
        )

    def _gauges(self, name: str, text: str) -> dict[Role, Gauge]:
        gauge = Gauge(name, text, ("role",), registry=self.registry)
        return {role: gauge.labels(role.value) for role in Role}


class _Caches(Collector):
    """Reads the caches' own statistics when somebody asks, and never before."""

    def __init__(self) -> None:
        self._watched: list[tuple[Cache, ReadCache]] = []

    def watch(self, cache: Cache, read: ReadCache) -> None:
        if (cache, read) not in self._watched:
            self._watched.append((cache, read))

    def collect(self) -> Iterator[CounterMetricFamily]:
        seen = [(cache, read()) for cache, read in list(self._watched)]
        for name, text in (
            ("hits", "Questions that a cache answered."),
            ("misses", "Questions that a cache did not answer."),
        ):
            family = CounterMetricFamily(f"sage_cache_{name}", text, labels=("cache",))
            for cache in Cache:
                counts = (getattr(now, name) for which, now in seen if which is cache)
                family.add_metric((cache.value,), sum(counts))
            yield family


def _version() -> str:
    # The package's own word, not that of installed metadata, which may be another's.
    return str(sys.modules[__name__.partition(".")[0]].__version__)
