"""Whole WebSocket messages in both directions, after the upgrade.

The protocol is `websockets`' own, without I/O; this is its place on a transport: what
arrives waits in a bounded queue, what leaves waits for a peer that does not read, and
every wait has an end. Nothing suspends that does not have to: a message that is there
is received, and one for which there is room is sent, without a turn of the loop.

A connection that does nothing is most of what a server holds. So a pipe keeps neither
a queue nor a timer for each wait: one timer serves all of them, and the pings.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeGuard, cast

from websockets.exceptions import InvalidState, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, State

from ..errors import ConnectionLost, DeadlineExceeded, UsageError
from ..limits import (
    CLOSE_TIMEOUT_S,
    MESSAGE_COST_BYTES,
    MESSAGE_QUEUE_BYTES,
    PING_INTERVAL_S,
    TLS_RECORD_MAX_BYTES,
)
from .deadline import within

__all__ = ["MessagePipe", "are_binary"]

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)

# Pings in a row that a peer may send without reading an answer. Ours sends one in 20 s,
# and none while it has messages to send itself.
_UNANSWERED_PINGS_MAX = 64
_LOOK_AGAIN_S = 0.02


class MessagePipe(asyncio.Protocol):
    """One end of an open WebSocket, for one receiver and any number of senders.

    Args:
        transport: the connection; this becomes its protocol.
        frames: the protocol, after the handshake, with the longest message that it
            takes; see `set_limit`.
        on_ended: is called once, when the connection is gone.

    Attributes:
        lost: what ended the connection, or ``None``.
    """

    __slots__ = (
        "_deadline",
        "_drainers",
        "_frames",
        "_heard",
        "_held",
        "_is_text",
        "_late_pong",
        "_loop",
        "_messages",
        "_on_ended",
        "_parts",
        "_pong",
        "_queued",
        "_timer",
        "_transport",
        "_unanswered",
        "_waiter",
        "_write_paused",
        "lost",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        frames: Protocol,
        *,
        on_ended: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._frames = frames
        self._transport, self._on_ended = transport, on_ended
        self._messages: deque[str | bytes] | None = None
        self._queued = 0
        self._parts: bytearray | None = None
        self._is_text = self._held = self._write_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._drainers: list[asyncio.Future[None]] | None = None
        self.lost: str | None = None
        self._pong: asyncio.Future[None] | None = None
        self._late_pong: bytes | None = None
        self._unanswered = 0
        self._heard = self._loop.time()
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer(self._heard + PING_INTERVAL_S)
        transport.set_protocol(self)

    def set_limit(self, max_bytes: int) -> None:
        """From now on receive messages of up to so many bytes."""
        self._frames.max_message_size = max_bytes

    async def accept(self) -> None:
        """Do nothing: the upgrade is done; see `AsgiWebSocket`."""

    async def receive(self, *, timeout_s: float | None = None) -> str | bytes:
        """Return the next message: text as ``str``, binary as ``bytes``.

        A call that is cancelled or timed out loses nothing.

        Raises:
            ConnectionLost: the connection has ended, and all was received; or we
                closed it.
            DeadlineExceeded: nothing came within ``timeout_s``.
            UsageError: another call waits already.
        """
        if not self._messages:
            deadline = None if timeout_s is None else self._loop.time() + timeout_s
            while not self._messages:
                if self.lost is not None:
                    raise ConnectionLost(self.lost)
                if not await self._wait(deadline):
                    raise DeadlineExceeded(
                        f"waiting for a message took longer than {timeout_s:g} s"
                    )
        message = self._messages.popleft()
        self._note_received(len(message) + MESSAGE_COST_BYTES)
        return message

    async def receive_many(
        self, *, timeout_s: float | None = None
    ) -> list[str | bytes]:
        """Return the next message, and behind a binary one the binary ones there are.

        Raises:
            ConnectionLost, DeadlineExceeded, UsageError: as for `receive`.
        """
        received = [await self.receive(timeout_s=timeout_s)]
        if self._messages and type(received[0]) is bytes:
            size = 0
            while self._messages and type(self._messages[0]) is bytes:
                received.append(message := self._messages.popleft())
                size += len(message) + MESSAGE_COST_BYTES
            self._note_received(size)
        return received

    async def send(self, *messages: bytes, text: bool, timeout_s: float) -> None:
        """Send messages, in one go; text must be UTF-8.

        Raises:
            ConnectionLost: the connection has ended.
            DeadlineExceeded: the peer did not read for ``timeout_s``. These messages
                were not sent; of the ones before nobody knows.
        """
        if self._write_paused:
            await within(timeout_s, self._drain(), "sending", may_have_run=True)
        if self.lost is not None:
            raise ConnectionLost(self.lost)
        send = self._frames.send_text if text else self._frames.send_binary
        try:
            for message in messages:
                send(message)
        except InvalidState:
            raise ConnectionLost("the connection is closing") from None
        self._write()

    @property
    def is_full(self) -> bool:
        """Whether the next sender waits for the peer to read."""
        return self._write_paused and self.lost is None

    async def drain(self, *, patience_s: float) -> None:
        """Wait until there is room, for as long as the peer reads at all.

        Raises:
            DeadlineExceeded: it took less than 16 KiB in ``patience_s``.
        """
        while self.is_full:  # and so nobody adds anything
            before = self._transport.get_write_buffer_size()
            waiter = self._wait_for_room()
            await asyncio.wait([waiter], timeout=patience_s)
            if waiter.done():
                return
            taken = before - self._transport.get_write_buffer_size()
            if taken < TLS_RECORD_MAX_BYTES:
                raise DeadlineExceeded(
                    f"the peer took {taken} bytes in {patience_s:g} s",
                    may_have_run=True,
                )

    async def flush(self) -> None:
        """Wait until the peer has taken what was sent, or the connection has ended."""
        while self.lost is None and self._transport.get_write_buffer_size():
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def ping(self, *, timeout_s: float) -> None:
        """Ask the other end for a sign of life, and wait for it.

        Raises:
            ConnectionLost: the connection has ended.
            DeadlineExceeded: no answer within ``timeout_s``; it may stand behind
                messages that were not received yet.
        """
        await within(timeout_s, self._ask(), "waiting for a sign of life")
        if self.lost is not None:
            raise ConnectionLost(self.lost)

    def say_goodbye(self, code: int, reason: str) -> None:
        """Send a close frame; what is received from now on is dropped. Idempotent.

        The connection ends with the peer's close frame, or within a second.

        Raises:
            UsageError: a code that no close frame has, or a reason of more than 123
                bytes; the connection is as it was.
        """
        if self._frames.state is State.OPEN:
            try:
                self._frames.send_close(code, reason)
            except (ProtocolError, UnicodeError) as exc:
                raise UsageError(f"nothing to close with: {exc}") from exc
            self._write()
        self._lose("the connection is closed")
        self._messages, self._queued = None, 0
        if self._held:
            self._hold(False)

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye; see `AsgiWebSocket`."""
        self.say_goodbye(code, reason)

    @property
    def close_code(self) -> int:
        """What the peer closed with; 1006 where it did not say."""
        received = self._frames.close_rcvd
        return 1006 if received is None else int(received.code)

    # --- asyncio.Protocol -------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what arrived apart."""
        self._heard = self._loop.time()
        self._frames.receive_data(data)
        for event in self._frames.events_received():
            self._take(cast(Frame, event))
            # The parser remembers its last frame, which may have been long.
            cast(Frame, event).data = b""
        if self._frames.writes:
            self._answer()
        if self._waiter is not None and self._messages and not self._waiter.done():
            self._waiter.set_result(None)

    def eof_received(self) -> None:
        """Do nothing: `connection_lost` follows."""

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._write_paused = False
        self._wake_drainers()
        pong, self._late_pong = self._late_pong, None
        self._unanswered = 0
        if pong is not None:
            self._transport.write(pong)
        if self._held and self._queued <= 0:
            self._hold(False)

    def connection_lost(self, error: Exception | None) -> None:
        """End every wait."""
        self._lose(self._reason(error))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_ended()

    # --- receiving --------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._note_sign_of_life()
        if frame.opcode not in _DATA or self.lost is not None:
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._put(frame.data)
            else:
                self._parts = bytearray(frame.data)
        elif self._parts is not None:
            self._parts += frame.data
            if frame.fin:
                data, self._parts = self._parts, None
                self._put(data)

    def _put(self, data: bytes | bytearray | memoryview) -> None:
        message: str | bytes
        if self._is_text:
            try:
                message = str(data, "utf-8")
            except UnicodeDecodeError:
                self._frames.fail(1007, "not UTF-8")
                self._lose(self._reason(None))  # nothing behind it is a message
                return
        else:
            message = bytes(data)
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        # By characters, as it is subtracted again.
        self._queued += len(message) + MESSAGE_COST_BYTES
        if self._queued >= MESSAGE_QUEUE_BYTES and not self._held:
            self._hold(True)

    def _note_received(self, size: int) -> None:
        self._queued -= size
        if self._held and self._queued <= 0:
            self._hold(False)

    def _hold(self, held: bool) -> None:
        self._held = held
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def _wait(self, deadline: float | None) -> bool:
        """Wait for a message or the end, and say whether it came in time."""
        if self._waiter is not None and not self._waiter.done():
            raise UsageError("another call waits for a message already")
        self._messages = None
        self._waiter = waiter = self._loop.create_future()
        self._deadline = deadline
        if deadline is not None:
            self._set_timer(deadline)
        try:
            await waiter
        finally:
            # One that was cancelled may hear of it when the next one waits already.
            if self._waiter is waiter:
                self._waiter = None
                if self.lost is None:
                    self._deadline = None
        return bool(self._messages) or self.lost is not None

    # --- sending ----------------------------------------------------------------------

    def _write(self) -> None:
        frames = self._frames.data_to_send()
        self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if frames and not frames[-1]:  # the end, as the library says it
            self._transport.close()

    def _answer(self) -> None:
        """Send pongs, a close frame, or why the peer is cut off."""
        if self._frames.state is not State.OPEN:
            self._lose(self._reason(None))
        elif self._write_paused:
            # The last one is for when there is room: RFC 6455, section 5.5.3. We read
            # on meanwhile, for the peer may be waiting for that and read no sooner
            # than we do. Whoever asks on and on and reads no answer is not read
            # either; messages that are received let us read on, so holding alone
            # would not bound the pongs.
            pongs = self._frames.data_to_send()
            self._late_pong = pongs[-1]
            self._unanswered += len(pongs)
            if self._unanswered > _UNANSWERED_PINGS_MAX and not self._held:
                self._hold(True)
            return
        self._write()

    async def _drain(self) -> None:
        while self.is_full:
            await self._wait_for_room()

    def _wait_for_room(self) -> asyncio.Future[None]:
        if self._drainers is None:
            self._drainers = []
        waiter = self._loop.create_future()
        self._drainers.append(waiter)
        return waiter

    def _wake_drainers(self) -> None:
        drainers, self._drainers = self._drainers, None
        for waiter in drainers or ():
            if not waiter.done():
                waiter.set_result(None)

    # --- time and the end -------------------------------------------------------------

    def _set_timer(self, when: float) -> None:
        """Wake at a time at the latest; a timer that is earlier looks again."""
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._expire()
        ping_at = self._heard + PING_INTERVAL_S
        if now >= ping_at:
            self._ping()
            ping_at = now + PING_INTERVAL_S
        later = [ping_at] if self._deadline is None else [ping_at, self._deadline]
        self._set_timer(min(later))

    def _expire(self) -> None:
        if self.lost is not None:
            self._transport.abort()  # it would not say goodbye
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _ask(self) -> None:
        """Ping unless somebody has; where there is no room for it, once there is."""
        await self._drain()
        if self._pong is None and self.lost is None:
            self._pong = self._loop.create_future()
            self._ping()
        if self._pong is not None:
            await asyncio.wait([self._pong])

    def _ping(self) -> None:
        if self._frames.state is State.OPEN and not self._write_paused:
            self._frames.send_ping(b"")
            self._write()

    def _note_sign_of_life(self) -> None:
        pong, self._pong = self._pong, None
        if pong is not None and not pong.done():
            pong.set_result(None)

    def _lose(self, reason: str) -> None:
        if self.lost is None:
            self.lost = reason
            self._note_sign_of_life()
            # The peer has as long to end its half.
            self._deadline = self._loop.time() + CLOSE_TIMEOUT_S
            self._set_timer(self._deadline)
        self._wake_drainers()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _reason(self, error: Exception | None) -> str:
        close = self._frames.close_rcvd or self._frames.close_sent
        if close is None:
            return "the connection broke" + (f" ({error})" if error else "")
        # The peer's words end in logs: no line of theirs may look like one of ours.
        reason = close.reason if close.reason.isprintable() else ascii(close.reason)
        detail = f"{int(close.code)} {reason}".rstrip()
        return f"the connection was closed ({detail})"


def are_binary(messages: list[str | bytes]) -> TypeGuard[list[bytes]]:
    """Whether what `MessagePipe.receive_many` returned is binary: all, or none."""
    return type(messages[0]) is bytes
