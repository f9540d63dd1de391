"""Field lines between bytes, as servers and clients have them, and text (RFC 9110)."""

from __future__ import annotations

from collections.abc import Iterable

from .message import FieldLines

__all__ = ["decode_fields", "encode_fields"]


def decode_fields(pairs: Iterable[tuple[bytes, bytes]]) -> FieldLines:
    """Return field lines as text; every byte is one ISO-8859-1 character."""
    return tuple(
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
    )


def encode_fields(fields: FieldLines) -> list[tuple[bytes, bytes]]:
    """Return field lines as ASGI wants them: bytes, the names in lower case."""
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in fields
    ]
