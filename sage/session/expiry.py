"""The timing wheel: what is due is found without looking at what is not.

A key is filed in the bucket of the tick in which it comes up, the first one at or
after its time. ``pop_due`` gives out the buckets that came up, each once; a bucket
whose tick has not come is not looked at, however many keys it holds.

The wheel is a ring of second-buckets without the ring: buckets lie in a table by the
number of their tick, and a heap of these numbers says which is next. An array of
slots would need to know the time before the first key arrives, would file what lies
beyond its rim in the wrong slot, and would walk over empty slots when the clock jumps.
The heap grows by one number per tick that has keys at all, at most 3,600 of them for
sessions that live for an hour, and is touched only when a bucket is opened or emptied:
filing a key costs two table entries, whatever the number of keys.

Nothing here is moved when a key's time changes. The owner learns of it when the old
bucket comes up, and files the key again.

The wheel has no lock and no clock; its owner has both.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil, floor, inf
from sys import float_info
from typing import Final

from .._accel import untrack
from ..errors import UsageError
from ..limits import EXPIRY_TICK_S

__all__ = ["TimingWheel"]

_FOREVER: Final = 2**63  # the tick of what never comes up; its negative: at once


class TimingWheel:
    """Keys by the tick in which they come up.

    Args:
        tick_s: the width of a bucket in seconds. A key comes up at most this much
            after its time, and never before.

    Raises:
        UsageError: ``tick_s`` is not a positive, finite number.
    """

    __slots__ = ("_buckets", "_place", "_tick_s", "_ticks")

    def __init__(self, tick_s: float = EXPIRY_TICK_S) -> None:
        if isinstance(tick_s, bool) or not isinstance(tick_s, (int, float)):
            raise UsageError(f"tick_s must be seconds, not {type(tick_s).__name__}")
        if not 0 < tick_s <= float_info.max:
            raise UsageError("tick_s must be positive and finite")
        self._tick_s = float(tick_s)
        # Tables of text and of such tables: the garbage collector need not walk them.
        self._buckets: dict[int, dict[str, None]] = {}
        self._place: dict[str, dict[str, None]] = {}
        self._ticks: list[int] = []  # a heap: each number in _buckets, once

    @property
    def tick_s(self) -> float:
        """The width of a bucket in seconds."""
        return self._tick_s

    @property
    def buckets(self) -> int:
        """How many ticks have a bucket."""
        return len(self._buckets)

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._place)

    def __contains__(self, key: object) -> bool:
        """Whether the key is filed."""
        return key in self._place

    def add(self, key: str, when: float, *, after: float = -inf) -> None:
        """File a key; one that is filed already moves.

        Args:
            key: any text.
            when: monotonic seconds. Minus infinity comes up with the next tick,
                infinity never.
            after: the key is to come up later than a tick at this time, even where
                rounding would have it in the same one.
        """
        tick = max(self._tick_at_or_after(when), self._tick_at(after) + 1)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._open(tick)
        place = self._place
        if (old := place.get(key)) is not None:
            del old[key]
        bucket[key] = None
        place[key] = bucket
        untrack(place)

    def remove(self, key: str) -> None:
        """Take a key out; one that is not filed is none to take."""
        bucket = self._place.pop(key, None)
        if bucket is not None:
            del bucket[key]

    def pop_due(self, now: float) -> list[str] | None:
        """Take out the keys of the earliest bucket that came up, or return ``None``.

        Call it until it returns ``None``. Each call costs what it returns.
        """
        ticks, place, last = self._ticks, self._place, self._tick_at(now)
        while ticks and ticks[0] <= last:
            bucket = self._buckets.pop(heappop(ticks))
            for key in bucket:
                del place[key]
            if bucket:
                return list(bucket)
        return None

    def pop_soonest(self) -> tuple[str, float] | None:
        """Take out a key of the earliest bucket, with that bucket's time.

        Keys of one bucket come in no particular order.
        """
        ticks, buckets = self._ticks, self._buckets
        while ticks:
            if bucket := buckets[ticks[0]]:
                key, _ = bucket.popitem()
                del self._place[key]
                return key, ticks[0] * self._tick_s
            del buckets[heappop(ticks)]
        return None

    def clear(self) -> None:
        """Forget every key."""
        self._buckets.clear()
        self._place.clear()
        self._ticks.clear()

    def _open(self, tick: int) -> dict[str, None]:
        bucket: dict[str, None] = {}
        untrack(bucket)
        self._buckets[tick] = bucket
        untrack(self._buckets)
        heappush(self._ticks, tick)
        return bucket

    def _tick_at_or_after(self, when: float) -> int:
        tick = when / self._tick_s
        return ceil(tick) if -_FOREVER < tick < _FOREVER else _beyond(tick)

    def _tick_at(self, now: float) -> int:
        tick = now / self._tick_s
        return floor(tick) if -_FOREVER < tick < _FOREVER else _beyond(tick)


def _beyond(tick: float) -> int:
    return _FOREVER if tick > 0 else -_FOREVER
