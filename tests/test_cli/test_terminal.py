from __future__ import annotations

import pytest
from rich.text import Text

from sage.cli.terminal import make_console, make_table


def test_a_table_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("[red]x[/red]", "a\x1b[2J"), (Text("styled", "bold"), ":smile:")]
    make_console().print(make_table("one", "two", rows=rows))
    out = capsys.readouterr().out
    for shown in ("one", "[red]x[/red]", "a\\x1b[2J", "styled", ":smile:"):
        assert shown in out
    assert "\x1b" not in out


def test_a_pipe_is_wide_and_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console()
    console.print("x" * 119, style="red")
    assert capsys.readouterr().out == "x" * 119 + "\n"
    assert not console.is_terminal


def test_errors_have_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    make_console(stderr=True).print("here")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "here\n")
