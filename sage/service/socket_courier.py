"""Carries a channel's requests over one WebSocket.

Many may be under way at once; a reader task hands each response to the request that
it names, and each record to the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from ..envelope import Request, Response, decode_envelope
from ..errors import Code, ConnectionLost, ProtocolError, SageError
from ..limits import CLOSE_TIMEOUT_S
from ..transport import WebSocket
from ..transport.message_pipe import are_binary
from ..transport.metrics import Carriage
from .courier import Feed, Progress, Reply, Report, for_waiting
from .logs import Event, correlate, fields

__all__ = ["SocketCourier"]

logger = logging.getLogger("sage.client")


class SocketCourier:
    """A `Courier` over a connected WebSocket, which it owns."""

    carriage = Carriage.WEBSOCKET
    has_streams = True
    is_bound = True

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._waiting: dict[str, asyncio.Future[Response]] = {}
        self._reader: asyncio.Task[None] | None = None

    def start(self, *, feed: Feed, fail: Report, identifier: str) -> None:
        """Begin to read; see `Courier`."""
        self._reader = asyncio.create_task(self._read(feed, fail, identifier))

    async def ask(self, request: Request, progress: Progress) -> Reply:
        """Send a request and wait for the response that names it; see `Courier`."""
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = future
        try:
            progress.sent = True
            await self._socket.send(request.encode())
            return Reply(await future)
        finally:
            self._waiting.pop(request.id, None)
            if future.done() and not future.cancelled():
                future.exception()  # `stop` may have set it while we were sending

    def send_records(
        self, records: Sequence[bytes], *, timeout_s: float
    ) -> Coroutine[Any, Any, None]:
        """Send records of a stream; see `Courier`."""
        return self._socket.send_binary(*records, timeout_s=timeout_s)

    async def check(self, *, timeout_s: float) -> None:
        """Ping, and wait for the pong; see `Courier`."""
        await self._socket.ping(timeout_s=timeout_s)

    async def stop(self, error: SageError, code: int) -> None:
        """Fail what waits and close the socket; see `Courier`."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(for_waiting(error))
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
        await self._socket.close(code)

    async def wait_stopped(self) -> None:
        """Wait until nothing is read any more; see `Courier`."""
        if self._reader is not None:
            # Where the reader found the failure, it may still be saying goodbye.
            await asyncio.wait([self._reader], timeout=CLOSE_TIMEOUT_S)

    async def _read(self, feed: Feed, fail: Report, identifier: str) -> None:
        """Hand each response to its request until the connection ends."""
        correlate(identifier)
        try:
            while True:
                # In a call of its own: while we wait, nothing of the last is held.
                await self._take(await self._socket.receive_many(), feed)
        except SageError as exc:
            await fail(exc)
        except Exception:
            # Without a reader every request would wait for its time limit.
            why = fields(Event.INTERNAL_ERROR)
            logger.exception("internal error; the channel is closed", extra=why)
            await fail(ConnectionLost("internal error"))

    async def _take(self, messages: list[str | bytes], feed: Feed) -> None:
        if are_binary(messages):
            await feed(messages)
            return
        envelope = decode_envelope(messages[0])
        if not isinstance(envelope, Response):
            raise ProtocolError("a request at a client", code=Code.SIG_BINDING)
        future = self._waiting.get(envelope.message_id)
        if future is None or future.done():
            why = fields(Event.RESPONSE_DROPPED)
            logger.info("a response to no request was dropped", extra=why)
        else:
            future.set_result(envelope)
