from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.cli.text import one_line, printable, readable_bytes


@given(st.text())
def test_whatever_it_is_it_can_be_printed_on_one_line(text: str) -> None:
    for shown in (printable(text), one_line(text)):
        assert len(shown.splitlines()) <= 1
        assert "\x1b" not in shown
        shown.encode("utf-8")


@given(st.text(st.characters(categories=["L", "N", "P"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb", "a\\nb"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("naïve ✓ 日本", "naïve ✓ 日本"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_are_joined() -> None:
    assert one_line("one\n  two\t three\n") == "one two three"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes_have_units(count: int, shown: str) -> None:
    assert readable_bytes(count) == shown
