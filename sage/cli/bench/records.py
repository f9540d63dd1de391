"""Records of sage, sealed and opened in every way that there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Final

from ...limits import HEADERS_READY
from ...session import Session
from ...types import Role
from .figures import SIZES, Case
from .reference import SEED, against_encrypt
from .timing import Subject

__all__ = ["BATCH", "TRANSCRIPT_HASH", "record_cases", "stream_end", "v10_end"]

TRANSCRIPT_HASH: Final = bytes(range(32, 64))
BATCH: Final = 64
_CHACHA, _AES = "chacha20poly1305", "aes-256-gcm"
# A session of 0.10.0 has so many records each way. Bursts take whole sessions, so
# that the keys of all its generations are among the figures, and as much of a stream,
# whose first records are left out: the pure twin has their headers ready.
_SESSION_RECORDS: Final = 1000

End = Callable[[Role], Session]


def v10_end(role: Role) -> Session:
    """Make one end of a 0.10.0 session."""
    return Session.v0_10(SEED, TRANSCRIPT_HASH, role)


def stream_end(role: Role, aead: str = _CHACHA) -> Session:
    """Make one end of a stream."""
    return Session.stream(SEED, TRANSCRIPT_HASH, bytes(16), role, aead)


def record_cases() -> Iterator[Case]:
    """Yield every way to seal and open, at every size."""
    stream_aes = partial(stream_end, aead=_AES)
    for size in SIZES:
        for row, subject in (
            ("v10", _round_trips(v10_end, size)),
            ("stream", _round_trips(stream_end, size, HEADERS_READY)),
            ("stream-aes", _round_trips(stream_aes, size, HEADERS_READY)),
            ("seal", _seals(v10_end, size)),
            ("seal-aes", _seals(stream_aes, size)),
            ("into", _into(stream_end, size)),
            ("into-aes", _into(stream_aes, size)),
            ("many", _many(stream_end, size)),
            ("many-aes", _many(stream_aes, size)),
            ("batch", _batches(stream_end, size)),
            ("batch-aes", _batches(stream_aes, size)),
        ):
            yield Case(row, size, against_encrypt(row, size, subject))


def _pair(end: End) -> tuple[Session, Session]:
    initiator, responder = map(end, Role)
    return initiator, responder


def _round_trips(end: End, size: int, earlier: int = 0) -> Subject:
    """Seal and open record by record, in a new session after so many.

    Args:
        end: makes one.
        size: bytes of a plaintext.
        earlier: how many records each session has carried before.
    """
    plaintext = bytes(size)

    def prepare(count: int) -> Callable[[], object]:
        pairs = [_pair(end) for _ in range(count // _SESSION_RECORDS)]
        for ours, theirs in pairs:
            theirs.open_many(ours.seal_many([b""] * earlier))

        def burst() -> None:
            for ours, theirs in pairs:
                seal, open_ = ours.seal, theirs.open
                for _ in repeat(None, _SESSION_RECORDS):
                    open_(seal(plaintext))

        return burst

    return Subject(prepare, _SESSION_RECORDS)


def _seals(end: End, size: int) -> Subject:
    plaintext = bytes(size)

    def prepare(count: int) -> Callable[[], object]:
        sessions = [end(Role.INITIATOR) for _ in range(count // _SESSION_RECORDS)]

        def burst() -> None:
            for session in sessions:
                seal = session.seal
                for _ in repeat(None, _SESSION_RECORDS):
                    seal(plaintext)

        return burst

    return Subject(prepare, _SESSION_RECORDS)


def _into(end: End, size: int) -> Subject:
    plaintext = bytes(size)
    record, opened = bytearray(size + 36), bytearray(size)

    def prepare(count: int) -> Callable[[], object]:
        ours, theirs = _pair(end)

        def burst() -> None:
            seal_into, open_into = ours.seal_into, theirs.open_into
            for _ in repeat(None, count):
                seal_into(plaintext, record)
                open_into(record, opened)

        return burst

    return Subject(prepare)


def _many(end: End, size: int) -> Subject:
    plaintexts = [bytes(size)] * BATCH

    def prepare(count: int) -> Callable[[], object]:
        ours, theirs = _pair(end)

        def burst() -> None:
            seal_many, open_many = ours.seal_many, theirs.open_many
            for _ in repeat(None, count // BATCH):
                open_many(seal_many(plaintexts))

        return burst

    return Subject(prepare, BATCH)


def _batches(end: End, size: int) -> Subject:
    """Seal and open arrays, into arrays that are there already; numpy is not needed."""
    rows, wire, opened = (_array(n) for n in (size, size + 36, size))

    def prepare(count: int) -> Callable[[], object]:
        ours, theirs = _pair(end)

        def burst() -> None:
            seal_batch, open_batch = ours.seal_batch, theirs.open_batch
            for _ in repeat(None, count // BATCH):
                seal_batch(rows, wire)
                open_batch(wire, opened)

        return burst

    return Subject(prepare, BATCH)


def _array(size: int) -> memoryview:
    return memoryview(bytearray(BATCH * size)).cast("B", (BATCH, size))
