"""Accepts TLS connections, each with a protocol of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from .tls import TlsTransport

__all__ = ["TlsListener"]

logger = logging.getLogger("sage.transport")

# Connections that are accepted before others get their turn.
_ACCEPTS = 64
# Without files or memory for one more, some may be given back by then.
_ACCEPT_AGAIN_S = 1.0


class TlsListener:
    """A listening socket of the running loop.

    Args:
        listening: bound and listening; it belongs to the listener from here on.
        make_protocol: returns the protocol for one more connection.
        context: of a server.
        handshake_timeout_s: for each connection.

    Attributes:
        sockets: the one socket, until `close`.
    """

    def __init__(
        self,
        listening: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        *,
        handshake_timeout_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening, self._make_protocol = listening, make_protocol
        self._context, self._timeout_s = context, handshake_timeout_s
        self.sockets: tuple[socket.socket, ...] = (listening,)
        self._again: asyncio.TimerHandle | None = None
        self._shaking_hands: set[TlsTransport] = set()
        listening.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Accept nothing more, nor whoever still shakes hands. Idempotent."""
        if self.sockets:
            self.sockets = ()
            if self._again is not None:
                self._again.cancel()
            self._loop.remove_reader(self._listening)
            self._listening.close()
            for transport in self._shaking_hands:
                transport.abort()

    async def wait_closed(self) -> None:
        """Return at once: open connections live on without their listener."""

    def _watch(self) -> None:
        self._again = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                logger.error("cannot accept connections: %s", exc)
                self._loop.remove_reader(self._listening)
                self._again = self._loop.call_later(_ACCEPT_AGAIN_S, self._watch)
                return
            self._open(sock)

    def _open(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            transport = TlsTransport(
                sock,
                self._make_protocol(),
                self._context,
                timeout_s=self._timeout_s,
                on_opened=lambda _error: self._shaking_hands.discard(transport),
            )
            self._shaking_hands.add(transport)
        except OSError as exc:  # who left before we looked
            logger.debug("a connection ended before it began: %s", exc)
            sock.close()
