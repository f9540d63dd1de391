"""Two threads, each with a session of its own, beside one.

Records of 16 KiB go through the cipher without the interpreter's lock where the engine
lets go of it. On one core there is nothing to win and nothing is measured.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, ClassVar

from .house import AEADS, SEED, TH, needs, needs_method

version = "1"
SIZE = 16384
BATCH, BATCHES = 64, 8


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Threads:
    """Throughput of two, in multiples of that of one; the best of nine rounds."""

    params: ClassVar = [["seal 16 KiB", "seal_many 1 KiB"], AEADS]
    param_names: ClassVar = ["what", "aead"]
    unit = "times the throughput of one"

    def setup(self, what: str, aead: str) -> None:
        if cores() < 2:
            raise NotImplementedError("needs two cores")
        Session, Role = needs("sage.session", "Session"), needs("sage.types", "Role")
        needs_method(Session, "stream")
        self.sessions = [
            Session.stream(SEED, TH, bytes([n] * 16), Role.INITIATOR, aead)
            for n in range(2)
        ]
        self.work = self._seal if what == "seal 16 KiB" else self._seal_many

    def track_two_threads(self, what: str, aead: str) -> float:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(self.work, self.sessions))
            one, two = [], []
            for _ in range(9):
                start = perf_counter()
                self.work(self.sessions[0])
                one.append(perf_counter() - start)
                start = perf_counter()
                list(threads.map(self.work, self.sessions))
                two.append(perf_counter() - start)
        return 2 * min(one) / min(two)

    @staticmethod
    def _seal(session: Any) -> None:
        seal, plaintext = session.seal, bytes(SIZE)
        for _ in range(BATCH * BATCHES):
            seal(plaintext)

    @staticmethod
    def _seal_many(session: Any) -> None:
        seal_many, plaintexts = session.seal_many, [bytes(1024)] * BATCH
        for _ in range(BATCHES * 4):
            seal_many(plaintexts)


class Shared:
    """Two threads on one batch of 64 records, in multiples of one; best of nine."""

    params: ClassVar = [[1024, 16384], AEADS]
    param_names: ClassVar = ["bytes", "aead"]
    unit = "times the throughput of one"

    def setup(self, size: int, aead: str) -> None:
        if cores() < 2:
            raise NotImplementedError("needs two cores")
        Session, Role = needs("sage.session", "Session"), needs("sage.types", "Role")
        needs_method(Session, "stream")
        session = Session.stream(SEED, TH, bytes(16), Role.INITIATOR, aead)
        plaintexts = [bytes(size)] * BATCH

        def seal(threads: int) -> None:
            for _ in range(BATCHES):
                session.seal_many(plaintexts, threads=threads)

        self.seal = seal
        try:
            session.seal_many([b""], threads=2)
        except TypeError as exc:
            raise NotImplementedError("batches of one thread only") from exc

    def track_two_threads(self, size: int, aead: str) -> float:
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(9):
            for threads, spent in times.items():
                start = perf_counter()
                self.seal(threads)
                spent.append(perf_counter() - start)
        return min(times[1]) / min(times[2])
