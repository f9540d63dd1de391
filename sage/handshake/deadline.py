"""When a pending handshake ends (HPKE-05).

Two clocks bound it: 300 s of the monotonic clock from the moment the message was
emitted, and the ``expires`` of the envelopes by the wall clock. Whichever is first
ends it, equality counts as passed, and the 30 s of grace that envelopes have
elsewhere do not apply.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Code, StaleError
from ..limits import HANDSHAKE_PENDING_S

__all__ = ["Deadline"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """The first moments, on each clock, at which it is too late.

    Attributes:
        now: monotonic seconds.
        unix_time: wall seconds.
    """

    now: float
    unix_time: int

    @classmethod
    def start(
        cls, *, now: float, expires: int, unix_time: int | None = None
    ) -> Deadline:
        """Let the time run from ``now``.

        Args:
            now: monotonic seconds.
            expires: wall seconds; the earliest ``expires`` of the envelopes sent.
            unix_time: wall seconds at ``now``, where known. The monotonic clock then
                counts the way to ``expires`` too, and a wall clock that is set back
                later cannot stretch it.
        """
        remaining = HANDSHAKE_PENDING_S
        if unix_time is not None:
            # In this order, `min` keeps what is no number, and it has passed at once.
            remaining = min(expires - unix_time, remaining)
        return cls(now + remaining, expires)

    def passed(self, *, now: float, unix_time: int) -> bool:
        """Tell whether it is too late by either clock; one without a value is."""
        return not (now < self.now and unix_time < self.unix_time)

    def require(self, *, now: float, unix_time: int) -> None:
        """Refuse what comes too late.

        Raises:
            StaleError: the deadline has passed (``handshake.expired``).
        """
        if self.passed(now=now, unix_time=unix_time):
            raise StaleError("the handshake took too long", code=Code.HANDSHAKE_EXPIRED)
