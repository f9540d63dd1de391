"""Records over a WebSocket with TLS on loopback: both ends in one process, one loop.

One call sends a burst in one direction and waits for the receiver's word that all of
it was opened. Sealing, opening, TLS and the WebSocket frames of both ends are in it;
connecting, the handshake and the opening of the stream are not. Two processes on two
cores would do better; this is what one core does.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .house import AEADS, SIZES, needs, needs_method
from .loopback import Loopback

version = "1"
BYTES = 8 * 1024 * 1024
RECORDS = 1000


async def _refuse(message: Any) -> bytes:
    raise AssertionError("there are no requests beside the stream")


async def _count(stream: Any) -> None:
    """Answer each burst, whose first record says how many bytes follow."""
    async for head in stream:
        left = int.from_bytes(head, "big")
        while left > 0:
            left -= len(await stream.receive())
        await stream.send(b"all")


class Stream:
    """A burst of records of one size from the client to the service."""

    params: ClassVar = [SIZES, AEADS]
    param_names: ClassVar = ["bytes", "aead"]
    number = 1
    rounds = 1
    repeat = 4
    warmup_time = 0
    timeout = 60

    def setup(self, size: int, aead: str) -> None:
        needs_method(needs("sage.session", "Session"), "stream")
        self.ends = Loopback(_refuse, stream_handler=_count, aead=aead)
        self.data = bytes(size)
        self.records = min(RECORDS, BYTES // size)
        self.ends.run(self._burst(10))

    def teardown(self, size: int, aead: str) -> None:
        if hasattr(self, "ends"):
            self.ends.close()

    def time_burst(self, size: int, aead: str) -> None:
        self.ends.run(self._burst(self.records))

    async def _burst(self, records: int) -> None:
        stream = self.ends.end
        await stream.send((len(self.data) * records).to_bytes(8, "big"))
        await self._send(stream, records)
        assert await stream.receive() == b"all"

    async def _send(self, stream: Any, records: int) -> None:
        for _ in range(records):
            await stream.send(self.data)


class StreamTogether(Stream):
    """The same by `send_many`, which seals and writes many at a time."""

    def setup(self, size: int, aead: str) -> None:
        needs_method(needs("sage.service", "Stream"), "send_many")
        super().setup(size, aead)

    async def _send(self, stream: Any, records: int) -> None:
        await stream.send_many([self.data] * records)
