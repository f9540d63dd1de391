"""Measure what one reservation takes, in each of the three replay guards.

    python asv_bench/scripts/replay_guards.py

Starts a Redis server of its own on loopback, once without persistence and once with
every write synced. Nothing is judged: the last figure is that of the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import sage
from sage.envelope import ReplayGuard, Reservation

RESERVATIONS = 2000
AT_ONCE = 32
ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))


def reservation() -> Reservation:
    return Reservation(
        sender=ADA,
        recipient=GRACE,
        id=str(uuid.uuid4()),
        nonce=uuid.uuid4().hex[:22],
        expires=int(time.time()) + 60,
        session_id="S" * 22,
        seq=uuid.uuid4().int >> 64,
    )


async def reserve(guard: ReplayGuard, wanted: Reservation) -> float:
    start = perf_counter()
    await guard.reserve(wanted, now=time.monotonic(), unix_time=int(time.time()))
    return (perf_counter() - start) * 1e6


async def measure(name: str, guard: ReplayGuard) -> None:
    """Print the median of one after the other, and how many a second at once."""
    for _ in range(50):
        await reserve(guard, reservation())
    all_of_them = [reservation() for _ in range(RESERVATIONS)]
    took = [await reserve(guard, wanted) for wanted in all_of_them]
    queue = iter([reservation() for _ in range(RESERVATIONS)])

    async def work() -> None:
        for wanted in queue:
            await reserve(guard, wanted)

    start = perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    rate = RESERVATIONS / (perf_counter() - start)
    print(f"{name:30}{median(took):10,.1f}{rate:12,.0f}", flush=True)


@contextlib.contextmanager
def redis(folder: Path, *options: str) -> Iterator[str]:
    """Run a server, and yield its URL."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        sys.exit("no redis-server: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(
        [*command, "--dir", str(folder), *options], stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(500):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port)),
            ):
                break
            time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()
        server.wait()


async def on_redis(name: str, url: str) -> None:
    guard = sage.RedisReplayGuard(url, assume_no_history=True)
    await measure(name, guard)
    await guard.aclose()


def main() -> None:
    """Measure all of them."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(f"{'':30}{'median, µs':>10}{f'{AT_ONCE} at once, /s':>12}")
    asyncio.run(measure("in memory", sage.MemoryReplayGuard(assume_no_history=True)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guard"
        with contextlib.closing(
            sage.SqliteReplayGuard(path, assume_no_history=True)
        ) as guard:
            asyncio.run(measure("SQLite", guard))
    synced = ("--appendonly", "yes", "--appendfsync", "always")
    for name, options in (("Redis", ()), ("Redis, every write synced", synced)):
        with (
            tempfile.TemporaryDirectory() as folder,
            redis(Path(folder), *options) as url,
        ):
            asyncio.run(on_redis(name, url))


if __name__ == "__main__":
    main()
