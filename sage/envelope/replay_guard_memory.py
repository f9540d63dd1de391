"""A replay guard that lives and dies with its process."""

from __future__ import annotations

import os
import threading
from heapq import heappop, heappush

from ..errors import UsageError
from ..limits import REPLAY_GUARD_ENTRIES
from .replay_guard import (
    PURGE_ENTRIES,
    Reservation,
    Watch,
    check_room,
    forked,
    overloaded,
    replayed,
)

__all__ = ["MemoryReplayGuard"]


class MemoryReplayGuard:
    """Remembers in memory: some 130 bytes an entry, two or three a message.

    For one process; safe to share among its threads and event loops. The copy that a
    fork makes refuses: each of the two would let pass what the other did.
    """

    def __init__(
        self,
        *,
        now: float | None = None,
        max_entries: int = REPLAY_GUARD_ENTRIES,
        assume_no_history: bool = False,
    ) -> None:
        """Make an empty guard, in quarantine unless the caller knows better.

        Args:
            now: monotonic seconds, from which the quarantine counts; ``None`` lets
                it count from the first `reserve`.
            max_entries: how many live entries it holds before it refuses.
            assume_no_history: this identity has never accepted anything, or the
                caller accepts that plain envelopes of the last 300 s can be played
                to it again. No quarantine, then.

        Raises:
            UsageError: ``max_entries`` is not an int from 3.
        """
        check_room(max_entries)
        self._max_entries = max_entries
        self._watch = Watch()
        if not assume_no_history:
            self._watch.quarantine(now)
        self._until: dict[bytes, int] = {}
        self._expiring: dict[int, list[bytes]] = {}
        self._seconds: list[int] = []  # a heap of the keys of _expiring
        self._lock = threading.Lock()
        self._closed = False
        self._process = os.getpid()

    async def reserve(
        self, reservation: Reservation, *, now: float, unix_time: int
    ) -> None:
        """Reserve everything that an envelope uses up (see `ReplayGuard`).

        Takes a few microseconds and never waits.
        """
        if self._process != os.getpid():
            raise forked()
        with self._lock:
            if self._closed:
                raise UsageError("the replay guard is closed")
            self._watch.observe(now, unix_time)
            self._watch.check(reservation)
            self._purge()
            self._take(reservation.keys(), reservation.until)

    def close(self) -> None:
        """Forget everything; every later `reserve` raises `UsageError`."""
        if self._process != os.getpid():
            return  # the lock may be held for ever, and nothing passes anyway
        with self._lock:
            self._closed = True
            self._until, self._expiring, self._seconds = {}, {}, []

    def __len__(self) -> int:
        """Return the number of entries held, expired ones not yet dropped included."""
        return len(self._until)

    def _take(self, keys: tuple[bytes, ...], until: int) -> None:
        for index, key in enumerate(keys):
            if self._until.get(key, 0) > self._watch.clock:
                raise replayed(index)
        if len(self._until) + len(keys) > self._max_entries:
            raise overloaded(self._max_entries)
        if until not in self._expiring:
            self._expiring[until] = []
            heappush(self._seconds, until)
        self._expiring[until].extend(keys)
        self._until.update(dict.fromkeys(keys, until))

    def _purge(self) -> None:
        """Drop a few expired entries, the oldest first."""
        for _ in range(PURGE_ENTRIES):
            if not self._seconds or self._seconds[0] > self._watch.clock:
                return
            second = self._seconds[0]
            keys = self._expiring[second]
            if keys:
                key = keys.pop()
                # An expired key may have been reserved anew, for longer.
                if self._until.get(key) == second:
                    del self._until[key]
            if not keys:
                del self._expiring[second]
                heappop(self._seconds)
