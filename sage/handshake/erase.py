"""Overwriting secrets that are spent, as well as Python lets us.

What lives in a ``bytearray`` can be overwritten. The shared secret that X25519
returns as ``bytes`` cannot: it is copied out at once and dropped, and its memory
keeps the value until the allocator uses it again. On the engine ``cryptography``, so
does what HKDF-Extract returns. Private keys held by OpenSSL are cleansed by OpenSSL
when their last reference goes.
"""

from __future__ import annotations

__all__ = ["wipe"]


def wipe(*buffers: bytearray) -> None:
    """Overwrite each buffer with zeros and keep its length. Best effort."""
    for buffer in buffers:
        buffer[:] = bytes(len(buffer))
