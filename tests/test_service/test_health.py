"""Whether a service is ready, and that asking costs nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

import pytest

import sage
from sage.envelope import Reservation
from sage.errors import Code, ResolutionError
from sage.identity import deactivate, revoke_key
from sage.service import Clock
from sage.service.health import Health

from .conftest import ADA, GRACE


class Steps:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.at = Clock().now()
        self.wall = Clock().unix_time()

    def now(self) -> float:
        return self.at

    def unix_time(self) -> int:
        return self.wall


class Counting:
    """A resolver that counts, and can be told to fail or to wait."""

    def __init__(self, resolver: sage.MemoryResolver) -> None:
        self.resolver, self.asked = resolver, 0
        self.error: Exception | None = None
        self.wait_s = 0.0

    async def resolve(self, did: str, *, now: float):
        self.asked += 1
        await asyncio.sleep(self.wait_s)
        if self.error is not None:
            raise self.error
        return await self.resolver.resolve(did, now=now)


@pytest.fixture
def clock() -> Steps:
    return Steps()


@pytest.fixture
def counting(resolver) -> Counting:
    return Counting(resolver)


@pytest.fixture
def open_connections() -> list[object]:
    return []


@pytest.fixture
def health(host, clock, counting, open_connections) -> Health:
    watched = dataclasses.replace(host, clock=clock, resolver=counting)
    return Health(watched, connections=lambda: len(open_connections))


async def test_a_service_that_can_serve_is_ready(health) -> None:
    assert await health.ready()


async def test_a_flood_of_probes_asks_once_a_second(health, counting, clock) -> None:
    counting.wait_s = 0.01
    assert all(await asyncio.gather(*(health.ready() for _ in range(1000))))
    assert counting.asked == 1
    for _ in range(1000):
        assert await health.ready()
    assert counting.asked == 1
    clock.at += 1
    assert await health.ready()
    assert counting.asked == 2


async def test_a_probe_that_is_given_up_takes_nobody_with_it(health, counting) -> None:
    counting.wait_s = 0.02
    first = asyncio.create_task(health.ready())
    await asyncio.sleep(0)
    second = asyncio.create_task(health.ready())
    await asyncio.sleep(0)
    first.cancel()
    assert await second


async def test_a_service_that_stops_is_not_ready(health, counting) -> None:
    assert await health.ready()
    health.stop()
    assert not await health.ready()


async def test_a_full_service_is_not_ready(health, open_connections, host) -> None:
    open_connections.extend(range(host.config.max_connections - 1))
    assert await health.ready()
    open_connections.append(1)
    assert not await health.ready()


@pytest.mark.parametrize(
    "error",
    [
        ResolutionError("x", code=Code.RECORD_UNREACHABLE),
        RuntimeError("somebody's own resolver"),
    ],
)
async def test_it_comes_and_goes_with_the_registry(
    health, counting, clock, error, caplog
) -> None:
    caplog.set_level(logging.INFO, "sage.service")
    assert await health.ready()
    counting.error = error
    for _ in range(3):
        clock.at += 1
        assert not await health.ready()
    counting.error = None
    clock.at += 1
    assert await health.ready()
    events = [record.event for record in caplog.records]
    assert events == ["not_ready", "ready"]
    expected = getattr(error, "code", "other")
    assert caplog.records[0].code == expected


async def test_a_registry_that_does_not_answer(health, counting, monkeypatch) -> None:
    monkeypatch.setattr("sage.service.health.READINESS_TIMEOUT_S", 0.01)
    counting.wait_s = 5
    assert not await health.ready()


async def test_a_revoked_key(health, resolver, grace, clock) -> None:
    record = revoke_key(grace.record, "kem-1", unix_time=clock.unix_time())
    resolver.publish(record)
    assert not await health.ready()


async def test_an_inactive_record(health, resolver, grace) -> None:
    resolver.publish(deactivate(grace.record))
    assert not await health.ready()


async def test_a_record_with_somebody_elses_keys(host, clock) -> None:
    stranger = sage.Agent.generate(GRACE)
    watched = dataclasses.replace(
        host, clock=clock, resolver=sage.MemoryResolver([stranger.record])
    )
    assert not await Health(watched, connections=lambda: 0).ready()


async def test_a_guard_in_quarantine_then_out_of_it(host, clock) -> None:
    watched = dataclasses.replace(host, clock=clock, guard=sage.MemoryReplayGuard())
    health = Health(watched, connections=lambda: 0)
    assert not await health.ready()
    clock.at += 361
    clock.wall += 361
    assert await health.ready()


async def test_a_guard_that_is_full_or_closed(host, clock) -> None:
    guard = sage.MemoryReplayGuard(assume_no_history=True, max_entries=3)
    health = Health(
        dataclasses.replace(host, clock=clock, guard=guard), connections=lambda: 0
    )
    taken = Reservation(
        sender=ADA, recipient=GRACE, id="1", nonce="2", expires=clock.wall + 300
    )
    await guard.reserve(taken, now=clock.at, unix_time=clock.wall)
    assert not await health.ready()
    guard.close()
    clock.at += 1
    assert not await health.ready()


async def test_probes_do_not_fill_the_guard(host, clock) -> None:
    guard = sage.MemoryReplayGuard(assume_no_history=True)
    health = Health(
        dataclasses.replace(host, clock=clock, guard=guard), connections=lambda: 0
    )
    for _ in range(1000):
        clock.at += 1
        clock.wall += 1
        assert await health.ready()
    assert len(guard) <= 2 * 31
