"""Runs a load: opens the connections, sends, and reads what both ends have used."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

from ...errors import ConnectionLost, SageError
from .link import Connect, Link
from .pace import planned
from .plan import Mode, Plan
from .requests import send_requests
from .streams import send_records
from .tally import Tally
from .usage import USAGE_QUESTION, Usage, own_usage

__all__ = ["Outcome", "Watch", "drive"]

# Handshakes at once: enough to keep both ends busy, without a flood.
_OPENING: Final = 32
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a load came to.

    Attributes:
        plan: the load.
        tally: what became of the messages.
        opening_s: how long all connections and handshakes took.
        unsent: messages that an open loop had no time to send.
        lost: connections that were opened again, or are closed at the end.
        client: our own usage before the first message and after the last.
        server: the service's; ``None`` where it does not say.
        rss: the service's memory before and after the connections were opened;
            ``None`` where it does not say.
        cores: ours and the service's, where each had one to itself.
    """

    plan: Plan
    tally: Tally
    opening_s: float
    unsent: int
    lost: int
    client: tuple[Usage, Usage]
    server: tuple[Usage, Usage] | None
    rss: tuple[int, int] | None
    cores: tuple[int, int] | None = None

    @property
    def failed(self) -> int:
        """Messages that ended with an error, or were never sent."""
        return self.tally.errors.total() + self.unsent

    @property
    def per_connection_bytes(self) -> float | None:
        """The service's memory for each connection; ``None`` where it is not known."""
        if self.rss is None:
            return None
        before, after = self.rss
        return (after - before) / self.plan.connections

    def cpu_s(self, side: tuple[Usage, Usage] | None) -> float | None:
        """Processor seconds that one side used while messages were sent."""
        return None if side is None else side[1].cpu_s - side[0].cpu_s


Watch = Callable[[str, float, Tally | None], None]
"""Is told what goes on: the phase, how much of it is done (0..1), the counts so far."""


async def drive(
    plan: Plan,
    connect: Connect,
    *,
    watch: Watch,
    cores: tuple[int, int] | None = None,
) -> Outcome:
    """Run a load to its end.

    Args:
        plan: the load.
        connect: opens a channel to the service.
        watch: called a few times a second.
        cores: for the outcome; see there.

    Raises:
        ConfigError: hdrhistogram is not installed.
        SageError: a connection cannot be opened.
    """
    Tally(0, 0)  # before anything else, says whether it can count
    async with _opened(connect, 1, lambda _: None) as (control,):
        began = monotonic()
        at_first = await _usage_of(control)
        async with _opened(
            connect, plan.connections, lambda part: watch("connecting", part, None)
        ) as links:
            opening_s = monotonic() - began
            after_opening = await _usage_of(control)
            # A pause of our own collector would look like one of the service's.
            gc.collect()
            gc.freeze()
            client_before = own_usage()
            # A breath, so that every connection is ready for its first message.
            start = monotonic() + 0.05 + plan.warm_up_s
            tally = Tally(start, start + plan.duration_s)
            await _send_all(links, plan, tally, watch, echoed=at_first is not None)
            client_after = own_usage()
            gc.unfreeze()
            at_last = await _usage_of(control)
            lost = sum(link.opened - 1 + (not link.is_open) for link in links)
    if plan.idle and lost:
        tally.fail(start, ConnectionLost("lost while idle"), lost)
    known = at_first is not None and after_opening is not None and at_last is not None
    return Outcome(
        plan=plan,
        tally=tally,
        opening_s=opening_s,
        unsent=planned(plan, start) - tally.sent if plan.is_open_loop else 0,
        lost=lost,
        client=(client_before, client_after),
        server=(after_opening, at_last) if known else None,  # type: ignore[arg-type]
        rss=_memory(at_first, at_last),
        cores=cores,
    )


def _memory(before: Usage | None, after: Usage | None) -> tuple[int, int] | None:
    if before is None or after is None or not before.rss_bytes:
        return None
    return before.rss_bytes, after.rss_bytes


@asynccontextmanager
async def _opened(
    connect: Connect, count: int, progress: Callable[[float], None]
) -> AsyncIterator[list[Link]]:
    """Open so many connections; close them all in the end."""
    links = [Link(connect) for _ in range(count)]
    slots = asyncio.Semaphore(_OPENING)
    opened = 0

    async def open_one(link: Link) -> None:
        nonlocal opened
        async with slots:
            await link.channel()
        opened += 1
        progress(opened / count)

    async def close_one(link: Link) -> None:
        async with slots:
            await link.close()

    try:
        tasks = [asyncio.create_task(open_one(link)) for link in links]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        yield links
    finally:
        await asyncio.gather(*map(close_one, links))


async def _send_all(
    links: list[Link], plan: Plan, tally: Tally, watch: Watch, *, echoed: bool
) -> None:
    payload = os.urandom(plan.size)
    watching = asyncio.create_task(_watch(plan, tally, watch))
    try:
        if plan.idle:
            await asyncio.sleep(tally.end - monotonic())
            return
        async with asyncio.TaskGroup() as group:
            for index, link in enumerate(links):
                group.create_task(
                    send_records(link, plan, tally, index=index, payload=payload)
                    if plan.mode is Mode.STREAM
                    else send_requests(
                        *(link, plan, tally),
                        index=index,
                        payload=payload,
                        echoed=echoed,
                    )
                )
    finally:
        watching.cancel()


async def _watch(plan: Plan, tally: Tally, watch: Watch) -> None:
    while True:
        done = (monotonic() - tally.start) / plan.duration_s
        watch("idle" if plan.idle else "sending", min(max(done, 0.0), 1.0), tally)
        await asyncio.sleep(_LOOK_S)


async def _usage_of(link: Link) -> Usage | None:
    """Ask the service what it has used; a service of another kind does not say."""
    try:
        channel = await link.channel()
        return Usage.decode(await channel.request(USAGE_QUESTION))
    except SageError:
        return None
