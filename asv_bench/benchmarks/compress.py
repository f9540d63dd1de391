"""Compression of payloads, beside what the plain libraries do.

A JSON of many like rows, cut to size. `time_fresh_zstd_10` makes a compressor for each
payload, which is what `compress_payload` spares by keeping them.
"""

from __future__ import annotations

import json
import sys
import zlib
from functools import cache
from time import process_time
from typing import Any, ClassVar

from .house import needs

version = "1"
timer = process_time
ROWS = [{"id": n, "name": f"agent{n}", "score": n * n % 97} for n in range(2000)]
TEXT = json.dumps(ROWS).encode()
ENCODINGS = ["gzip", "zstd"]
SIZES = [1024, 16384, 65536]


def zstd() -> Any:
    """Return the module, wherever this Python keeps it."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    needs(name, "compress")
    return sys.modules[name]


@cache
def bomb(encoding: str) -> bytes:
    """Return a GiB of zeros, compressed; made once."""
    zeros = bytes(1 << 20)
    if encoding == "zstd":
        machine = zstd().ZstdCompressor()
        feed, end = machine.compress, machine.flush
    else:
        other = zlib.compressobj(1, wbits=31)
        feed, end = other.compress, other.flush
    return b"".join([*(feed(zeros) for _ in range(1024)), end()])


class Payloads:
    """One payload, there and back."""

    params: ClassVar = [ENCODINGS, SIZES]
    param_names: ClassVar = ["encoding", "bytes"]
    number = 1
    repeat = 4
    warmup_time = 0.03

    def setup(self, encoding: str, size: int) -> None:
        self.compress, self.decompress = needs(
            "sage.transport", "compress_payload", "decompress_payload"
        )
        self.payload = TEXT[:size]
        data = self.compress(self.payload, encoding)
        assert data is not None
        self.data = data

    def time_compress_10(self, encoding: str, size: int) -> None:
        for _ in range(10):
            self.compress(self.payload, encoding)

    def time_decompress_10(self, encoding: str, size: int) -> None:
        for _ in range(10):
            self.decompress(self.data, encoding)

    def track_ratio(self, encoding: str, size: int) -> float:
        return size / len(self.data)


class Fresh:
    """What a compressor for each payload would cost."""

    params: ClassVar = [SIZES]
    param_names: ClassVar = ["bytes"]
    number = 1
    repeat = 4
    warmup_time = 0.03

    def setup(self, size: int) -> None:
        self.payload, self.compress = TEXT[:size], zstd().compress

    def time_fresh_zstd_10(self, size: int) -> None:
        for _ in range(10):
            self.compress(self.payload)


class Bombs:
    """A GiB of zeros, refused."""

    params: ClassVar = [ENCODINGS]
    param_names: ClassVar = ["encoding"]
    number = 1
    repeat = 2
    warmup_time = 0

    def setup(self, encoding: str) -> None:
        self.decompress, self.error = (
            needs("sage.transport", "decompress_payload"),
            needs("sage.errors", "DecodeError"),
        )
        self.bomb = bomb(encoding)

    def time_refuse(self, encoding: str) -> None:
        self._refuse(encoding)

    def peakmem_refuse(self, encoding: str) -> None:
        self._refuse(encoding)

    def _refuse(self, encoding: str) -> None:
        try:
            self.decompress(self.bomb, encoding)
        except self.error:
            return
        raise AssertionError("the bomb was taken")
