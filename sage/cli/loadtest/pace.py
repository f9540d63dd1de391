"""When each message is meant to leave, and an event loop that wakes in time for it.

An open loop fixes every departure before the first message leaves. A latency counts
from that moment, not from when the driver came round to sending: a service that
stalls makes the messages behind the stall late, and they are counted as late. (The
other way, which forgets them, is known as coordinated omission.)
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Iterator

from .plan import Plan

__all__ = ["Due", "departures", "make_loop", "planned", "until"]


def departures(plan: Plan, index: int, start: float) -> Iterator[float]:
    """Yield when each message of one connection is meant to leave, without an end.

    The connections take turns, so that all of them together keep an even rate. The
    warm-up comes before ``start``.

    Args:
        plan: an open loop.
        index: the connection's number, from 0.
        start: monotonic seconds at which the counting begins.
    """
    first = -int(plan.warm_up_s * plan.rate)
    number = first + (index - first) % plan.connections
    while True:
        # From the start each time: a sum would drift.
        yield start + number / plan.rate
        number += plan.connections


class Due:
    """Hands out departures in batches.

    Args:
        times: of the departures, in order, without an end.
        end: monotonic seconds; what is meant to leave from then on does not.

    Attributes:
        next: the first departure that was not handed out.
    """

    def __init__(self, times: Iterator[float], end: float) -> None:
        self._times, self._end = times, end
        self.next = next(times)

    def take(self, now: float, most: int) -> list[float]:
        """Return the departures that are due, at most so many."""
        batch: list[float] = []
        following, times, end = self.next, self._times, self._end
        while following <= now and following < end and len(batch) < most:
            batch.append(following)
            following = next(times)
        self.next = following
        return batch


def planned(plan: Plan, start: float) -> int:
    """Return how many messages an open loop means to send while it counts.

    Args:
        plan: an open loop.
        start: as for `departures`.
    """
    # The same sums as there and in the tally: others may round to the other side.
    end = start + plan.duration_s
    number = int(plan.duration_s * plan.rate)
    while start + number / plan.rate < end:
        number += 1
    while number and start + (number - 1) / plan.rate >= end:
        number -= 1
    return number


async def until(when: float) -> None:
    """Wait for a moment, in monotonic seconds; not at all where it has passed."""
    loop = asyncio.get_running_loop()
    if when > loop.time():
        waiting = loop.create_future()
        timer = loop.call_at(when, _wake, waiting)
        try:
            await waiting
        finally:
            timer.cancel()


def make_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose timers are good to a fraction of a millisecond.

    On Linux asyncio rounds every wait up to whole milliseconds, which is more than
    many of the latencies that are to be measured.
    """
    selector = _make_selector()
    return asyncio.new_event_loop() if selector is None else _Loop(selector)


_Loop = asyncio.SelectorEventLoop

# ``select`` cannot wait for a descriptor from 1024 on. The loop's own is among the
# first of the process.
_SELECT_MAX = 1024


def _make_selector() -> selectors.BaseSelector | None:
    if not hasattr(selectors, "EpollSelector"):
        return None  # others keep to the microsecond, or have no better way

    class Precise(selectors.EpollSelector):
        """Waits by ``select``, in microseconds, for epoll's own descriptor."""

        def select(
            self, timeout: float | None = None
        ) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select((self.fileno(),), (), (), timeout)
                timeout = 0
            return super().select(timeout)

    selector = Precise()
    if selector.fileno() < _SELECT_MAX:
        return selector
    selector.close()
    return None


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
