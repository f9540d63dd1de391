"""The service: an ASGI application that answers agents over WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from ..envelope import MemoryReplayGuard, ReplayGuard
from ..errors import ConnectionLost, DeadlineExceeded
from ..identity import Resolver
from ..limits import CLOSE_TIMEOUT_S, CONNECT_TIMEOUT_S
from ..transport import AsgiWebSocket, within
from ..transport.asgi import AsgiReceive, AsgiScope, AsgiSend
from .agent import Agent
from .clock import Clock
from .config import ServiceConfig
from .connection import Connection
from .host import GENERIC_REFUSAL, Host
from .message import Handler
from .respond import respond_lifespan, respond_text
from .stream import StreamHandler

__all__ = ["Service"]

logger = logging.getLogger("sage.service")


class Service:
    """An ASGI application: WebSocket at ``config.path``, HTTP ``GET /health``.

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
            Set it to false only behind a proxy on the same machine that ends TLS.
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
    ) -> None:
        if guard is None:
            guard = MemoryReplayGuard(assume_no_history=agent.is_new)
            if not agent.is_new:
                logger.warning(
                    "no replay guard was given to a loaded agent: everything is "
                    "refused for 360 s; use a SqliteReplayGuard"
                )
        self._host = Host(
            agent=agent,
            resolver=resolver,
            handler=handler,
            guard=guard,
            config=config if config is not None else ServiceConfig(),
            clock=clock if clock is not None else Clock(),
            stream_handler=stream_handler,
        )
        self._require_tls = require_tls
        self._connections: set[Connection] = set()

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
            await self._serve_http(scope, send)
        elif scope["type"] == "lifespan":
            await respond_lifespan(receive, send, on_shutdown=self.close)

    async def close(self) -> None:
        """Say goodbye to every connection, within a second. Idempotent."""
        closing = [connection.close() for connection in self._connections]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(*closing)

    async def _serve_websocket(
        self, socket: AsgiWebSocket, refusal: str | None
    ) -> None:
        if refusal is not None:
            logger.warning("connection refused: %s", refusal)
            # Before the upgrade, an ASGI server turns this into HTTP 403.
            await socket.close(1008, GENERIC_REFUSAL)
            return
        connection = Connection(socket, self._host)
        self._connections.add(connection)
        try:
            await within(CONNECT_TIMEOUT_S, socket.accept(), "the upgrade")
            await connection.run()
        except (ConnectionLost, DeadlineExceeded) as exc:
            logger.debug("connection ended: %s", exc)
        finally:
            self._connections.discard(connection)

    def _refusal(self, socket: AsgiWebSocket, scope: AsgiScope) -> str | None:
        config = self._host.config
        origin = socket.header(b"origin")
        if scope.get("path") != config.path:
            return "unknown path"
        if self._require_tls and not socket.is_encrypted:
            return "not over TLS"
        if origin is not None and origin not in config.allowed_origins:
            return "a browser's origin that is not allowed"
        if len(self._connections) >= config.max_connections:
            return "too many connections"
        return None

    async def _serve_http(self, scope: AsgiScope, send: AsgiSend) -> None:
        if scope["path"] == "/health" and scope["method"] in ("GET", "HEAD"):
            body = json.dumps({"status": "ok", "connections": len(self._connections)})
            await respond_text(send, 200, body, content_type="application/json")
        else:
            await respond_text(send, 404, "not found")
