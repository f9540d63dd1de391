"""Runs an ASGI application on uvicorn over TLS, with the protocol's settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from websockets.protocol import State

from ..errors import ConfigError
from ..limits import (
    ENVELOPE_MAX_BYTES,
    FIRST_MESSAGE_TIMEOUT_S,
    HTTP_HEAD_MAX_BYTES,
    HTTPS_KEEP_ALIVE_S,
    UNAUTHENTICATED_MAX_BYTES,
)
from ..transport.asgi import LIFT_LIMIT
from ..transport.asgi_http import HTTP_LIMITS

__all__ = ["serve", "serving"]

Path = str | os.PathLike[str]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class _NoTrailers(h11.Connection):
    """Refuses what comes behind a body, which uvicorn would drop unseen."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.EndOfMessage) and event.headers:
            raise h11.RemoteProtocolError("trailers")
        return event


class _Http(H11Protocol):
    """Gives a request ten seconds to arrive, and its head a size.

    uvicorn waits for a request without an end, and its other parser reads a head
    without an end.
    """

    _deadline: asyncio.TimerHandle | None = None
    _known = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _NoTrailers(
            h11.SERVER, max_incomplete_event_size=HTTP_HEAD_MAX_BYTES
        )
        self._inner, self.app = self.app, self._serve

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Let the application say that it has the request, and that it knows whose."""
        scope.setdefault("extensions", {})[HTTP_LIMITS] = {
            "received": self._stop,
            "known": self._know,
        }
        await self._inner(scope, receive, send)

    def _know(self) -> None:
        self.timeout_keep_alive = HTTPS_KEEP_ALIVE_S  # type: ignore[assignment]
        self._known = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._restart()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._restart()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._stop()
        super().handle_websocket_upgrade(event)

    def _restart(self) -> None:
        self._stop()
        pause_s = HTTPS_KEEP_ALIVE_S if self._known else 0.0
        self._deadline = self.loop.call_later(
            pause_s + FIRST_MESSAGE_TIMEOUT_S, self.transport.abort
        )

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


class _WebSocket(WebSocketsSansIOProtocol):
    """Holds no more for a stranger than a stranger may say.

    Messages are put together before the application sees them. So the limit for
    whoever has proven nothing (``ws_max_size``) must hold here, until the application
    lifts it.
    """

    async def run_asgi(self) -> None:
        self.scope["extensions"][LIFT_LIMIT] = {"lift": self._lift}
        await super().run_asgi()

    def _lift(self) -> None:
        self.conn.max_message_size = ENVELOPE_MAX_BYTES

    def shutdown(self) -> None:
        if self.conn.state in (State.CLOSING, State.CLOSED):
            # The peer's goodbye came first; another one raises, and with it stopping.
            self.transport.close()
        else:
            super().shutdown()

    def handle_ping(self) -> None:
        super().handle_ping()
        # Whoever asks for pongs and does not read them is not read either.
        if not self.writable.is_set() and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.transport.resume_reading()


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever owns the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serving(
    app: AsgiApp,
    *,
    certificate: Path,
    key: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[int]:
    """Serve ``app`` inside the running loop, and yield the port.

    Args:
        app: a `Service` or a `Registry`.
        certificate: a PEM file with the certificate chain.
        key: a PEM file with its private key; in ``certificate`` when not given.
        host: the address to listen on.
        port: the port; 0 for any that is free.

    Raises:
        ConfigError: certificate or key cannot be read, or the port is taken.
    """
    server = _Server(_config(app, certificate, key, host, port))
    listening = _listen(host, port)
    running = asyncio.create_task(_run(server, listening))
    try:
        while not server.started:
            if running.done():
                await running
                raise ConfigError(f"the server on {host}:{port} ended at once")
            await asyncio.sleep(0.005)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        with contextlib.suppress(ConfigError):
            await running


def serve(
    app: AsgiApp,
    *,
    certificate: Path,
    key: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8443,
) -> None:
    """Serve ``app`` until the process is told to stop (SIGINT, SIGTERM).

    The arguments and errors are those of `serving`.
    """
    server = uvicorn.Server(_config(app, certificate, key, host, port))
    listening = _listen(host, port)
    try:
        server.run(sockets=[listening])
    except SystemExit as exc:
        raise ConfigError("the server could not start") from exc
    finally:
        listening.close()


async def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        await server.serve(sockets=[listening])
    except SystemExit as exc:
        # uvicorn exits where it cannot start; a library must not.
        raise ConfigError("the server could not start") from exc
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket here: uvicorn would log the reason and leave the process."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    # Accepted sockets inherit it. asyncio sets it only where a socket names its
    # protocol, which accepted ones do not; and an answer in two writes, head and body,
    # would wait 40 ms for the peer's delayed acknowledgement of the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _config(
    app: AsgiApp, certificate: Path, key: Path | None, host: str, port: int
) -> uvicorn.Config:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"cannot read certificate and key from {certificate}: {exc}"
        ) from exc
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        ssl_context_factory=lambda *_: context,
        log_config=None,
        access_log=False,
        server_header=False,
        # What a peer says about itself is not what we know (MSG-02).
        proxy_headers=False,
        lifespan="on",
        http=_Http,
        h11_max_incomplete_event_size=HTTP_HEAD_MAX_BYTES,
        ws=_WebSocket,
        ws_max_size=UNAUTHENTICATED_MAX_BYTES,
        ws_per_message_deflate=False,
        # Pings keep middleboxes awake, but a pong that waits behind unread records
        # is no reason to hang up: every wait has a limit of its own.
        ws_ping_timeout=None,
        timeout_graceful_shutdown=1,
    )
