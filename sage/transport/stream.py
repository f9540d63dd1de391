"""Records over a byte stream: TCP with TLS, or a Unix socket.

Wire: be32(length of the record) | record, in both directions (protocol, STREAM).
A record of the length 36 and any authentic content is the end of its direction; see
`Records`. Nothing here shakes hands: the session comes from somewhere else, such as
`Session.derive_stream`, and the connection ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from typing import Self, TypeAlias

from ..errors import (
    Code,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    ResourceError,
    SageError,
    UsageError,
)
from ..limits import (
    CLOSE_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    RECORD_MIN_BYTES,
    SEND_TIMEOUT_S,
    SESSION_IDLE_S,
)
from ..runtime.bounds import check_limit
from ..session import Session
from ..types import Buffer
from .deadline import within
from .metrics import diagnose
from .records import Records

__all__ = [
    "RecordHandler",
    "RecordStream",
    "open_tcp",
    "open_unix",
    "serve_tcp",
    "serve_unix",
]

logger = logging.getLogger("sage.stream")

_LENGTH_BYTES = 4


class RecordStream:
    """One end of a stream over a pair of an asyncio reader and writer.

    One task at a time receives; any number send. Close it, or use it as an async
    context manager: leaving the block normally ends our direction first; leaving
    it with an exception cuts the connection, so that the peer does not take what
    it has for everything.

    Args:
        reader: where records arrive.
        writer: where they leave.
        session: a session of the STREAM profile; it is closed with the stream.
        send_timeout_s: how long `send` waits for a peer that does not read.
        receive_timeout_s: how long `receive` waits for a record.
        clock: monotonic seconds, for tests.

    Raises:
        UsageError: a time limit that is none.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        session: Session,
        *,
        send_timeout_s: float = SEND_TIMEOUT_S,
        receive_timeout_s: float = SESSION_IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_limit(send_timeout_s, "send_timeout_s")
        check_limit(receive_timeout_s, "receive_timeout_s")
        self._reader, self._writer = reader, writer
        self._records = Records(session)
        self._send_timeout_s = send_timeout_s
        self._receive_timeout_s = receive_timeout_s
        self._clock = clock
        self._sending, self._receiving = asyncio.Lock(), asyncio.Lock()
        self._expected: int | None = None  # the length that was read, of what follows
        self._failure: SageError | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the stream was closed or has failed."""
        return self._closed

    async def send(self, data: Buffer) -> None:
        """Send 1 byte to 1 MiB as one record.

        Waits while the peer does not read. When that takes longer than
        ``send_timeout_s``, nothing was sent, and it may be tried again.

        Raises:
            DeadlineExceeded: the peer did not read in time.
            ConnectionLost: the connection has ended.
            ResourceError: the session is used up, expired or closed.
            UsageError: no bytes, too many, or after the end.
        """
        await self._send(lambda: self._records.seal(data, now=self._clock()))

    async def end(self) -> None:
        """End our direction; the peer receives ``b""``. Receiving goes on.

        Raises:
            DeadlineExceeded, ConnectionLost, ResourceError: as for `send`.
        """
        if not self._records.out_ended:
            await self._send(lambda: self._records.end(now=self._clock()))

    async def receive(self) -> bytes:
        """Return the next record's bytes; ``b""`` once the peer has ended.

        A cancelled or timed-out call loses nothing.

        Raises:
            DeadlineExceeded: nothing came in time.
            ConnectionLost: the connection ended before the peer's direction did.
            PeerError: what came is not the peer's next record; the connection is
                closed.
            ResourceError: the session is used up, expired or closed.
        """
        if self._records.in_ended:
            return b""
        self._require_open()
        async with self._receiving:
            reading = self._read_record()
            record = await within(self._receive_timeout_s, reading, "waiting")
            try:
                return self._records.open(record, now=self._clock())
            except SageError as exc:
                self._abort(exc)
                raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.receive()
        if not data:
            raise StopAsyncIteration
        return data

    async def close(self) -> None:
        """End our direction if need be, and close, within a second. Idempotent.

        What still arrives is dropped. A peer that has not ended its direction
        within that second, or not read all of ours, finds the connection cut;
        whoever wants to wait longer ends, and receives ``b""``, before closing.
        """
        if self._closed:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.end()
                while await self.receive():
                    pass
                self._closed = True
                self._writer.close()
                await self._writer.wait_closed()
        except (TimeoutError, OSError, SageError):
            pass
        finally:  # whoever is cancelled here leaves no keys behind either
            self._abort(ConnectionLost("the stream was closed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abort(ConnectionLost("the stream was given up"))
        await self.close()

    async def _send(self, seal: Callable[[], bytes]) -> None:
        """Wait for room, then seal and write in one go: what is sealed is sent."""
        self._require_open()
        limited = asyncio.timeout(self._send_timeout_s)
        try:
            async with limited, self._sending:
                await self._writer.drain()
                self._require_open()
                record = seal()
                length = len(record).to_bytes(_LENGTH_BYTES, "big")
                self._writer.write(length + record)
        except OSError as exc:
            if isinstance(exc, TimeoutError) and limited.expired():
                limit = self._send_timeout_s
                raise DeadlineExceeded(
                    f"the peer did not read for {limit:g} s; nothing was sent"
                ) from None
            lost = ConnectionLost(f"the connection broke: {exc}")
            self._abort(lost)
            raise lost from exc
        except ResourceError as exc:
            self._abort(exc)
            raise

    async def _read_record(self) -> bytes:
        try:
            if self._expected is None:
                prefix = await self._reader.readexactly(_LENGTH_BYTES)
                self._expected = self._check_length(int.from_bytes(prefix, "big"))
            record = await self._reader.readexactly(self._expected)
        except (OSError, asyncio.IncompleteReadError) as exc:
            lost = ConnectionLost("the connection ended before the stream did")
            self._abort(lost)
            raise lost from exc
        self._expected = None
        return record

    def _check_length(self, length: int) -> int:
        limit = self._records.record_max_bytes
        if RECORD_MIN_BYTES <= length <= limit:
            return length
        error = DecodeError(
            f"a record is {RECORD_MIN_BYTES}..{limit} bytes, not {length}",
            code=Code.SIZE_EXCEEDED if length > limit else Code.FRAME_MALFORMED,
        )
        self._abort(error)
        raise error

    def _require_open(self) -> None:
        if self._failure is not None:
            raise ConnectionLost(f"the stream has ended: {self._failure}")

    def _abort(self, error: SageError) -> None:
        """Cut the connection and wipe the keys."""
        if self._failure is None:
            self._failure = error
            if not self._closed:
                code = diagnose(error)
                why = {"event": "stream_ended", "code": code}
                logger.info("stream ended: %s (%s)", error, code, extra=why)
        self._closed = True
        self._records.close()
        self._writer.transport.abort()


RecordHandler: TypeAlias = Callable[[RecordStream], Awaitable[None]]
"""Serves one stream. When it returns, our direction ends and the stream is closed."""

MakeSession: TypeAlias = Callable[[], Session]
"""Returns the server's end of the session for the next connection. A record names no
session: keep strangers out by TLS client certificates or by the socket's folder."""


