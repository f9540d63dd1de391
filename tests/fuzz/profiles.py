"""The profiles that are fuzzed, and the numbers at which something changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sage.session import DRAFT1, STREAM, STREAM_AES, V0_10, Profile

__all__ = ["PATTERN", "PROFILES", "SEQS", "SIZES", "TIMES"]

# Small limits, so that a few steps reach all of them.
_TINY = Profile(
    name="tiny",
    session_label=b"tiny-session",
    key_labels=(b"tiny-c2s", b"tiny-s2c"),
    aad_label=b"tiny-record",
    generation_records=2,
    max_records=9,
    max_age_s=100.0,
    idle_s=40.0,
    record_max_bytes=36 + 50,
    caller_aad_max_bytes=20,
    max_failed_opens=4,
)
_TINY_STREAM = replace(_TINY, layout="stream", root_label=b"tiny-root")
_TINY_DRAFT1 = replace(
    _TINY,
    layout="draft1",
    block_labels=(b"tiny-shared", b"tiny-directional"),
    shared_key_label=b"tiny-single",
)
# Generations that pass fast, and room for large records.
_TURNING = replace(V0_10, name="turning", generation_records=3)
_TURNING_STREAM = replace(STREAM, name="turning-stream", generation_records=3)

PROFILES: Final = (
    _TURNING,
    _TURNING_STREAM,
    replace(_TURNING_STREAM, aead="aes-256-gcm"),
    replace(DRAFT1, name="turning-draft1", generation_records=3),
    V0_10,
    STREAM,
    STREAM_AES,
    DRAFT1,
    replace(DRAFT1, name="draft1-aes", aead="aes-256-gcm"),
    _TINY,
    _TINY_STREAM,
    replace(_TINY_STREAM, aead="aes-256-gcm"),
    _TINY_DRAFT1,
)

# Around the places where the kernels take another path; the last few cost time.
SIZES: Final = (
    *(5, 0, 1, 14, 15, 16, 20, 35, 36, 37, 50, 51, 64, 86, 87, 100, 219),
    *(255, 256, 1024, 2011, 2012, 2047, 2048, 2049, 4033, 4034, 4096, 4097),
    *(8192, 16_383, 16_384, 16_420, 65_536, 100_000, 2**20, 2**20 + 1, 2**20 + 36),
)
SEQS: Final = (
    *(0, 1, 2, 3, 5, 8, 9, 999, 1000, 1023, 1024, 1025, 2**32 - 1, 2**32),
    *(2**47, 2**48 - 1025, 2**48 - 1, 2**48, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(-1, 2**200),
)
TIMES: Final = (
    *(1.0, 0.0, 2, 39.9, 40.0, 99.9, 100.0, 599.0, 600.0, 3600.0),
    *(1e308, -1e308, 5e-324, -0.0),
)
PATTERN: Final = bytes(range(256)) * (2**20 // 256 + 2)
