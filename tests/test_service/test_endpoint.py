"""One endpoint's queue, with an endpoint that fails and answers as it is told."""

from __future__ import annotations

import asyncio

import pytest

from sage.errors import (
    AuthenticationError,
    ConnectFailed,
    SageError,
    SessionClosed,
    UsageError,
)
from sage.service import Clock
from sage.service.backoff import Backoff
from sage.service.endpoint import Endpoint


class Line:
    """A channel as far as an endpoint looks at it."""

    closed = False


class Bench:
    """An endpoint, and the outcomes of its attempts."""

    def __init__(self, *, places=2, max_channels=2, attempts=2, drawn=b"\x00") -> None:
        self.outcomes: list[Line | Exception] = []
        self.attempts = self.at_once = self.most_at_once = 0
        self.discarded: list[Line] = []
        self.room = True
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.endpoint = Endpoint(
            self.connect,
            places=places,
            max_channels=max_channels,
            attempts=attempts,
            make_room=lambda: self.room,
            discard=lambda pooled: self.discarded.append(pooled.channel),
            settled=lambda: self.endpoint.share_out(),
            backoff=Backoff(lambda count: drawn * count, first_s=0.1),
            clock=Clock(),
        )

    async def connect(self):
        self.attempts += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.going_on.wait()
        self.at_once -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else Line()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def give_back(self, pooled, places=1):
        self.endpoint.release(pooled, places)
        self.endpoint.share_out()


async def test_uses_share_a_channel_up_to_its_places():
    bench = Bench(places=2)
    one, two, three = [await bench.endpoint.acquire(1) for _ in range(3)]
    assert one is two
    assert three is not one
    assert bench.attempts == 2


async def test_whoever_comes_first_is_served_first():
    bench = Bench(places=1, max_channels=1)
    held = await bench.endpoint.acquire(1)
    served: list[int] = []

    async def use(number):
        pooled = await bench.endpoint.acquire(1)
        served.append(number)
        bench.give_back(pooled)

    tasks = [asyncio.create_task(use(number)) for number in range(5)]
    await asyncio.sleep(0)
    bench.give_back(held)
    await asyncio.gather(*tasks)
    assert served == [0, 1, 2, 3, 4]


async def test_a_great_wish_is_not_passed_by_small_ones():
    bench = Bench(places=2, max_channels=1)
    held = await bench.endpoint.acquire(1)
    whole = asyncio.create_task(bench.endpoint.acquire(2))
    await asyncio.sleep(0)
    small = asyncio.create_task(bench.endpoint.acquire(1))
    await asyncio.sleep(0.01)
    assert not whole.done()
    assert not small.done()
    bench.give_back(held)
    bench.give_back(await whole, 2)
    await small


async def test_a_crowd_makes_one_attempt_at_a_time():
    bench = Bench(places=1, max_channels=50)
    tasks = [asyncio.create_task(bench.endpoint.acquire(1)) for _ in range(50)]
    await asyncio.gather(*tasks)
    assert bench.most_at_once == 1
    assert bench.attempts == 50


async def test_a_crowd_shares_a_failure():
    bench = Bench(attempts=1)
    bench.outcomes = [ConnectFailed("down")]
    bench.going_on.clear()
    tasks = [asyncio.create_task(bench.endpoint.acquire(1)) for _ in range(50)]
    await asyncio.sleep(0.01)
    bench.going_on.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert bench.attempts == 1
    assert {str(error) for error in errors} == {"down"}
    # One for each, so that their tracebacks stay apart.
    assert len({id(error) for error in errors}) == 50


async def test_a_wait_sits_through_some_failures():
    bench = Bench(attempts=3)
    bench.outcomes = [ConnectFailed("1"), ConnectFailed("2")]
    await bench.endpoint.acquire(1)
    assert bench.attempts == 3
    bench = Bench(attempts=3)
    bench.outcomes = [ConnectFailed("1"), ConnectFailed("2"), ConnectFailed("3")]
    with pytest.raises(ConnectFailed, match="3"):
        await bench.endpoint.acquire(1)


