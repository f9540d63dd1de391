"""Compare a cached resolution with one from a registry over TLS on loopback.

    python asv_bench/scripts/resolution_cache.py        # or: make resolution

The registry is `sage.Registry` on uvicorn, in this process; the connection to it is
kept alive. The limits: a cached resolution takes 2 µs at most, and is at least 100
times faster than one that is not cached. Exit status: 0 kept, 1 missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter

import trustme

import sage
from sage.identity import write_record_file
from sage.runtime import Cache
from sage.service import serving

ADA = "did:sage:web:localhost:ada"
ROUNDS = 9
HITS = 50_000
READS = 50
HIT_MAX_US = 2.0
TIMES_MIN = 100.0


@contextlib.asynccontextmanager
async def registry(folder: Path):
    """Serve one record over TLS; yield a resolver that reads it."""
    authority = trustme.CA()
    ca, certificate = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(str(ca))
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    write_record_file(folder / "records", sage.Agent.generate(ADA).record)
    app = sage.Registry(folder / "records")
    async with serving(app, certificate=certificate) as port:
        address = sage.HostAddress(address="127.0.0.1", port=port, ca=ca)
        resolver = sage.WebResolver(host_map={"localhost": address})
        yield resolver
        await resolver.close()


async def timed(resolver: sage.WebResolver, questions: int, *, now: float) -> float:
    """Return the microseconds that one question takes."""
    resolve = resolver.resolve
    start = perf_counter()
    for _ in range(questions):
        await resolve(ADA, now=now)
    return (perf_counter() - start) / questions * 1e6


async def measure(folder: Path) -> tuple[float, float]:
    """Return the medians of both, in microseconds; the rounds alternate."""
    async with registry(folder) as source:
        cache = sage.CachingResolver(source)
        rounds = []
        for _ in range(ROUNDS):
            now = monotonic()
            await cache.resolve(ADA, now=now)
            anew_us = await timed(source, READS, now=now)
            rounds.append((await timed(cache, HITS, now=now), anew_us))
        await cache.close()
    hit_us, anew_us = (median(column) for column in zip(*rounds, strict=True))
    return hit_us, anew_us


def main() -> int:
    """Measure, print, judge."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        hit_us, anew_us = asyncio.run(measure(Path(folder)))
    rows = [
        ("a cached resolution, µs", hit_us, f"<= {HIT_MAX_US:g}", hit_us <= HIT_MAX_US),
        (
            "one from the registry, times that",
            anew_us / hit_us,
            f">= {TIMES_MIN:g}",
            anew_us / hit_us >= TIMES_MIN,
        ),
    ]
    print(f"Python {sys.version.split()[0]}, {Cache(1).backend}")
    print(f"one from the registry, µs{anew_us:22,.1f}")
    for what, value, limit, kept in rows:
        print(f"{what:34}{value:13,.3f}{limit:>10}  {'pass' if kept else 'FAIL'}")
    return 0 if all(row[3] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
