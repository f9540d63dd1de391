"""A load of stream records, each acknowledged once the service has opened it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import repeat
from time import monotonic
from typing import TYPE_CHECKING, Final

from ...errors import Code, ProtocolError, SageError
from .link import Link
from .pace import departures, until
from .plan import Plan
from .responder import COUNT_BYTES
from .tally import Tally

if TYPE_CHECKING:
    from ...service import Stream

__all__ = ["send_records"]

# Records that are meant to leave within this time leave together, the first of them
# late; waking for each one would cost more than sending it.
_TICK_S: Final = 0.000_25


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
    times: Iterator[float | None] = (
        departures(plan, index, tally.start) if plan.is_open_loop else repeat(None)
    )
    while monotonic() < tally.end:
        carrying = _Carrying(tally, times, payload, plan.in_flight)
        try:
            channel = await link.channel()
            async with channel.stream() as stream:
                await carrying.run(stream)
        except SageError as exc:
            carrying.fail(exc)


class _Carrying:
    """What one stream carries."""

    def __init__(
        self,
        tally: Tally,
        times: Iterator[float | None],
        payload: bytes,
        in_flight: int,
    ) -> None:
        self._tally, self._times, self._payload = tally, times, payload
        self._in_flight = in_flight
        self._waiting: deque[float] = deque()
        self._acknowledged = 0
        self._room = asyncio.Event()

    async def run(self, stream: Stream) -> None:
        """Send until the tally ends, then wait for what is still to come."""
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
        woken = monotonic()
        for time in self._times:
            if time is not None and time > woken:
                await until(max(time, woken + _TICK_S))
                woken = monotonic()
            while len(self._waiting) >= self._in_flight and not counting.done():
                self._room.clear()
                await self._room.wait()
                woken = monotonic()
            if counting.done():
                counting.result()
                raise ProtocolError("the service ended", code=Code.FRAME_MALFORMED)
            intended = monotonic() if time is None else time
            if intended >= self._tally.end or self._tally.is_over(woken):
                return
            self._tally.send(intended)
            self._waiting.append(intended)
            await stream.send(self._payload)

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
            for _ in range(count):
                self._tally.answer(self._waiting.popleft(), now)
            self._room.set()
