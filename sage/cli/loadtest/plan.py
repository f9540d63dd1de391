"""What a load test sends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ...errors import UsageError
from ...limits import (
    RECORD_MIN_BYTES,
    RECORD_PLAINTEXT_MAX_BYTES,
    STREAM_RECORD_MAX_BYTES,
)

__all__ = ["Mode", "Plan"]

# What no driver in Python reaches, and what is too short to divide by: beyond them a
# test would count for hours without an ear for Ctrl-C, or measure nothing.
_RATE_MAX = 1_000_000
_IN_FLIGHT_MAX = 16_384
_DURATION_MIN_S = 0.001


class Mode(StrEnum):
    """What carries a message."""

    REQUEST = "request"
    """A signed request and its bound answer, over WebSocket."""
    STREAM = "stream"
    """A record of a stream, acknowledged by the service once it was opened."""
    HTTP = "http"
    """A signed request and its bound answer, over HTTPS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One load, complete.

    Attributes:
        mode: what carries a message.
        duration_s: for how long messages are sent, after the warm-up.
        connections: how many at once.
        rate: messages per second over all connections together, an open loop; 0 for
            as many as `in_flight` allows, a closed loop.
        size: bytes of a message, before it is sealed.
        in_flight: messages per connection that are sent and not yet answered, at most.
        warm_up_s: for how long messages are sent before any is counted.
        idle: open the connections, and send nothing.

    Raises:
        UsageError: a number is out of its range.
    """

    mode: Mode
    duration_s: float
    connections: int
    rate: float
    size: int
    in_flight: int
    warm_up_s: float = 1.0
    idle: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        largest = (
            STREAM_RECORD_MAX_BYTES - RECORD_MIN_BYTES
            if self.mode is Mode.STREAM
            else RECORD_PLAINTEXT_MAX_BYTES
        )
        if not 1 <= self.size <= largest:
            raise UsageError(f"a {self.mode} message is 1..{largest} bytes")
        if not _DURATION_MIN_S <= self.duration_s < math.inf:
            raise UsageError(f"a duration is finite, from {_DURATION_MIN_S} s on")
        if not 0 <= self.warm_up_s < math.inf:
            raise UsageError("a warm-up is a finite number of seconds")
        if not 0 <= self.rate <= _RATE_MAX:
            raise UsageError(f"a rate is 0..{_RATE_MAX} messages per second")
        if self.connections < 1:
            raise UsageError("at least one connection")
        if not 1 <= self.in_flight <= _IN_FLIGHT_MAX:
            raise UsageError(f"1..{_IN_FLIGHT_MAX} messages are in flight")

    @property
    def is_open_loop(self) -> bool:
        """Whether messages leave by the clock, whatever became of those before."""
        return self.rate > 0 and not self.idle