async def open_tcp(
    host: str,
    port: int,
    session: Session,
    *,
    tls: ssl.SSLContext,
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> RecordStream:
    """Connect over TCP and TLS.

    Raises:
        ConnectFailed: refused, unreachable or untrusted.
        DeadlineExceeded: no connection within ``timeout_s``.
        UsageError: no host, a port that there is not, no TLS context, or a time limit
            that is none.
    """
    _require_tls(tls)
    check_limit(timeout_s)
    opening = asyncio.open_connection(host, port, ssl=tls)
    return await _open(opening, session, timeout_s, f"{host}:{port}")


async def open_unix(
    path: str | PathLike[str],
    session: Session,
    *,
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> RecordStream:
    """Connect to a Unix socket.

    Raises:
        ConnectFailed: nobody listens there.
        DeadlineExceeded: no connection within ``timeout_s``.
        UsageError: the path has a null character, or a time limit that is none.
    """
    check_limit(timeout_s)
    opening = asyncio.open_unix_connection(path)
    return await _open(opening, session, timeout_s, str(path))


@asynccontextmanager
async def serve_tcp(
    handler: RecordHandler,
    *,
    session: MakeSession,
    tls: ssl.SSLContext,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[int]:
    """Serve streams over TCP and TLS inside the running loop, and yield the port.

    Raises:
        ConfigError: host or port cannot be listened on.
        UsageError: no TLS context.
    """
    _require_tls(tls)
    serving = _Serving(handler, session)
    starting = asyncio.start_server(
        serving.connected, host, port, ssl=tls, start_serving=False
    )
    async with _running(starting, serving, f"{host}:{port}") as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def serve_unix(
    handler: RecordHandler, *, session: MakeSession, path: str | PathLike[str]
) -> AsyncIterator[None]:
    """Serve streams on a Unix socket inside the running loop.

    Raises:
        ConfigError: the path cannot be listened on.
    """
    serving = _Serving(handler, session)
    starting = asyncio.start_unix_server(serving.connected, path, start_serving=False)
    async with _running(starting, serving, str(path)):
        yield


def _require_tls(tls: object) -> None:
    """Refuse ``None``, which asyncio takes for a connection in the clear."""
    if not isinstance(tls, ssl.SSLContext):
        raise UsageError(f"TLS needs an ssl.SSLContext, not {type(tls).__name__}")


Opening = Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


async def _open(
    opening: Opening, session: Session, timeout_s: float, where: str
) -> RecordStream:
    try:
        reader, writer = await within(timeout_s, opening, f"connecting to {where}")
    except DeadlineExceeded:  # a TimeoutError, and so an OSError too
        raise
    except OSError as exc:
        raise ConnectFailed(f"cannot connect to {where}: {exc}") from exc
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"{where!r} is nothing to connect to: {exc}") from exc
    return RecordStream(reader, writer, session)


class _Serving:
    """The connections of one server."""

    def __init__(self, handler: RecordHandler, session: MakeSession) -> None:
        self._handler, self._session = handler, session
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._closed:  # it was shaking hands when the others were cut
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, writer))

    async def close(self) -> None:
        """Cut every connection, and those that are still to come."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        writer.transport.abort()  # cancelled before it began, it closed nothing

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with RecordStream(reader, writer, self._session()) as stream:
                await self._handler(stream)
        except SageError as exc:
            why = {"event": "stream_ended", "code": diagnose(exc)}
            logger.info("stream ended: %s", exc, extra=why)
        except Exception:
            logger.exception("the stream handler failed")


@asynccontextmanager
async def _running(
    starting: Awaitable[asyncio.Server], serving: _Serving, where: str
) -> AsyncIterator[asyncio.Server]:
    server: asyncio.Server | None = None
    try:
        try:
            server = await starting
            # Within ``try``: whoever is cancelled in it leaves no server behind.
            await server.start_serving()
        except (OSError, OverflowError, ValueError) as exc:
            raise ConfigError(f"cannot listen on {where}: {exc}") from exc
        yield server
    finally:
        if server is not None:
            await _stop(server, serving)


async def _stop(server: asyncio.Server, serving: _Serving) -> None:
    try:
        # asyncio drops, open, what it has just accepted for a server that closes.
        await asyncio.sleep(0)
    finally:
        server.close()
        await serving.close()
    # From Python 3.12 on it waits for whoever still shakes hands, for a minute.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await server.wait_closed()
