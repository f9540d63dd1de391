"""Canonical JSON of the three objects whose names are known beforehand: B, I and T.

What is hashed and signed is ``jcs(members)``, and a `Form` writes the same bytes. A
handshake's members are ASCII texts under names that never change, so the names are
sorted once, here; whatever is not like that goes to `jcs`.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Final

from ..encoding import jcs
from ..types import JsonObject

__all__ = ["BINDING", "INITIATION", "TRANSCRIPT", "Form"]


class Form:
    """The layout of an object with a closed set of names, two or more."""

    __slots__ = ("_names", "_quotes", "_template", "_values")

    def __init__(self, *names: str) -> None:
        """Lay out the object; the names are plain ASCII, in any order."""
        ordered = sorted(names)
        self._names = frozenset(names)
        self._values = itemgetter(*ordered)
        self._template = "{" + ",".join(f'"{name}":"%s"' for name in ordered) + "}"
        self._quotes = b'"' * self._template.count('"')

    def write(self, members: JsonObject) -> bytes:
        """Return the same as ``jcs(members)``, for any object.

        Raises:
            UsageError: not a JSON value.
        """
        if members.keys() == self._names:
            values = self._values(members)
            if _TEXT.issuperset(map(type, values)):
                text: str = self._template % values
                if text.isascii():
                    raw = text.encode("ascii")
                    # Nothing to escape, in no value: what is not plain are the
                    # quotation marks of the layout.
                    if raw.translate(None, _PLAIN) == self._quotes:
                        return raw
        return jcs(members)


_TEXT: Final = frozenset({str})
_PLAIN: Final = bytes({*range(0x20, 0x7F)} - {*b'"\\'})  # stands for itself in JSON
_TERMS: Final = (
    *("v", "ctx", "initDid", "respDid", "initKid", "respKid", "kemKid"),
    *("suite", "combiner", "nonce"),
)

BINDING: Final = Form(*_TERMS)
"""B: what both ends are bound to before there is any secret; 10 members."""

INITIATION: Final = Form(*_TERMS, "task", "enc", "ephC")
"""The initiation; 13 members."""

TRANSCRIPT: Final = Form(*_TERMS, "task", "enc", "ephC", "ephS", "kid")
"""T: the initiation with the responder's part; 15 members."""
