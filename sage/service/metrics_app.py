"""``/metrics``: who may read it, and how it is read without holding up traffic.

Metrics tell how many requests there are, how large, and how often somebody fails: not a
secret, but nobody's business. So a `Service` answers ``/metrics`` to its own machine
alone, and `MetricsApp` is an application to serve at an address that only the
monitoring reaches.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import DeadlineExceeded
from ..limits import SCRAPE_TIMEOUT_S
from ..transport import within
from ..transport.asgi import AsgiReceive, AsgiScope, AsgiSend
from ..transport.metrics import Metrics
from .respond import respond_bytes, respond_lifespan, respond_text

__all__ = ["MetricsApp", "Scraper", "is_own_machine"]

logger = logging.getLogger("sage.metrics")

_EXPOSITION_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_FAILED: Final = (503, b"not available")

# What proxies add; from them on, the client's address is the proxy's.
_FORWARDED: Final = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"}
)


class Scraper:
    """Answers scrapes: in a thread, one at a time, for a limited time.

    Args:
        metrics: what to show; their own, not guarded ones.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._running: asyncio.Task[tuple[int, bytes]] | None = None

    async def respond(self, send: AsgiSend) -> None:
        """Send the exposition: 200, 404 where there is none, or 503."""
        if self._running is None:
            self._running = asyncio.create_task(self._collect())
        waiting = asyncio.shield(self._running)
        try:
            status, body = await within(SCRAPE_TIMEOUT_S, waiting, "collecting metrics")
        except DeadlineExceeded as exc:
            logger.warning("%s", exc)
            status, body = _FAILED
        kind = _EXPOSITION_TYPE if status == 200 else "text/plain"
        await respond_bytes(send, status, body, content_type=kind)

    async def _collect(self) -> tuple[int, bytes]:
        try:
            body = await asyncio.to_thread(self._metrics.exposition)
        except Exception:
            logger.exception("collecting metrics failed")
            return _FAILED
        finally:
            self._running = None
        return (404, b"not found") if body is None else (200, body)


class MetricsApp:
    """An ASGI application: ``GET /metrics``, and the probes of a service.

    It asks nobody who they are: serve it at an address that only the monitoring
    reaches, beside the service.

    Args:
        metrics: what ``/metrics`` shows.
        probes: answers ``/health…``; a `Service` is one. Without it there are none.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        probes: Callable[[AsgiScope, AsgiReceive, AsgiSend], Awaitable[None]]
        | None = None,
    ) -> None:
        self._scraper, self._probes = Scraper(metrics), probes

    async def __call__(
        self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
    ) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await respond_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(
        self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
    ) -> None:
        path = scope["path"]
        if path == "/metrics" and scope["method"] in ("GET", "HEAD"):
            await self._scraper.respond(send)
        elif path.startswith("/health") and self._probes is not None:
            await self._probes(scope, receive, send)
        else:
            await respond_text(send, 404, "not found")


def is_own_machine(scope: AsgiScope) -> bool:
    """Return whether a request comes from this machine, and not through a proxy."""
    client = scope.get("client")
    if client is None or any(name in _FORWARDED for name, _ in scope["headers"]):
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
