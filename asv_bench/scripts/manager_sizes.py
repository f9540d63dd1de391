"""Measure what a session manager promises, and say whether it keeps it.

    python asv_bench/scripts/manager_sizes.py                     # or: make sizes
    python asv_bench/scripts/manager_sizes.py --sessions 100000   # a smaller machine

Each figure is measured in a process of its own. The limits are those of the compiled
core on Linux with a million sessions; with ``SAGE_NO_EXTENSIONS=1`` or fewer sessions
the figures are printed without a verdict. Exit status: 0 kept, 1 missed.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from sage._accel import backend
from sage.session import Session, SessionManager
from sage.types import Role

SEED = bytes(range(32))
MILLION = 1_000_000
EXPIRING = 10_000  # in one tick
COLLECTED = 300_000  # sessions alive during a garbage collection
Figures = dict[str, float]


def make(number: int, now: float = 0.0) -> Session:
    """Make a session whose id no other number has."""
    th = number.to_bytes(32, "big")
    return Session.v0_10(SEED, th, Role.INITIATOR, now=now)


def filled(count: int) -> SessionManager:
    """Fill a manager so that each tick from 600 s on has 10,000 to expire."""
    manager = SessionManager(count)
    for number in range(count):
        manager.add(make(number, now=float(number // EXPIRING)))
    return manager


def idle_session(_: int) -> Figures:
    """Count what the allocator is asked for, by every object of a session."""
    kept = [make(n) for n in range(1000)]
    tracemalloc.start()
    fresh: list[Session | None] = [None] * 1000
    blocks, size = allocations()
    for number in range(1000):
        fresh[number] = make(number)
    after, grown = allocations()
    assert len(kept) == len(fresh)
    return {
        "idle session, bytes": (grown - size) / 1000,
        "idle session, blocks": (after - blocks) / 1000,
    }


def allocations() -> tuple[int, int]:
    gc.collect()
    stats = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(False, tracemalloc.__file__)]
    )
    found = stats.statistics("filename")
    return sum(s.count for s in found), sum(s.size for s in found)


def resident(count: int) -> Figures:
    """Read the whole process's resident memory with the sessions in it."""
    before = resident_bytes()
    manager = filled(count)
    after = resident_bytes()
    assert len(manager) == count
    return {
        "resident memory, GB": after / 1e9,
        "of it for each session, bytes": (after - before) / count,
    }


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def lookup(count: int) -> Figures:
    """Compare with a dict of the same entries, in the same random order."""
    manager = filled(count)
    plain = {session.id: session for session in manager}
    ids = random.Random(1).sample(sorted(plain), min(count, 200_000))
    ids = [i.encode().decode() for i in ids]  # as from a wire: in neither table
    rounds = []
    for _ in range(9):  # alternating, so that a busy machine hits both
        dict_s = timed(lambda: [plain.get(i) for i in ids])
        rounds.append((dict_s, timed(lambda: [manager.get(i) for i in ids])))
    dict_s, manager_s = (median(column) for column in zip(*rounds, strict=True))
    return {
        "lookup, times a dict get": manager_s / dict_s,
        "dict get, ns": dict_s / len(ids) * 1e9,
    }


def expiry(count: int) -> Figures:
    """Expire 10,000 of all in a tick, again and again; close and free included.

    Judged is the median of the quietest 15 ticks in a row: others use the machine.
    """
    manager = filled(count)
    took = []
    for tick in range(min(90, count // EXPIRING)):
        start = perf_counter()
        expired = manager.expire(600.0 + tick)
        took.append((perf_counter() - start) * 1e3)
        assert expired == EXPIRING
    start = perf_counter()
    assert manager.expire(600.0) == 0
    nothing = perf_counter() - start
    return {
        "10,000 expire in a tick, ms": min(
            median(took[first : first + 15]) for first in range(0, len(took), 15)
        ),
        "median of all such ticks, ms": median(took),
        "the slowest such tick, ms": max(took),
        "a tick without any, µs": nothing * 1e6,
    }


def collection(count: int) -> Figures:
    """Compare full garbage collections without and with sessions alive."""
    without = min(timed(gc.collect) for _ in range(21))
    manager = filled(min(count, COLLECTED))
    with_them = min(timed(gc.collect) for _ in range(21))
    assert len(manager)
    return {
        "a full collection longer by, ms": (with_them - without) * 1e3,
        "without sessions, ms": without * 1e3,
    }


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


MEASURES = [idle_session, resident, lookup, expiry, collection]
LIMITS = {
    "idle session, bytes": 600,
    "idle session, blocks": 4,
    "resident memory, GB": 0.8,
    "lookup, times a dict get": 1.6,
    "10,000 expire in a tick, ms": 10,
    "a full collection longer by, ms": 1,
}


def apart(name: str, sessions: int) -> Figures:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--sessions", str(sessions), "--only", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def report(sessions: int) -> bool:
    """Print the table; say whether every limit was kept."""
    judged = backend()["core"] == "cython" and sessions >= MILLION
    print(
        f"{sessions:,} sessions, {backend()['core']}, Python {sys.version.split()[0]}"
    )
    print(f"{'':34}{'measured':>12}{'limit':>8}")
    kept = True
    for measure in MEASURES:
        for what, value in apart(measure.__name__, sessions).items():
            limit = LIMITS.get(what) if judged else None
            verdict = "" if limit is None else "pass" if value <= limit else "FAIL"
            kept &= verdict != "FAIL"
            shown = "" if limit is None else f"{limit:g}"
            print(f"{what:34}{value:12,.3f}{shown:>8}  {verdict}", flush=True)
    return kept


def main() -> int:
    """Measure everything, or one thing for the process that asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=MILLION)
    parser.add_argument("--only", choices=[m.__name__ for m in MEASURES])
    arguments = parser.parse_args()
    if arguments.sessions < EXPIRING:
        parser.error(f"at least {EXPIRING} sessions")
    for measure in MEASURES:
        if measure.__name__ == arguments.only:
            print(json.dumps(measure(arguments.sessions)))
            return 0
    return 0 if report(arguments.sessions) else 1


if __name__ == "__main__":
    sys.exit(main())
