"""One connection of a load, opened anew where it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from ...errors import SageError

if TYPE_CHECKING:
    from ...service import Channel

__all__ = ["RETRY_S", "Connect", "Link"]

Connect: TypeAlias = "Callable[[], Awaitable[Channel]]"
"""Opens a channel; whatever it raises is the failure."""

RETRY_S: Final = 0.5
"""Between two attempts: a service that is gone is not to be hammered."""


class Link:
    """A connection of the load.

    Attributes:
        opened: how often it was opened.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self.opened = 0

    @property
    def is_open(self) -> bool:
        """Whether it is open, as far as we know."""
        return self._channel is not None and not self._channel.closed

    async def channel(self) -> Channel:
        """Return the channel, open.

        Raises:
            SageError: it was lost, and cannot be opened again.
        """
        channel = self._channel
        if channel is not None and not channel.closed:
            return channel
        async with self._opening:
            if self._channel is None or self._channel.closed:
                await self._open()
        assert self._channel is not None  # noqa: S101  (it was opened)
        return self._channel

    async def close(self) -> None:
        """Close it. Idempotent."""
        if self._channel is not None:
            await self._channel.close()

    async def _open(self) -> None:
        try:
            self._channel = await self._connect()
        except SageError:
            await asyncio.sleep(RETRY_S)
            raise
        self.opened += 1
