"""Choices out of the bytes that the fuzzer makes up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Reader"]

T = TypeVar("T")


class Reader:
    """Turn bytes into choices, one after the other; past the end all are zero.

    Each choice takes as few bytes as it can, so that one byte changed in the input is
    one choice changed, and those after it stay what they were.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def below(self, limit: int) -> int:
        """Return a number from 0 up to ``limit``, which is at most 256."""
        return self.number(1) % limit

    def number(self, size: int) -> int:
        found = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(found, "big")

    def chance(self, one_in: int) -> bool:
        """Return whether something happens that does not happen by default."""
        return self.below(one_in) == one_in - 1

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]
