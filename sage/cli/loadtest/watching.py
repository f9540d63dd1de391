"""How far a load test is: a bar on a terminal, a line every two seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars

from .driver import Watch
from .tally import Tally

__all__ = ["watching"]

_EVERY_S: Final = 2.0


@contextmanager
def watching(console: Console) -> Iterator[Watch]:
    """Show the progress of a load while the block runs."""
    if not console.is_terminal:
        yield _by_line(console)
        return
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        console=console,
        transient=True,
    ) as bars:
        bar = bars.add_task("connecting", total=1.0, counts="")
        yield lambda phase, done, tally: bars.update(
            bar, description=phase, completed=done, counts=_counts(tally)
        )


def _by_line(console: Console) -> Watch:
    said_at = time.monotonic()

    def say(phase: str, done: float, tally: Tally | None) -> None:
        nonlocal said_at
        now = time.monotonic()
        if now - said_at >= _EVERY_S:
            said_at = now
            console.print(f"  {phase} {done:.0%} {_counts(tally)}".rstrip())

    return say


def _counts(tally: Tally | None) -> str:
    if tally is None:
        return ""
    return (
        f"{tally.sent} sent, {tally.answered} answered, {tally.errors.total()} errors"
    )
