"""Runs an ASGI application on uvicorn over TLS, with the protocol's settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import ConfigError, UsageError
from ..http.asgi_request import KNOWN_PEER
from ..identity.files import as_path, read_regular, reason
from ..limits import (
    FIRST_MESSAGE_TIMEOUT_S,
    HTTP_HEAD_MAX_BYTES,
    HTTPS_KEEP_ALIVE_S,
    STOP_TIMEOUT_S,
)
from ..runtime.bounds import check_limit
from ..transport.tls import can_watch_sockets
from ..transport.tls_listener import TlsListener
from .hosting_websocket import HostedWebSocket

__all__ = ["serve", "serving"]

Path = str | os.PathLike[str]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

# Between looks at a server that starts or stops.
_LOOK_AGAIN_S = 0.005


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
    without an end. How long the content of a known peer may take is the application's
    to say, and so is how long an answer takes.
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
        """Let the application say that it knows whose request it has."""
        scope.setdefault("extensions", {})[KNOWN_PEER] = {"tell": self._know}
        await self._inner(scope, receive, send)

    def _know(self) -> None:
        self._stop()
        self.timeout_keep_alive = HTTPS_KEEP_ALIVE_S  # type: ignore[assignment]
        self._known = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._restart()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)
        # uvicorn lets its timer run where the end was not clean, and all that there
        # was of the connection waits for it.
        self._unset_keepalive_if_required()

    def handle_events(self) -> None:
        super().handle_events()
        if self._has_request():
            self._stop()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Else the next one came with this one; it may have made a WebSocket of it all.
        if not self._has_request() and self.transport.get_protocol() is self:
            self._restart()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in place of the application and not beside it.

        uvicorn lets both answer, or itself where the application has: each a traceback
        in the log, as often as a stranger likes.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with contextlib.suppress(h11.LocalProtocolError):  # HEAD has no text
                super().send_400_response(msg)
        self.transport.close()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._stop()
        super().handle_websocket_upgrade(event)

    def _has_request(self) -> bool:
        """Whether all of a request is here, and the client waits for us."""
        return self.conn.their_state is h11.DONE

    def _restart(self) -> None:
        self._stop()
        pause_s = HTTPS_KEEP_ALIVE_S if self._known else 0.0
        self._deadline = self.loop.call_later(
            pause_s + FIRST_MESSAGE_TIMEOUT_S, self.transport.abort
        )

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


class _Server(uvicorn.Server):
    """Accepts connections with our own TLS, where the loop can watch sockets.

    And stops as soon as everybody has left: uvicorn looks ten times a second.
    """

    def __init__(
        self, config: uvicorn.Config, context: ssl.SSLContext, stop_timeout_s: float
    ) -> None:
        super().__init__(config)
        check_limit(stop_timeout_s, "stop_timeout_s")
        self._context, self._stop_timeout_s = context, stop_timeout_s

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        with super().capture_signals(), self._stopped_by_hangup():
            yield

    @contextlib.contextmanager
    def _stopped_by_hangup(self) -> Generator[None, None, None]:
        """Stop when the terminal goes, too, where the program has no other plan."""
        number = getattr(signal, "SIGHUP", None)  # Windows has none
        in_main = threading.current_thread() is threading.main_thread()
        if not in_main or number is None or signal.getsignal(number) != signal.SIG_DFL:
            yield
            return
        signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            # Before uvicorn raises it once more, which then ends the process.
            signal.signal(number, signal.SIG_DFL)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise ConfigError("the application could not start")
        self.servers = [await self._listen(one) for one in sockets or ()]
        self.started = True

    async def _listen(self, listening: socket.socket) -> Any:
        if can_watch_sockets():
            return TlsListener(
                listening,
                self._make_protocol,
                self._context,
                handshake_timeout_s=FIRST_MESSAGE_TIMEOUT_S,
            )
        return await asyncio.get_running_loop().create_server(
            self._make_protocol,
            sock=listening,
            ssl=self._context,
            ssl_handshake_timeout=FIRST_MESSAGE_TIMEOUT_S,
        )

    def _make_protocol(self) -> asyncio.Protocol:
        return _Http(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._say_goodbye()
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await self._all_left()
        except TimeoutError:
            self._say_goodbye()  # to whoever was given time
            for task in self.server_state.tasks:
                task.cancel("the server stops")
        if self.force_exit:  # a second Ctrl-C waits for nobody
            # The application ends with the loop: uvicorn would log that as an error.
            self.lifespan.shutdown_failed = True
        else:
            await self.lifespan.shutdown()

    def _say_goodbye(self) -> None:
        for connection in list(self.server_state.connections):
            connection.shutdown()

    async def _all_left(self) -> None:
        state = self.server_state
        while (state.connections or state.tasks) and not self.force_exit:
            await asyncio.sleep(_LOOK_AGAIN_S)
        for server in self.servers:
            await server.wait_closed()


class _Guest(_Server):
    """Leaves the process's signals to whoever owns the process."""

    def __init__(
        self, config: uvicorn.Config, context: ssl.SSLContext, stop_timeout_s: float
    ) -> None:
        super().__init__(config, context, stop_timeout_s)
        self._told = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def stop(self) -> None:
        """End `serve` now, not when uvicorn looks next."""
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        ticking = asyncio.ensure_future(super().main_loop())
        told = asyncio.ensure_future(self._told.wait())
        try:
            await asyncio.wait((ticking, told), return_when=asyncio.FIRST_COMPLETED)
            if ticking.done():
                ticking.result()
        finally:
            ticking.cancel()
            told.cancel()


