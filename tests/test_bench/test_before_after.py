"""What each optimisation brought: read from results, and written as it stands there."""

from __future__ import annotations

from math import nan
from pathlib import Path
from xml.etree import ElementTree

import before_after
import pytest
from asv_tools import BENCH, Key
from before_after import MissingError, Optimisation, Row

LIST = """
[[optimisation]]
title = "Less & less"
before = "11111111"
after = "22222222"
figures = [
    { what = "sealing", benchmark = "s.seal_10", parameters = ["64"], calls = 10 },
]

[[optimisation]]
title = "Another way"
note = "beside the plain one"
commit = "22222222"
figures = [{ what = "opening", before = "p.plain", after = "p.clever" }]
"""


@pytest.fixture
def optimisations(tmp_path: Path) -> list[Optimisation]:
    (tmp_path / "list.toml").write_text(LIST)
    return before_after.load(tmp_path / "list.toml")


def results() -> dict[str, dict[Key, float | None]]:
    found: dict[str, dict[Key, float | None]] = {"11111111": {}, "22222222": {}}
    for configuration, factor in (("compiled", 1), ("pure", 3)):
        seal = Key("s.seal_10", ("64",), configuration)
        found["11111111"][seal] = 0.004 * factor
        found["22222222"][seal] = 0.001 * factor
        found["22222222"][Key("p.plain", (), configuration)] = 3e-7
        found["22222222"][Key("p.clever", (), configuration)] = 2e-7 * factor
    return found


@pytest.fixture
def rows(optimisations: list[Optimisation]) -> list[Row]:
    return before_after.look_up(optimisations, results())


def test_each_figure_is_of_one_operation(rows: list[Row]) -> None:
    assert [(row.configuration, row.before, row.after) for row in rows] == [
        ("compiled", pytest.approx(4e-4), pytest.approx(1e-4)),
        ("pure", pytest.approx(1.2e-3), pytest.approx(3e-4)),
        ("compiled", 3e-7, 2e-7),
        ("pure", 3e-7, pytest.approx(6e-7)),
    ]


def test_the_table_has_a_line_a_figure(rows: list[Row]) -> None:
    assert before_after.table(rows).splitlines()[2:] == [
        "| **Less & less** (`11111111` → `22222222`) | sealing"
        " | 400 µs | 100 µs | 4.00 | 1.2 ms | 300 µs | 4.00 |",
        "| **Another way** (`22222222`; beside the plain one) | opening"
        " | 300 ns | 200 ns | 1.50 | 300 ns | 600 ns | 0.50 |",
    ]


def test_the_plot_is_well_formed_and_of_the_compiled_core(rows: list[Row]) -> None:
    drawing = ElementTree.fromstring(before_after.plot(rows))
    texts = [text.text or "" for text in drawing.iter() if text.tag.endswith("text")]
    assert "Less & less: sealing" in texts
    assert "25 %, 400 µs → 100 µs" in texts
    assert "67 %, 300 ns → 200 ns" in texts
    assert not any("600 ns" in text for text in texts)


@pytest.mark.parametrize("value", [None, nan])
def test_what_was_not_measured_is_named(
    optimisations: list[Optimisation], value: float | None
) -> None:
    found = results()
    found["22222222"][Key("s.seal_10", ("64",), "pure")] = value
    with pytest.raises(MissingError, match=r"s\.seal_10\(64\) \[pure\] at 22222222"):
        before_after.look_up(optimisations, found)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "1.5 s"), (0.25, "250 ms"), (1.234e-5, "12.3 µs"), (9e-8, "90 ns")],
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert before_after.duration(seconds) == text


def test_the_documents_show_what_is_stored() -> None:
    found = before_after.load(BENCH / "optimisations.toml")
    rows = before_after.look_up(found, before_after.stored(found))
    assert before_after.TABLE.read_text("utf-8") == before_after.table(rows)
    assert before_after.PLOT.read_text("utf-8") == before_after.plot(rows)
