"""Connecting: from a URL and a DID to an authenticated channel."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from types import TracebackType

from ..identity import Resolver, parse_did
from ..transport import WebSocket
from ..transport.metrics import Metrics
from .agent import Agent
from .channel import Channel
from .clock import Clock
from .config import ClientConfig
from .measure import observed

__all__ = ["connect"]


class connect:  # noqa: N801  (read as a verb: `async with sage.connect(...)`)
    """Connect to a service and shake hands with the agent behind it.

    Use it as ``async with sage.connect(...) as channel:``, or await it and close
    the channel yourself.

    Args:
        url: the service's ``wss://`` endpoint.
        agent: who we are; our record must be resolvable too.
        peer: the DID that must answer.
        resolver: where both records are read, afresh for every operation.
        tls: a client context for a private authority; the system's when not given.
        config: time limits and bounds.
        clock: for tests.
        metrics: what counts; nothing when not given. May be shared.

    Raises (on entry):
        UsageError: not a ``wss://`` URL.
        DecodeError: ``peer`` is not a DID (``id.malformed``).
        TransportError: no connection, or no answer in time.
        ResolutionError: a record or key is missing, revoked, expired or stale.
        PeerError: whoever answered is not ``peer``.
    """

    def __init__(
        self,
        url: str,
        *,
        agent: Agent,
        peer: str,
        resolver: Resolver,
        tls: ssl.SSLContext | None = None,
        config: ClientConfig | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._url, self._tls = url, tls
        self._agent = agent
        self._peer = parse_did(peer).did
        self._config = config if config is not None else ClientConfig()
        self._clock = clock if clock is not None else Clock()
        self._resolver, self._metrics = observed(resolver, metrics, self._clock)
        self._channel: Channel | None = None

    async def _open(self) -> Channel:
        socket = await WebSocket.open(
            self._url, tls=self._tls, timeout_s=self._config.connect_timeout_s
        )
        channel = Channel(
            socket,
            agent=self._agent,
            peer=self._peer,
            resolver=self._resolver,
            config=self._config,
            clock=self._clock,
            metrics=self._metrics,
        )
        try:
            await channel.handshake()
        except BaseException:
            await channel.close()
            raise
        return channel

    def __await__(self) -> Generator[object, None, Channel]:
        return self._open().__await__()

    async def __aenter__(self) -> Channel:
        self._channel = await self._open()
        return self._channel

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._channel is not None:
            await self._channel.close()
