"""Borrowed buffers, and the cache that resolution builds on, beside plain Python."""

from __future__ import annotations

from time import process_time
from typing import ClassVar

from .house import ADA, needs

version = "1"
timer = process_time
MANY = 1000


class Buffers:
    """A buffer taken, written and given back, wiped; beside a fresh bytearray."""

    params: ClassVar = [[1024, 16384, 65536]]
    param_names: ClassVar = ["bytes"]
    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self, size: int) -> None:
        self.pool = needs("sage.runtime", "BufferPool")()
        self.word = b"1234"

    def time_borrow_1000(self, size: int) -> None:
        acquire, word = self.pool.acquire, self.word
        for _ in range(MANY):
            with acquire(size) as view:
                view[:4] = word

    def time_fresh_bytearray_1000(self, size: int) -> None:
        word = self.word
        for _ in range(MANY):
            data = bytearray(size)
            data[:4] = word


class Cache:
    """A cache of 4,096, on whichever library is installed."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        self.cache = needs("sage.runtime", "Cache")(4096)
        for number in range(4096):
            self.cache.put(f"{ADA}-{number}", number, expires_at=100.0)

    def time_get_1000(self) -> None:
        get, key = self.cache.get, f"{ADA}-77"
        for _ in range(MANY):
            get(key, now=0.0)

    def time_put_1000_of_a_full_one(self) -> None:
        put = self.cache.put
        for number in range(MANY):
            put(f"{ADA}+{number}", number, expires_at=100.0)
