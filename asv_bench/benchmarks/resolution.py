"""Resolving an agent's record: from memory, past a limit, and anew.

One call is a thousand questions in one event loop, except where a record is read. The
registry is in memory: what a network adds is measured by
`asv_bench/scripts/resolution_cache.py`.
"""

from __future__ import annotations

import asyncio

import sage
from sage.identity import VersionFloor
from sage.runtime import Cache

ADA, NOBODY = (f"did:sage:web:agents.example:{name}" for name in ("ada", "nobody"))
QUESTIONS = 1000
NOW = 100.0


class Resolution:
    """A `CachingResolver` before a registry in memory."""

    warmup_time = 0.1

    def setup(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.memory = sage.MemoryResolver([sage.Agent.generate(ADA).record])
        self.cache = sage.CachingResolver(self.memory)
        self.loop.run_until_complete(self.cache.resolve(ADA, now=NOW))

    def teardown(self) -> None:
        self.loop.run_until_complete(self.cache.close())
        self.loop.close()

    def time_hit_1000(self) -> None:
        self.loop.run_until_complete(self.ask(ADA))

    def time_not_there_1000(self) -> None:
        self.loop.run_until_complete(self.ask(NOBODY))

    def time_miss_100(self) -> None:
        self.loop.run_until_complete(self.ask_anew())

    async def ask(self, did: str) -> None:
        resolve = self.cache.resolve
        for _ in range(QUESTIONS):
            try:
                await resolve(did, now=NOW)
            except sage.SageError:
                continue

    async def ask_anew(self) -> None:
        for _ in range(QUESTIONS // 10):
            self.cache.forget(ADA)
            await self.cache.resolve(ADA, now=NOW)


class Floor:
    """What every reading passes."""

    def setup(self) -> None:
        self.record = sage.Agent.generate(ADA).record
        self.floor = VersionFloor()
        self.floor.admit(self.record)

    def teardown(self) -> None:
        self.floor.close()

    def time_admit_100(self) -> None:
        for _ in range(QUESTIONS // 10):
            self.floor.admit(self.record)


class CacheGet:
    """The cache below, alone, on whichever library is installed."""

    def setup(self) -> None:
        self.cache: Cache[int] = Cache(4096)
        for number in range(4096):
            self.cache.put(f"{ADA}-{number}", number, expires_at=NOW)

    def time_get_1000(self) -> None:
        get, key = self.cache.get, f"{ADA}-77"
        for _ in range(QUESTIONS):
            get(key, now=0.0)
