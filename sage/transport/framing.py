"""WebSocket frames that are whole messages, put together and taken apart by hand.

`websockets` does this too, with a generator for every few bytes and an object for every
frame: more than sealing, opening and encrypting a small record together. So the common
case is here, and everything else stays the library's: fragments, control frames, the
closing handshake, whatever breaks a rule, and everything once the connection is no
longer open. It sees the very bytes that arrived, without the frames taken out here.

Wire (RFC 6455, section 5.2): FIN, opcode (1 B) | masked, length (1, 3 or 9 B) | masking
key (4 B, from clients only) | payload.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from websockets.frames import Opcode, apply_mask  # type: ignore[attr-defined]
from websockets.protocol import CLIENT, Protocol, State
from websockets.streams import StreamReader

from ..limits import TLS_RECORD_MAX_BYTES

__all__ = ["Framing"]

_FIN: Final = 0x80
_TEXT: Final = _FIN | Opcode.TEXT
_BINARY: Final = _FIN | Opcode.BINARY
_MASKED: Final = 0x80
_KEY_BYTES: Final = 4
# Marks in the place of a length: two bytes follow, or eight.
_TWO, _EIGHT = 126, 127

_SHORT: Final = Struct("!BB")
_MIDDLE: Final = Struct("!BBH")
_LONG: Final = Struct("!BBQ")

# What of one frame is held here until the rest of it has come. A longer one is the
# library's, which does not put its parts together anew with each that arrives.
_HELD_MAX_BYTES: Final = TLS_RECORD_MAX_BYTES


class Framing:
    """One end's frames, in both directions.

    Args:
        frames: the library's protocol, after the handshake.
    """

    __slots__ = ("_begun", "_frames", "_is_aligned", "_is_ours", "_mark", "_owed")

    def __init__(self, frames: Protocol) -> None:
        self._frames = frames
        self._mark = _MASKED if frames.side is CLIENT else 0
        # Whoever reads the library's log wants every frame in it.
        self._is_ours = not frames.extensions and not frames.debug
        # What came with the upgrade may have left the library within a frame.
        self._is_aligned = self._is_ours and _is_between_frames(frames)
        self._begun = b""  # of a message's frame, less than all
        self._owed = 0  # how much of its frame the library has not got yet

    def encode(self, message: bytes, *, text: bool) -> bytes | None:
        """Return a message as one frame; ``None`` where the library must do it."""
        if not self._is_ours or self._frames.state is not State.OPEN:
            return None
        head = _header(_TEXT if text else _BINARY, self._mark, len(message))
        if not self._mark:
            return head + message
        key = _masking_key()
        return b"".join((head, key, apply_mask(message, key)))

    def feed(
        self,
        data: bytes,
        *,
        take: Callable[[bytes, bool], None],
        pass_on: Callable[[bytes], None],
    ) -> None:
        """Take apart what arrived.

        Args:
            data: the next bytes; none asks the library for what it has already.
            take: gets each whole message, and whether it is text.
            pass_on: hands bytes to the library, and takes what it makes of them.
        """
        if self._begun:
            data, self._begun = self._begun + data, b""
        start, size, frames = 0, len(data), self._frames
        while start < size and self._is_aligned and frames.state is State.OPEN:
            if self._owed:
                end, is_message = start + self._owed, False
            elif (body := _payload_start(data, start)) > size:
                if not self._may_be_message(data[start : start + 2]):
                    break
                self._begun = data[start:]
                return
            else:
                end = body + _length(data, start)
                is_message = self._is_message(data[start], data[start + 1], end - body)
            if not is_message or end - start > max(_HELD_MAX_BYTES, size - start):
                self._owed = max(end - size, 0)
                pass_on(data[start:end])
            elif end > size:
                self._begun = data[start:]
            else:
                payload = data[body:end]
                if not self._mark:
                    payload = apply_mask(payload, data[body - _KEY_BYTES : body])
                take(payload, data[start] == _TEXT)
            start = end
        if start < size or not data:
            pass_on(data[start:])
            self._is_aligned = self._is_ours and _is_between_frames(frames)

    def _may_be_message(self, begun: bytes) -> bool:
        """Whether a header may become a message's: the library need not refuse it."""
        return self._is_message(begun[0], begun[1] if begun[1:] else ~self._mark, 0)

    def _is_message(self, first: int, second: int, length: int) -> bool:
        """Whether a frame is a whole message that breaks no rule."""
        frames = self._frames
        limit = frames.max_message_size
        return (
            first in (_BINARY, _TEXT)
            # Clients mask, and servers do not.
            and (second & _MASKED) != self._mark
            and (limit is None or length <= limit)
            and frames.current_size is None  # not amid the fragments of another
        )


def _is_between_frames(frames: Protocol) -> bool:
    """Whether the library waits for the first byte of a frame, with nothing left."""
    inner: Any = frames.parser
    while (deeper := inner.gi_yieldfrom) is not None:
        inner = deeper
    waits = getattr(inner, "gi_code", None) is StreamReader.at_eof.__code__
    return waits and not frames.reader.buffer


def _payload_start(data: bytes, start: int) -> int:
    """Return where a frame's payload begins; past the end, if it has not come."""
    if start + 1 >= len(data):
        return len(data) + 1
    second = data[start + 1]
    length = second & ~_MASKED
    extra = 0 if length < _TWO else 2 if length == _TWO else 8
    return start + 2 + extra + (_KEY_BYTES if second & _MASKED else 0)


def _length(data: bytes, start: int) -> int:
    """Return how long a frame's payload is."""
    length = data[start + 1] & ~_MASKED
    if length < _TWO:
        return length
    extra = 2 if length == _TWO else 8
    return int.from_bytes(data[start + 2 : start + 2 + extra], "big")


def _header(first: int, mark: int, length: int) -> bytes:
    if length < _TWO:
        return _SHORT.pack(first, mark | length)
    if length < 1 << 16:
        return _MIDDLE.pack(first, mark | _TWO, length)
    return _LONG.pack(first, mark | _EIGHT, length)


class _Keys:
    """Masking keys, unpredictable as RFC 6455, section 10.3, asks, many at a time.

    They keep nothing secret: they keep whoever chooses a message from choosing what
    proxies on the way see of it.
    """

    __slots__ = ("_drawn",)

    _MANY: Final = 256

    def __init__(self) -> None:
        self._drawn: list[bytes] = []

    def __call__(self) -> bytes:
        try:
            return self._drawn.pop()
        except IndexError:
            many = os.urandom(_KEY_BYTES * self._MANY)
            self._drawn = [
                many[n : n + _KEY_BYTES] for n in range(0, len(many), _KEY_BYTES)
            ]
            return self._drawn.pop()


_masking_key = _Keys()
