"""Text that is safe to show: names of strangers' choosing, on any terminal."""

from __future__ import annotations

import unicodedata

__all__ = ["one_line", "printable", "readable_bytes"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def printable(text: str) -> str:
    """Escape what could steer a terminal, forge a line, or not be encoded at all.

    Control and format characters (which include the bidirectional overrides),
    surrogates and line separators become ``\\x1b`` and the like.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escape, text))


def one_line(text: str) -> str:
    """Return text as one printable line."""
    return printable(" ".join(text.split()))


def readable_bytes(count: float) -> str:
    """Return a size with a unit, such as ``1.5 MiB``."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def _escape(character: str) -> str:
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return character.encode("unicode_escape").decode("ascii")
    return character
