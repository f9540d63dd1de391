"""Resolving an agent's record: from memory, past a limit, and anew.

One call is a thousand questions in one event loop, except where a record is read. The
registry is in memory: what a network adds is measured by
`asv_bench/scripts/resolution_cache.py`.
"""

from __future__ import annotations

import asyncio
from time import process_time

from .house import ADA, needs

version = "1"
timer = process_time
NOBODY = "did:sage:web:agents.example:nobody"
QUESTIONS = 1000
NOW = 100.0


class Resolution:
    """A `CachingResolver` before a registry in memory."""

    number = 1
    repeat = 4
    warmup_time = 0.05

    def setup(self) -> None:
        Caching, Memory, Agent, self.error = needs(
            "sage", "CachingResolver", "MemoryResolver", "Agent", "SageError"
        )
        self.loop = asyncio.new_event_loop()
        self.memory = Memory([Agent.generate(ADA).record])
        self.cache = Caching(self.memory)
        self.loop.run_until_complete(self.cache.resolve(ADA, now=NOW))

    def teardown(self) -> None:
        if hasattr(self, "cache"):
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
            except self.error:
                continue

    async def ask_anew(self) -> None:
        for _ in range(QUESTIONS // 10):
            self.cache.forget(ADA)
            await self.cache.resolve(ADA, now=NOW)


class Floor:
    """What every reading passes."""

    number = 1
    repeat = 4
    warmup_time = 0.05

    def setup(self) -> None:
        VersionFloor = needs("sage.identity", "VersionFloor")
        self.record = needs("sage", "Agent").generate(ADA).record
        self.floor = VersionFloor()
        self.floor.admit(self.record)

    def teardown(self) -> None:
        if hasattr(self, "floor"):
            self.floor.close()

    def time_admit_100(self) -> None:
        for _ in range(QUESTIONS // 10):
            self.floor.admit(self.record)
