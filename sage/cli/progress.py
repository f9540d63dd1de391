"""How far a transfer is: a bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from .files import Found
from .text import printable, readable_bytes

__all__ = ["BarProgress", "LineProgress", "showing_progress"]

_EVERY_S: Final = 2.0


class BarProgress:
    """Two counts in one bar: files and bytes."""

    def __init__(self, bars: Bars, files: int, size: int) -> None:
        self._bars = bars
        self._bytes = bars.add_task("", total=size, files=0, of=files, path="")
        self._files = 0

    def advance(self, size: int) -> None:
        """Count bytes that have a good receipt."""
        self._bars.advance(self._bytes, size)

    def finish(self, path: str) -> None:
        """Count one file."""
        self._files += 1
        self._bars.update(self._bytes, files=self._files, path=printable(path))


class LineProgress:
    """A line every two seconds: for logs, pipes and CI."""

    def __init__(self, console: Console, files: int, size: int) -> None:
        self._console = console
        self._of_files, self._of_size = files, size
        self._files = self._size = 0
        self._said_at = time.monotonic()

    def advance(self, size: int) -> None:
        """Count bytes that have a good receipt."""
        self._size += size
        self._say()

    def finish(self, path: str) -> None:
        """Count one file."""
        self._files += 1
        self._say()

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._said_at < _EVERY_S:
            return
        self._said_at = now
        self._console.print(
            f"  {self._files} of {self._of_files} files,"
            f" {readable_bytes(self._size)} of {readable_bytes(self._of_size)}",
            highlight=False,
        )


@contextmanager
def showing_progress(
    console: Console, files: Sequence[Found]
) -> Iterator[BarProgress | LineProgress]:
    """Show the progress of a transfer while the block runs."""
    sent = [found for found in files if found.note is None]
    size = sum(found.size for found in sent)
    if not console.is_terminal:
        yield LineProgress(console, len(sent), size)
        return
    with Bars(
        BarColumn(),
        TextColumn("{task.fields[files]}/{task.fields[of]} files"),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[path]}", markup=False),
        console=console,
        transient=True,
    ) as bars:
        yield BarProgress(bars, len(sent), size)
