from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sage.cli import progress
from sage.cli.files import Found
from sage.cli.progress import showing_progress

FILES = [
    Found(Path("a"), "a", 1000),
    Found(Path("b"), "[b]\x1b", 24),
    Found(Path("c"), "c", note="a symbolic link"),
]


def run_through(console: Console) -> None:
    with showing_progress(console, FILES) as shown:
        for found in FILES[:2]:
            shown.advance(found.size)
            shown.finish(found.path)


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    run_through(console)
    assert "2/2 files" in out.getvalue()
    assert "1.0/1.0 KiB" in out.getvalue()
    assert "[b]\\x1b" in out.getvalue()


def test_everything_else_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    with showing_progress(Console(file=out, width=80), FILES) as shown:
        shown.advance(500)
        now[0] = 2.1
        shown.advance(500)
        shown.finish("a")
        now[0] = 4.2
        shown.finish("b")
    assert out.getvalue() == (
        "  0 of 2 files, 1000 B of 1.0 KiB\n  2 of 2 files, 1000 B of 1.0 KiB\n"
    )
