"""Horizontal bars as an SVG document, legible on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_LABEL, _BAR, _RIGHT = 470, 240, 170
_ROW, _TOP, _BOTTOM = 26, 34, 12
_FULL = 100.0


@dataclass(frozen=True)
class Bar:
    """One line: its name, how long it is in percent, and what stands beside it."""

    name: str
    percent: float
    text: str


def bars(lines: Sequence[Bar], *, title: str) -> str:
    """Return the document. What exceeds 100 percent is cut there and says so."""
    width, height = _LABEL + _BAR + _RIGHT, _TOP + _ROW * len(lines) + _BOTTOM
    parts = [
        f'<text x="{_LABEL}" y="18" class="title">{escape(title)}</text>',
        *(_line(line, _TOP + _ROW * number) for number, line in enumerate(lines)),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' role="img" aria-label="{escape(title)}">',
            "<style>text { font: 12px sans-serif; fill: #57606a }"
            " .title { font-weight: bold } .before { fill: #d0d7de }"
            " .after { fill: #1f6feb }</style>",
            *parts,
            "</svg>",
            "",
        ]
    )


def _line(line: Bar, top: float) -> str:
    length = _BAR * min(line.percent, _FULL) / _FULL
    end = _LABEL + _BAR + 8
    return (
        f'<text x="{_LABEL - 8}" y="{top + 14}" text-anchor="end">'
        f"{escape(line.name)}</text>"
        f'<rect x="{_LABEL}" y="{top}" width="{_BAR}" height="18" class="before"/>'
        f'<rect x="{_LABEL}" y="{top}" width="{length:.1f}" height="18"'
        f' class="after"/>'
        f'<text x="{end}" y="{top + 14}">{line.percent:.0f} %, {escape(line.text)}'
        "</text>"
    )
