"""Channels that are kept for the next who needs them, by endpoint and peer.

A channel costs a connection and a handshake: some milliseconds of arithmetic at both
ends. So it is kept, checked for life before it is used again after a pause, and
dropped when nobody has used it for a while. Each endpoint has its own queue: see
`Endpoint`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ..errors import (
    ConnectFailed,
    DeadlineExceeded,
    SessionClosed,
    TransportError,
)
from ..identity import Resolver, parse_did
from ..identity.entropy import Entropy
from ..limits import CLOSE_TIMEOUT_S
from ..runtime.bounds import check_limit
from ..runtime.parts import check_can, check_kind
from ..transport import HttpsClient, open_https
from ..transport.https_client import without_password
from ..transport.metrics import Metrics
from ..types import Buffer, Did
from .agent import Agent
from .backoff import Backoff
from .channel import Channel
from .client import connect, require_text
from .clock import Clock
from .config import ClientConfig
from .endpoint import Endpoint, PooledChannel
from .pool_config import ChannelPoolConfig, PoolStatistics

__all__ = ["ChannelPool"]


class ChannelPool:
    """Keeps authenticated channels, and opens one where there is none.

    Use it as ``async with sage.ChannelPool(...) as pool:``, or close it yourself. It
    belongs to one event loop.

    Args:
        agent: who we are.
        resolver: where records are read.
        tls: a client context; the system's authorities when not given.
        config: the pool's bounds and time limits.
        channels: the limits of each channel.
        clock: for tests.
        entropy: for the jitter; returns as many bytes as it is asked for.
        metrics: what counts, as for `connect`.

    Raises:
        UsageError: an argument of another class than it must be.
    """

    def __init__(
        self,
        *,
        agent: Agent,
        resolver: Resolver,
        tls: ssl.SSLContext | None = None,
        config: ChannelPoolConfig | None = None,
        channels: ClientConfig | None = None,
        clock: Clock | None = None,
        entropy: Entropy = os.urandom,
        metrics: Metrics | None = None,
    ) -> None:
        check_kind(agent, Agent, "agent")
        check_can(resolver, "resolve", "resolver")
        for part, kind, name in (
            (tls, ssl.SSLContext, "tls"),
            (config, ChannelPoolConfig, "config"),
            (channels, ClientConfig, "channels"),
        ):
            if part is not None:
                check_kind(part, kind, name)
        self._agent, self._resolver, self._tls = agent, resolver, tls
        self._config = config if config is not None else ChannelPoolConfig()
        self._channels = channels if channels is not None else ClientConfig()
        self._clock = clock if clock is not None else Clock()
        self._entropy, self._metrics = entropy, metrics
        self._https: HttpsClient | None = None
        self._endpoints: dict[tuple[str, Did], Endpoint] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._attempts = self._failures = self._dropped = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the pool was closed."""
        return self._closed

    @property
    def statistics(self) -> PoolStatistics:
        """What the pool holds and did, all of this moment."""
        endpoints = self._endpoints.values()
        return PoolStatistics(
            open=sum(len(one.channels) for one in endpoints),
            idle=sum(pooled.is_idle for one in endpoints for pooled in one.channels),
            connecting=sum(one.is_connecting for one in endpoints),
            waiting=sum(one.waiting for one in endpoints),
            attempts=self._attempts,
            failures=self._failures,
            dropped=self._dropped,
        )

    @asynccontextmanager
    async def channel(
        self, url: str, *, peer: str, timeout_s: float | None = None
    ) -> AsyncIterator[Channel]:
        """Lend a channel for the length of a block, to nobody else meanwhile.

        It goes back to the pool at the end; do not close it, unless nobody should
        use it again.

        Args:
            url: the service's ``wss://`` or ``https://`` endpoint.
            peer: the DID that must answer.
            timeout_s: how long to wait for a channel; the configured time when not
                given.

        Raises:
            DeadlineExceeded: on entry, as all of these; there was none in time.
            SessionClosed: the pool was closed.
            UsageError, DecodeError, TransportError, ResolutionError, PeerError: as
                for `connect`.
        """
        async with self._lend(url, peer, self._whole, timeout_s) as channel:
            yield channel

    async def request(
        self,
        url: str,
        payload: Buffer,
        *,
        peer: str,
        metadata: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idempotent: bool = False,
    ) -> bytes:
        """Ask over a channel that other requests may share; see `Channel.request`.

        A request that did not leave is tried again, on another channel, as often as
        ``attempts`` says. One that may have run is not, unless that does no harm.
        Where nobody could be reached, the next attempt waits: see ``reconnect_s``.

        Args:
            url: the service's endpoint.
            payload: at most 8,388,572 bytes.
            peer: the DID that must answer.
            metadata: signed but not encrypted.
            timeout_s: for one attempt, from the channel to the answer; the wait for
                a channel has its own limit.
            idempotent: it does no harm if this runs twice, so it may be sent again
                where its answer was lost.

        Raises:
            DeadlineExceeded, SessionClosed: as for `channel`.
            SageError: as for `Channel.request` and `connect`.
        """
        attempt, backoff = 0, self._backoff()
        while True:
            attempt += 1
            if backoff.failures:
                await asyncio.sleep(backoff.wait_s(self._clock.now()))
            async with self._lend(url, peer, 1, None) as channel:
                try:
                    return await channel.request(
                        payload, metadata=metadata, timeout_s=timeout_s
                    )
                except (TransportError, SessionClosed) as exc:
                    again = attempt < self._config.attempts and not self._closed
                    if not again or not (idempotent or not exc.may_have_run):
                        raise
                    if isinstance(exc, ConnectFailed):  # a channel over HTTPS
                        backoff.fail(self._clock.now())

    async def close(self) -> None:
        """Close every channel, within a second. Idempotent.

        Whoever waits for a channel gets `SessionClosed`.
        """
        self._closed = True
        endpoints, self._endpoints = list(self._endpoints.values()), {}
        for endpoint in endpoints:
            if endpoint.connecting is not None:
                self._closing.add(endpoint.connecting)
            for pooled in endpoint.close():
                self._close_later(pooled)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if self._closing:
                    await asyncio.wait(self._closing)
        if self._https is not None:
            await self._https.close()

    async def __aenter__(self) -> ChannelPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- lending -----------------------------------------------------------------

    @property
    def _whole(self) -> int:
        """How many places a channel has; whoever wants it alone takes them all."""
        return self._config.shared_requests

    @asynccontextmanager
    async def _lend(
        self, url: str, peer: str, places: int, timeout_s: float | None
    ) -> AsyncIterator[Channel]:
        limit = self._config.wait_s if timeout_s is None else timeout_s
        check_limit(limit)
        require_text(url)
        endpoint = self._endpoint(url, parse_did(peer).did)
        endpoint.users += 1
        try:
            pooled = await self._acquire_within(limit, endpoint, places, url)
            try:
                yield pooled.channel
            finally:
                self._release(endpoint, pooled, places)
        finally:
            endpoint.users -= 1
            self._share_out()

    async def _acquire_within(
        self, limit_s: float, endpoint: Endpoint, places: int, url: str
    ) -> PooledChannel:
        limited = asyncio.timeout(limit_s)
        try:
            async with limited:
                return await self._acquire(endpoint, places)
        except TimeoutError as exc:
            if not limited.expired() or isinstance(exc, DeadlineExceeded):
                raise
            text = f"no channel to {without_password(url)} within {limit_s:g} s"
            raise DeadlineExceeded(text) from None

    async def _acquire(self, endpoint: Endpoint, places: int) -> PooledChannel:
        """Wait for a channel, and make sure that it lives."""
        first = False
        while True:
            pooled = await endpoint.acquire(places, first=first)
            idle_s = self._clock.now() - pooled.used_at
            if not pooled.is_fresh(idle_s, self._config.check_after_s):
                try:
                    await pooled.channel.check(timeout_s=self._config.check_timeout_s)
                except (TransportError, SessionClosed):
                    pass
                except BaseException:
                    self._release(endpoint, pooled, places)
                    raise
            if not pooled.channel.closed:
                pooled.used_at = self._clock.now()
                return pooled
            # It waited long enough: whoever came meanwhile stays behind.
            first = True
            self._release(endpoint, pooled, places)

    def _release(self, endpoint: Endpoint, pooled: PooledChannel, places: int) -> None:
        pooled.used_at = self._clock.now()
        endpoint.release(pooled, places)
        if pooled.channel.closed:
            endpoint.drop(pooled)
        self._share_out()

    def _expire(self, endpoint: Endpoint, pooled: PooledChannel) -> None:
        endpoint.drop(pooled)
        self._share_out()

    def _discard(self, pooled: PooledChannel) -> None:
        self._dropped += 1
        self._close_later(pooled)

    def _close_later(self, pooled: PooledChannel) -> None:
        task = asyncio.create_task(pooled.channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # --- opening -----------------------------------------------------------------

    def _endpoint(self, url: str, peer: Did) -> Endpoint:
        if self._closed:
            raise SessionClosed("the pool was closed")
        endpoint = self._endpoints.get((url, peer))
        if endpoint is None:
            config = self._config
            endpoint = self._endpoints[url, peer] = Endpoint(
                lambda: self._connect(url, peer),
                places=self._whole,
                max_channels=config.max_per_endpoint,
                attempts=config.attempts,
                make_room=self._make_room,
                discard=self._discard,
                settled=self._share_out,
                backoff=self._backoff(),
                clock=self._clock,
            )
        return endpoint

    def _backoff(self) -> Backoff:
        first_s, max_s = self._config.reconnect_s, self._config.reconnect_max_s
        return Backoff(self._entropy, first_s=first_s, max_s=max_s)

    async def _connect(self, url: str, peer: Did) -> Channel:
        self._attempts += 1
        try:
            return await connect(
                url,
                agent=self._agent,
                peer=peer,
                resolver=self._resolver,
                tls=self._tls,
                config=self._channels,
                clock=self._clock,
                metrics=self._metrics,
                https=self._shared_https() if url.startswith("https:") else None,
            )
        except BaseException:
            self._failures += 1
            raise

    def _shared_https(self) -> HttpsClient:
        if self._https is None:
            self._https = open_https(self._channels.https, tls=self._tls)
        return self._https

    def _make_room(self) -> bool:
        """Whether one more channel may be opened; the idlest may give way to it."""
        statistics = self.statistics
        if statistics.open + statistics.connecting < self._config.max_channels:
            return True
        idle = [
            (pooled.used_at, index, endpoint, pooled)
            for index, endpoint in enumerate(self._endpoints.values())
            for pooled in endpoint.channels
            if pooled.is_idle and not endpoint.waiting
        ]
        if not idle:
            return False
        _, _, endpoint, pooled = min(idle, key=lambda one: one[:2])
        endpoint.drop(pooled)
        return True

    def _share_out(self) -> None:
        """Let those go on who can, whoever has waited longest first."""
        waiting = [one for one in self._endpoints.values() if one.waiting]
        for endpoint in sorted(waiting, key=lambda one: one.waiting_since):
            endpoint.share_out()
        for key, endpoint in list(self._endpoints.items()):
            for pooled in endpoint.channels:
                if pooled.is_idle and pooled.expiry is None:
                    pooled.expiry = asyncio.get_running_loop().call_later(
                        self._config.idle_s, self._expire, endpoint, pooled
                    )
            if endpoint.is_forgettable(self._clock.now()):
                del self._endpoints[key]
