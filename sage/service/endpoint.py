"""One endpoint of a pool: its channels, who waits for them, and the next attempt.

Whoever comes first is served first. Where no channel has room, one attempt is made
to open another, never two at once: a crowd that loses its service does not come back
as a crowd. Those who wait share what comes of the attempt. After a failure that may
pass, the next attempt waits its back-off; a failure that will not pass (a peer that
is somebody else, a key that was revoked) ends the wait of all at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..errors import (
    ConnectFailed,
    SageError,
    SessionClosed,
    TransportError,
    UsageError,
)
from .backoff import Backoff
from .channel import Channel
from .clock import Clock

__all__ = ["Endpoint", "PooledChannel"]

logger = logging.getLogger("sage.client")

_tickets = itertools.count()


@dataclass(slots=True, eq=False)
class PooledChannel:
    """A channel, and how much of it is in use.

    Attributes:
        channel: as connected.
        used_at: when it was last used, monotonic seconds.
        taken: places in use.
        expiry: drops it when it has been idle for long enough.
    """

    channel: Channel
    used_at: float
    taken: int = 0
    expiry: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody uses it."""
        return not self.taken

    def is_fresh(self, idle_s: float, check_after_s: float) -> bool:
        """Whether it need not be checked for life."""
        return self.channel.closed or idle_s < check_after_s

    def stop_expiry(self) -> None:
        """Keep it for as long as it is used."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None


@dataclass(slots=True, eq=False)
class _Waiter:
    future: asyncio.Future[PooledChannel]
    places: int
    ticket: int
    failures: int = 0


class Endpoint:
    """The channels to one endpoint and peer.

    Args:
        connect: opens a channel.
        places: how many uses of weight one a channel has room for.
        max_channels: how many there are at most.
        attempts: how many failures that may pass a waiter sits through.
        make_room: whether the pool has room for one channel more.
        discard: closes a channel that was taken out.
        settled: told when an attempt has ended, or a waiter has left.
        backoff: when the next attempt may be made.
        clock: the clock.

    Attributes:
        channels: those that are open.
        connecting: the attempt under way, or waiting for its time.
        users: calls that have, or want, one of its channels.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Channel]],
        *,
        places: int,
        max_channels: int,
        attempts: int,
        make_room: Callable[[], bool],
        discard: Callable[[PooledChannel], None],
        settled: Callable[[], None],
        backoff: Backoff,
        clock: Clock,
    ) -> None:
        self._connect, self._places = connect, places
        self._max_channels, self._attempts = max_channels, attempts
        self._make_room, self._discard = make_room, discard
        self._settled = settled
        self._backoff, self._clock = backoff, clock
        self.channels: list[PooledChannel] = []
        self.users = 0
        self._waiters: deque[_Waiter] = deque()
        self.connecting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    @property
    def waiting_since(self) -> int:
        """A number that is lower, the longer the first one has waited."""
        return self._waiters[0].ticket

    @property
    def is_connecting(self) -> bool:
        """Whether an attempt is under way, or waits for its time."""
        return self.connecting is not None

    def is_forgettable(self, now: float) -> bool:
        """Whether nothing is lost with it, not even what it knows of failures."""
        busy = self.users or self.channels or self._waiters or self.is_connecting
        return not busy and not self._backoff.wait_s(now)

    async def acquire(self, places: int, *, first: bool = False) -> PooledChannel:
        """Wait for a channel with so many places; the caller sets the time limit.

        Args:
            places: how many; they are the caller's until `release`.
            first: before all who wait already.

        Raises:
            SageError: why there is none.
        """
        if self._closed:
            raise SessionClosed("the pool was closed")
        future: asyncio.Future[PooledChannel] = (
            asyncio.get_running_loop().create_future()
        )
        waiter = _Waiter(future, places, -1 if first else next(_tickets))
        if first:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        self.share_out()
        try:
            return await future
        except BaseException:
            if future.done() and not future.cancelled() and not future.exception():
                # Given and given up in the same moment.
                self.release(future.result(), places)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            self._settled()
            raise

    def release(self, pooled: PooledChannel, places: int) -> None:
        """Give places back."""
        pooled.taken -= places

    def drop(self, pooled: PooledChannel) -> None:
        """Take a channel out and close it. Idempotent."""
        pooled.stop_expiry()
        if pooled in self.channels:
            self.channels.remove(pooled)
            self._discard(pooled)

    def share_out(self) -> None:
        """Serve those who wait, in their order, for as far as there is room."""
        for pooled in [one for one in self.channels if one.channel.closed]:
            # A connection that ended must not count as one that is open.
            self.drop(pooled)
        while self._waiters:
            waiter = self._waiters[0]
            if waiter.future.done():
                self._waiters.popleft()
                continue
            found = self._find(waiter.places)
            if found is None:
                self._open()
                return
            self._waiters.popleft()
            found.stop_expiry()
            found.taken += waiter.places
            waiter.future.set_result(found)

    def close(self) -> list[PooledChannel]:
        """Fail all who wait, and return the channels to be closed."""
        self._closed = True
        if self.connecting is not None:
            self.connecting.cancel()
        self._fail_all(SessionClosed("the pool was closed"))
        channels, self.channels = self.channels, []
        for pooled in channels:
            pooled.stop_expiry()
        return channels

    def _find(self, places: int) -> PooledChannel | None:
        """Return the channel with room that is used most, so that others fall idle."""
        room = self._places - places
        found = [pooled for pooled in self.channels if pooled.taken <= room]
        return max(found, key=lambda one: (one.taken, one.used_at), default=None)

    def _open(self) -> None:
        full = len(self.channels) >= self._max_channels
        if self.connecting is None and not full and self._make_room():
            self.connecting = asyncio.create_task(self._attempt())

    async def _attempt(self) -> None:
        """Make one attempt, after its back-off; all who wait share what comes of it."""
        error: SageError | None = None
        try:
            await asyncio.sleep(self._backoff.wait_s(self._clock.now()))
            channel = await self._connect()
        except SageError as exc:
            error = exc
        except Exception:
            # Nobody else would ever tell those who wait.
            logger.exception("internal error while connecting")
            error = ConnectFailed("internal error")
        else:
            self._backoff.succeed()
            self.channels.append(PooledChannel(channel, self._clock.now()))
        finally:
            self.connecting = None
        if error is not None:
            self._share_failure(self._back_off() or error)
        self._settled()

    def _back_off(self) -> SageError | None:
        """Put the next attempt off; return why that failed, if it did."""
        try:
            self._backoff.fail(self._clock.now())
        except SageError as exc:
            return exc
        except Exception:
            # The clock and the entropy are the caller's; those who wait must be told.
            logger.exception("internal error while backing off")
            return UsageError("no back-off: the clock or the entropy failed")
        return None

    def _share_failure(self, error: SageError) -> None:
        lasting = not isinstance(error, TransportError)
        staying: deque[_Waiter] = deque()
        for waiter in self._waiters:
            waiter.failures += 1
            if not lasting and waiter.failures < self._attempts:
                staying.append(waiter)
            elif not waiter.future.done():
                waiter.future.set_exception(_copy(error))
        self._waiters = staying

    def _fail_all(self, error: SageError) -> None:
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_exception(_copy(error))
        self._waiters.clear()


def _copy(error: SageError) -> SageError:
    """Return the same error for another waiter, so that tracebacks do not pile up."""
    kind, arguments, state = type(error), error.args, error.__dict__
    copied = kind.__new__(kind)
    copied.args = arguments
    copied.__dict__.update(state)
    return copied
