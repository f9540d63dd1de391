"""The server end of a WebSocket, as ASGI hands it to an application.

The ASGI server owns the socket, TLS, fragments, pings and the size limit; this
wrapper gives its events the same verbs and errors as the client's `WebSocket`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from ..errors import Code, ConnectionLost, DecodeError, ProtocolError
from ..limits import CLOSE_TIMEOUT_S, ENVELOPE_MAX_BYTES, SEND_TIMEOUT_S
from ..types import AsgiMessage, AsgiReceive, AsgiScope, AsgiSend
from .deadline import within

__all__ = [
    "LIFT_LIMIT",
    "AsgiMessage",
    "AsgiReceive",
    "AsgiScope",
    "AsgiSend",
    "AsgiWebSocket",
]

LIFT_LIMIT: Final = "sage.message-limit"
"""The scope extension of a server that holds strangers to short messages."""


class AsgiWebSocket:
    """One WebSocket of an ASGI server, for one reader and any number of senders."""

    def __init__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._closed = False
        self._receiving: asyncio.Timeout | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection arrived over TLS."""
        return self._scope.get("scheme") == "wss"

    def header(self, name: bytes) -> str | None:
        """Return the first header of a lower-case name, or ``None``."""
        headers: Iterable[tuple[bytes, bytes]] = self._scope.get("headers", ())
        return next((v.decode("latin-1") for k, v in headers if k == name), None)

    async def accept(self) -> None:
        """Complete the upgrade.

        Raises:
            ConnectionLost: the client left before.
        """
        message = await self._receive()
        if message["type"] != "websocket.connect":
            self._closed = True
            raise ConnectionLost("the client left")
        await self._transmit({"type": "websocket.accept"})

    def lift_limit(self) -> None:
        """Let the peer send messages of up to 16 MiB, now that it is known.

        Before, a server that knows the extension takes 64 KiB; another one always
        takes what it was configured to take.
        """
        extension = self._scope.get("extensions", {}).get(LIFT_LIMIT)
        if extension is not None:
            extension["lift"]()

    async def receive(self) -> str:
        """Wait for the next text message.

        Raises:
            ConnectionLost: the client left, or we closed: what was sent meanwhile
                is not read any more.
            ProtocolError: a binary message.
            DecodeError: longer than 16 MiB, where the ASGI server let it through.
        """
        message = await self.receive_any()
        if not isinstance(message, str):
            raise ProtocolError("a binary message", code=Code.FRAME_MALFORMED)
        return message

    async def receive_any(self) -> str | bytes:
        """Wait for the next message: text as ``str``, binary as ``bytes``.

        Raises:
            ConnectionLost: the client left, or we closed.
            DecodeError: longer than 16 MiB, where the ASGI server let it through.
        """
        event = await self._next_message()
        if event["type"] != "websocket.receive":
            self._closed = True
            raise ConnectionLost(f"the client left ({event.get('code', 1005)})")
        # ASGI: one of the two keys, or the other one with None.
        text: str | None = event.get("text")
        message: str | bytes = event["bytes"] if text is None else text
        if len(message) > ENVELOPE_MAX_BYTES:
            raise DecodeError("a message over 16 MiB", code=Code.SIZE_EXCEEDED)
        return message

    async def send(self, message: bytes) -> None:
        """Send UTF-8 bytes as one text message.

        Raises:
            ConnectionLost: the client left.
            DeadlineExceeded: the client did not read for 10 s.
        """
        await self._deliver(
            {"type": "websocket.send", "text": message.decode("utf-8")}, SEND_TIMEOUT_S
        )

    async def send_binary(
        self, message: bytes, *, timeout_s: float = SEND_TIMEOUT_S
    ) -> None:
        """Send bytes as one binary message.

        Raises:
            ConnectionLost: the client left.
            DeadlineExceeded: the client did not read for ``timeout_s``.
        """
        await self._deliver({"type": "websocket.send", "bytes": message}, timeout_s)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, within a second, whatever the client does. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._receiving is not None:
            # A client that reads nothing may never let the server say that it left.
            self._receiving.reschedule(asyncio.get_running_loop().time())
        message = {"type": "websocket.close", "code": code, "reason": reason}
        try:
            await within(CLOSE_TIMEOUT_S, self._transmit(message), "closing")
        except (ConnectionLost, TimeoutError):
            return

    async def _deliver(self, message: AsgiMessage, timeout_s: float) -> None:
        if self._closed:
            raise ConnectionLost("the client left")
        await within(timeout_s, self._transmit(message), "sending")

    async def _next_message(self) -> AsgiMessage:
        """Wait for an event of the server, or for our own `close`."""
        message: AsgiMessage = {}
        if self._closed:
            raise ConnectionLost("the connection is closed")
        try:
            async with asyncio.timeout(None) as self._receiving:
                message = await self._receive()
        except TimeoutError:
            self._closed = True
        finally:
            self._receiving = None
        if self._closed:
            raise ConnectionLost("the connection is closed")
        return message

    async def _transmit(self, message: AsgiMessage) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as exc:
            # ASGI 2.4: OSError after the client left; older servers differ.
            self._closed = True
            raise ConnectionLost("the client left") from exc
