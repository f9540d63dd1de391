"""Write what each optimisation has brought, from stored results.

    python asv_bench/scripts/before_after.py [--fill | --check]

Reads `asv_bench/optimisations.toml` and the results of the commits that it names, and
writes the table and the plot that `docs/explanation/performance.md` includes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asv_tools import (
    BENCH,
    CONFIGURATIONS,
    MACHINE,
    RESULTS,
    ROOT,
    Key,
    is_number,
    read_commit,
)
from bars import Bar, bars

FOLDER = ROOT / "docs" / "explanation" / "_generated"
TABLE, PLOT = FOLDER / "before-and-after.md", FOLDER / "before-and-after.svg"


class MissingError(Exception):
    """Results that are not stored."""


@dataclass(frozen=True)
class Figure:
    """One operation, before and after: where its results are, and what it is."""

    what: str
    before: tuple[str, str]
    after: tuple[str, str]
    parameters: tuple[str, ...] = ()
    calls: int = 1


@dataclass(frozen=True)
class Optimisation:
    """What was made faster, and how that shows."""

    title: str
    note: str
    commits: tuple[str, str]
    figures: tuple[Figure, ...]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Optimisation:
        """Read an entry of the list."""
        one = entry.get("commit")
        commits = (one or entry["before"], one or entry["after"])
        return cls(
            entry["title"],
            entry.get("note", ""),
            commits,
            tuple(_figure(figure, commits) for figure in entry["figures"]),
        )


@dataclass(frozen=True)
class Row:
    """A figure with its numbers, in seconds for one operation."""

    optimisation: Optimisation
    figure: Figure
    configuration: str
    before: float
    after: float


def _figure(entry: Mapping[str, Any], commits: tuple[str, str]) -> Figure:
    names = [entry.get(which) or entry["benchmark"] for which in ("before", "after")]
    return Figure(
        entry["what"],
        (commits[0], names[0]),
        (commits[1], names[1]),
        tuple(entry.get("parameters", ())),
        entry.get("calls", 1),
    )


def load(path: Path) -> list[Optimisation]:
    """Read the list."""
    return [
        Optimisation.of(entry)
        for entry in tomllib.loads(path.read_text())["optimisation"]
    ]


def look_up(
    optimisations: list[Optimisation],
    results: Mapping[str, Mapping[Key, float | None]],
) -> list[Row]:
    """Find every figure, on both kernels.

    Args:
        optimisations: the list.
        results: of each commit, as the list writes it.

    Raises:
        MissingError: with all that is not there.
    """
    rows, missing = [], []
    for optimisation in optimisations:
        for figure in optimisation.figures:
            for configuration in CONFIGURATIONS.values():
                found = []
                for commit, name in (figure.before, figure.after):
                    key = Key(name, figure.parameters, configuration)
                    value = results[commit].get(key)
                    if is_number(value):
                        found.append(value / figure.calls)
                    else:
                        missing.append(f"{key} at {commit}")
                if len(found) == 2:
                    rows.append(Row(optimisation, figure, configuration, *found))
    if missing:
        raise MissingError("\n  ".join(["results are missing:", *missing]))
    return rows


def table(rows: list[Row]) -> str:
    """Return the table in Markdown: a line a figure, both kernels beside each other."""
    lines = [
        "| what was done | figure | compiled: before | after | times"
        " | pure: before | after | times |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    titles = set()
    by_figure: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_figure.setdefault((row.optimisation.title, row.figure.what), []).append(row)
    for (title, what), pair in by_figure.items():
        cells = ["" if title in titles else _heading(pair[0].optimisation), what]
        titles.add(title)
        for row in pair:
            ratio = row.before / row.after
            cells += [duration(row.before), duration(row.after), f"{ratio:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _heading(optimisation: Optimisation) -> str:
    before, after = optimisation.commits
    where = f"`{after}`" if before == after else f"`{before}` → `{after}`"
    note = f"; {optimisation.note}" if optimisation.note else ""
    return f"**{optimisation.title}** ({where}{note})"


def duration(seconds: float) -> str:
    """Return a duration with three digits that count."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{_digits(seconds * factor)} {unit}"
    return f"{_digits(seconds * 1e9)} ns"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def plot(rows: list[Row]) -> str:
    """Return bars: what is left of each figure on the compiled kernels, in percent."""
    return bars(
        [
            Bar(
                f"{row.optimisation.title}: {row.figure.what}",
                100 * row.after / row.before,
                f"{duration(row.before)} → {duration(row.after)}",
            )
            for row in rows
            if row.configuration == "compiled"
        ],
        title="time after, in percent of the time before (compiled core)",
    )


# --- files ----------------------------------------------------------------------------


def stored(optimisations: list[Optimisation]) -> dict[str, dict[Key, float | None]]:
    """Read the results of all commits that the list names."""
    names = {name for optimisation in optimisations for name in optimisation.commits}
    return {name: read_commit(RESULTS, MACHINE, name) for name in names}


def fill(optimisations: list[Optimisation]) -> None:
    """Measure what the list needs and nobody has measured."""
    script = str(Path(__file__).with_name("history.py"))
    for optimisation in optimisations:
        names = {
            name
            for figure in optimisation.figures
            for _, name in (figure.before, figure.after)
        }
        patterns = [rf"^{re.escape(name)}(\(|$)" for name in sorted(names)]
        commits = dict.fromkeys(optimisation.commits)
        command = [sys.executable, script, "--commits", "0", "--rounds", "0"]
        subprocess.run([*command, "--also", *commits, "--bench", *patterns], check=True)


def main() -> int:
    """Write both files, or with ``--check`` say whether they are as they would be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fill", action="store_true", help="measure what is missing")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args()
    optimisations = load(BENCH / "optimisations.toml")
    if options.fill:
        fill(optimisations)
    try:
        rows = look_up(optimisations, stored(optimisations))
    except MissingError as exc:
        print(f"{exc}\n--fill measures them", file=sys.stderr)
        return 1
    written = {TABLE: table(rows), PLOT: plot(rows)}
    if options.check:
        return int(any(p.read_text("utf-8") != text for p, text in written.items()))
    FOLDER.mkdir(exist_ok=True)
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
