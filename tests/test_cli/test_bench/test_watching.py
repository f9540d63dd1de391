from __future__ import annotations

import io

from rich.console import Console

from sage.cli.bench.watching import watching


def test_a_pipe_gets_nothing() -> None:
    out = io.StringIO()
    with watching(Console(file=out), 3) as watch:
        watch("sage, libcrypto", 0.5)
    assert out.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    with watching(Console(file=out, width=100, force_terminal=True), 2) as watch:
        watch("sage, [libcrypto]", 0.5)
    assert "sage, [libcrypto]" in out.getvalue()
    assert "25%" in out.getvalue()
