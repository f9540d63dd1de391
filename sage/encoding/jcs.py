"""Canonical JSON (RFC 8785): the one byte string that everybody signs.

`rfc8785` does the work. Where the value is made of strings, safe integers,
literals, arrays, and objects whose names are ASCII, `json.dumps` provably writes
the same bytes several times faster: ASCII sorts by UTF-16 unit as it sorts by code
point, both escape the same characters in the same way, and integers have one form.
"""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable, Iterable
from typing import Any, Final

import rfc8785

from ..errors import UsageError
from ..limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX
from ..types import Json

__all__ = ["encode_string", "jcs"]

encode_string: Final[Callable[[str], str]] = json.encoder.encode_basestring
"""Return the canonical JSON of one string: what `jcs` returns, before UTF-8.

A lone surrogate passes; encoding the result will refuse it."""

_encoder: Final = json.JSONEncoder(
    ensure_ascii=False,
    check_circular=False,
    allow_nan=False,
    sort_keys=True,
    separators=(",", ":"),
)


def _c_encoder() -> Callable[[Any, int], Iterable[str]] | None:
    """Return what `JSONEncoder.encode` would make anew for every value."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the accelerator
        return None
    found: Callable[[Any, int], Iterable[str]] = make(
        None, _encoder.default, encode_string, None, ":", ",", True, False, False
    )
    return found


_pieces: Final = _c_encoder()


def _encode(value: Any) -> str:
    return _encoder.encode(value) if _pieces is None else "".join(_pieces(value, 0))


def jcs(value: Json) -> bytes:
    """Return the canonical UTF-8 bytes of a JSON value.

    Objects are ``dict`` with ``str`` names; arrays are ``list`` or ``tuple``. Floats
    are written as ECMAScript does (``1.0`` as ``1``, ``-0.0`` as ``0``).

    Raises:
        UsageError: not a JSON value: another type, an integer beyond ±(2^53 - 1), a
            non-finite number, a lone surrogate, or nested deeper than 64.
    """
    try:
        if _is_plain(value, JSON_DEPTH_MAX):
            return _encode(value).encode("utf-8")
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as exc:
        raise UsageError(f"not a JSON value: {exc}") from exc


def _is_plain(value: Any, depth: int) -> bool:
    """Whether `json.dumps` agrees with RFC 8785 on a value; refuses non-values."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        if not -JSON_INTEGER_MAX <= value <= JSON_INTEGER_MAX:
            raise UsageError("not a JSON value: an integer beyond 2^53 - 1")
        return True
    if kind is float:
        return False
    if kind is not dict and kind is not list and kind is not tuple:
        raise UsageError(f"not a JSON value: {kind.__name__}")
    if depth == 0:
        raise UsageError(f"not a JSON value: deeper than {JSON_DEPTH_MAX}")
    plain = kind is not dict or _has_ascii_names(value)
    items = value.values() if kind is dict else value
    if _SIMPLE.issuperset(map(type, items)):
        return plain
    for item in items:
        # Every item is visited even where the answer is known: the visit refuses.
        plain &= _is_plain(item, depth - 1)
    return plain


def _has_ascii_names(members: dict[Any, Any]) -> bool:
    if not _TEXT.issuperset(map(type, members)):
        raise UsageError("not a JSON value: a name that is not a string")
    return "".join(members).isascii()


_TEXT: Final = frozenset({str})
_SIMPLE: Final = frozenset({str, bool, type(None)})
