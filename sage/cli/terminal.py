"""The two consoles, as they suit a terminal, a pipe or a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .text import printable

__all__ = ["make_console", "make_table"]

_PIPE_WIDTH = 120


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr, as they are now."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, emoji=False)


def make_table(*columns: str, rows: Iterable[Iterable[str | Text]]) -> Table:
    """Return a table; plain texts are shown as they are, without any markup."""
    table = Table(box=box.SIMPLE, show_header=any(columns), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            *(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row)
        )
    return table
