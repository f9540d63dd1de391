"""What is measured: a row is a kind of work, a figure what one contestant took for it.

The names in this file are those of the JSON; they stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from .timing import Effort, Times

__all__ = [
    "AGAINST",
    "ENCRYPT",
    "ONE_THREAD",
    "PRIMITIVES",
    "ROWS",
    "SIZES",
    "TLS_HANDSHAKE",
    "Case",
    "Figure",
    "NotHere",
]

SIZES: Final = (64, 1024, 16384)

ROWS: Final = {
    "v10": "seal + open, 0.10.0",
    "stream": "seal + open, stream, ChaCha20-Poly1305",
    "stream-aes": "seal + open, stream, AES-256-GCM",
    "rt": "there and back, ChaCha20-Poly1305",
    "rt-aes": "there and back, AES-256-GCM",
    "seal": "seal, 0.10.0",
    "seal-aes": "seal, stream, AES-256-GCM",
    "into": "seal_into + open_into, ChaCha20-Poly1305",
    "into-aes": "seal_into + open_into, AES-256-GCM",
    "many": "seal_many + open_many, 64 records, ChaCha20-Poly1305",
    "many-aes": "seal_many + open_many, 64 records, AES-256-GCM",
    "batch": "seal_batch + open_batch, 64 records, ChaCha20-Poly1305",
    "batch-aes": "seal_batch + open_batch, 64 records, AES-256-GCM",
    "session": "a session made",
    "first": "two ends made, and a record of 64 bytes there and back",
    "handshake": "a handshake, both ends",
    "setup": "HPKE set up, both ends",
    "threads": "two threads sealing, two sessions",
    "threads-batch": "two threads sealing 64 records a batch, two sessions",
}
"""Every kind of work by its name, and what it is; in the order of the report."""

ENCRYPT: Final = "encrypt"
PRIMITIVES: Final = "primitives"
TLS_HANDSHAKE: Final = "tls-handshake"
ONE_THREAD: Final = "one-thread"
AGAINST: Final = {
    ENCRYPT: "ChaCha20Poly1305.encrypt of as many bytes (of 64 where there is no size)",
    PRIMITIVES: "3 X25519 keys made, 4 exchanges, 3 Ed25519 signatures, 3 verified",
    TLS_HANDSHAKE: "the standard library's mutual TLS 1.3 handshake in memory",
    ONE_THREAD: "one thread; the ratio is of throughputs, so more is better",
}
"""What a figure is compared with, measured beside it in the same process."""


class NotHere(Exception):
    """Something cannot be measured here; its text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one row came to, at one size, against one thing.

    Attributes:
        row: a name of `ROWS`.
        bytes: the size of a record's plaintext; ``None`` where there is none.
        against: a name of `AGAINST`.
        ns: nanoseconds of one operation, of one record where there are several.
        against_ns: the same of what it is compared with.
        ratio: how many times as long; for threads, how many times the throughput.
        rounds: how many were measured.
        note: what else is to be known.
        absent: why it could not be measured; then there are no numbers.
    """

    row: str
    bytes: int | None
    against: str
    ns: float | None = None
    against_ns: float | None = None
    ratio: float | None = None
    rounds: int = 0
    note: str | None = None
    absent: str | None = None

    @classmethod
    def of(
        cls,
        times: Times,
        *,
        row: str,
        bytes: int | None,
        against: str,
        peer: int = 1,
        note: str | None = None,
    ) -> Self:
        """Return what the first of the subjects came to, against another of them."""
        return cls(
            row=row,
            bytes=bytes,
            against=against,
            ns=times.ns(0),
            against_ns=times.ns(peer),
            ratio=times.ratio(0, peer),
            rounds=len(times.rounds),
            note=note,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the members by their names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Case:
    """Something that a contestant can be asked to measure.

    Attributes:
        row: a name of `ROWS`.
        size: of a record; ``None`` where there is none.
        measure: does it. May raise `NotHere`.
    """

    row: str
    size: int | None
    measure: Callable[[Effort], Iterable[Figure]]
