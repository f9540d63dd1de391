"""WebSockets of our own hosting: the upgrade, then the connection, lean when idle.

uvicorn keeps the request, its headers and a queue for as long as the connection lives.
Here all of that goes with the upgrade. An application that knows the extension takes
the connection over and reads messages from it; for every other one they are events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side
from websockets.server import ServerProtocol

from ..errors import ConnectionLost
from ..limits import ENVELOPE_MAX_BYTES, SEND_TIMEOUT_S, UNAUTHENTICATED_MAX_BYTES
from ..transport.asgi import LIFT_LIMIT, STOPPING, TAKE_OVER, AsgiMessage, AsgiScope
from ..transport.message_pipe import MessagePipe

__all__ = ["HostedWebSocket"]

logger = logging.getLogger("sage.service")
# Frames are the library's to log, as what is on the wire: not in our name.
wire_logger = logging.getLogger("websockets.server")


class HostedWebSocket(asyncio.Protocol):
    """One WebSocket, from the request for it to its end; see uvicorn's own classes."""

    __slots__ = (
        "_app_state",
        "_config",
        "_handshake",
        "_on_stop",
        "_pipe",
        "_response",
        "_server_state",
        "_transport",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config, self._app_state = config, app_state
        self._server_state = server_state
        self._handshake: ServerProtocol | None = None
        self._response: Response | None = None
        self._pipe: MessagePipe | None = None
        self._on_stop: Callable[[], None] | None = None

    # --- for uvicorn ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin; the request follows."""
        self._transport = transport
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # has what it needs

    def data_received(self, data: bytes) -> None:
        """Look at the request, and let the application decide."""
        # Nothing may come before the answer, which is the application's.
        self._transport.pause_reading()
        self._handshake = ServerProtocol(logger=wire_logger)
        self._handshake.receive_data(data)
        events = self._handshake.events_received()
        if not events:
            # The library could not read it, and its own handshake is over.
            self._handshake = ServerProtocol(logger=wire_logger)
            self._refuse_with(HTTPStatus.BAD_REQUEST)
        for event in events:
            request = cast(Request, event)
            self._response = self._handshake.accept(request)
            if self._response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                self._ask_application(request)
            else:
                self._refuse(self._response)

    def eof_received(self) -> None:
        """Do nothing: `connection_lost` follows."""

    def connection_lost(self, error: Exception | None) -> None:
        """The client left before it was answered."""
        self._handshake = self._response = None
        self._forget()

    def shutdown(self) -> None:
        """Say that the server goes down: once to the application, then to the peer."""
        on_stop, self._on_stop = self._on_stop, None
        if on_stop is not None:
            on_stop()
        elif self._pipe is not None:
            self._pipe.say_goodbye(1012, "")
        else:
            self._transport.close()

    # --- the upgrade ------------------------------------------------------------------

    def _ask_application(self, request: Request) -> None:
        app = self._config.loaded_app
        task = asyncio.get_running_loop().create_task(
            app(self._scope(request), self._receive_event, self._send_event)
        )
        self._server_state.tasks.add(task)
        task.add_done_callback(self._application_ended)

    def _scope(self, request: Request) -> AsgiScope:
        path, _, query = request.path.partition("?")
        transport = self._transport
        return {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(transport) else "ws",
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "root_path": "",
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [
                (name.lower().encode("ascii"), value.encode("latin-1", "replace"))
                for name, value in request.headers.raw_items()
            ],
            "subprotocols": [
                name.strip()
                for value in request.headers.get_all("Sec-WebSocket-Protocol")
                for name in value.split(",")
            ],
            "state": self._app_state.copy(),
            "extensions": {
                LIFT_LIMIT: {"lift": self._lift},
                STOPPING: {"tell": self._tell_of_stop},
                TAKE_OVER: {"take": self._take_over},
            },
        }

    def _accept(self, message: AsgiMessage) -> None:
        handshake, response = self._handshake, self._response
        if handshake is None or response is None:
            raise OSError("the client left")  # ASGI 2.4
        self._handshake = self._response = None
        del response.headers["Date"]
        extra = [*self._server_state.default_headers, *message.get("headers", ())]
        for name, value in extra:
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
        if message.get("subprotocol"):
            response.headers["Sec-WebSocket-Protocol"] = message["subprotocol"]
        handshake.send_response(response)
        self._transport.write(b"".join(handshake.data_to_send()))
        self._pipe = MessagePipe(
            self._transport,
            # Not the handshake's protocol, which holds the request. Messages are put
            # together before the application sees them, so this limit must hold
            # until the application knows who sends them.
            Protocol(
                Side.SERVER, max_size=UNAUTHENTICATED_MAX_BYTES, logger=wire_logger
            ),
            on_ended=self._forget,
        )
        self._transport.resume_reading()

    def _refuse(self, response: Response) -> None:
        handshake, self._handshake, self._response = self._handshake, None, None
        if handshake is not None:
            handshake.send_response(response)
            self._transport.write(b"".join(handshake.data_to_send()))
        self._transport.close()

    def _refuse_with(self, status: HTTPStatus) -> None:
        headers = Headers([("Connection", "close"), ("Content-Length", "0")])
        self._refuse(Response(status.value, status.phrase, headers, b""))

    def _application_ended(self, task: asyncio.Task[None]) -> None:
        self._server_state.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, OSError):
                logger.error("the application failed", exc_info=error)
            self._end(1011)
        else:
            self._end(1000)

    def _end(self, code: int) -> None:
        if self._pipe is not None:
            self._pipe.say_goodbye(code, "")
        elif self._handshake is not None:
            self._refuse_with(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _forget(self) -> None:
        self._on_stop = None
        self._server_state.connections.discard(self)

    # --- the extensions ---------------------------------------------------------------

    def _lift(self) -> None:
        if self._pipe is not None:
            self._pipe.set_limit(ENVELOPE_MAX_BYTES)

    def _tell_of_stop(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop

    def _take_over(self) -> MessagePipe:
        if self._pipe is None:
            raise ConnectionLost("the client left")
        return self._pipe

    # --- ASGI's events ----------------------------------------------------------------

    async def _receive_event(self) -> AsgiMessage:
        if self._pipe is None:
            if self._handshake is None:
                return {"type": "websocket.disconnect", "code": 1006}
            return {"type": "websocket.connect"}
        try:
            message = await self._pipe.receive()
        except ConnectionLost as exc:
            code = self._pipe.close_code
            return {"type": "websocket.disconnect", "code": code, "reason": str(exc)}
        name = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", name: message}

    async def _send_event(self, message: AsgiMessage) -> None:
        pipe, kind = self._pipe, message["type"]
        if pipe is None:
            if kind == "websocket.accept":
                self._accept(message)
            elif kind == "websocket.close" and self._handshake is not None:
                self._refuse_with(HTTPStatus.FORBIDDEN)
        elif kind == "websocket.send":
            await self._send(pipe, message)
        elif kind == "websocket.close":
            pipe.say_goodbye(message.get("code", 1000), message.get("reason") or "")
        else:
            raise RuntimeError(f"no event of an open WebSocket: {kind}")

    async def _send(self, pipe: MessagePipe, message: AsgiMessage) -> None:
        text: str | None = message.get("text")
        data = message["bytes"] if text is None else text.encode()
        try:
            await pipe.send(data, text=text is not None, timeout_s=SEND_TIMEOUT_S)
        except ConnectionLost as exc:
            raise OSError(str(exc)) from exc  # ASGI 2.4