@asynccontextmanager
async def serving(
    app: AsgiApp,
    *,
    certificate: Path,
    key: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    stop_timeout_s: float = STOP_TIMEOUT_S,
) -> AsyncIterator[int]:
    """Serve ``app`` inside the running loop, and yield the port.

    Args:
        app: a `Service` or a `Registry`.
        certificate: a PEM file with the certificate chain.
        key: a PEM file with its private key; in ``certificate`` when not given.
        host: the address to listen on.
        port: the port; 0 for any that is free.
        stop_timeout_s: how long the answers that are under way may take once it
            stops, and takes no more requests.

    Raises:
        ConfigError: certificate or key cannot be read, or the port is taken.
        UsageError: ``stop_timeout_s`` is not a number, ``port`` no int or ``host`` no
            text.
    """
    config, context = _config(app, host, port), _context(certificate, key)
    server = _Guest(config, context, stop_timeout_s)
    listening = _listen(host, port)
    running = asyncio.create_task(_run(server, listening))
    try:
        while not server.started:
            if running.done():
                await running
                raise ConfigError(f"the server on {host}:{port} ended at once")
            await asyncio.sleep(_LOOK_AGAIN_S)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.stop()
        if not server.started:  # it may wait for the application for ever
            running.cancel()
        await asyncio.wait([running])
        error = None if running.cancelled() else running.exception()
        if error is not None and not isinstance(error, ConfigError):
            raise error


def serve(
    app: AsgiApp,
    *,
    certificate: Path,
    key: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8443,
    stop_timeout_s: float = STOP_TIMEOUT_S,
) -> None:
    """Serve ``app`` until the process is told to stop (SIGINT, SIGTERM, SIGHUP).

    Ctrl-C returns from here; the others end the process once the server has stopped.
    SIGHUP does what the program wants where it ignores it or has a handler.
    A second Ctrl-C waits for no answer that is under way.

    The arguments and errors are those of `serving`.
    """
    config, context = _config(app, host, port), _context(certificate, key)
    server = _Server(config, context, stop_timeout_s)
    listening = _listen(host, port)
    try:
        # uvicorn raises it once more when it has stopped: that was the wish, no error.
        with contextlib.suppress(KeyboardInterrupt):
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
    _check_address(host, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port <= 65535:
        raise ConfigError(f"cannot listen on {host}:{port}: there is no such port")
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, ValueError) as exc:
        why = reason(exc)
        raise ConfigError(f"cannot listen on {host}:{port}: {why}") from exc
    # Accepted sockets inherit it. asyncio sets it only where a socket names its
    # protocol, which accepted ones do not; and an answer in two writes, head and body,
    # would wait 40 ms for the peer's delayed acknowledgement of the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _check_address(host: object, port: object) -> None:
    if not isinstance(host, str) or type(port) is not int:
        raise UsageError(f"host is a text and port an int, not {host!r} and {port!r}")


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # OpenSSL would wait for whoever writes to a pipe.
        for file in (certificate, certificate if key is None else key):
            read_regular(as_path(file), 0)
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"cannot read certificate and key from {certificate}: {exc}"
        ) from exc
    return context


def _config(app: AsgiApp, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        # What a peer says about itself is not what we know (MSG-02).
        proxy_headers=False,
        lifespan="on",
        http=_Http,
        h11_max_incomplete_event_size=HTTP_HEAD_MAX_BYTES,
        ws=HostedWebSocket,
    )
