"""HKDF-SHA-256 (RFC 5869) into memory of its own, which the owner can wipe."""

from __future__ import annotations

from typing import Final

from .._accel import hkdf_expand_into, hkdf_into, hmac_sha256_into
from ..types import Buffer

__all__ = ["HASH_BYTES", "expand", "extract", "hkdf"]

HASH_BYTES: Final = 32


def extract(salt: Buffer, ikm: Buffer) -> bytearray:
    """Return the 32-byte pseudorandom key (RFC 5869, 2.2)."""
    prk = bytearray(HASH_BYTES)
    hmac_sha256_into(salt, ikm, prk)
    return prk


def expand(prk: Buffer, info: bytes) -> bytearray:
    """Return 32 bytes that are bound to ``info`` (RFC 5869, 2.3)."""
    key = bytearray(HASH_BYTES)
    hkdf_expand_into(prk, info, key)
    return key


def hkdf(salt: Buffer, ikm: Buffer, info: bytes) -> bytearray:
    """Return 32 bytes by both halves; nobody sees the key in between."""
    key = bytearray(HASH_BYTES)
    hkdf_into(salt, ikm, info, key)
    return key
