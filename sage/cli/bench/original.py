"""What the Go original takes, as measured once and elsewhere: a line to look at.

These figures are not measured by this command, and nothing is judged by them: a ratio
to a figure of another machine is worth little.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["GO", "ORIGIN", "Known"]

ORIGIN: Final = (
    "Go original, measured on another machine: two cores of an AMD EPYC; not here"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A figure of the original.

    Attributes:
        row: a name of `figures.ROWS`: what of ours does the same.
        bytes: of the plaintext; ``None`` for a session.
        ns_min: nanoseconds in its best run.
        ns_max: in its worst; the same where only one is known.
    """

    row: str
    bytes: int | None
    ns_min: float
    ns_max: float

    def as_json(self) -> dict[str, Any]:
        """Return the members by their names."""
        return asdict(self)


GO: Final = (
    Known(row="seal", bytes=64, ns_min=328, ns_max=328),
    Known(row="seal", bytes=1024, ns_min=924, ns_max=924),
    Known(row="seal", bytes=16384, ns_min=7_600, ns_max=7_600),
    Known(row="session", bytes=None, ns_min=5_000, ns_max=7_400),
)
"""A session of four keys, and records under ChaCha20-Poly1305."""
