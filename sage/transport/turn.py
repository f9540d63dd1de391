"""A turn of an event loop: how much of it connections may use, and who goes next.

A loop runs whatever is ready before it looks at its clock and at new connections. With
many connections that all have something to do, or peers who make sure that they have,
such a turn lasts for seconds. So the connections of a loop share a budget: once it is
spent, those that are left wait for the next turn, and go first in it, in the order in
which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

from ..limits import TURN_S

__all__ = ["Turn", "turn_of"]


class Turn:
    """The budget of one loop's connections.

    Attributes:
        is_over: it is spent, and whoever has not begun yet puts it off.
    """

    __slots__ = ("_spent_s", "_waiting", "is_over")

    def __init__(self) -> None:
        self.is_over = False
        # Over several turns, if need be: one that ends early now and then costs
        # nothing, and to know when each begins would.
        self._spent_s = 0.0
        self._waiting: deque[Callable[[], None]] = deque()

    def spend(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Note how long somebody worked; ``loop`` is the one whose turn it is."""
        self._spent_s += seconds
        if self._spent_s >= TURN_S and not self.is_over:
            self.is_over = True
            loop.call_soon(self._begin, loop)

    def put_off(self, act: Callable[[], None]) -> None:
        """Do something in the next turn or a later one, now that this one is over."""
        self._waiting.append(act)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_over, self._spent_s = False, 0.0
        try:
            while self._waiting and not self.is_over:
                self._waiting.popleft()()
        finally:
            if self._waiting and not self.is_over:  # one of them raised something
                loop.call_soon(self._begin, loop)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = WeakKeyDictionary()


def turn_of(loop: asyncio.AbstractEventLoop) -> Turn:
    """Return the one that all connections of a loop share."""
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = Turn()
    return turn