async def test_what_will_not_pass_ends_the_wait_at_once():
    bench = Bench(attempts=5)
    bench.outcomes = [AuthenticationError()]
    with pytest.raises(AuthenticationError) as refused:
        await bench.endpoint.acquire(1)
    assert refused.value.code
    assert bench.attempts == 1


async def test_an_internal_error_ends_the_wait_too(caplog):
    bench = Bench(attempts=1)
    bench.outcomes = [ValueError("ours")]
    with pytest.raises(ConnectFailed, match="internal"):
        await bench.endpoint.acquire(1)
    assert "ours" in caplog.text


async def test_the_next_attempt_waits_its_back_off():
    loop = asyncio.get_running_loop()
    bench = Bench(attempts=1, drawn=b"\xff")
    bench.outcomes = [ConnectFailed("down")]
    with pytest.raises(ConnectFailed):
        await bench.endpoint.acquire(1)
    assert not bench.endpoint.is_forgettable(Clock().now())
    began = loop.time()
    await bench.endpoint.acquire(1)
    assert loop.time() - began > 0.08


async def test_without_room_in_the_pool_it_waits():
    bench = Bench()
    bench.room = False
    task = asyncio.create_task(bench.endpoint.acquire(1))
    await asyncio.sleep(0.01)
    assert not bench.attempts
    bench.room = True
    bench.endpoint.share_out()
    await task


async def test_a_channel_that_ended_is_not_given_and_not_counted():
    bench = Bench(max_channels=1)
    pooled = await bench.endpoint.acquire(1)
    bench.give_back(pooled)
    pooled.channel.closed = True
    again = await bench.endpoint.acquire(1)
    assert again is not pooled
    assert bench.discarded == [pooled.channel]


async def test_a_wait_that_is_given_up_leaves_nothing_behind():
    bench = Bench(places=1, max_channels=1)
    held = await bench.endpoint.acquire(1)
    leaving = asyncio.create_task(bench.endpoint.acquire(1))
    staying = asyncio.create_task(bench.endpoint.acquire(1))
    await asyncio.sleep(0)
    bench.give_back(held)
    # It was given the channel in this very moment, and never learns of it.
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await staying is held
    bench.give_back(held)
    assert held.is_idle
    assert not bench.endpoint.waiting


async def test_closing_ends_every_wait():
    bench = Bench(places=1, max_channels=1)
    held = await bench.endpoint.acquire(1)
    waiting = [asyncio.create_task(bench.endpoint.acquire(1)) for _ in range(3)]
    await asyncio.sleep(0)
    assert bench.endpoint.close() == [held]
    for task in waiting:
        with pytest.raises(SessionClosed):
            await task
    with pytest.raises(SessionClosed):
        await bench.endpoint.acquire(1)


async def test_closing_ends_an_attempt():
    bench = Bench()
    bench.going_on.clear()
    task = asyncio.create_task(bench.endpoint.acquire(1))
    await asyncio.sleep(0.01)
    attempt = bench.endpoint.connecting
    assert attempt is not None
    bench.endpoint.close()
    with pytest.raises(SageError):
        await task
    with pytest.raises(asyncio.CancelledError):
        await attempt


@pytest.mark.parametrize("drawn", [b"", OSError("no entropy")])
async def test_nobody_waits_where_no_back_off_can_be_drawn(drawn, caplog):
    def entropy(count):
        if isinstance(drawn, Exception):
            raise drawn
        return drawn

    bench = Bench(attempts=5)
    bench.endpoint._backoff = Backoff(entropy)
    bench.outcomes = [ConnectFailed("down")]
    async with asyncio.timeout(5):
        with pytest.raises(UsageError):
            await bench.endpoint.acquire(1)
