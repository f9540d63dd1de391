"""A load of stream records, each acknowledged once the service has opened it."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from ...errors import Code, ProtocolError, SageError
from .link import RETRY_S, Link
from .pace import Due, departures, until
from .plan import Plan
from .responder import COUNT_BYTES
from .tally import Tally

if TYPE_CHECKING:
    from ...service import Stream

__all__ = ["send_records"]

# Records that are meant to leave within this time leave together, the first of them
# late; waking for each one would cost more than sending it.
_TICK_S: Final = 0.000_25

# What a stall has held up leaves in parts, each of the records of so much time: the
# service begins with the first while we seal the second.
_PART_S: Final = 2 * _TICK_S

# As many leave together in a closed loop, and count from when the first of them does.
_TOGETHER: Final = 16


async def send_records(
    link: Link, plan: Plan, tally: Tally, *, index: int, payload: bytes
) -> None:
    """Stream one connection's share of the load, until the tally ends.

    A stream that is lost is opened again; what it had not acknowledged has failed.

    Args:
        link: the connection.
        plan: the load.
        tally: where each record is counted.
        index: the connection's number.
        payload: of every record.
    """
    due = (
        Due(departures(plan, index, tally.start), tally.end)
        if plan.is_open_loop
        else None
    )
    while monotonic() < tally.end:
        carrying = _Carrying(tally, due, payload, plan.in_flight)
        try:
            channel = await link.channel()
            async with channel.stream() as stream:
                await carrying.run(stream)
        except SageError as exc:
            carrying.fail(exc)
            if not carrying.began:
                # What is refused at once would be tried again at once, and nothing
                # else would have its turn: not even Ctrl-C.
                await asyncio.sleep(RETRY_S)


class _Carrying:
    """What one stream carries.

    Attributes:
        began: whether there was a stream.
    """

    def __init__(
        self,
        tally: Tally,
        due: Due | None,
        payload: bytes,
        in_flight: int,
    ) -> None:
        self._tally, self._due, self._payload = tally, due, payload
        self._in_flight = in_flight
        self._waiting: deque[float] = deque()
        self._acknowledged = 0
        self._woken = monotonic()
        self._room = asyncio.Event()
        self.began = False

    async def run(self, stream: Stream) -> None:
        """Send until the tally ends, then wait for what is still to come."""
        self.began = True
        counting = asyncio.create_task(self._count(stream))
        counting.add_done_callback(lambda _: self._room.set())
        try:
            await self._send(stream, counting)
            await stream.end()
            await counting
        finally:
            counting.cancel()
            await asyncio.wait([counting])

    def fail(self, error: SageError) -> None:
        """Count what was sent and never acknowledged; the error itself, if nothing."""
        for intended in self._waiting or [monotonic()]:
            self._tally.fail(intended, error)

    async def _send(self, stream: Stream, counting: asyncio.Task[None]) -> None:
        while not counting.done():
            room = self._in_flight - len(self._waiting)
            if room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            batch = await self._next_batch(room)
            if not batch:
                return
            self._tally.send(batch)
            # All at once: where a send fails, those behind it have failed with it.
            self._waiting.extend(batch)
            await stream.send_many([self._payload] * len(batch))
        counting.result()
        raise ProtocolError("the service ended", code=Code.FRAME_MALFORMED)

    async def _next_batch(self, room: int) -> list[float]:
        """Return when the next records were meant to leave; none when it is over."""
        if self._due is None:
            now = monotonic()
            return [] if now >= self._tally.end else [now] * min(room, _TOGETHER)
        while self._due.next < self._tally.end:
            if self._due.next > self._woken:
                await until(max(self._due.next, self._woken + _TICK_S))
                self._woken = monotonic()
            else:
                await asyncio.sleep(0)  # for the part before it to leave
            if self._tally.is_over(monotonic()):
                break
            part_ends_at = min(self._due.next + _PART_S, self._woken)
            if batch := self._due.take(part_ends_at, room):
                return batch
        return []

    async def _count(self, stream: Stream) -> None:
        """Take each acknowledgement: how many records the service has counted."""
        async for data in stream:
            now = monotonic()
            count = int.from_bytes(data, "big") - self._acknowledged
            if len(data) != COUNT_BYTES or not 0 < count <= len(self._waiting):
                raise ProtocolError(
                    "not an acknowledgement: at the other end must be"
                    " `sage loadtest-service`",
                    code=Code.FRAME_MALFORMED,
                )
            self._acknowledged += count
            self._tally.answer([self._waiting.popleft() for _ in range(count)], now)
            self._room.set()
