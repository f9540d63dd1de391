from __future__ import annotations

import asyncio

import pytest

from sage.cli.loadtest.link import Link
from sage.errors import ConnectFailed

from .conftest import Running


async def test_it_is_opened_once_for_all_who_ask(running: Running) -> None:
    async with running() as connect:
        link = Link(connect)
        assert not link.is_open
        first, *others = await asyncio.gather(*(link.channel() for _ in range(5)))
        assert all(other is first for other in others)
        assert link.opened == 1
        assert link.is_open
        await link.close()
        await link.close()
        assert not link.is_open


async def test_what_was_lost_is_opened_again(running: Running) -> None:
    async with running() as connect:
        link = Link(connect)
        lost = await link.channel()
        await lost.close()
        again = await link.channel()
        assert again is not lost
        assert await again.request(b"still there") == b"still there"
        assert link.opened == 2
        await link.close()


async def test_a_service_that_is_gone_is_not_hammered(running: Running) -> None:
    async with running() as connect:
        pass
    link = Link(connect)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(ConnectFailed):
        await link.channel()
    assert loop.time() - began >= 0.5
    assert link.opened == 0
    await link.close()
