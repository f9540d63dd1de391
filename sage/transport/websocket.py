"""The client end of a WebSocket over TLS: whole messages, not compressed.

TRANSPORT-05: one UTF-8 JSON envelope in each reassembled text message, up to
16 MiB. Binary messages are for the records of an open stream; whoever waits for an
envelope refuses them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from ..errors import (
    Code,
    ConnectFailed,
    DeadlineExceeded,
    ProtocolError,
    UsageError,
)
from ..limits import (
    CONNECT_TIMEOUT_S,
    ENVELOPE_MAX_BYTES,
    SEND_TIMEOUT_S,
)
from ..runtime.bounds import check_limit
from .address import tls_context
from .deadline import within
from .https_client import without_password
from .message_pipe import MessagePipe
from .tls_connect import connect_tls

__all__ = ["WebSocket"]

# Frames are the library's to log, as what is on the wire: not in our name.
wire_logger = logging.getLogger("websockets.client")


class WebSocket:
    """A connected client. Made by `open`."""

    def __init__(self, pipe: MessagePipe, ended: asyncio.Event) -> None:
        self._pipe, self._ended = pipe, ended

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
            UsageError: not a ``wss://`` URL, or a time limit that is none.
            ConnectFailed: refused, unreachable, untrusted, or not a WebSocket.
            DeadlineExceeded: no connection within ``timeout_s``.
        """
        where = without_password(url)
        if not _is_wss(url):
            raise UsageError(f"an endpoint is a wss:// or https:// URL, not {where!r}")
        check_limit(timeout_s)
        context = tls if tls is not None else tls_context()
        try:
            opening = _upgrade(parse_uri(url), context, timeout_s)
            return cls(*await within(timeout_s, opening, f"connecting to {where}"))
        except InvalidURI:  # which says the whole of it
            raise UsageError(f"not a WebSocket URL: {where!r}") from None
        except DeadlineExceeded:  # a TimeoutError, and so an OSError too
            raise
        except (OSError, ValueError, InvalidHandshake) as exc:
            raise ConnectFailed(f"cannot connect to {where}: {exc}") from exc

    def send(
        self, message: bytes, *, timeout_s: float = SEND_TIMEOUT_S
    ) -> Coroutine[Any, Any, None]:
        """Send UTF-8 bytes as one text message.

        Raises (when awaited):
            ConnectionLost: the connection has ended.
            DeadlineExceeded: the peer did not read for ``timeout_s``.
        """
        return self._pipe.send(message, text=True, timeout_s=timeout_s)

    def send_binary(
        self, *messages: bytes, timeout_s: float = SEND_TIMEOUT_S
    ) -> Coroutine[Any, Any, None]:
        """Send bytes as binary messages, in one go.

        Raises (when awaited):
            ConnectionLost: the connection has ended.
            DeadlineExceeded: the peer did not read for ``timeout_s``.
        """
        return self._pipe.send(*messages, text=False, timeout_s=timeout_s)

    async def receive(self) -> str:
        """Wait for the next text message.

        Raises:
            ConnectionLost: the connection has ended, which it does by itself when
                a message is longer than 16 MiB or not UTF-8.
            ProtocolError: a binary message.
            UsageError: another call waits already.
        """
        message = await self.receive_any()
        if not isinstance(message, str):
            raise ProtocolError("a binary message", code=Code.FRAME_MALFORMED)
        return message

    def receive_any(self) -> Coroutine[Any, Any, str | bytes]:
        """Wait for the next message: text as ``str``, binary as ``bytes``.

        Raises (when awaited):
            ConnectionLost, UsageError: as for `receive`.
        """
        return self._pipe.receive()

    def receive_many(self) -> Coroutine[Any, Any, list[str | bytes]]:
        """Wait for the next message; behind a binary one come those that are there.

        Raises (when awaited):
            ConnectionLost, UsageError: as for `receive`.
        """
        return self._pipe.receive_many()

    async def ping(self, *, timeout_s: float) -> None:
        """Ask the other end for a sign of life, and wait for it.

        Raises:
            ConnectionLost: the connection has ended.
            DeadlineExceeded: no answer within ``timeout_s``; it may stand behind
                messages that were not read yet.
        """
        await self._pipe.ping(timeout_s=timeout_s)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, within a second, whatever the peer does. Idempotent.

        Raises:
            UsageError: a code that no close frame has, or a reason of more than 123
                bytes; the connection is as it was.
        """
        self._pipe.say_goodbye(code, reason)
        await self._ended.wait()


async def _upgrade(
    uri: WebSocketURI, context: ssl.SSLContext, timeout_s: float
) -> tuple[MessagePipe, asyncio.Event]:
    upgrading = _Upgrading(uri)
    try:
        await connect_tls(uri.host, uri.port, upgrading, context, timeout_s=timeout_s)
        return await upgrading.done
    except BaseException:
        upgrading.give_up()
        raise


class _Upgrading(asyncio.Protocol):
    """Asks for the upgrade. A redirect is a refusal: we go where we were told."""

    def __init__(self, uri: WebSocketURI) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[tuple[MessagePipe, asyncio.Event]]
        self.done = loop.create_future()
        self._transport: asyncio.Transport | None = None
        # No extensions: compression would tell an observer about the plaintext.
        self._frames = ClientProtocol(
            uri, max_size=ENVELOPE_MAX_BYTES, logger=wire_logger
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of TCP
        self._transport = transport
        self._frames.send_request(self._frames.connect())
        transport.writelines(self._frames.data_to_send())

    def data_received(self, data: bytes) -> None:
        self._frames.receive_data(data)
        if self._frames.handshake_exc is not None:
            self._fail(self._frames.handshake_exc)
        elif self._frames.events and not self.done.done():
            self._succeed()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionResetError("the connection was closed"))

    def give_up(self) -> None:
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # whoever gives up does not ask
        if self._transport is not None:
            self._transport.abort()

    def _succeed(self) -> None:
        if self._transport is None:
            return
        # What came with the answer are messages already.
        self._frames.events = self._frames.events[1:]
        ended = asyncio.Event()
        pipe = MessagePipe(self._transport, self._frames, on_ended=ended.set)
        pipe.data_received(b"")
        self.done.set_result((pipe, ended))

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _is_wss(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # The port's default would be taken for 0, which nobody listens at.
        return parts.scheme == "wss" and bool(parts.hostname) and parts.port != 0
    except (AttributeError, ValueError):  # no text, or half an IPv6 address
        return False
