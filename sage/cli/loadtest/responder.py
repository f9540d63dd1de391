"""The other end of a load test: echoes requests, acknowledges streams.

The first record of a stream, and every later one, counts as opened once the service
has authenticated it and handed it to its handler, which is this. It answers with how
many it has counted, 8 bytes, big-endian: once for all that arrived together, so that
acknowledging costs little of what is to be measured.

A request with `USAGE_QUESTION` as its payload is answered with what this process has
used so far, instead of an echo.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .usage import USAGE_QUESTION, own_usage

if TYPE_CHECKING:
    from ...service import Message, Stream

__all__ = ["COUNT_BYTES", "respond", "respond_stream"]

COUNT_BYTES: Final = 8
"""The length of an acknowledgement."""


async def respond(message: Message) -> bytes:
    """Answer with the payload itself, or with what this process has used."""
    if message.payload == USAGE_QUESTION:
        return own_usage().encode()
    return message.payload


async def respond_stream(stream: Stream) -> None:
    """Count records, and say how many, until the peer ends."""
    counting = _Counting(stream)
    telling = asyncio.create_task(counting.tell())
    try:
        await counting.count()
    finally:
        telling.cancel()
        await asyncio.wait([telling])
    await counting.tell_last()


class _Counting:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._counted = self._told = 0
        self._more = asyncio.Event()

    async def count(self) -> None:
        async for _ in self._stream:
            self._counted += 1
            self._more.set()

    async def tell(self) -> None:
        """Tell the count whenever `count` has to wait for more."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self.tell_last()

    async def tell_last(self) -> None:
        if self._told < self._counted:
            self._told = self._counted
            await self._stream.send(self._counted.to_bytes(COUNT_BYTES, "big"))
