"""The server end of a WebSocket, as ASGI hands it to an application.

The ASGI server owns the socket, TLS, fragments, pings and the size limit; this
wrapper gives its events the same verbs and errors as the client's `WebSocket`. A server
that knows us hands over the connection itself, and messages never become events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Protocol

from ..errors import Code, ConnectionLost, DeadlineExceeded, DecodeError, ProtocolError
from ..limits import CLOSE_TIMEOUT_S, ENVELOPE_MAX_BYTES, SEND_TIMEOUT_S
from ..types import AsgiMessage, AsgiReceive, AsgiScope, AsgiSend
from .deadline import within

__all__ = [
    "LIFT_LIMIT",
    "STOPPING",
    "TAKE_OVER",
    "AsgiMessage",
    "AsgiReceive",
    "AsgiScope",
    "AsgiSend",
    "AsgiWebSocket",
]

LIFT_LIMIT: Final = "sage.message-limit"
"""The scope extension of a server that holds strangers to short messages."""

STOPPING: Final = "sage.stopping"
"""The scope extension of a server that says when it stops, instead of closing."""

TAKE_OVER: Final = "sage.take-over"
"""The scope extension of a server that hands its connection over once accepted."""


class AsgiWebSocket:
    """One WebSocket of an ASGI server, for one reader and any number of senders.

    Once accepted it keeps nothing of the scope: an idle connection should be small.
    """

    __slots__ = ("_lift", "_scope", "_wire", "is_encrypted")

    is_encrypted: bool
    """Whether the connection arrived over TLS."""

    def __init__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        self._scope: AsgiScope = scope
        self._wire: _Wire = _Events(receive, send)
        self.is_encrypted = scope.get("scheme") == "wss"
        extension = scope.get("extensions", {}).get(LIFT_LIMIT, {})
        self._lift: Callable[[], None] | None = extension.get("lift")

    def header(self, name: bytes) -> str | None:
        """Return the first header of a lower-case name, or ``None``; see `accept`."""
        headers: Iterable[tuple[bytes, bytes]] = self._scope.get("headers", ())
        return next((v.decode("latin-1") for k, v in headers if k == name), None)

    async def accept(self, *, on_stop: Callable[[], None] | None = None) -> None:
        """Complete the upgrade, and forget its headers.

        Args:
            on_stop: called once when the server stops, where it says so; then we
                close, and have `STOP_TIMEOUT_S` for what is under way. Other
                servers close themselves.

        Raises:
            ConnectionLost: the client left before.
        """
        await self._wire.accept()
        extensions = self._scope.get("extensions", {})
        if (take := extensions.get(TAKE_OVER, {}).get("take")) is not None:
            self._wire = take()
        tell = extensions.get(STOPPING, {}).get("tell")
        if tell is not None and on_stop is not None:
            tell(on_stop)
        self._scope = {}

    def lift_limit(self) -> None:
        """Let the peer send messages of up to 16 MiB, now that it is known.

        Before, a server that knows the extension takes 64 KiB; another one always
        takes what it was configured to take.
        """
        lift, self._lift = self._lift, None
        if lift is not None:
            lift()

    async def receive(self, *, timeout_s: float | None = None) -> str:
        """Wait for the next text message.

        Raises:
            ConnectionLost: the client left, or we closed: what was sent meanwhile
                is not read any more.
            DeadlineExceeded: nothing came within ``timeout_s``.
            ProtocolError: a binary message.
            DecodeError: longer than 16 MiB, where the ASGI server let it through.
        """
        message = await self.receive_any(timeout_s=timeout_s)
        if not isinstance(message, str):
            raise ProtocolError("a binary message", code=Code.FRAME_MALFORMED)
        return message

    def receive_any(
        self, *, timeout_s: float | None = None
    ) -> Coroutine[Any, Any, str | bytes]:
        """Wait for the next message: text as ``str``, binary as ``bytes``.

        Raises (when awaited):
            ConnectionLost: the client left, or we closed.
            DeadlineExceeded: nothing came within ``timeout_s``.
            DecodeError: longer than 16 MiB, where the ASGI server let it through.
        """
        return self._wire.receive(timeout_s=timeout_s)

    def receive_many(
        self, *, timeout_s: float | None = None
    ) -> Coroutine[Any, Any, list[str | bytes]]:
        """Wait for the next message; behind a binary one come those that are there.

        Raises (when awaited):
            ConnectionLost, DeadlineExceeded, DecodeError: as for `receive_any`.
        """
        return self._wire.receive_many(timeout_s=timeout_s)

    def send(self, message: bytes) -> Coroutine[Any, Any, None]:
        """Send UTF-8 bytes as one text message.

        Raises (when awaited):
            ConnectionLost: the client left.
            DeadlineExceeded: the client did not read for 10 s.
        """
        return self._wire.send(message, text=True, timeout_s=SEND_TIMEOUT_S)

    def send_binary(
        self, *messages: bytes, timeout_s: float = SEND_TIMEOUT_S
    ) -> Coroutine[Any, Any, None]:
        """Send bytes as binary messages, in one go.

        Raises (when awaited):
            ConnectionLost: the client left.
            DeadlineExceeded: the client did not read for ``timeout_s``.
        """
        return self._wire.send(*messages, text=False, timeout_s=timeout_s)

    @property
    def is_full(self) -> bool:
        """Whether the client has to read before more is sent, if the server tells."""
        return self._wire.is_full

    async def drain(self, *, patience_s: float) -> None:
        """Wait until there is room, for as long as the client reads at all.

        Raises:
            DeadlineExceeded: it took less than 16 KiB in ``patience_s``.
        """
        await self._wire.drain(patience_s=patience_s)

    async def flush(self) -> None:
        """Wait until the client has taken what was sent, where the server tells."""
        await self._wire.flush()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, within a second, whatever the client does. Idempotent."""
        await self._wire.close(code, reason)


