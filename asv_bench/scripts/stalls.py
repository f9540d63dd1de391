"""Measure how often this machine takes a core away, and for how long.

    python asv_bench/scripts/stalls.py        # or: make stalls

One process on each core reads the clock and does nothing else. Where two readings lie
far apart, the core was not ours: another process had it, or whoever runs the virtual
machine. A latency's tail is no better than that, whatever a service does.
"""

from __future__ import annotations

import argparse
import os
from math import inf
from multiprocessing import Barrier, Pool
from multiprocessing.synchronize import Barrier as BarrierType
from time import perf_counter

_SHORTEST_S = 0.000_2

_together: BarrierType


def _join(barrier: BarrierType) -> None:
    global _together
    _together = barrier


def watch(core: int, duration_s: float) -> list[float]:
    """Return how long each stall of a core was, in seconds.

    Args:
        core: its number.
        duration_s: for how long to watch.
    """
    os.sched_setaffinity(0, {core})
    _together.wait()
    stalls: list[float] = []
    before = perf_counter()
    end = before + duration_s
    while before < end:
        now = perf_counter()
        if now - before > _SHORTEST_S:
            stalls.append(now - before)
        before = now
    return stalls


def main() -> None:
    """Watch all cores at once, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--duration", type=float, default=10, help="seconds")
    duration_s = parser.parse_args().duration
    if not 0 < duration_s < inf:
        parser.error("--duration must be a positive number of seconds")
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("this system does not let a process choose its core")
    cores = sorted(os.sched_getaffinity(0))
    barrier = Barrier(len(cores))
    with Pool(len(cores), initializer=_join, initargs=(barrier,)) as pool:
        tasks = [(core, duration_s) for core in cores]
        watched = pool.starmap(watch, tasks, chunksize=1)
    print("core   stalls/s   mean ms   longest ms   of its time")
    for core, stalls in zip(cores, watched, strict=True):
        lost_s = sum(stalls)
        mean_ms = lost_s / len(stalls) * 1e3 if stalls else 0.0
        print(
            f"{core:4}   {len(stalls) / duration_s:8.1f}   {mean_ms:7.2f}"
            f"   {max(stalls, default=0) * 1e3:10.2f}   {lost_s / duration_s:11.2%}"
        )


if __name__ == "__main__":
    main()
