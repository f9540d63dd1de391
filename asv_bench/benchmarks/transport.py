"""What metrics cost: a thousand events, with nobody listening and with Prometheus.

`guarded` is how a service calls them, so it is in every figure of Prometheus.
"""

from __future__ import annotations

from time import process_time
from typing import ClassVar

from .house import needs

version = "1"
timer = process_time
MANY = 1000


class Metrics:
    """A thousand events of each kind on the way of a request or a record."""

    params: ClassVar = [["none", "prometheus"]]
    param_names: ClassVar = ["listener"]
    number = 1
    repeat = 4
    warmup_time = 0.05

    def setup(self, listener: str) -> None:
        no_metrics, guarded, self.carriage, self.direction, self.outcome = needs(
            "sage.transport.metrics",
            "NO_METRICS",
            "guarded",
            "Carriage",
            "Direction",
            "Outcome",
        )
        role = self.role = needs("sage.types", "Role").RESPONDER
        chosen = no_metrics
        if listener == "prometheus":
            chosen = needs("sage.transport", "PrometheusMetrics")()
        self.metrics = guarded(chosen)
        counters = needs("sage.service.measure", "record_counters")
        self.count_in, _ = counters(self.metrics, role)

    def time_request_1000(self, listener: str) -> None:
        request, role = self.metrics.request, self.role
        carriage, outcome = self.carriage.WEBSOCKET, self.outcome.OK
        for _ in range(MANY):
            request(role, carriage, outcome, 0.001)

    def time_payload_1000(self, listener: str) -> None:
        payload, role, direction = self.metrics.payload, self.role, self.direction.IN
        for _ in range(MANY):
            payload(role, direction, 1024)

    def time_stream_record_1000(self, listener: str) -> None:
        count_in = self.count_in
        for _ in range(MANY):
            count_in(1024)

    def time_refusal_1000(self, listener: str) -> None:
        refusal = self.metrics.refusal
        for _ in range(MANY):
            refusal("sig.bad")


class Exposition:
    """One scrape."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        self.metrics = needs("sage.transport", "PrometheusMetrics")()

    def time_exposition(self) -> None:
        self.metrics.exposition()
