"""Random bytes from the caller's source: this room and the ones above have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..errors import UsageError
from .signature import as_bytes

__all__ = ["Entropy", "draw"]

Entropy: TypeAlias = Callable[[int], bytes]
"""``entropy(n)`` returns n unpredictable bytes, such as `os.urandom`."""


def draw(entropy: Entropy, size: int) -> bytes:
    """Return ``size`` unpredictable bytes.

    Raises:
        UsageError: ``entropy`` did not return so many.
    """
    data = as_bytes(entropy(size), "entropy result")
    if len(data) != size:
        raise UsageError(f"entropy({size}) must return {size} bytes")
    return data
