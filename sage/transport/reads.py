"""The reads that a caching resolver has under way: only so many, and who gives way.

Whoever names an agent makes us ask the registry that the name leads to, before anything
about them is proven, and that registry may take its time. So where all places are
taken, nobody is sent away; the oldest read gives way. One that ends soon is gone before
it is the oldest: with 256 places and a thousand new reads a second, each has a quarter
of a second at least, whatever hangs, and however many registries do.

An agent is **known** while a reading of it is kept. Made-up names are not, so reads for
known agents and for strangers give way to their own kind, once the strangers have a
quarter of the places. Within a kind, a read that nobody waits for goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from ..errors import Code, ResolutionError, SageError
from ..identity import Observation

__all__ = ["Outcome", "Read", "Reads", "unreachable"]

Outcome = Observation | SageError


@dataclass(slots=True, eq=False)
class Read:
    """A read under way.

    Attributes:
        did: whose record is read.
        began_at: monotonic seconds.
        known: a reading of the agent is kept.
        waiting: how many wait for it.
    """

    did: str
    began_at: float
    known: bool
    waiting: int = 0
    _answer: asyncio.Future[Outcome] = field(init=False)
    _task: asyncio.Task[None] = field(init=False)

    async def wait(self) -> Outcome:
        """Return how it ended. Whoever gives up takes nothing from the others."""
        self.waiting += 1
        try:
            return await asyncio.shield(self._answer)
        finally:
            self.waiting -= 1


class Reads:
    """Begins reads, and ends them where others need their places.

    Args:
        max_reads: how many there may be at once, 4 at least.
        on_failure: called for each read that ends in an error, or before its end.
    """

    def __init__(
        self, max_reads: int, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        self._max_reads, self._on_failure = max_reads, on_failure
        # In the order in which they began. Of one agent there may be more than one:
        # only the last is current, and found by its name.
        self._under_way: dict[Read, None] = {}
        self._current: dict[str, Read] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Count those under way."""
        return len(self._under_way)

    @property
    def full(self) -> bool:
        """Whether a further one needs another's place."""
        return len(self) >= self._max_reads

    def get(self, did: str) -> Read | None:
        """Return the read of an agent's record that others may wait for."""
        return self._current.get(did)

    def begin(
        self,
        did: str,
        ask: Callable[[Read], Coroutine[object, object, Outcome]],
        *,
        now: float,
        known: bool,
    ) -> Read:
        """Begin a read, which from now on is the agent's current one.

        Args:
            did: whose record is read.
            ask: reads it; called with the new read, and raises nothing.
            now: monotonic seconds.
            known: whether a reading of the agent is kept.
        """
        read = Read(did, now, known)
        if self.full:
            self._end(self._giving_way(read), "its place went to another read")
        read._answer = asyncio.get_running_loop().create_future()
        read._task = asyncio.create_task(self._run(read, ask))
        self._under_way[read] = None
        self._current[did] = read
        self._tasks.add(read._task)
        read._task.add_done_callback(self._tasks.discard)
        return read

    def forget(self, did: str) -> None:
        """Let nobody else wait for the read that is the agent's current one."""
        self._current.pop(did, None)

    def is_current(self, read: Read) -> bool:
        """Whether no later read of the agent, and no `forget`, came after it."""
        return self._current.get(read.did) is read

    async def close(self) -> None:
        """End them all: whoever waits gets ``record.unreachable``. Idempotent."""
        for read in list(self._under_way):
            self._end(read, "the resolver was closed")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(
        self, read: Read, ask: Callable[[Read], Coroutine[object, object, Outcome]]
    ) -> None:
        outcome: Outcome = unreachable("the read was cancelled")
        try:
            outcome = await ask(read)
        finally:
            self._settle(read, outcome)

    def _end(self, read: Read, why: str) -> None:
        # Those who wait are told here: a task that has not begun cannot tell them.
        self._settle(read, unreachable(why))
        read._task.cancel()

    def _settle(self, read: Read, outcome: Outcome) -> None:
        self._under_way.pop(read, None)
        if self.is_current(read):
            del self._current[read.did]
        if not read._answer.done():
            read._answer.set_result(outcome)
            if isinstance(outcome, SageError):
                self._on_failure()

    def _giving_way(self, asked: Read) -> Read:
        """Return the read whose place another one gets."""
        strangers = [read for read in self._under_way if not read.known]
        too_many = len(strangers) + (not asked.known) > self._max_reads // 4
        pool = strangers if too_many else [r for r in self._under_way if r.known]
        return next((read for read in pool if not read.waiting), pool[0])


def unreachable(message: str) -> ResolutionError:
    """Return the refusal of a question that could not be asked, or got no answer."""
    return ResolutionError(message, code=Code.RECORD_UNREACHABLE)
