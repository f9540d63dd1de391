"""Which commits still have something to measure."""

from __future__ import annotations

import json
from argparse import Namespace
from math import nan
from pathlib import Path

import history
import pytest

COMMIT = "c" * 40
NAMES = ("session.Records.time_seal_1000", "stream.Stream.time_burst")
OPTIONS = Namespace(machine="ci", bench=(r"^session\.",))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    listed = {name: {"params": []} for name in NAMES} | {"version": 2}
    (tmp_path / "benchmarks.json").write_text(json.dumps(listed))
    (tmp_path / "ci").mkdir()
    monkeypatch.setattr(history, "RESULTS", tmp_path)
    return tmp_path


def measured(results: Path, ending: str, **values: object) -> None:
    document = {
        "result_columns": ["result", "params"],
        "results": {name: [[value], []] for name, value in values.items()},
    }
    name = f"{COMMIT[:8]}-virtualenv-py3.11-SAGE_NO_EXTENSIONS{ending}.json"
    (results / "ci" / name).write_text(json.dumps(document))


def test_a_commit_without_results_is_to_be_measured(results: Path) -> None:
    assert not history.is_measured(COMMIT, OPTIONS)


def test_one_configuration_is_not_enough(results: Path) -> None:
    measured(results, "", **{NAMES[0]: 0.001})
    assert not history.is_measured(COMMIT, OPTIONS)


@pytest.mark.parametrize("value", [0.001, nan, None])
def test_whatever_came_out_is_a_result(results: Path, value: float | None) -> None:
    for ending in ("", "1"):
        measured(results, ending, **{NAMES[0]: value})
    assert history.is_measured(COMMIT, OPTIONS)


def test_other_benchmarks_are_no_substitute(results: Path) -> None:
    measured(results, "", **{NAMES[0]: 0.001})
    measured(results, "1", **{NAMES[1]: 0.001})
    assert not history.is_measured(COMMIT, OPTIONS)


def test_what_was_not_asked_for_may_be_missing(results: Path) -> None:
    for ending in ("", "1"):
        measured(results, ending, **{NAMES[0]: 0.001})
    every = Namespace(machine="ci", bench=(".",))
    assert not history.is_measured(COMMIT, every)


def test_a_folder_without_a_list_of_benchmarks_has_nothing(results: Path) -> None:
    for ending in ("", "1"):
        measured(results, ending, **{NAMES[0]: 0.001})
    (results / "benchmarks.json").unlink()
    assert not history.is_measured(COMMIT, OPTIONS)
