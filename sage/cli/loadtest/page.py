"""The report as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

import math
from html import escape
from string import Template
from typing import Final

from .driver import Outcome
from .plot import Line, plot
from .report import rows

__all__ = ["as_html"]

_PAGE: Final = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src 'unsafe-inline'">
<title>sage loadtest</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 820px; margin: 2em auto; }
td { padding: 2px 16px 2px 0; vertical-align: top; }
td + td { font-variant-numeric: tabular-nums; }
svg { width: 100%; font: 12px system-ui, sans-serif; }
</style>
</head>
<body>
<h1>sage loadtest</h1>
<table>
$rows
</table>
$plots
</body>
</html>
""")
_PLOT: Final = Template("<h2>$title</h2>\n<p>$note</p>\n$svg\n")


def as_html(outcome: Outcome) -> str:
    """Return the whole page."""
    table = "\n".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in rows(outcome)
    )
    plots = "" if outcome.plan.idle else "".join(_plots(outcome))
    return _PAGE.substitute(rows=table, plots=plots)


def _plots(outcome: Outcome) -> list[str]:
    since = (
        "Counted from when each message was meant to leave."
        if outcome.plan.is_open_loop
        else "A closed loop: counted from when each message was sent."
    )
    return [
        _section(
            "Throughput",
            "Messages by the second in which they were meant to leave, and in which"
            " their answer arrived.",
            _throughput(outcome),
        ),
        _section("Latency by time", since, _latency_by_time(outcome)),
        _section("Latency by percentile", since, _latency_by_percentile(outcome)),
    ]


def _section(title: str, note: str, svg: str) -> str:
    return _PLOT.substitute(title=title, note=note, svg=svg)


def _throughput(outcome: Outcome) -> str:
    seconds = outcome.tally.seconds()
    return plot(
        [
            Line("sent", [(s.offset, s.sent) for s in seconds]),
            Line("answered", [(s.offset, s.latency.count) for s in seconds]),
        ],
        x_title="seconds",
        y_title="messages per second",
    )


def _latency_by_time(outcome: Outcome) -> str:
    seconds = [s for s in outcome.tally.seconds() if s.latency.count]
    lines = [
        Line(
            f"p{percentile:g}",
            [(s.offset, s.latency.percentiles_s[percentile] * 1000) for s in seconds],
        )
        for percentile in (50.0, 99.0)
    ]
    lines.append(Line("max", [(s.offset, s.latency.max_s * 1000) for s in seconds]))
    return plot(lines, x_title="seconds", y_title="milliseconds")


def _latency_by_percentile(outcome: Outcome) -> str:
    """Draw the percentiles by how many nines they have."""
    points = [
        (_nines(percentile), latency_s * 1000)
        for percentile, latency_s in outcome.tally.curve()
        if percentile < 100
    ]
    last = math.ceil(points[-1][0]) if points else 1
    names = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"]
    ticks = [(float(n), names[n]) for n in range(min(last + 1, len(names)))]
    # Every tick within the picture, also where the line is short of it.
    edge = Line("", [(0.0, 0.0), (float(last), 0.0)])
    return plot(
        [Line("latency", points), edge],
        x_title="percentile",
        y_title="milliseconds",
        x_ticks=ticks,
    )


def _nines(percentile: float) -> float:
    return -math.log10(1 - percentile / 100)
