"""Runs an ASGI application on uvicorn over TLS, with the protocol's settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from ..errors import ConfigError
from ..limits import ENVELOPE_MAX_BYTES

__all__ = ["serve", "serving"]

Path = str | os.PathLike[str]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


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
    running = asyncio.create_task(_run(server))
    try:
        while not server.started:
            if running.done():
                await running
                raise ConfigError(f"cannot listen on {host}:{port}")
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
    try:
        server.run()
    except SystemExit as exc:
        raise ConfigError(f"cannot listen on {host}:{port}") from exc


async def _run(server: uvicorn.Server) -> None:
    try:
        await server.serve()
    except SystemExit as exc:
        # uvicorn exits where it cannot listen; a library must not.
        raise ConfigError("the server could not start") from exc


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
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=ENVELOPE_MAX_BYTES,
        ws_per_message_deflate=False,
        # Pings keep middleboxes awake, but a pong that waits behind unread records
        # is no reason to hang up: every wait has a limit of its own.
        ws_ping_timeout=None,
        timeout_graceful_shutdown=1,
    )
