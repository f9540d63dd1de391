"""Sessions by the hundred thousand: found, added, removed, expired.

One call is many operations, as its name says. What is made in ``setup`` is not
measured, but takes most of the time: asv fills a manager anew for each sample.
`asv_bench/scripts/manager_sizes.py` measures the same with a million, and judges.
"""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from .house import SEED, STRICT, needs

version = "1"
timer = process_time
LIVE = 10_000 if STRICT else 50_000
MANY = 10_000


def make(number: int, now: float = 0.0) -> Any:
    """Make a session whose id no other number has."""
    Session, Role = needs("sage.session", "Session"), needs("sage.types", "Role")
    th = number.to_bytes(32, "big")
    return Session.v0_10(SEED, th, Role.INITIATOR, now=now)


def filled(count: int) -> Any:
    """Fill a manager; 10,000 sessions come up in each tick from 600 s on."""
    manager = needs("sage.session", "SessionManager")(count + MANY)
    for number in range(count):
        manager.add(make(number, now=float(number // MANY)))
    return manager


@cache
def full() -> Any:
    """Return a full manager that nobody changes."""
    manager = filled(LIVE)
    for number, session in enumerate(list(manager)[:: LIVE // MANY]):
        manager.bind(f"key {number}", session.id)
    return manager


class Lookup:
    """Find sessions among 50,000, beside a plain dict of the same."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        self.manager = full()
        self.plain = {session.id: session for session in self.manager}
        self.ids = [i.encode().decode() for i in self.plain][:: LIVE // MANY]
        self.keys = [f"key {number}" for number in range(MANY)]

    def time_get_10000(self) -> None:
        for session_id in self.ids:
            self.manager.get(session_id)

    def time_get_bound_10000(self) -> None:
        for key_id in self.keys:
            self.manager.get_bound(key_id)

    def time_plain_dict_get_10000(self) -> None:
        for session_id in self.ids:
            self.plain.get(session_id)

    def time_snapshot(self) -> None:
        for _ in self.manager:
            pass


class Changes:
    """Take sessions in and let them go, among 50,000 others."""

    number = 1
    rounds = 1
    repeat = 3
    warmup_time = 0

    def setup(self) -> None:
        self.manager = filled(LIVE)
        first = LIVE * 2
        self.fresh = [make(n, now=100.0) for n in range(first, first + MANY)]
        self.ids = [session.id for session in self.manager][:MANY]

    def time_add_10000(self) -> None:
        for session in self.fresh:
            self.manager.add(session)

    def time_remove_10000(self) -> None:
        for session_id in self.ids:
            self.manager.remove(session_id)

    def time_expire_10000(self) -> None:
        assert self.manager.expire(600.0) == MANY

    def time_expire_nothing(self) -> None:
        assert self.manager.expire(599.0) == 0


class Eviction:
    """Make room for 1,000 where all that is there was used since it was filed."""

    number = 1
    rounds = 1
    repeat = 3
    warmup_time = 0

    def setup(self) -> None:
        SessionManager, Policy = needs(
            "sage.session", "SessionManager", "CapacityPolicy"
        )
        self.manager = SessionManager(MANY, policy=Policy.EVICT_IDLEST)
        for number in range(MANY):
            session = make(number)
            self.manager.add(session)
            session.seal(b"", now=100.0 + number // 100)
        self.fresh = [make(n, now=300.0) for n in range(MANY, MANY + 1000)]

    def time_evict_1000(self) -> None:
        for session in self.fresh:
            self.manager.add(session)


class Sizes:
    """What many sessions cost a process."""

    def track_resident_bytes_per_session(self) -> float:
        """Return by how much resident memory grows with each of 50,000."""
        before = resident_bytes()
        manager = filled(LIVE)
        return (resident_bytes() - before) / len(manager)

    track_resident_bytes_per_session.unit = "bytes"

    def track_collection_ms(self) -> float:
        """Return by how much 50,000 sessions prolong a full garbage collection."""
        without = min(collect_s() for _ in range(11))
        manager = filled(LIVE)
        with_them = min(collect_s() for _ in range(11))
        assert len(manager) == LIVE
        return (with_them - without) * 1e3

    track_collection_ms.unit = "ms"


def collect_s() -> float:
    start = perf_counter()
    gc.collect()
    return perf_counter() - start


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
