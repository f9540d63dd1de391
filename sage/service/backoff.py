"""How long to wait before the next attempt, so that many do not attempt as one.

Full jitter: anything from nothing to a bound that doubles with each failure. Where a
service comes back after an outage, its clients then come back spread over the whole
of that time, not all in its first moment.
"""

from __future__ import annotations

from ..identity.entropy import Entropy, draw
from ..limits import RECONNECT_MAX_S, RECONNECT_S

__all__ = ["Backoff"]

_BYTES = 8


class Backoff:
    """Counts the failures of one endpoint, and says when it may be tried again.

    Args:
        entropy: returns as many unpredictable bytes as it is asked for.
        first_s: the bound after the first failure.
        max_s: the bound that is never passed.

    Attributes:
        failures: failures since the last success.
        retry_at: monotonic seconds before which nothing is tried.
    """

    def __init__(
        self,
        entropy: Entropy,
        *,
        first_s: float = RECONNECT_S,
        max_s: float = RECONNECT_MAX_S,
    ) -> None:
        self._entropy, self._first_s, self._max_s = entropy, first_s, max_s
        self.failures, self.retry_at = 0, float("-inf")

    def bound_s(self) -> float:
        """Return the longest wait that the failures so far may lead to."""
        if not self.failures:
            return 0.0
        # The power is bounded too: a long outage must not make it a huge number.
        return min(self._max_s, self._first_s * 2.0 ** min(self.failures - 1, 32))

    def fail(self, now: float) -> None:
        """Count a failure, and draw the time of the next attempt.

        Raises:
            UsageError: the entropy is not as many bytes as were asked for; the whole
                bound is waited for then.
        """
        self.failures += 1
        self.retry_at = now + self.bound_s()
        drawn = int.from_bytes(draw(self._entropy, _BYTES), "big") / 2 ** (8 * _BYTES)
        self.retry_at = now + drawn * self.bound_s()

    def succeed(self) -> None:
        """Forget the failures."""
        self.failures, self.retry_at = 0, float("-inf")

    def wait_s(self, now: float) -> float:
        """Return how long it is until the next attempt may be made."""
        return max(0.0, self.retry_at - now)
