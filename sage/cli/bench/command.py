"""``sage bench``: the command line of the measurement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from ...errors import UsageError
from ..exits import Exit
from ..running import stopped_like_ctrl_c
from ..terminal import make_console, make_table
from .contestants import CONTESTANTS, Contestant
from .figures import ROWS
from .original import ORIGIN
from .promises import Verdict, judge
from .race import Result, race
from .report import absent_rows, as_json, one_time_rows, promise_rows, record_rows
from .timing import FULL, QUICK, ROUNDS_TO_JUDGE, Effort
from .watching import watching

__all__ = ["bench"]

_LEGEND = (
    "µs for one record, and how many times ChaCha20Poly1305.encrypt of as many bytes\n"
    "in the same process; thread CPU time, median of {} rounds"
)


def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Measure this contestant or this row alone, by its name in the JSON;"
            " may be repeated.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds of which the median counts.")
    ] = FULL.rounds,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="See that everything runs; figures mean little."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Compare with the promised limits; exit with 1 on a miss."
        ),
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
) -> Exit:
    """Measure sage on each engine and twin, beside what does part of its job.

    Each contestant runs in a process of its own and measures itself against
    ChaCha20Poly1305.encrypt, in turn. What is not installed is listed as absent.
    """
    effort = QUICK if quick else replace(FULL, rounds=rounds)
    if check and effort.rounds < ROUNDS_TO_JUDGE:
        raise UsageError(f"--check needs {ROUNDS_TO_JUDGE} rounds, and no --quick")
    contestants, rows = _chosen(only or [])
    with stopped_like_ctrl_c():
        results = _race_all(contestants, rows, effort)
    verdicts = _judge(results, rows) if effort.rounds >= ROUNDS_TO_JUDGE else []
    console = make_console()
    if json_:
        print(json.dumps(as_json(results, verdicts, effort), indent=1))
    else:
        _print_tables(console, results, effort)
    if not check:
        return Exit.OK
    if not json_:
        _print_verdicts(console, verdicts)
    return _complain([verdict for verdict in verdicts if not verdict.holds])


def _chosen(only: Sequence[str]) -> tuple[list[Contestant], list[str]]:
    """Return whom and which rows to measure; no rows are all of them."""
    names = {contestant.name for contestant in CONTESTANTS}
    for word in only:
        if word not in names | ROWS.keys():
            known = ", ".join([*(c.name for c in CONTESTANTS), *ROWS])
            raise typer.BadParameter(f"--only {word}: not one of {known}")
    wanted = [c for c in CONTESTANTS if c.name in only]
    return wanted or list(CONTESTANTS), [row for row in ROWS if row in only]


def _judge(results: Sequence[Result], rows: Sequence[str]) -> list[Verdict]:
    """Judge what was asked for, and leave out all other promises."""
    names = {result.contestant.name for result in results}
    return judge(
        results, asked=lambda who, row: who in names and (not rows or row in rows)
    )


def _race_all(
    contestants: Sequence[Contestant], rows: Sequence[str], effort: Effort
) -> list[Result]:
    results = []
    # The tables alone go to stdout.
    with watching(make_console(stderr=True), len(contestants)) as watch:
        for number, contestant in enumerate(contestants):
            watch(contestant.title, number)
            results.append(
                race(
                    contestant,
                    effort,
                    rows,
                    progress=lambda part, n=number, c=contestant: watch(  # type: ignore[misc]
                        c.title, n + part
                    ),
                )
            )
    return results


def _print_tables(console: Console, results: Sequence[Result], effort: Effort) -> None:
    records, others = list(record_rows(results)), list(one_time_rows(results))
    if records:
        titles = ("records", "by", "64 B", "1 KiB", "16 KiB")
        console.print(make_table(*titles, rows=_without_repeats(records)))
        console.print(_LEGEND.format(effort.rounds))
    if others:
        titles = ("beside records", "by", "µs", "times", "what")
        console.print(make_table(*titles, rows=_without_repeats(others)))
    if any("*" in row[1] for row in [*records, *others]):
        console.print(f"* {ORIGIN}")
    absent = list(absent_rows(results))
    if absent:
        console.print(make_table("absent", "why", rows=absent))


def _without_repeats(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Say in the first column only what the row above did not say."""
    before = ["", *(row[0] for row in rows)]
    return [
        ("" if row[0] == above else row[0], *row[1:])
        for row, above in zip(rows, before, strict=False)
    ]


def _print_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    titles = ("promise to", "of", "size", "ratio", "limit", "verdict")
    console.print(make_table(*titles, rows=promise_rows(verdicts)))


def _complain(broken: Sequence[Verdict]) -> Exit:
    """Name each promise that was not kept, one a line, on stderr."""
    console = make_console(stderr=True)
    for who, what, size, ratio, limit, state in promise_rows(broken):
        where = f"{what}, {size}" if size else what
        found = f" {ratio}," if ratio else ""
        console.print(f"{state}: {who}: {where}:{found} promised {limit}")
    return Exit.FAILED if broken else Exit.OK
