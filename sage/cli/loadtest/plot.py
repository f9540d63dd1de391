"""Line plots as inline SVG, without any script or style from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["Line", "plot"]

_WIDTH, _HEIGHT = 760, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 12, 44
_COLOURS: Final = ("#1f6feb", "#d1242f", "#1a7f37")
_TICKS: Final = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        name: for the legend.
        points: x and y, in the order of x.
    """

    name: str
    points: Sequence[tuple[float, float]]


def plot(
    lines: Sequence[Line],
    *,
    x_title: str,
    y_title: str,
    x_ticks: Sequence[tuple[float, str]] = (),
) -> str:
    """Return an ``<svg>`` element.

    Args:
        lines: at most three.
        x_title: below.
        y_title: on the left, with its unit.
        x_ticks: where and what; evenly placed numbers when not given.
    """
    xs = [x for line in lines for x, _ in line.points] or [0.0]
    ys = [y for line in lines for _, y in line.points] or [0.0]
    left, right, top = min(xs), max(xs), _round_up(max(ys))
    scale_x = _scale(left, right, _LEFT, _WIDTH - _RIGHT)
    scale_y = _scale(0, top, _HEIGHT - _BOTTOM, _TOP)
    step = (right - left) / _TICKS
    ticks = x_ticks or [
        (left + n * step, f"{left + n * step:g}") for n in range(_TICKS + 1)
    ]
    parts = [
        *(_x_tick(scale_x(x), text) for x, text in ticks),
        *(_y_tick(scale_y(top * n / _TICKS), top * n / _TICKS) for n in range(6)),
        _text(_WIDTH / 2, _HEIGHT - 6, x_title, "middle"),
        f'<g transform="rotate(-90)">{_text(-_HEIGHT / 2, 14, y_title, "middle")}</g>',
        *(
            _line(line, colour, n, scale_x, scale_y)
            for n, (line, colour) in enumerate(zip(lines, _COLOURS, strict=False))
        ),
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' aria-label="{escape(y_title)} by {escape(x_title)}">{"".join(parts)}</svg>'
    )


def _line(
    line: Line,
    colour: str,
    number: int,
    scale_x: Callable[[float], float],
    scale_y: Callable[[float], float],
) -> str:
    points = " ".join(f"{scale_x(x):.1f},{scale_y(y):.1f}" for x, y in line.points)
    x, y = _LEFT + 12 + 110 * number, _TOP + 8
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}"/>'
        f'<line x1="{x}" x2="{x + 18}" y1="{y}" y2="{y}" stroke="{colour}"/>'
        + _text(x + 24, y + 4, line.name, "start")
    )


def _x_tick(x: float, text: str) -> str:
    bottom = _HEIGHT - _BOTTOM
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" stroke="#ddd"/>'
        + _text(x, bottom + 16, text, "middle")
    )


def _y_tick(y: float, value: float) -> str:
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        f' stroke="#ddd"/>{_text(_LEFT - 6, y + 4, f"{value:g}", "end")}'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _scale(
    low: float, high: float, start: float, end: float
) -> Callable[[float], float]:
    width = (high - low) or 1.0
    return lambda value: start + (value - low) / width * (end - start)


def _round_up(value: float) -> float:
    """Return the next number that reads well: 1, 2 or 5 and zeros."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * m for m in (1, 2, 2.5, 5, 10, 20) if power * m >= value)
