"""Connecting: from a URL and a DID to an authenticated channel."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from types import TracebackType

from ..errors import UsageError
from ..identity import Resolver, parse_did
from ..runtime.parts import check_can, check_kind
from ..transport import HttpsClient, WebSocket, open_https
from ..transport.metrics import Metrics
from .agent import Agent
from .channel import Channel
from .clock import Clock
from .config import ClientConfig
from .courier import Courier
from .measure import observed
from .socket_courier import SocketCourier

__all__ = ["connect"]


class connect:  # noqa: N801  (read as a verb: `async with sage.connect(...)`)
    """Connect to a service and shake hands with the agent behind it.

    Use it as ``async with sage.connect(...) as channel:``, or await it and close
    the channel yourself.

    Args:
        url: the service's ``wss://`` endpoint; or its ``https://`` one, for requests
            without streams through proxies that know no WebSocket.
        agent: who we are; our record must be resolvable too.
        peer: the DID that must answer.
        resolver: where both records are read, afresh for every operation.
        tls: a client context for a private authority; the system's when not given.
        config: time limits and bounds.
        clock: for tests.
        https: over HTTPS, the client to post with, shared with whoever else uses it;
            the channel opens and closes its own when not given.
        metrics: what counts; nothing when not given. May be shared.

    Raises (on entry):
        UsageError: not a ``wss://`` or ``https://`` URL, or a part that is none.
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
        https: HttpsClient | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        require_text(url)
        check_kind(agent, Agent, "agent")
        check_can(resolver, "resolve", "resolver")
        if tls is not None:
            check_kind(tls, ssl.SSLContext, "tls")
        if config is not None:
            check_kind(config, ClientConfig, "config")
        self._url, self._tls, self._https = url, tls, https
        self._agent = agent
        self._peer = parse_did(peer).did
        self._config = config if config is not None else ClientConfig()
        self._clock = clock if clock is not None else Clock()
        self._resolver, self._metrics = observed(resolver, metrics, self._clock)
        self._channel: Channel | None = None

    async def _open(self) -> Channel:
        channel = Channel(
            await self._courier(),
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

    async def _courier(self) -> Courier:
        if self._url.startswith("https:"):
            # First, for it says which extra is missing.
            client = self._https or open_https(self._config.https, tls=self._tls)
            # Not at the top: a channel over a WebSocket needs no HTTP libraries.
            from .https_courier import HttpsCourier

            return HttpsCourier(
                self._url,
                client=client,
                owned=self._https is None,
                find_key=self._agent.find_signing_key,
                unix_time=self._clock.unix_time,
            )
        socket = await WebSocket.open(
            self._url, tls=self._tls, timeout_s=self._config.connect_timeout_s
        )
        return SocketCourier(socket)

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


def require_text(url: object) -> None:
    """Refuse what is no URL of any kind; what opens it looks closer.

    Raises:
        UsageError: not a ``str``.
    """
    if not isinstance(url, str):
        raise UsageError(f"url must be str, not {type(url).__name__}")
