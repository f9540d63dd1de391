"""Structured fields (RFC 9651), parsed and written by `http-sf`.

The one file that knows that library. Whatever it refuses, and names that come twice,
become a `DecodeError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn

import http_sf

from ..errors import Code, DecodeError, UsageError

__all__ = [
    "STRUCTURED_FIELDS",
    "check_kinds",
    "parse_structured",
    "serialize_member",
    "serialize_structured",
]

STRUCTURED_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accept-ch": "list",
        "accept-signature": "dictionary",
        "cache-status": "list",
        "cdn-cache-control": "dictionary",
        "client-cert": "item",
        "client-cert-chain": "list",
        "content-digest": "dictionary",
        "cross-origin-embedder-policy": "item",
        "cross-origin-opener-policy": "item",
        "idempotency-key": "item",
        "origin-agent-cluster": "item",
        "priority": "dictionary",
        "proxy-status": "list",
        "repr-digest": "dictionary",
        "signature": "dictionary",
        "signature-input": "dictionary",
        "want-content-digest": "dictionary",
        "want-repr-digest": "dictionary",
    }
)
"""Fields that are defined as structured, and their type: ``;sf`` works on these."""


_KINDS: Final = ("dictionary", "item", "list")


def check_kinds(fields: object) -> None:
    """Refuse a table of structured fields that nothing could be parsed by.

    Args:
        fields: lower-case name → ``"dictionary"``, ``"item"`` or ``"list"``.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(fields, Mapping):
        raise UsageError("structured fields are a table: name and type")
    for name, kind in fields.items():
        if type(name) is not str or name != name.lower() or kind not in _KINDS:
            raise UsageError(
                f"{name!r}: {kind!r} is not a name in lower case and one of {_KINDS}"
            )


def parse_structured(text: str, kind: str, *, code: Code = Code.SIG_MALFORMED) -> Any:
    """Parse a field's combined value.

    Args:
        text: ASCII.
        kind: ``"dictionary"``, ``"list"`` or ``"item"``.
        code: what the error carries.

    Returns:
        As `http_sf.parse`: items are ``(value, parameters)``, inner lists
        ``([item, …], parameters)``.

    Raises:
        DecodeError: not a structured field of this kind, or a name in it twice.
    """

    def refuse(name: str, where: str) -> NoReturn:
        raise DecodeError(f"{name!r} is twice in one {where}", code=code)

    try:
        return http_sf.parse(text.encode("ascii"), tltype=kind, on_duplicate_key=refuse)
    except (ValueError, OverflowError):
        raise DecodeError(f"not a structured {kind}", code=code) from None


def serialize_structured(value: Any) -> str:
    """Write what `parse_structured` returned, strictly; empty for nothing in it."""
    return http_sf.ser(value) if value or isinstance(value, tuple) else ""


def serialize_member(member: Any) -> str:
    """Write one member of a dictionary or list; a bare ``true`` is ``?1``."""
    return http_sf.ser([member])
