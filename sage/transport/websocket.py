"""The client end of a WebSocket over TLS: whole messages, not compressed.

TRANSPORT-05: one UTF-8 JSON envelope in each reassembled text message, up to
16 MiB. Binary messages are for the records of an open stream; whoever waits for an
envelope refuses them.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidURI,
)

from ..errors import (
    Code,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    ProtocolError,
    UsageError,
)
from ..limits import (
    CLOSE_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    ENVELOPE_MAX_BYTES,
    SEND_TIMEOUT_S,
)
from .address import tls_context
from .deadline import within

__all__ = ["WebSocket"]


class WebSocket:
    """A connected client. Made by `open`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> WebSocket:
        """Connect to a ``wss://`` URL.

        Args:
            url: the endpoint.
            tls: a client context; the system's authorities when not given.
            timeout_s: for DNS, TCP, TLS and the upgrade together.

        Raises:
            UsageError: not a ``wss://`` URL.
            ConnectFailed: refused, unreachable, untrusted, or not a WebSocket.
            DeadlineExceeded: no connection within ``timeout_s``.
        """
        if not _is_wss(url):
            raise UsageError(f"a channel needs a wss:// URL, not {url!r}")
        opening = _Connect(
            url,
            ssl=tls if tls is not None else tls_context(),
            compression=None,
            proxy=None,
            open_timeout=None,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=ENVELOPE_MAX_BYTES,
            # Messages that wait for us; beyond them the socket is not read.
            max_queue=4,
            # Pings keep middleboxes awake, but a pong that waits behind unread
            # records is no reason to hang up: every wait has a limit of its own.
            ping_timeout=None,
        )
        try:
            connection = await within(timeout_s, opening, f"connecting to {url}")
        except InvalidURI as exc:
            raise UsageError(f"not a WebSocket URL: {url!r}") from exc
        except DeadlineExceeded:  # a TimeoutError, and so an OSError too
            raise
        except (OSError, InvalidHandshake) as exc:
            raise ConnectFailed(f"cannot connect to {url}: {exc}") from exc
        return cls(connection)

    async def send(self, message: bytes, *, timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Send UTF-8 bytes as one text message.

        Raises:
            ConnectionLost: the connection has ended.
            DeadlineExceeded: the peer did not read for ``timeout_s``.
        """
        await self._transmit(message, timeout_s=timeout_s, text=True)

    async def send_binary(
        self, message: bytes, *, timeout_s: float = SEND_TIMEOUT_S
    ) -> None:
        """Send bytes as one binary message.

        Raises:
            ConnectionLost: the connection has ended.
            DeadlineExceeded: the peer did not read for ``timeout_s``.
        """
        await self._transmit(message, timeout_s=timeout_s, text=False)

    async def receive(self) -> str:
        """Wait for the next text message.

        Raises:
            ConnectionLost: the connection has ended, which it does by itself when
                a message is longer than 16 MiB or not UTF-8.
            ProtocolError: a binary message.
        """
        message = await self.receive_any()
        if not isinstance(message, str):
            raise ProtocolError("a binary message", code=Code.FRAME_MALFORMED)
        return message

    async def receive_any(self) -> str | bytes:
        """Wait for the next message: text as ``str``, binary as ``bytes``.

        Raises:
            ConnectionLost: as for `receive`.
        """
        try:
            return await self._connection.recv()
        except ConnectionClosed as exc:
            raise ConnectionLost(_reason(exc)) from exc

    async def ping(self, *, timeout_s: float) -> None:
        """Ask the other end for a sign of life, and wait for it.

        Raises:
            ConnectionLost: the connection has ended.
            DeadlineExceeded: no answer within ``timeout_s``; it may stand behind
                messages that were not read yet.
        """
        try:
            await within(timeout_s, self._pong(), "waiting for a sign of life")
        except ConnectionClosed as exc:
            raise ConnectionLost(_reason(exc)) from exc

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, within a second, whatever the peer does. Idempotent."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.close(code, reason)
        except TimeoutError:
            self._connection.transport.abort()

    async def _pong(self) -> None:
        await (await self._connection.ping())

    async def _transmit(self, message: bytes, *, timeout_s: float, text: bool) -> None:
        sending = self._connection.send(message, text=text)
        try:
            await within(timeout_s, sending, "sending", may_have_run=True)
        except ConnectionClosed as exc:
            raise ConnectionLost(_reason(exc)) from exc


class _Connect(connect):
    """Goes where it was told: a redirect is a failed handshake."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _is_wss(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "wss" and bool(parts.hostname)
    except ValueError:  # brackets without an IPv6 address
        return False


def _reason(exc: ConnectionClosed) -> str:
    frame = exc.rcvd or exc.sent
    if frame is None:
        return "the connection broke"
    # The peer's words end in logs: no line of theirs may look like one of ours.
    reason = frame.reason if frame.reason.isprintable() else ascii(frame.reason)
    detail = f"{frame.code} {reason}".rstrip()
    return f"the connection was closed ({detail})"
