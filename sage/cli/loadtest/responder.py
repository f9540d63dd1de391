"""The other end of a load test: echoes requests, acknowledges streams.

The first record of a stream, and every later one, counts as opened once the service
has authenticated it and handed it to its handler, which is this. It answers with how
many it has counted, 8 bytes, big-endian: once for all that arrived together, so that
acknowledging costs little of what is to be measured.

A request with `USAGE_QUESTION` as its payload is answered with what this process has
used so far, instead of an echo.
"""

from __future__ import annotations

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
    counted = 0
    while records := await stream.receive_many():
        counted += len(records)
        await stream.send(counted.to_bytes(COUNT_BYTES, "big"))
