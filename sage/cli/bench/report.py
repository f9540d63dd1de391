"""What came of it: tables for people, and the same for programs."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .contestants import Contestant
from .figures import AGAINST, ENCRYPT, ONE_THREAD, ROWS, SIZES, Figure
from .original import GO, ORIGIN
from .promises import Verdict
from .race import Result
from .threads import cores
from .timing import Effort

__all__ = [
    "absent_rows",
    "as_json",
    "one_time_rows",
    "promise_rows",
    "record_rows",
    "size_name",
]

_SHORT = {
    "primitives": "its primitives",
    "tls-handshake": "TLS 1.3 handshake",
    "one-thread": "one thread (throughput)",
}


def size_name(size: int | None) -> str:
    """Return a size as the tables have it."""
    if size is None:
        return ""
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB"


def record_rows(results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Yield what, who, and at each size: microseconds, and times the reference."""
    for row, title in ROWS.items():
        for result in results:
            cells = {
                figure.bytes: figure
                for figure in result.figures
                if figure.row == row and figure.against == ENCRYPT and figure.bytes
            }
            if cells:
                found = (cells.get(size) for size in SIZES)
                note = next((f.note for f in cells.values() if f.note), None)
                who = result.contestant.title + (f" ({note})" if note else "")
                yield title, who, *(_cell(figure) for figure in found)
        known = {line.bytes: line for line in GO if line.row == row and line.bytes}
        if known and any(f.row == row for r in results for f in r.figures):
            times = (_us(known[size].ns_min) for size in SIZES)
            yield title, "Go original, elsewhere *", *times


def one_time_rows(results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Yield what, who, microseconds, how many times what it is compared with."""
    for row, title in ROWS.items():
        figures = [
            (result.contestant, figure)
            for result in results
            for figure in result.figures
            if figure.row == row and (figure.bytes is None or _is_threads(figure))
        ]
        for contestant, figure in figures:
            yield title, *_line(contestant, figure)
        for line in GO:
            if figures and line.row == row and line.bytes is None:
                times = f"{_us(line.ns_min)} to {_us(line.ns_max)}"
                yield title, "Go original, elsewhere *", times, "", ""


def absent_rows(results: Iterable[Result]) -> Iterator[tuple[str, str]]:
    """Yield who or what is absent, and why."""
    for result in results:
        if result.absent is not None:
            yield result.contestant.title, result.absent
        for figure in result.figures:
            if figure.absent is not None:
                name = f"{result.contestant.title}: {ROWS[figure.row]}"
                yield name, figure.absent


def promise_rows(verdicts: Iterable[Verdict]) -> Iterator[tuple[str, ...]]:
    """Yield each promise with its verdict."""
    for verdict in verdicts:
        promise = verdict.promise
        sign = ">=" if promise.at_least else "<="
        what = ROWS[promise.row]
        if promise.against not in (ENCRYPT, ONE_THREAD):
            what += f", times {_SHORT[promise.against]}"
        yield (
            promise.contestant,
            what,
            size_name(promise.bytes),
            "" if verdict.ratio is None else f"{verdict.ratio:.2f}",
            f"{sign} {promise.limit:g}",
            verdict.state.value,
        )


def as_json(
    results: Iterable[Result], verdicts: Iterable[Verdict], effort: Effort
) -> dict[str, Any]:
    """Return everything, for ``--json``; see `docs/reference/bench.md`."""
    return {
        "format": "sage-bench-1",
        "machine": {
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": f"{sys.platform} {platform.machine()}",
            "cores": cores(),
        },
        "rounds": effort.rounds,
        "burst_ns": effort.burst_ns,
        "rows": ROWS,
        "against": AGAINST,
        "contestants": [result.as_json() for result in results],
        "go_original": {
            "origin": ORIGIN,
            "figures": [known.as_json() for known in GO],
        },
        "promises": [verdict.as_json() for verdict in verdicts],
    }


def _line(contestant: Contestant, figure: Figure) -> tuple[str, str, str, str]:
    who = contestant.title
    if figure.bytes is not None:
        who += f", {size_name(figure.bytes)}"
    if figure.ns is None or figure.ratio is None:
        return who, "", "absent", ""
    against = "encrypt, 64 B" if figure.against == ENCRYPT else _SHORT[figure.against]
    if figure.note:
        against += f" ({figure.note})"
    return who, _us(figure.ns), f"×{figure.ratio:.2f}", against


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.ns is None or figure.ratio is None:
        return "absent"
    return f"{_us(figure.ns)}  ×{figure.ratio:.2f}"


def _is_threads(figure: Figure) -> bool:
    return figure.against == ONE_THREAD


def _us(ns: float) -> str:
    """Return microseconds, to three digits or so."""
    us = ns / 1000
    return f"{us:.0f}" if us >= 100 else f"{us:.1f}" if us >= 10 else f"{us:.2f}"
