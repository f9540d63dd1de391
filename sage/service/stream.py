"""A stream: records in both directions beside the requests of one connection.

V10 signs every envelope; a stream is the fast lane for tokens and tool events. It
belongs to one connection and to the two agents who shook hands on it, and it lives as
long as that connection, at most an hour from its handshake unless it is renewed, and
ends after ten minutes without a record.

Flow control. What arrives is opened at once, so that a record that is not the peer's
ends the connection at once, and waits in a bounded queue for `Stream.receive`. While
the queue is full the connection is not read, TCP stops the sender, and its `send`
waits. Requests and answers behind those records wait too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol, Self, TypeAlias

from ..errors import (
    ConnectionLost,
    SageError,
    SessionExpired,
    UsageError,
)
from ..limits import (
    CLOSE_TIMEOUT_S,
    IDLE_CONNECTION_TIMEOUT_S,
    STREAM_QUEUE_BYTES,
    STREAM_QUEUE_RECORDS,
    STREAM_RENEW_AFTER_RECORDS,
    WRITE_BUFFER_HIGH_BYTES,
)
from ..session import Session
from ..transport import Records, within
from ..types import Buffer, Did
from .clock import Clock

__all__ = ["Carrier", "Stream", "StreamHandler"]


class Carrier(Protocol):
    """The connection below a stream."""

    async def send_records(self, records: Sequence[bytes]) -> None:
        """Send records, waiting for a peer that does not read.

        Raises:
            TransportError: they were not, or perhaps not, sent.
        """

    async def give_up(self, error: SageError) -> None:
        """End the whole connection."""


class Stream:
    """One end of a stream. Made by `Channel.stream`, or given to a `StreamHandler`.

    One task receives; any number send. A connection carries one stream at a time.

    Attributes:
        id: 22 characters; the same at both ends.
        peer: the agent at the other end.
        is_due: set when so many records were carried that it should be renewed.
    """

    def __init__(
        self,
        session: Session,
        *,
        id: str,
        peer: Did,
        carrier: Carrier,
        clock: Clock,
        on_end: Callable[[], None] = lambda: None,
        renew_after_records: int = STREAM_RENEW_AFTER_RECORDS,
    ) -> None:
        self.id, self.peer = id, peer
        self._records = Records(session)
        self._carrier, self._clock, self._on_end = carrier, clock, on_end
        self._sending = asyncio.Lock()
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._ended = asyncio.Event()
        self._renew_after, self._sent, self._received = renew_after_records, 0, 0
        self.is_due = asyncio.Event()
        # Of our end: that it left, not that it waits for a peer to read.
        self._out_left = self._in_ended = self._discarding = False
        self._failure: SageError | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def closed(self) -> bool:
        """Whether both directions have ended, or the connection has."""
        return self._ended.is_set()

    @property
    def closing(self) -> bool:
        """Whether `close` was called; the peer's direction may still be open."""
        return self._discarding

    @property
    def out_ended(self) -> bool:
        """Whether our direction has ended."""
        return self._records.out_ended

    @property
    def expires_at(self) -> float:
        """When it expires as things stand, monotonic seconds."""
        return self._records.expires_at

    async def send(self, data: Buffer) -> None:
        """Send 1 byte to 1 MiB as one record.

        Waits while the peer does not receive, at most 10 s (configurable as
        ``stream_send_timeout_s``); after that the connection is given up. A call
        that is cancelled while it waits gives the connection up as well, because
        nobody can say whether the record was sent.

        Raises:
            DeadlineExceeded: the peer did not receive in time.
            ConnectionLost: the connection has ended.
            ResourceError: the session is used up or expired.
            UsageError: no bytes, too many, or after `end` or `close`.
        """
        # Not `async with`, which costs as much as the rest of this.
        await self._sending.acquire()
        try:
            self._require_live()
            record = self._records.seal(data, now=self._clock.now())
            await self._transmit([record])
        finally:
            self._sending.release()
        self._note_sent(1)

    async def send_many(self, records: Iterable[Buffer]) -> None:
        """Send records of 1 byte to 1 MiB each, in order, and nothing between them.

        For what is there at once, it costs a fraction of as many `send`: they are
        sealed together, and leave in as few writes as there is room for.

        Raises:
            DeadlineExceeded, ConnectionLost, ResourceError: as for `send`; some of
                them may have been sent.
            UsageError: one of them is none, or too long, and none was sent; or after
                `end` or `close`.
        """
        rows = list(records)
        ends = _batches(self._records.measure(rows))
        # As it was measured: an array that is emptied while we wait would be the end.
        rows = [row if type(row) is bytes else bytes(row) for row in rows]
        await self._sending.acquire()
        try:
            for first, last in pairwise(ends):
                self._require_live()
                batch, now = rows[first:last], self._clock.now()
                await self._transmit(self._records.seal_many(batch, now=now))
                self._note_sent(len(batch))
        finally:
            self._sending.release()

    async def receive(self) -> bytes:
        """Return the next record's bytes; ``b""`` once the peer has ended.

        A cancelled call loses nothing.

        Raises:
            ConnectionLost: the connection ended before the peer's direction did.
            SessionExpired: no record in either direction for 600 s, or the session
                is an hour old.
            UsageError: after `close`.
        """
        while not self._inbox:
            if self._in_ended and not self._discarding:
                return b""
            self._require_live()
            await self._wait_for_record()
        data = self._inbox.popleft()
        self._inbox_bytes -= len(data)
        self._room.set()
        return data

    async def receive_many(self) -> list[bytes]:
        """Return all records that are there, one at least; ``[]`` at the end.

        A cancelled call loses nothing.

        Raises:
            ConnectionLost, SessionExpired, UsageError: as for `receive`.
        """
        first = await self.receive()
        if not first:
            return []
        received = [first, *self._inbox]
        self._inbox.clear()
        self._inbox_bytes = 0
        return received

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.receive()
        if not data:
            raise StopAsyncIteration
        return data

    async def end(self) -> None:
        """Say that nothing more will be sent; receiving goes on. Idempotent.

        Raises:
            TransportError, ResourceError: as for `send`.
        """
        async with self._sending:
            if self._records.out_ended:
                return
            self._require_live()
            await self._transmit([self._records.end(now=self._clock.now())])
            self._out_left = True
        self._note_end()

    async def close(self) -> None:
        """End our direction, and wait up to a second for the peer to end its own.

        What still arrives is dropped, then and later. The connection goes on.
        """
        with contextlib.suppress(SageError):
            await self.end()
        self.discard()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until both directions have ended, or the connection has."""
        await self._ended.wait()

    async def abort(self) -> None:
        """End the connection, so that the peer knows that something is missing."""
        await self._give_up(ConnectionLost("the stream was given up"))

    # --- for the connection's reader --------------------------------------------

    async def feed(self, records: Sequence[bytes]) -> None:
        """Open the next records that arrived, and wait until there is room.

        Those before one that is not the peer's next can still be received.

        Raises:
            PeerError: one of them is not the peer's next record.
            ResourceError: the session is used up or expired.
            DeadlineExceeded: nobody received for 600 s.
        """
        opened, error = self._records.open_many(records, now=self._clock.now())
        self._received += len(opened)
        if self._received >= self._renew_after:
            self.is_due.set()
        ended = self._records.in_ended
        if ended and opened:
            opened.pop()  # the end itself, which carries nothing
        if opened:
            await self._put(opened)
        if ended and not self._in_ended:
            self._in_ended = True
            self._arrived.set()
            self._note_end()
        if error is not None:
            raise error

    def fail(self, error: SageError) -> None:
        """The connection has ended. What arrived before can still be received."""
        if self._ended.is_set():
            return
        self._failure = error
        self._finish()

    def discard(self) -> None:
        """Drop what has arrived and what still will."""
        self._discarding = True
        self._inbox.clear()
        self._inbox_bytes = 0
        self._room.set()
        self._arrived.set()

    # --- for the renewal ----------------------------------------------------------

    def expect(self, successor: Session) -> None:
        """From now on the peer may send under a further session."""
        if self._ended.is_set():
            successor.close()
        else:
            self._records.expect(successor)

    def forget(self, successor: Session) -> None:
        """The peer refused a successor."""
        self._records.forget(successor)

    def switch(self, successor: Session) -> None:
        """Send what comes next under a successor that the peer expects."""
        self._sent = self._received = 0
        self.is_due.clear()
        if self._ended.is_set():
            successor.close()
        else:
            self._records.switch(successor)

    # --- helpers --------------------------------------------------------------------

    async def _put(self, opened: list[bytes]) -> None:
        if self._is_full():
            waiting = self._wait_for_room()
            await within(IDLE_CONNECTION_TIMEOUT_S, waiting, "receiving a stream")
        if not self._discarding:
            self._inbox.extend(opened)
            self._inbox_bytes += sum(map(len, opened))
            self._arrived.set()

    def _note_sent(self, count: int) -> None:
        self._sent += count
        if self._sent >= self._renew_after:
            self.is_due.set()

    async def _transmit(self, records: Sequence[bytes]) -> None:
        try:
            await self._carrier.send_records(records)
        except BaseException as exc:
            # The peer would miss these records under every later one.
            lost = exc if isinstance(exc, SageError) else None
            await self._give_up(lost or ConnectionLost("a send was cancelled"))
            raise

    async def _give_up(self, error: SageError) -> None:
        self.fail(error)
        await self._carrier.give_up(error)

    async def _wait_for_record(self) -> None:
        limit = self._records.expires_at - self._clock.now()
        if limit <= 0:
            error = SessionExpired("the stream expired")
            await self._give_up(error)
            raise error
        self._arrived.clear()
        if self._timer is None:
            # One for many waits: most last for less than a millisecond.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(limit, self._look_again)
        await self._arrived.wait()

    def _look_again(self) -> None:
        """Let whoever waits see whether the stream has expired by now."""
        self._timer = None
        self._arrived.set()

    async def _wait_for_room(self) -> None:
        while self._is_full() and not self._discarding and self._failure is None:
            self._room.clear()
            await self._room.wait()

    def _is_full(self) -> bool:
        return (
            len(self._inbox) >= STREAM_QUEUE_RECORDS
            or self._inbox_bytes >= STREAM_QUEUE_BYTES
        )

    def _note_end(self) -> None:
        if self._out_left and self._in_ended and not self._ended.is_set():
            self._finish()

    def _finish(self) -> None:
        self._records.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ended.set()
        self._arrived.set()
        self._room.set()
        self._on_end()

    def _require_live(self) -> None:
        if self._failure is not None:
            raise ConnectionLost(f"the stream has ended: {self._failure}")
        if self._discarding:
            raise UsageError("the stream was closed")


StreamHandler: TypeAlias = Callable[[Stream], Awaitable[None]]
"""Serves one stream. When it returns, the service's direction ends, and what the peer
still sends is dropped. When it raises, the connection ends, so that the peer does not
take what it has for everything."""


def _batches(sizes: Sequence[int]) -> Iterator[int]:
    """Yield where each batch that a write has room for begins, and the last end."""
    together = 0
    for position, size in enumerate(sizes):
        if not position or together + size > WRITE_BUFFER_HIGH_BYTES:
            yield position
            together = 0
        together += size
    yield len(sizes)
