from __future__ import annotations

import os
from dataclasses import replace

import pytest

from sage.cli.bench import race as module
from sage.cli.bench.contestants import find_contestant
from sage.cli.bench.race import Result, race

from .conftest import BARELY

PURE = find_contestant("sage-pure")


def run(contestant=PURE, rows=("session",)) -> tuple[Result, list[float]]:
    done: list[float] = []
    return race(contestant, BARELY, rows, progress=done.append), done


def test_the_twin_is_the_one_that_was_asked_for() -> None:
    result, done = run()
    assert result.absent is None
    assert result.facts["core"] == "python"
    assert [figure.row for figure in result.figures] == ["session"]
    assert done[-1] == 1.0
    found = result.as_json()
    assert found["name"] == "sage-pure"
    assert found["figures"][0]["ratio"] == result.figures[0].ratio


def test_an_engine_that_there_is_not_is_absent_with_the_reason() -> None:
    environment = {**PURE.environment, "SAGE_ENGINE": "rot13"}
    result, _ = run(replace(PURE, environment=environment))
    assert result.figures == []
    assert result.absent is not None
    assert result.absent.startswith("SAGE_ENGINE must be ")
    assert "rot13" in result.absent


def test_an_engine_that_fell_back_is_absent_too() -> None:
    other = find_contestant("sage-cryptography")
    result, _ = run(replace(other, environment=PURE.environment))
    assert result.absent is not None
    assert "is at work instead" in result.absent


def test_a_worker_that_breaks_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORKER", "sage.cli.bench.none")
    result, _ = run()
    assert result.absent is not None
    assert "sage.cli.bench.none" in result.absent


def test_a_worker_that_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_last_words", lambda errors: "")
    result, _ = run(replace(PURE, name="nobody"))
    assert result.absent == "it ended with 1"


def test_an_interrupted_race_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    popen = module.subprocess.Popen

    def start(*words: object, **options: object) -> object:
        process = popen(*words, **options)
        started.append(process.pid)
        return process

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        race(PURE, BARELY, ["session", "first", "handshake"], progress=interrupt)
    (pid,) = started
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
