"""One way to wait: with an end, and a typed error behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from ..errors import DeadlineExceeded

__all__ = ["within"]

T = TypeVar("T")


async def within(
    seconds: float, waiting: Awaitable[T], what: str, *, may_have_run: bool = False
) -> T:
    """Await something for at most ``seconds``.

    Args:
        seconds: the limit.
        waiting: what to await; cancelled at the limit.
        what: its name, for the error's text.
        may_have_run: passed on to the error; see `TransportError`.

    Raises:
        DeadlineExceeded: the limit passed.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await waiting
    except TimeoutError as exc:
        # What is awaited may have limits of its own, and so has the system.
        if not limit.expired() or isinstance(exc, DeadlineExceeded):
            raise
        raise DeadlineExceeded(
            f"{what} took longer than {seconds:g} s", may_have_run=may_have_run
        ) from None
