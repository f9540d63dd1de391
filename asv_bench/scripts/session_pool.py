"""Measure whether a pool of session shells would beat making sessions anew.

    python asv_bench/scripts/session_pool.py
    SAGE_NO_EXTENSIONS=1 python asv_bench/scripts/session_pool.py

The pure twin is pooled for real: a shell is wiped, kept, and derives its keys again
when it is acquired. A compiled shell cannot be started anew, so its pool is given the
best that it could be: the allocation costs nothing at all, and only the keys and the
pool's own bookkeeping remain.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from threading import Lock
from time import perf_counter

from sage._accel import SessionCore, backend
from sage.session import V0_10, Session
from sage.types import Role

SEED, TH = bytes(range(32)), bytes(range(32, 64))
ROUNDS, CALLS = 15, 5000


class ShellPool:
    """As plain as a pool can be that threads may share."""

    def __init__(self) -> None:
        self._free: list[SessionCore] = []
        self._lock = Lock()

    def acquire(self) -> SessionCore:
        """Return a shell that is in use by nobody."""
        with self._lock:
            return self._free.pop()

    def release(self, shell: SessionCore) -> None:
        """Wipe a shell and keep it."""
        shell.close()
        with self._lock:
            self._free.append(shell)


def construct() -> None:
    """Make a session, wipe it, drop it."""
    Session(V0_10, SEED, TH, Role.INITIATOR, now=0.0).close()


def pooled(pool: ShellPool) -> None:
    """Take a shell, derive its keys, wipe it, give it back."""
    shell = pool.acquire()
    shell.__init__(V0_10, SEED, TH, Role.INITIATOR, now=0.0)  # type: ignore[misc]
    pool.release(shell)


def bookkeeping(pool: ShellPool) -> None:
    """Take a shell that is wiped already, and give it back."""
    pool.release(pool.acquire())


def allocate(size: int) -> None:
    """Ask for as much memory as a session needs, and free it."""
    bytearray(size)


def best_ns(work: Callable[[], object]) -> float:
    """Return what one call costs in the quietest round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(CALLS):
            work()
        best = min(best, perf_counter() - start)
    return best / CALLS * 1e9


def main() -> int:
    """Print both ways, and which is faster."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    core = backend()["core"]
    shell = Session(V0_10, SEED, TH, Role.INITIATOR, now=0.0)
    pool = ShellPool()
    pool.release(shell)
    plain = best_ns(construct)
    keeping = best_ns(lambda: bookkeeping(pool))
    print(f"{core}, Python {sys.version.split()[0]}, ns for one session")
    print(f"{'made, wiped, dropped':44}{plain:9,.0f}")
    if core == "python":
        with_pool = best_ns(lambda: pooled(pool))
        print(f"{'acquired, keyed, wiped, released':44}{with_pool:9,.0f}")
    else:
        wiping = best_ns(shell.close)
        memory = best_ns(lambda: allocate(sys.getsizeof(shell)))
        with_pool = plain - memory + keeping - wiping
        print(f"{'  of it memory, allocated and freed':44}{memory:9,.0f}")
        print(f"{'a pool, to take and to give back':44}{keeping - wiping:9,.0f}")
        print(f"{'acquired, keyed, wiped, released, at best':44}{with_pool:9,.0f}")
    print(f"{'with a pool, times without':44}{with_pool / plain:9.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