class _Wire(Protocol):
    """What carries the messages: ASGI's events, or a `MessagePipe`."""

    def accept(self) -> Coroutine[Any, Any, None]: ...

    def receive(
        self, *, timeout_s: float | None
    ) -> Coroutine[Any, Any, str | bytes]: ...

    def receive_many(
        self, *, timeout_s: float | None
    ) -> Coroutine[Any, Any, list[str | bytes]]: ...

    def send(
        self, *messages: bytes, text: bool, timeout_s: float
    ) -> Coroutine[Any, Any, None]: ...

    @property
    def is_full(self) -> bool: ...

    def drain(self, *, patience_s: float) -> Coroutine[Any, Any, None]: ...

    def flush(self) -> Coroutine[Any, Any, None]: ...

    def close(self, code: int, reason: str) -> Coroutine[Any, Any, None]: ...


class _Events:
    """Messages as events, which every ASGI server understands."""

    __slots__ = ("_closed", "_receive", "_receiving", "_send")

    def __init__(self, receive: AsgiReceive, send: AsgiSend) -> None:
        self._receive, self._send = receive, send
        self._closed = False
        self._receiving: asyncio.Timeout | None = None

    async def accept(self) -> None:
        message = await self._receive()
        if message["type"] != "websocket.connect":
            self._closed = True
            raise ConnectionLost("the client left")
        await self._transmit({"type": "websocket.accept"})

    async def receive(self, *, timeout_s: float | None) -> str | bytes:
        event = await self._next_event(timeout_s)
        if event["type"] != "websocket.receive":
            self._closed = True
            raise ConnectionLost(f"the client left ({event.get('code', 1005)})")
        # ASGI: one of the two keys, or the other one with None.
        text: str | None = event.get("text")
        message: str | bytes = event["bytes"] if text is None else text
        if len(message) > ENVELOPE_MAX_BYTES:
            raise DecodeError("a message over 16 MiB", code=Code.SIZE_EXCEEDED)
        return message

    async def receive_many(self, *, timeout_s: float | None) -> list[str | bytes]:
        return [await self.receive(timeout_s=timeout_s)]

    async def send(self, *messages: bytes, text: bool, timeout_s: float) -> None:
        for message in messages:
            if self._closed:
                raise ConnectionLost("the client left")
            event: AsgiMessage = {"type": "websocket.send"}
            if text:
                event["text"] = message.decode("utf-8")
            else:
                event["bytes"] = message
            await within(timeout_s, self._transmit(event), "sending")

    @property
    def is_full(self) -> bool:
        """No: a server's ``send`` has waited."""
        return False

    async def drain(self, *, patience_s: float) -> None:
        """Do nothing: nor has this anything to wait for."""

    async def flush(self) -> None:
        """Do nothing, likewise."""

    async def close(self, code: int, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        if self._receiving is not None and not self._receiving.expired():
            # A client that reads nothing may never let the server say that it left.
            self._receiving.reschedule(asyncio.get_running_loop().time())
        message = {"type": "websocket.close", "code": code, "reason": reason}
        try:
            await within(CLOSE_TIMEOUT_S, self._transmit(message), "closing")
        except (ConnectionLost, TimeoutError):
            return

    async def _next_event(self, timeout_s: float | None) -> AsgiMessage:
        """Wait for an event of the server, for the limit, or for our own `close`."""
        if self._closed:
            raise ConnectionLost("the connection is closed")
        event: AsgiMessage | None = None
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit as self._receiving:
                event = await self._receive()
        except TimeoutError:
            pass
        finally:
            # One that was cancelled may hear of it when the next one waits already.
            if self._receiving is limit:
                self._receiving = None
        if self._closed:
            raise ConnectionLost("the connection is closed")
        if event is None:
            raise DeadlineExceeded(f"waiting for a message took over {timeout_s:g} s")
        return event

    async def _transmit(self, message: AsgiMessage) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as exc:
            # ASGI 2.4: OSError after the client left; older servers differ.
            self._closed = True
            raise ConnectionLost("the client left") from exc
