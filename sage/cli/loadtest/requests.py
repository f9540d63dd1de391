"""A load of requests: each is signed, sealed, and answered by its bound response."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import repeat
from time import monotonic

from ...errors import SageError
from .link import Link
from .pace import departures, until
from .plan import Plan
from .tally import Tally

__all__ = ["WrongAnswer", "send_requests"]


class WrongAnswer(Exception):
    """An authentic answer that is not the echo of what was sent."""


async def send_requests(
    link: Link, plan: Plan, tally: Tally, *, index: int, payload: bytes, echoed: bool
) -> None:
    """Send one connection's share of the load, until the tally ends.

    Args:
        link: the connection.
        plan: the load.
        tally: where each message is counted.
        index: the connection's number.
        payload: of every message.
        echoed: whether the service is known to answer with the payload.
    """
    times: Iterator[float | None] = (
        departures(plan, index, tally.start) if plan.is_open_loop else repeat(None)
    )
    sender = _Sender(link, tally, times, payload, payload if echoed else None)
    # Each worker is a message in flight: where all are, the next one leaves late, and
    # its latency counts from when it was meant to leave.
    async with asyncio.TaskGroup() as workers:
        for _ in range(plan.in_flight):
            workers.create_task(sender.work())


class _Sender:
    def __init__(
        self,
        link: Link,
        tally: Tally,
        times: Iterator[float | None],
        payload: bytes,
        expected: bytes | None,
    ) -> None:
        self._link, self._tally, self._times = link, tally, times
        self._payload, self._expected = payload, expected

    async def work(self) -> None:
        for time in self._times:
            intended = monotonic() if time is None else time
            if intended >= self._tally.end:
                return
            await until(intended)
            if self._tally.is_over(monotonic()):
                return
            await self._send(intended)

    async def _send(self, intended: float) -> None:
        self._tally.send([intended])
        try:
            channel = await self._link.channel()
            answer = await channel.request(self._payload)
            if self._expected is not None and answer != self._expected:
                raise WrongAnswer
        except (SageError, WrongAnswer) as exc:
            self._tally.fail(intended, exc)
        else:
            self._tally.answer([intended], monotonic())
