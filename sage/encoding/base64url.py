"""Canonical base64url without padding (RFC 4648, section 5; CRYPTO-04).

Long values go through `pybase64` where it is installed (the extra ``fast``): it takes
a tenth of the time or less. It decides nothing: what it has decoded counts only where
it is also what encodes to the very text, and all else is left to `binascii`.
"""

from __future__ import annotations

import binascii
from sys import maxsize
from typing import Final

from ..errors import Code, DecodeError, UsageError
from ..types import Buffer

__all__ = ["b64u_decode", "b64u_encode"]

try:
    import pybase64
except Exception:  # absent; or broken, or an auditing hook refuses
    _LONG = maxsize
else:
    _LONG = 128  # below, a call of the library's costs as much as it saves

# `binascii` itself: the wrappers of `base64` cost as much again as the work.
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# The other alphabet's characters and padding become what neither alphabet has.
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/!!!")

# The characters that may come last behind whole groups of four, by how many of them
# there are: those whose bits beyond the last byte are zero.
_LAST: Final = {
    2: frozenset("AQgw"),
    3: frozenset("AEIMQUYcgkosw048"),
}


def b64u_encode(data: Buffer) -> str:
    """Encode bytes as canonical base64url: 4 characters for 3 bytes, no padding.

    Raises:
        UsageError: ``data`` is not a contiguous buffer.
    """
    if isinstance(data, bytes) and len(data) >= _LONG:
        return pybase64.b64encode_as_string(data, b"-_", padded=False)
    try:
        standard = binascii.b2a_base64(data, newline=False)
    except (TypeError, ValueError, BufferError) as exc:
        raise UsageError("only a contiguous buffer can be base64url") from exc
    return standard.translate(_TO_URL, b"=").decode("ascii")


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
    if len(text) >= _LONG and (long := _decode_long(text)) is not None:
        return long
    rest = len(text) % 4
    try:
        standard = text.encode("ascii").translate(_FROM_URL) + b"=" * (-rest % 4)
        data = binascii.a2b_base64(standard, strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError
        raise _malformed("not canonical base64url") from None
    if rest and text[-1] not in _LAST[rest]:
        raise _malformed("non-zero bits behind the last byte of base64url")
    return data


def _decode_long(text: str) -> bytes | None:
    """Return what encodes to ``text``, if the library finds it."""
    # The library takes the other alphabet's characters as well, with a warning.
    if "+" in text or "/" in text:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        data = pybase64.b64decode(padded, b"-_", validate=True)
    except ValueError:
        return None
    return data if b64u_encode(data) == text else None


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, code=Code.BASE64_MALFORMED)
