"""How far a measurement is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

__all__ = ["Watch", "watching"]

Watch = Callable[[str, float], None]
"""Is told who is being measured, and how many contestants are done."""


@contextmanager
def watching(console: Console, contestants: int) -> Iterator[Watch]:
    """Show the progress while the block runs."""
    if not console.is_terminal:
        yield lambda title, done: None
        return
    with Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bars:
        bar = bars.add_task("", total=contestants)
        yield lambda title, done: bars.update(bar, description=title, completed=done)
