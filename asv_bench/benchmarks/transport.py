"""What metrics cost: one event, with nobody listening and with Prometheus.

`guarded` is how a service calls them, so it is in every figure of Prometheus.
"""

from __future__ import annotations

from sage.service.measure import record_counters
from sage.transport import PrometheusMetrics
from sage.transport.metrics import (
    NO_METRICS,
    Carriage,
    Direction,
    Outcome,
    guarded,
)
from sage.types import Role


class Metrics:
    """One event of each kind that is on the way of a request or a record."""

    params = (["none", "prometheus"],)
    param_names = ("listener",)

    def setup(self, listener: str) -> None:
        chosen = NO_METRICS if listener == "none" else PrometheusMetrics()
        self.metrics = guarded(chosen)
        self.count_in, _ = record_counters(self.metrics, Role.RESPONDER)

    def time_request(self, listener: str) -> None:
        self.metrics.request(Role.RESPONDER, Carriage.WEBSOCKET, Outcome.OK, 0.001)

    def time_payload(self, listener: str) -> None:
        self.metrics.payload(Role.RESPONDER, Direction.IN, 1024)

    def time_stream_record(self, listener: str) -> None:
        self.count_in(1024)

    def time_refusal(self, listener: str) -> None:
        self.metrics.refusal("sig.bad")


class Exposition:
    """One scrape."""

    def setup(self) -> None:
        self.metrics = PrometheusMetrics()

    def time_exposition(self) -> None:
        self.metrics.exposition()
