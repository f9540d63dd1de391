"""What the benchmarks share: names that old commits lack, and ratios."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from statistics import median
from typing import Any

SEED, TH = bytes(range(32)), bytes(range(32, 64))
STREAM_ID = bytes(16)
ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))
AEADS = ["chacha20poly1305", "aes-256-gcm"]
SIZES = [64, 1024, 16384]

# `make bench-check` sets this: today's commit lacks nothing, and once is enough.
STRICT = os.environ.get("SAGE_BENCH_STRICT") == "1"


@cache
def needs(module: str, *names: str) -> Any:
    """Return what a commit may not have yet: one name, or several as a tuple.

    Raises:
        NotImplementedError: it has not; asv then says "n/a".
    """
    try:
        room = import_module(module)
        found = [getattr(room, name) for name in names]
    except (ImportError, AttributeError) as exc:
        if STRICT:
            raise
        raise NotImplementedError(f"{module} lacks it: {exc}") from exc
    return found[0] if len(names) == 1 else tuple(found)


def needs_method(owner: Any, name: str) -> None:
    """Mark as not available what a class cannot do yet."""
    if not hasattr(owner, name):
        if STRICT:
            raise AttributeError(name)
        raise NotImplementedError(f"{owner} has no {name}")


def median_ratio(
    act: Callable[[], object],
    reference: Callable[[], object],
    *,
    rounds: int = 1 if STRICT else 31,
    loops: tuple[int, int] = (1, 1),
) -> float:
    """Return how many times the reference an act takes, in this thread's CPU time.

    Both take turns, so that whatever slows the machine slows both; the collector
    rests meanwhile.

    Args:
        act: does it ``loops[0]`` times.
        reference: does it ``loops[1]`` times.
        rounds: of which the median counts, of each on its own.
        loops: how often each does it in a call.
    """
    times: tuple[list[int], list[int]] = ([], [])
    turns: Sequence[tuple[Callable[[], object], list[int]]] = (
        (act, times[0]),
        (reference, times[1]),
    )
    clock, collecting = time.thread_time_ns, gc.isenabled()
    act()
    reference()
    gc.disable()
    try:
        for _ in range(rounds):
            for work, spent in turns:
                start = clock()
                work()
                spent.append(clock() - start)
    finally:
        if collecting:
            gc.enable()
    ours, theirs = (median(spent) / n for spent, n in zip(times, loops, strict=True))
    return ours / theirs
