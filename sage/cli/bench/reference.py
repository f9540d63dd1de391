"""What records are compared with, and `cryptography` alone: its AEADs, no sage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, Final

from ..._crypto import AESGCM, ChaCha20Poly1305
from .figures import ENCRYPT, SIZES, Case, Figure
from .timing import Effort, Subject, compare

__all__ = ["SEED", "aead_cases", "against_encrypt", "encrypting"]

SEED: Final = bytes(range(32))
_NONCE: Final = bytes(12)


def encrypting(size: int) -> Subject:
    """Return the reference: ``ChaCha20Poly1305.encrypt``, without associated data."""
    plaintext = bytes(size)
    aead = ChaCha20Poly1305(SEED)

    def prepare(count: int) -> Callable[[], object]:
        def burst() -> None:
            encrypt, nonce = aead.encrypt, _NONCE
            for _ in repeat(None, count):
                encrypt(nonce, plaintext, None)

        return burst

    return Subject(prepare)


def against_encrypt(
    row: str, size: int | None, subject: Subject, *, note: str | None = None
) -> Callable[[Effort], list[Figure]]:
    """Return what measures a subject against the reference of its size, or of 64 B."""

    def measure(effort: Effort) -> list[Figure]:
        times = compare([subject, encrypting(size or SIZES[0])], effort)
        return [Figure.of(times, row=row, bytes=size, against=ENCRYPT, note=note)]

    return measure


def aead_cases() -> Iterator[Case]:
    """Yield each AEAD there and back: no counter, no window, no header, one nonce."""
    for size in SIZES:
        for row, aead in (("rt", ChaCha20Poly1305(SEED)), ("rt-aes", AESGCM(SEED))):
            subject = _round_trips(aead, size)
            yield Case(row, size, against_encrypt(row, size, subject))


def _round_trips(aead: Any, size: int) -> Subject:
    plaintext = bytes(size)

    def prepare(count: int) -> Callable[[], object]:
        def burst() -> None:
            encrypt, decrypt, nonce = aead.encrypt, aead.decrypt, _NONCE
            for _ in repeat(None, count):
                decrypt(nonce, encrypt(nonce, plaintext, None), None)

        return burst

    return Subject(prepare)
