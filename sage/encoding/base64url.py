"""Canonical base64url without padding (RFC 4648, section 5; CRYPTO-04)."""

from __future__ import annotations

from .._accel import base64url_decode, base64url_encode
from ..errors import Code, DecodeError, SageError, UsageError
from ..types import Buffer

__all__ = ["b64u_decode", "b64u_encode"]


def b64u_encode(data: Buffer) -> str:
    """Encode bytes as canonical base64url: 4 characters for 3 bytes, no padding.

    Raises:
        UsageError: ``data`` is not a contiguous buffer.
    """
    try:
        return base64url_encode(data)
    except (TypeError, ValueError, BufferError) as exc:
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
    data = base64url_decode(text)
    if data is None:
        raise _refusal(text)
    if size is not None and len(data) != size:
        raise _malformed(f"not the base64url of {size} bytes")
    return data


def _refusal(text: object) -> SageError:
    if not isinstance(text, str):
        return UsageError(f"base64url text must be str, not {type(text).__name__}")
    return _malformed("not canonical base64url")


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, code=Code.BASE64_MALFORMED)
