"""What only the guard in memory promises: bounded memory, threads."""

from __future__ import annotations

import asyncio
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from sage.envelope import MemoryReplayGuard, Reservation
from sage.envelope.replay_guard import PURGE_ENTRIES
from sage.errors import ReplayError
from sage.types import Did

ADA = Did("did:sage:web:agents.example.com:ada")
GRACE = Did("did:sage:web:agents.example.com:grace")
T0 = 1_730_000_000


def reservation(name: str | None = None, *, expires: int = T0 + 60) -> Reservation:
    name = name or str(uuid.uuid4())
    return Reservation(
        sender=ADA, recipient=GRACE, id=name, nonce=name, expires=expires
    )


async def test_expired_entries_are_dropped_a_few_at_a_time() -> None:
    guard = MemoryReplayGuard(assume_no_history=True)
    for _ in range(500):
        await guard.reserve(reservation(expires=T0), now=0.0, unix_time=T0)
    assert len(guard) == 1000
    late = T0 + 30
    before = len(guard)
    while before > PURGE_ENTRIES:
        await guard.reserve(reservation(), now=30.0, unix_time=late)
        assert before - PURGE_ENTRIES <= len(guard) < before
        before = len(guard)
    for _ in range(3):
        await guard.reserve(reservation(), now=30.0, unix_time=late)
    # Only what was reserved on the way, two entries each, is left.
    held = len(guard)
    await guard.reserve(reservation(), now=30.0, unix_time=late)
    assert len(guard) == held + 2 < 100


async def test_memory_stays_bounded_under_steady_traffic() -> None:
    guard = MemoryReplayGuard(assume_no_history=True)
    most = 0
    for second in range(1000):
        unix_time = T0 + second
        for _ in range(5):
            what = reservation(expires=unix_time + 10)
            await guard.reserve(what, now=float(second), unix_time=unix_time)
        most = max(most, len(guard))
    # Two entries, five a second, 40 s each.
    assert most == 2 * 5 * 40
    assert len(guard._expiring) == len(guard._seconds) == 40


async def test_an_id_reserved_anew_outlives_its_first_entry() -> None:
    guard = MemoryReplayGuard(assume_no_history=True)
    await guard.reserve(reservation("again", expires=T0), now=0.0, unix_time=T0)
    for _ in range(PURGE_ENTRIES):
        await guard.reserve(reservation(expires=T0), now=0.0, unix_time=T0)
    # Its first entry has expired, and others were dropped before it.
    again = reservation("again")
    await guard.reserve(again, now=30.0, unix_time=T0 + 30)
    for _ in range(5):
        await guard.reserve(reservation(), now=30.0, unix_time=T0 + 30)
    assert len(guard) == 2 * 6
    with pytest.raises(ReplayError):
        await guard.reserve(again, now=31.0, unix_time=T0 + 31)


async def test_closing_forgets() -> None:
    guard = MemoryReplayGuard(assume_no_history=True)
    await guard.reserve(reservation(), now=0.0, unix_time=T0)
    guard.close()
    assert len(guard) == 0


def test_threads_share_it() -> None:
    guard = MemoryReplayGuard(assume_no_history=True)
    names = [str(uuid.uuid4()) for _ in range(500)]
    accepted: list[str] = []
    barrier = threading.Barrier(4)

    async def hammer() -> None:
        for name in names:
            barrier.wait()
            try:
                await guard.reserve(reservation(name), now=0.0, unix_time=T0)
            except ReplayError:
                continue
            accepted.append(name)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(asyncio.run, hammer()) for _ in range(4)]:
                done.result()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(accepted) == sorted(names)
