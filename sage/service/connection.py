"""One connection of a service: reads envelopes, has them accepted, sends the answers.

The first thing that is not right ends the connection, with one generic text for the
peer and a diagnostic code for the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import cast

from ..envelope import Request, decode_envelope
from ..errors import (
    Code,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    PeerError,
    ProtocolError,
    SageError,
    SessionClosed,
)
from ..limits import REQUEST_TIMEOUT_S, UNAUTHENTICATED_MAX_BYTES
from ..transport import AsgiWebSocket
from ..transport.message_pipe import are_binary
from ..transport.metrics import Carriage, diagnose
from ..types import Role
from .acceptance import Acceptance
from .accepted import ConnectionSessions
from .byte_budget import ByteBudget
from .host import GENERIC_REFUSAL, Host
from .logs import Event, correlate, fields, new_connection_id
from .measure import count_answer, count_refusal, record_counters
from .stream_host import StreamHost

__all__ = ["Connection"]

logger = logging.getLogger("sage.service")


class Connection:
    """Serves one accepted WebSocket until it ends."""

    def __init__(self, socket: AsgiWebSocket, host: Host) -> None:
        self._socket, self._host, self._metrics = socket, host, host.metrics
        self._count_in, self._count_out = record_counters(host.metrics, Role.RESPONDER)
        self._sessions = ConnectionSessions(host.config.max_sessions, host.metrics)
        self._slots = asyncio.Semaphore(host.config.max_in_flight)
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams = StreamHost(
            host.stream_handler, carrier=self, clock=host.clock, metrics=host.metrics
        )
        self._acceptance = Acceptance(host, self._sessions, self._streams)
        self._authenticated = False
        self._stopping: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the peer leaves, fails, or is silent for too long."""
        correlate(new_connection_id())
        try:
            while True:
                # In a call of its own: a connection that waits for its next message
                # holds nothing of the last one, which may have been long.
                await self._take(await self._next_messages())
        except ConnectionLost:
            logger.debug("connection ended", extra=fields(Event.CONNECTION_ENDED))
        except SageError as exc:
            await self._refuse(exc)
        finally:
            await self._end()

    async def close(self, code: int = 1001) -> None:
        """Say goodbye; `run` ends by itself."""
        self._streams.fail(ConnectionLost("the service said goodbye"))
        await self._socket.close(code)

    def stop(self) -> None:
        """Take no more requests; answer those that are under way, and say goodbye."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._finish())

    async def send_records(self, records: Sequence[bytes]) -> None:
        """Send records of a stream; see `Carrier`."""
        limit = self._host.config.stream_send_timeout_s
        await self._socket.send_binary(*records, timeout_s=limit)
        for record in records:
            self._count_out(len(record))

    async def give_up(self, error: SageError) -> None:
        """End the connection for a stream's sake; see `Carrier`."""
        if isinstance(error, PeerError):
            await self._refuse(error)
        else:
            why = fields(Event.CONNECTION_ENDED, diagnose(error))
            logger.info("the connection was given up: %s", error, extra=why)
            await self._socket.close(1011, GENERIC_REFUSAL)

    async def _next_messages(self) -> list[str | bytes]:
        config = self._host.config
        if self._authenticated:
            return await self._next_authenticated()
        limit = config.first_message_timeout_s
        text = await self._socket.receive(timeout_s=limit)
        if len(text) > UNAUTHENTICATED_MAX_BYTES:
            raise DecodeError(
                "a long message before a handshake", code=Code.SIZE_EXCEEDED
            )
        return [text]

    async def _next_authenticated(self) -> list[str | bytes]:
        """Wait for messages; a stream on which we send is not idle."""
        limit = self._host.config.idle_timeout_s
        while True:
            try:
                return await self._socket.receive_many(timeout_s=limit)
            except DeadlineExceeded:
                expires = self._streams.expires_at
                if expires is None or expires <= self._host.clock.now():
                    raise

    async def _take(self, messages: list[str | bytes]) -> None:
        if are_binary(messages):
            await self._streams.feed(messages)
            for record in messages:
                self._count_in(len(record))
            return
        if self._stopping is not None:
            return  # nothing has moved: the request was not taken
        message = cast(str, messages[0])
        await self._slots.acquire()
        host = self._host
        budget = host.budget if self._authenticated else host.budget_of_strangers
        await budget.acquire(len(message))
        task = asyncio.create_task(self._serve(message))
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, budget, len(message)))
        if not self._authenticated:
            # One at a time until somebody has proven who they are.
            await asyncio.wait([task])

    async def _serve(self, text: str) -> None:
        """Turn one message into one answer, or end the connection."""
        began = self._host.clock.now()
        try:
            request = decode_envelope(text)
            if not isinstance(request, Request):
                raise ProtocolError("a response at a service", code=Code.SIG_BINDING)
            response, afterwards = await self._acceptance.answer(request)
            if not self._authenticated:
                self._authenticated = True
                self._socket.lift_limit()
            await self._socket.send(response.encode())
            if self._socket.is_full:
                self._watch_reader()
            seconds = self._host.clock.now() - began
            count_answer(
                self._metrics, Carriage.WEBSOCKET, request, response, seconds=seconds
            )
            if afterwards is not None:
                afterwards()
        except ConnectionLost:
            gone = fields(Event.CONNECTION_ENDED, "connection")
            logger.debug("the client left before its answer", extra=gone)
        except SessionClosed:
            # Its session gave way to newer ones; nothing else can carry the answer.
            ended = fields(Event.SESSION_ENDED, "exhausted")
            logger.info("a session ended before its answer", extra=ended)
        except SageError as exc:
            await self._refuse(exc)
        except Exception:
            logger.exception(
                "internal error; the connection is closed",
                extra=fields(Event.INTERNAL_ERROR),
            )
            await self._socket.close(1011, GENERIC_REFUSAL)

    def _watch_reader(self) -> None:
        """Let nobody have long answers kept who does not read them.

        In a task of its own: what the request held goes back meanwhile.
        """
        task = asyncio.create_task(self._see_it_read())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _see_it_read(self) -> None:
        try:
            # By then whoever asked will have given up.
            await self._socket.drain(patience_s=REQUEST_TIMEOUT_S)
        except DeadlineExceeded as exc:
            await self.give_up(exc)

    async def _finish(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._socket.flush()
        await self.close(1012)

    def _done(self, budget: ByteBudget, size: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        budget.release(size)
        self._slots.release()

    async def _refuse(self, error: SageError) -> None:
        code = count_refusal(self._metrics, error)
        logger.warning(
            "refused: %s (%s)", error, code, extra=fields(Event.REFUSED, code)
        )
        close_code = error.close_code if isinstance(error, PeerError) else 1008
        self._streams.fail(ConnectionLost("the connection was refused"))
        await self._socket.close(close_code, GENERIC_REFUSAL)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._sessions.close()
        await self._socket.close()
        await self._streams.finish(limit_s=self._host.config.handler_timeout_s)
