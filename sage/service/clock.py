"""The two clocks, in one place, so that a test can hold both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Clock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Where time comes from.

    Attributes:
        monotonic: seconds that never run backwards; ages and deadlines.
        wall: seconds since the epoch; what envelopes carry.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    def now(self) -> float:
        """Return monotonic seconds."""
        return self.monotonic()

    def unix_time(self) -> int:
        """Return whole wall-clock seconds."""
        return int(self.wall())
