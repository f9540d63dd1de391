"""Field lines: found by name, joined to one value, kept within their size.

RFC 9421, section 2.1: white space around each line goes, an obsolete line folding
becomes one space, several lines are joined with a comma and a space.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from ..errors import Code, DecodeError, ProtocolError
from ..limits import HTTP_HEAD_MAX_BYTES, HTTP_SIGNATURE_FIELD_MAX_BYTES
from .message import FieldLines

__all__ = [
    "Lines",
    "check_sizes",
    "check_unrepeated",
    "combined",
    "lines_by_name",
    "unfolded",
]

Lines = dict[str, list[str]]
"""The lines of each field, in order, by the lower-case name."""

# RFC 9112, 5.2: obs-fold = OWS CRLF RWS. Tried where white space begins and not again
# at each byte of it: a long run without a line end would cost its square.
_FOLDED: Final = re.compile(r"(?<![ \t])[ \t]*\r\n[ \t]+")
_OWS: Final = " \t"
# What is parsed before anybody is known.
_SIGNATURE_FIELDS: Final = ("signature", "signature-input", "content-digest")
_SINGLE: Final = (*_SIGNATURE_FIELDS, "content-type")


def lines_by_name(fields: FieldLines) -> Lines:
    """Sort field lines by their lower-case names; the order of each name's stays.

    Raises:
        DecodeError: a name that is not ASCII (``sig.malformed``): lower case would
            make two names of it.
    """
    lines: Lines = {}
    for name, value in fields:
        if not name.isascii():
            raise DecodeError("a field name is ASCII", code=Code.SIG_MALFORMED)
        key = name.lower()
        if key in lines:
            lines[key].append(value)
        else:
            lines[key] = [value]
    return lines


def unfolded(line: str) -> str:
    """Return one line's value without the white space around it, in one line."""
    return (_FOLDED.sub(" ", line) if "\n" in line else line).strip(_OWS)


def combined(lines: list[str]) -> str:
    """Return the one value of all lines of a field (RFC 9421, 2.1)."""
    if len(lines) == 1:
        return unfolded(lines[0])
    return ", ".join(map(unfolded, lines))


def check_sizes(fields: FieldLines, lines: Lines) -> None:
    """Check the limits that hold before anything is parsed (MSG-04).

    Raises:
        DecodeError: more than 32 KiB of fields, each counted with 4 bytes for its
            colon, space and line end; or more than 8 KiB of a signature field or of
            Content-Digest (``size.exceeded``).
    """
    if sum(len(name) + len(value) + 4 for name, value in fields) > HTTP_HEAD_MAX_BYTES:
        raise _oversize("the fields", HTTP_HEAD_MAX_BYTES)
    for name in _SIGNATURE_FIELDS:
        if sum(map(len, lines.get(name, ()))) > HTTP_SIGNATURE_FIELD_MAX_BYTES:
            raise _oversize(name, HTTP_SIGNATURE_FIELD_MAX_BYTES)


def check_unrepeated(lines: Lines, *, besides: Collection[str] = ()) -> None:
    """Check that what a signature hangs on came in one line each (MSG-04).

    Two lines mean two things to two readers: one takes the first, another the last,
    a third joins them.

    Args:
        lines: the fields of a message.
        besides: those that may be repeated.

    Raises:
        ProtocolError: Signature, Signature-Input, Content-Digest, Content-Type or an
            X-SAGE field is repeated (``sig.malformed``).
    """
    for name, values in lines.items():
        if len(values) < 2 or name in besides:
            continue
        if name in _SINGLE or name.startswith("x-sage-"):
            raise ProtocolError(f"{name} is repeated", code=Code.SIG_MALFORMED)


def _oversize(what: str, limit: int) -> DecodeError:
    return DecodeError(f"{what}: more than {limit} bytes", code=Code.SIZE_EXCEEDED)
