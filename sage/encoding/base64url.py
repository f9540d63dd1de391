"""Canonical base64url without padding (RFC 4648, section 5; CRYPTO-04)."""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from ..errors import Code, DecodeError, UsageError
from ..types import Buffer

__all__ = ["b64u_decode", "b64u_encode"]

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*\Z")


def b64u_encode(data: Buffer) -> str:
    """Encode bytes as canonical base64url: 4 characters for 3 bytes, no padding.

    Raises:
        UsageError: ``data`` is not a contiguous buffer.
    """
    try:
        return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
    except (TypeError, BufferError) as exc:
        raise UsageError("only a contiguous buffer can be base64url") from exc


def b64u_decode(text: str, *, size: int | None = None) -> bytes:
    """Decode canonical base64url, and nothing but canonical base64url.

    One value has one text: padding, the standard alphabet's ``+`` and ``/``, white
    space, a length of 1 modulo 4 and non-zero bits behind the last byte are refused.

    Args:
        text: the encoded value.
        size: how many bytes it must decode to; ``None`` for any number.

    Raises:
        DecodeError: not canonical, or not ``size`` bytes (``base64.malformed``).
        UsageError: ``text`` is not a ``str``.
    """
    if not isinstance(text, str):
        raise UsageError(f"base64url text must be str, not {type(text).__name__}")
    if size is not None and len(text) != (size * 4 + 2) // 3:
        raise _malformed(f"not the base64url of {size} bytes")
    if not _ALPHABET.match(text) or len(text) % 4 == 1:
        raise _malformed("not canonical base64url")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as exc:
        raise _malformed("not canonical base64url") from exc
    # Only the last character can hide bits; encoding the tail again shows them.
    tail = len(data) // 3 * 3
    if b64u_encode(data[tail:]) != text[tail // 3 * 4 :]:
        raise _malformed("non-zero bits behind the last byte of base64url")
    return data


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, code=Code.BASE64_MALFORMED)
