"""Buffers to work in, in five sizes: lent, wiped, kept for the next.

For what is on its way between a socket and a session: plaintexts and records, never
keys. A buffer is wiped as far as it was used before it can be lent again, and what
lies idle is let go by `BufferPool.trim`.

There is one implementation: wiping and handing over are each one call into the
interpreter's own C code.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from sys import maxsize
from threading import Lock
from types import TracebackType
from typing import Final, NoReturn

from ..errors import UsageError
from ..limits import BUFFER_MAX_BYTES, BUFFER_MIN_BYTES, BUFFERS_KEPT_MAX_BYTES

__all__ = ["BufferPool", "BufferPoolStatistics", "LentBuffer"]

_SIZES: Final = (
    BUFFER_MIN_BYTES,
    4 * BUFFER_MIN_BYTES,
    16 * BUFFER_MIN_BYTES,
    64 * BUFFER_MIN_BYTES,
    BUFFER_MAX_BYTES,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BufferPoolStatistics:
    """What a pool did since it was made, and what it holds now.

    Attributes:
        acquired: buffers that were lent.
        reused: how many of them had been lent before.
        oversized: how many were larger than the largest class and so never kept.
        released: buffers that came back.
        dropped: how many of them were let go: by `trim`, because enough were kept,
            or because somebody still looked at them.
        lent: buffers that are out now.
        kept: buffers that wait in the pool now.
        kept_bytes: their size together.
    """

    acquired: int
    reused: int
    oversized: int
    released: int
    dropped: int
    lent: int
    kept: int
    kept_bytes: int


class LentBuffer:
    """A buffer on loan: a context manager that gives it back, wiped.

    Attributes:
        view: ``size`` writable bytes, zero at first. A buffer of which a slice is
            still in use after the loan is not lent again.
    """

    __slots__ = ("_data", "_pool", "_used", "view")

    def __init__(self, pool: BufferPool, data: bytearray, size: int) -> None:
        """Only a pool makes one."""
        self._pool: BufferPool | None = pool
        self._data, self._used = data, size
        self.view: Final = memoryview(data)[:size]

    def release(self) -> None:
        """Wipe the buffer and give it back; calling again does nothing."""
        pool = self._pool
        if pool is None:
            return
        with pool._lock:  # of two threads that release it, one gives it back
            if self._pool is None:
                return
            self._pool = None
        self._data[: self._used] = bytes(self._used)  # the view may be released
        try:  # only what nobody looks at can change its length
            self.view.release()
            self._data.append(self._data.pop())
            free = True
        except (BufferError, IndexError):
            free = False
        pool._take_back(self._data, free)

    def __enter__(self) -> memoryview:
        """Return the view."""
        return self.view

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the buffer back."""
        self.release()

    def __repr__(self) -> str:
        """Say how large it is, not what it holds."""
        state = "released" if self._pool is None else "lent"
        return f"<LentBuffer of {self._used} bytes, {state}>"

    def __reduce__(self) -> NoReturn:
        """Refuse pickling and copying: one loan, one release."""
        raise TypeError("a lent buffer cannot be pickled or copied")


class BufferPool:
    """Lends buffers of 1, 4, 16, 64 and 256 KiB.

    Any number of threads may share one. It keeps at most ``max_kept_bytes`` while
    nobody uses them; how much is lent is the borrowers' affair.

    Args:
        max_kept_bytes: what may lie idle, all sizes together.
    """

    def __init__(self, *, max_kept_bytes: int = BUFFERS_KEPT_MAX_BYTES) -> None:
        """Start with nothing kept.

        Raises:
            UsageError: ``max_kept_bytes`` is negative or not an ``int``.
        """
        if type(max_kept_bytes) is not int or max_kept_bytes < 0:
            raise UsageError("max_kept_bytes must be an int, 0 or more")
        self._max_kept_bytes = max_kept_bytes
        self._lock = Lock()
        # Newest last: the buffers that are used stay at the end, warm in the cache,
        # and what nobody needed since the last trim gathers at the beginning.
        self._kept: dict[int, deque[bytearray]] = {size: deque() for size in _SIZES}
        self._fewest: dict[int, int] = dict.fromkeys(_SIZES, 0)
        self._kept_bytes = 0
        self._acquired = self._reused = self._oversized = 0
        self._released = self._dropped = 0

    def acquire(self, size: int) -> LentBuffer:
        """Lend a buffer of ``size`` bytes, all zero.

        One that is larger than 256 KiB is made for the occasion and not kept.

        Raises:
            UsageError: ``size`` is negative, not an ``int``, or beyond all memory.
            MemoryError: there is not so much; nothing was lent.
        """
        if type(size) is not int or not 0 <= size <= maxsize:
            raise UsageError(f"size must be an int from 0 to {maxsize}")
        room = next((room for room in _SIZES if size <= room), size)
        data: bytearray | None = None
        with self._lock:
            kept = self._kept.get(room)
            if kept:
                data = kept.pop()
                self._acquired += 1
                self._reused += 1
                self._kept_bytes -= room
                self._fewest[room] = min(self._fewest[room], len(kept))
        if data is None:
            data = bytearray(room)
            with self._lock:
                self._acquired += 1
                self._oversized += kept is None
        return LentBuffer(self, data, size)

    def trim(self) -> int:
        """Let go of the buffers that nobody needed since the last trim.

        Call it now and then, from whatever ticks anyway.

        Returns:
            How many bytes were let go.
        """
        freed = 0
        with self._lock:
            for size, kept in self._kept.items():
                for _ in range(min(self._fewest[size], len(kept))):
                    kept.popleft()
                    self._dropped += 1
                    freed += size
                self._fewest[size] = len(kept)
            self._kept_bytes -= freed
        return freed

    def statistics(self) -> BufferPoolStatistics:
        """Return the counts, all of one moment."""
        with self._lock:
            return BufferPoolStatistics(
                acquired=self._acquired,
                reused=self._reused,
                oversized=self._oversized,
                released=self._released,
                dropped=self._dropped,
                lent=self._acquired - self._released,
                kept=sum(map(len, self._kept.values())),
                kept_bytes=self._kept_bytes,
            )

    def _take_back(self, data: bytearray, free: bool) -> None:
        room = len(data)
        with self._lock:
            self._released += 1
            kept = self._kept.get(room)
            if kept is None:
                return
            if not free or self._kept_bytes + room > self._max_kept_bytes:
                self._dropped += 1
                return
            kept.append(data)
            self._kept_bytes += room
