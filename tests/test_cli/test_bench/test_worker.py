from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sage._accel import backend
from sage.cli.bench import worker
from sage.cli.bench.contestants import CONTESTANTS, Contestant, find_contestant
from sage.cli.bench.figures import ONE_THREAD, Case, Figure, NotHere
from sage.cli.bench.worker import main, messages

from .conftest import BARELY


def here() -> Contestant:
    """The configuration that is at work in this process."""
    found = backend()
    like = find_contestant("sage-pure")
    return replace(like, core=found["core"], engine=found["engine"])


def test_every_contestant_has_something_to_measure() -> None:
    assert worker._CASES.keys() == {c.name for c in CONTESTANTS}


def test_facts_come_first_then_a_line_for_each_case() -> None:
    first, *rest = messages(here(), BARELY, ["session", "first"])
    assert first == {"facts": backend(), "cases": 2}
    rows = [Figure(**figure).row for line in rest for figure in line["figures"]]
    assert rows == ["session", "first"]


def test_one_configuration_does_not_pass_for_another() -> None:
    other = replace(here(), engine="another")
    (line,) = messages(other, BARELY, [])
    assert "is at work instead" in line["absent"]


def test_a_row_that_cannot_be_measured_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: object) -> list[Figure]:
        raise NotHere("one core only")

    cases = {"sage-pure": lambda: iter([Case("threads", 16384, refuse)])}
    monkeypatch.setattr(worker, "_CASES", cases)
    _, line = messages(here(), BARELY, [])
    (figure,) = line["figures"]
    assert figure["absent"] == "one core only"
    assert figure["against"] == ONE_THREAD
    assert figure["ratio"] is None


def test_what_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NotHere("qh3 is not installed")

    monkeypatch.setattr(worker, "_CASES", {"qh3": refuse})
    assert list(messages(find_contestant("qh3"), BARELY, [])) == [
        {"absent": "qh3 is not installed"}
    ]


def test_the_facts_of_others_are_their_versions() -> None:
    first, *rest = messages(find_contestant("cryptography"), BARELY, ["session"])
    assert first["facts"]["version"]
    assert first["cases"] == 0
    assert rest == []
    first, *_ = messages(find_contestant("tls"), BARELY, ["session"])
    assert "openssl" in first["facts"]


def test_a_package_without_metadata() -> None:
    odd = replace(find_contestant("cryptography"), distribution="no-such-package")
    first, *_ = messages(odd, BARELY, ["session"])
    assert first["facts"] == {"version": "not known"}


def test_it_prints_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    order = {"contestant": "cryptography", "rounds": 1, "burst_ns": 1, "rows": ["rt"]}
    assert main([json.dumps(order)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["cases"] == len(lines) - 1 == 3
