"""Compression of payloads, beside what the plain libraries do.

A JSON of many like rows, cut to size. `time_fresh_zstd` makes a compressor for each
payload, which is what `compress_payload` spares by keeping them.
"""

from __future__ import annotations

import json
import sys
import zlib
from typing import ClassVar

from sage.errors import DecodeError
from sage.transport import ENCODINGS, compress_payload, decompress_payload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS = [{"id": n, "name": f"agent{n}", "score": n * n % 97} for n in range(2000)]
TEXT = json.dumps(ROWS).encode()
SIZES = [1024, 16384, 65536]


class Payloads:
    """One payload, there and back."""

    params: ClassVar = [ENCODINGS, SIZES]
    param_names: ClassVar = ["encoding", "bytes"]

    def setup(self, encoding: str, size: int) -> None:
        self.payload = TEXT[:size]
        data = compress_payload(self.payload, encoding)
        assert data is not None
        self.data = data

    def time_compress(self, encoding: str, size: int) -> None:
        compress_payload(self.payload, encoding)

    def time_decompress(self, encoding: str, size: int) -> None:
        decompress_payload(self.data, encoding)

    def track_ratio(self, encoding: str, size: int) -> float:
        return size / len(self.data)


class Fresh:
    """What a compressor for each payload would cost."""

    params: ClassVar = [SIZES]
    param_names: ClassVar = ["bytes"]

    def setup(self, size: int) -> None:
        self.payload = TEXT[:size]

    def time_fresh_zstd(self, size: int) -> None:
        zstd.compress(self.payload)


class Bombs:
    """A GiB of zeros, refused."""

    params: ClassVar = [ENCODINGS]
    param_names: ClassVar = ["encoding"]

    def setup(self, encoding: str) -> None:
        zeros = bytes(1 << 20)
        if encoding == "zstd":
            machine = zstd.ZstdCompressor()
            feed, end = machine.compress, machine.flush
        else:
            other = zlib.compressobj(wbits=31)
            feed, end = other.compress, other.flush
        self.bomb = b"".join([*(feed(zeros) for _ in range(1024)), end()])

    def time_refuse(self, encoding: str) -> None:
        self._refuse(encoding)

    def peakmem_refuse(self, encoding: str) -> None:
        self._refuse(encoding)

    def _refuse(self, encoding: str) -> None:
        try:
            decompress_payload(self.bomb, encoding)
        except DecodeError:
            return
        raise AssertionError("the bomb was taken")
