"""Sessions as they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat

from ...session import Session
from ...types import Role
from .figures import SIZES, Case
from .records import TRANSCRIPT_HASH, v10_end
from .reference import SEED, against_encrypt
from .timing import Subject

__all__ = ["session_cases"]


def session_cases() -> Iterator[Case]:
    """Yield a session made, and a pair of them with its first record."""
    for row, subject in (("session", Subject(_make)), ("first", Subject(_first))):
        yield Case(row, None, against_encrypt(row, None, subject))


def _make(count: int) -> Callable[[], object]:
    """Make one end from seed and transcript, all its keys derived, and drop it."""

    def burst() -> None:
        make, role = Session.v0_10, Role.INITIATOR
        for _ in repeat(None, count):
            make(SEED, TRANSCRIPT_HASH, role)

    return burst


def _first(count: int) -> Callable[[], object]:
    """Make both ends and use them once: whatever was put off is done here."""
    plaintext = bytes(SIZES[0])

    def burst() -> None:
        for _ in repeat(None, count):
            ours, theirs = v10_end(Role.INITIATOR), v10_end(Role.RESPONDER)
            theirs.open(ours.seal(plaintext))

    return burst
