from __future__ import annotations

import io

import pytest
from rich.console import Console

from sage.cli.loadtest import watching as module
from sage.cli.loadtest.driver import Outcome
from sage.cli.loadtest.watching import watching


def test_a_log_gets_a_line_now_and_then(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0.0)
    out = io.StringIO()
    with watching(Console(file=out, width=100)) as watch:
        watch("connecting", 0.5, None)
        watch("sending", 0.25, outcome.tally)
    assert out.getvalue().splitlines() == [
        "  connecting 50%",
        "  sending 25% 20 sent, 19 answered, 1 errors",
    ]


def test_a_log_is_not_flooded(outcome: Outcome) -> None:
    out = io.StringIO()
    with watching(Console(file=out, width=100)) as watch:
        for _ in range(100):
            watch("sending", 0.25, outcome.tally)
    assert out.getvalue() == ""


def test_a_terminal_gets_a_bar(outcome: Outcome) -> None:
    out = io.StringIO()
    with watching(Console(file=out, width=100, force_terminal=True)) as watch:
        watch("connecting", 1.0, None)
        watch("sending", 0.25, outcome.tally)
    shown = out.getvalue()
    assert "sending" in shown
    assert "25%" in shown
    assert "20 sent, 19 answered, 1 errors" in shown
