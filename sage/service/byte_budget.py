"""How many bytes of messages a service works on at once, over all its connections.

The limit of a single message is the protocol's, 16 MiB, and a peer may have several
under way on each of its connections. What all of them hold together is bounded here:
a connection whose message finds no room is not read until there is some, so that TCP
makes its peer wait and nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import UsageError

__all__ = ["ByteBudget"]


class ByteBudget:
    """Room for so many bytes, lent in the order in which it was asked for.

    Args:
        max_bytes: of all that share it. A single message that is longer waits until
            it is alone.
        within: the budget that this is a part of; what is lent here is lent there.

    Attributes:
        held: bytes lent at the moment.
    """

    __slots__ = ("_max_bytes", "_waiting", "_within", "held")

    def __init__(self, max_bytes: int, *, within: ByteBudget | None = None) -> None:
        if max_bytes <= 0:
            raise UsageError(f"max_bytes must be positive, not {max_bytes!r}")
        self._max_bytes, self._within = max_bytes, within
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.held = 0

    async def acquire(self, size: int) -> None:
        """Wait until there is room for ``size`` bytes, and take it.

        The caller gives it back with `release`, unless this call is cancelled.
        """
        await self._acquire(size)
        if self._within is not None:
            try:
                await self._within.acquire(size)
            except BaseException:
                self._release(size)
                raise

    def release(self, size: int) -> None:
        """Give ``size`` bytes back."""
        self._release(size)
        if self._within is not None:
            self._within.release(size)

    def has_room(self, size: int) -> bool:
        """Whether ``size`` bytes would not have to wait for others of this budget."""
        return not self._waiting and self._fits(size)

    def give_up_part(self, size: int) -> ByteBudget:
        """Keep ``size`` bytes in the whole alone, no longer in this part of it.

        Returns:
            Where they are to be released: the whole, or this, which is no part.
        """
        if self._within is None:
            return self
        self._release(size)
        return self._within

    async def _acquire(self, size: int) -> None:
        if self.has_room(size):
            self.held += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._lend()  # whoever waited behind us may fit
            else:
                # Our turn had come at the very moment at which we were cancelled.
                self._release(size)
            raise

    def _release(self, size: int) -> None:
        self.held -= size
        self._lend()

    def _lend(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if not self._fits(size):
                    return
                self.held += size
                turn.set_result(None)
            self._waiting.popleft()

    def _fits(self, size: int) -> bool:
        return self.held == 0 or self.held + size <= self._max_bytes
