"""Which session a channel uses, and when the next one takes over.

A session of version 0.10.0 ends after 1,000 records or an hour. Some way before, the
channel shakes hands *beside* the running session, and switches between two requests:
a request under way keeps the session that it began with, and a retired session closes
with its last answer. So nothing is lost and nothing is sent twice. A renewal that
fails is tried again, ever more rarely; its failure matters only to a request that
finds the running session used up, and that one makes a last attempt of its own.

A session that was made and not used is good for a minute or so: until the envelopes
of its handshake expire (HPKE-05). After a longer pause there is another handshake.

A service keeps only so many sessions of a connection, and drops the oldest. Hence a
new handshake waits while a request still holds a session that is not among the newest
three. That request's own limit is the wait's; whoever waits for the handshake has a
limit as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from math import inf

from ..errors import DeadlineExceeded, SageError, SessionClosed
from ..limits import (
    MAX_SESSIONS_IN_USE,
    RENEW_RETRY_MAX_S,
    RENEW_RETRY_S,
    SESSION_IDLE_S,
    SESSION_MAX_AGE_S,
)
from ..transport.metrics import NO_METRICS, Metrics
from ..types import Role
from .clock import Clock
from .config import ClientConfig
from .initiation import Established
from .logs import Event, fields
from .measure import count_failure

__all__ = ["Renewal"]

logger = logging.getLogger("sage.client")


class Renewal:
    """The sessions of one channel.

    Args:
        shake_hands: makes a session; whatever it raises is the failure.
        config: when to renew.
        clock: for ages.
        metrics: counts sessions.

    Attributes:
        current: the session for the next request, if there is one.
    """

    def __init__(
        self,
        shake_hands: Callable[[], Awaitable[Established]],
        *,
        config: ClientConfig,
        clock: Clock,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._shake_hands, self._config, self._clock = shake_hands, config, clock
        self._metrics = metrics
        self.current: Established | None = None
        self._live: list[Established] = []  # in the order of their making
        self._made = 0
        self._freed = asyncio.Event()
        self._last_resort = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._retry_at, self._retry_s = -inf, RENEW_RETRY_S
        self._closed = False

    async def acquire(self) -> Established:
        """Return a session with room for one more request, and count the use.

        The caller gives it back with `release`.

        Raises:
            SageError: there is none, and the attempt to make one failed.
        """
        if not self._has_room():
            async with self._last_resort:
                await self._make_room()
        established = self.current
        if established is None or self._closed:
            raise SessionClosed("the channel was closed")
        established.in_flight += 1
        if self._is_due() and self._task is None:
            self._start()
        return established

    def release(self, established: Established) -> None:
        """Count one use less."""
        established.release()
        self._forget_finished(established)
        self._freed.set()

    def retire(self, established: Established) -> None:
        """Use a session no more; it closes with its last answer."""
        if self.current is established:
            self.current = None
        if not established.retired:
            established.retire()
            self._forget_finished(established)
            self._freed.set()

    async def renew(self, *, timeout_s: float | None = None) -> None:
        """Make a new session for the next request on, or join in making it.

        Args:
            timeout_s: for the wait and the handshake together, where the handshake
                has to wait for a request; by itself it has its own limit. What was
                begun goes on for whoever comes next.

        Raises:
            DeadlineExceeded: not within ``timeout_s``.
            SageError: the handshake failed.
        """
        task = self._task or self._start()
        limit = timeout_s if self._must_wait() else None
        # It is not ours alone: it is neither cancelled with us, nor are we with it.
        done, _ = await asyncio.wait([task], timeout=limit)
        if not done:
            raise DeadlineExceeded(
                f"no handshake within {limit:g} s: a request keeps an old session"
            )
        if task.cancelled():
            raise SessionClosed("the channel was closed")
        task.result()

    def finish(self) -> None:
        """Stop making new sessions; each closes with the last request that uses it."""
        self._stop()
        for established in tuple(self._live):
            self.retire(established)

    def close(self) -> None:
        """Wipe every session and stop making new ones."""
        self._stop()
        for established in self._live:
            established.session.close()
        self._metrics.sessions(Role.INITIATOR, -len(self._live))
        self._live.clear()
        self.current = None
        self._freed.set()

    def _stop(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def _make_room(self) -> None:
        if self._task is not None and not self._has_room():
            with contextlib.suppress(SageError):
                await self.renew()
        if not self._has_room():
            await self.renew()
        # Who woke first may have used it and lost it before we did.
        while self.current is None and not self._closed:
            await self.renew()

    def _start(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._renew())
        self._task.add_done_callback(self._done)
        return self._task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            why = fields(Event.RENEWAL_FAILED, count_failure(self._metrics, error))
            logger.info("a renewal failed: %s", error, extra=why)
            self._retry_at = self._clock.now() + self._retry_s
            self._retry_s = min(2 * self._retry_s, RENEW_RETRY_MAX_S)

    async def _renew(self) -> None:
        await self._wait_for_the_oldest()
        established = await self._shake_hands()
        if self._closed:
            # The channel ended meanwhile, and nobody would close this session.
            established.session.close()
            raise SessionClosed("the channel was closed")
        self._made += 1
        established.number = self._made
        self._live.append(established)
        self._metrics.sessions(Role.INITIATOR, 1)
        previous, self.current = self.current, established
        self._retry_s = RENEW_RETRY_S
        if previous is not None:
            previous.retire()
            self._forget_finished(previous)

    async def _wait_for_the_oldest(self) -> None:
        """Wait until the service can drop its oldest session without harm."""
        while self._must_wait():
            self._freed.clear()
            await self._freed.wait()

    def _must_wait(self) -> bool:
        kept = self._made + 2 - MAX_SESSIONS_IN_USE
        return bool(self._live) and self._live[0].number < kept

    def _forget_finished(self, established: Established) -> None:
        if established.finished and established in self._live:
            self._live.remove(established)
            self._metrics.sessions(Role.INITIATOR, -1)

    def _is_due(self) -> bool:
        established, config = self.current, self._config
        if established is None:
            return False
        now = self._clock.now()
        return now >= self._retry_at and (
            established.session.sent >= config.renew_after_records
            or now - established.made_at >= config.renew_after_s
        )

    def _has_room(self) -> bool:
        established = self.current
        if established is None or established.session.closed:
            return False
        # Requests under way have a record each to come; the margin covers the time
        # for which a request may wait for its answer. Where that may be longer than a
        # session lives, none has room enough, and a new one must do.
        now, margin = self._clock.now(), self._config.request_timeout_s
        age_s = now - established.made_at
        if established.is_pending and age_s >= _without(margin, established.pending_s):
            # The service would end the connection over a first record that is late.
            return False
        return (
            established.session.records_left > 0
            and age_s < _without(margin, SESSION_MAX_AGE_S)
            and now - established.used_at < _without(margin, SESSION_IDLE_S)
        )


def _without(margin_s: float, limit_s: float) -> float:
    """Return how old a session may be, half of its limit at least."""
    return max(limit_s - margin_s, limit_s / 2)
