"""The service: an ASGI application that answers agents over WebSocket and HTTPS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from ..envelope import MemoryReplayGuard, ReplayGuard
from ..errors import ConnectionLost, DeadlineExceeded, SageError, UsageError
from ..http import V10
from ..identity import Resolver
from ..limits import CLOSE_TIMEOUT_S, CONNECT_TIMEOUT_S
from ..runtime.parts import check_can, check_kind
from ..transport import AsgiWebSocket, within
from ..transport.asgi import AsgiReceive, AsgiScope, AsgiSend
from ..transport.asgi_http import AsgiHttpRequest
from ..transport.http_binding import canonical_endpoint
from ..transport.metrics import Metrics, diagnose
from ..types import Role
from .agent import Agent
from .clock import Clock
from .config import ServiceConfig
from .connection import Connection
from .health import Health
from .host import GENERIC_REFUSAL, Host
from .https_host import HttpsHost
from .logs import Event, fields, new_connection_id
from .measure import observed
from .message import Handler
from .metrics_app import Scraper, is_own_machine
from .respond import respond_lifespan, respond_text
from .stream import StreamHandler

__all__ = ["Service"]

logger = logging.getLogger("sage.service")


class Service:
    """An ASGI application: WebSocket at ``config.path``, probes, metrics.

    ``GET /health/live`` (or ``/health``) answers 200 while the event loop does;
    ``GET /health/ready`` answers 200 or 503 (see `sage.service.health`). With
    ``metrics``, ``GET /metrics`` answers this machine, and nobody else.

    At ``config.https_endpoints`` it answers requests over HTTPS as well.

    Args:
        agent: who we are; its record must be resolvable.
        resolver: where both records are read, afresh for every operation.
        handler: answers each authenticated message.
        stream_handler: serves each stream that a peer opens; without one, they are
            refused.
        guard: remembers what was accepted. Without one, an agent generated in this
            process gets a guard in memory; an agent that was loaded gets one that
            refuses everything for the first 360 s, because what was accepted
            before the restart is not known any more (MSG-05). Give such an agent a
            `SqliteReplayGuard`.
        config: time limits and bounds.
        clock: for tests.
        require_tls: refuse connections that did not arrive over TLS (TRANSPORT-05).
            Set it to false only behind a proxy on the same machine that ends TLS;
            there is no ``/metrics`` then, because everybody comes from this machine.
        metrics: what counts; nothing when not given. May be shared.
        show_metrics: whether ``GET /metrics`` answers. Set it to false where they are
            read elsewhere, as from a `MetricsApp`.

    Raises:
        UsageError: a part that is none, such as a resolver that cannot resolve; or
            HTTPS endpoints for an agent whose key cannot sign HTTP under 0.10.0: that
            takes Ed25519 or P-256.
    """

    def __init__(
        self,
        *,
        agent: Agent,
        resolver: Resolver,
        handler: Handler,
        guard: ReplayGuard | None = None,
        config: ServiceConfig | None = None,
        clock: Clock | None = None,
        require_tls: bool = True,
        stream_handler: StreamHandler | None = None,
        metrics: Metrics | None = None,
        show_metrics: bool = True,
    ) -> None:
        check_kind(agent, Agent, "agent")
        check_can(resolver, "resolve", "resolver")
        check_can(handler, "__call__", "handler")
        if stream_handler is not None:
            check_can(stream_handler, "__call__", "stream_handler")
        if config is not None:
            check_kind(config, ServiceConfig, "config")
        if guard is not None:
            check_can(guard, "reserve", "guard")
        else:
            guard = MemoryReplayGuard(assume_no_history=agent.is_new)
            if not agent.is_new:
                logger.warning(
                    "no replay guard was given to a loaded agent: everything is "
                    "refused for 360 s; use a SqliteReplayGuard"
                )
        clock = clock if clock is not None else Clock()
        counted, safe = observed(resolver, metrics, clock)
        self._host = Host(
            agent=agent,
            resolver=counted,
            handler=handler,
            guard=guard,
            config=config if config is not None else ServiceConfig(),
            clock=clock,
            stream_handler=stream_handler,
            metrics=safe,
        )
        self._require_tls = require_tls
        self._connections: set[Connection] = set()
        self._endpoints = frozenset(
            canonical_endpoint(url) for url in self._host.config.https_endpoints
        )
        algorithm = agent.signing_key.algorithm
        if self._endpoints and algorithm not in V10.algorithms:
            # Else each handshake would be refused, for a reason that only our log has.
            raise UsageError(f"{algorithm} signs no HTTP: leave https_endpoints out")
        self._https = HttpsHost(self._host)
        self._health = Health(self._host, connections=lambda: len(self._connections))
        shown = metrics if show_metrics else None
        self._scraper = None if shown is None else Scraper(shown)

    async def __call__(
        self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
    ) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "websocket":
            socket = AsgiWebSocket(scope, receive, send)
            refusal = self._refusal(socket, scope)
            # An idle connection keeps nothing of its upgrade.
            del scope, receive, send
            await self._serve_websocket(socket, refusal)
        elif scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await respond_lifespan(receive, send, on_shutdown=self.close)

    async def close(self) -> None:
        """Say goodbye to every connection, within a second. Idempotent."""
        self._https.close()
        self._health.stop()
        closing = [connection.close() for connection in self._connections]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(*closing)

    async def _serve_websocket(
        self, socket: AsgiWebSocket, refusal: str | None
    ) -> None:
        if refusal is not None:
            code = "exhausted" if self._is_full() else "connection"
            self._host.metrics.refusal(code)
            why = fields(Event.CONNECTION_REFUSED, code, identifier=new_connection_id())
            logger.warning("connection refused: %s", refusal, extra=why)
            # Before the upgrade, an ASGI server turns this into HTTP 403.
            await socket.close(1008, GENERIC_REFUSAL)
            return
        connection = Connection(socket, self._host)
        self._connections.add(connection)
        self._host.metrics.connections(Role.RESPONDER, 1)
        try:
            accepting = socket.accept(on_stop=connection.stop)
            await within(CONNECT_TIMEOUT_S, accepting, "the upgrade")
            await connection.run()
        except (ConnectionLost, DeadlineExceeded) as exc:
            ended = fields(Event.CONNECTION_ENDED, diagnose(exc))
            logger.debug("connection ended: %s", exc, extra=ended)
        finally:
            self._connections.discard(connection)
            self._host.metrics.connections(Role.RESPONDER, -1)

    def _refusal(self, socket: AsgiWebSocket, scope: AsgiScope) -> str | None:
        config = self._host.config
        origin = socket.header(b"origin")
        if scope.get("path") != config.path:
            return "unknown path"
        if self._require_tls and not socket.is_encrypted:
            return "not over TLS"
        if origin is not None and origin not in config.allowed_origins:
            return "a browser's origin that is not allowed"
        if self._is_full():
            return "too many connections"
        return None

    def _is_full(self) -> bool:
        return len(self._connections) >= self._host.config.max_connections

    async def _serve_http(
        self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
    ) -> None:
        if scope["method"] == "POST" and self._endpoints:
            await self._serve_post(AsgiHttpRequest(scope, receive, send))
            return
        path = scope["path"] if scope["method"] in ("GET", "HEAD") else ""
        if path in ("/health", "/health/live"):
            await _respond_status(send, 200, "ok")
        elif path == "/health/ready":
            ready = await self._health.ready()
            await _respond_status(send, *((200, "ok") if ready else (503, "unready")))
        elif path == "/metrics" and self._scraper is not None and self._may_read(scope):
            await self._scraper.respond(send)
        else:
            await respond_text(send, 404, "not found")

    def _may_read(self, scope: AsgiScope) -> bool:
        return self._require_tls and is_own_machine(scope)

    async def _serve_post(self, asked: AsgiHttpRequest) -> None:
        refusal = self._refusal_of_post(asked)
        if refusal is None:
            await self._https.serve(asked)
        else:
            self._host.metrics.refusal("connection")
            why = fields(Event.REFUSED, "connection")
            logger.warning("request refused: %s", refusal, extra=why)
            closing = (("connection", "close"),)
            status = 404 if refusal == _UNKNOWN else 403
            await asked.respond(status, closing, GENERIC_REFUSAL.encode())

    def _refusal_of_post(self, asked: AsgiHttpRequest) -> str | None:
        origins = [value for name, value in asked.fields if name == "origin"]
        if self._require_tls and not asked.is_encrypted:
            return "not over TLS"
        if not self._host.config.allowed_origins.issuperset(origins):
            return "a browser's origin that is not allowed"
        try:
            known = canonical_endpoint(asked.target_uri) in self._endpoints
        except SageError:
            known = False
        return None if known else _UNKNOWN


_UNKNOWN = "none of our HTTPS endpoints"


async def _respond_status(send: AsgiSend, status: int, word: str) -> None:
    body = json.dumps({"status": word})
    await respond_text(send, status, body, content_type="application/json")
