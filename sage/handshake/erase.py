"""Overwriting secrets that are spent, as well as Python lets us.

What lives in a ``bytearray`` can be overwritten. Where libsodium agrees, the shared
secret is born in one. OpenSSL's is copied out of the ``bytes`` in which `cryptography`
returns it; that is dropped at once, and its memory keeps the value until the allocator
uses it again. On the engine ``cryptography``, so does what HKDF-Extract returns.
Private keys are cleansed by whoever holds them, when their last reference goes.
"""

from __future__ import annotations

__all__ = ["wipe"]


def wipe(*buffers: bytearray) -> None:
    """Overwrite each buffer with zeros and keep its length. Best effort."""
    for buffer in buffers:
        buffer[:] = bytes(len(buffer))
