"""The gate's judgement, on result files as asv writes them, made up here."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path

import gate
import pytest
from asv_tools import Key, expected_keys, read_commit

BEFORE, AFTER = "b" * 40, "a" * 40
SEAL, WEIGHT = "session.Records.time_seal_1000", "session.Weight.track_bytes"
PARAMS = [["64", "1024"]]
COLUMNS = ["result", "params", "version", "started_at", "duration"]
FINE = [0.0010, 0.0020]


class Asv:
    """What a run of asv leaves in a results folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / gate.MACHINE).mkdir(parents=True)
        listed = {
            SEAL: {"params": PARAMS},
            WEIGHT: {"params": []},
            "version": 2,
        }
        (folder / "benchmarks.json").write_text(json.dumps(listed))

    def measured(
        self, commit: str, ending: str, seal: object, weight: object = (100,)
    ) -> None:
        results = {
            SEAL: [seal, PARAMS, "1", 0, 1.0],
            WEIGHT: [weight, [], "1", 0, 1.0],
        }
        document = {"result_columns": COLUMNS, "results": results, "version": 2}
        name = f"{commit[:8]}-virtualenv-py3.11-SAGE_NO_EXTENSIONS{ending}.json"
        (self.folder / gate.MACHINE / name).write_text(json.dumps(document))

    def commit(self, commit: str, seal: object = FINE, weight: object = (100,)) -> None:
        for ending in ("", "1"):
            self.measured(commit, ending, seal, weight)

    def verdict(self, patterns: tuple[str, ...] = (r"^session\.",)) -> gate.Verdict:
        return gate.read_verdict(self.folder, BEFORE, AFTER, patterns)


@pytest.fixture
def asv(tmp_path: Path) -> Asv:
    return Asv(tmp_path / "results")


def key(parameter: str, configuration: str = "compiled") -> Key:
    return Key(SEAL, (parameter,), configuration)


def test_the_same_figures_pass(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.commit(AFTER)
    verdict = asv.verdict()
    assert len(verdict.compared) == 6  # two sizes and a weight, on two kernels
    assert verdict.regressions == verdict.missing == verdict.new == []


def test_what_takes_half_as_long_again_is_a_regression(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.measured(AFTER, "", [0.0015, 0.0020])
    asv.measured(AFTER, "1", FINE)
    (found,) = asv.verdict().regressions
    assert found.key == key("64")
    assert found.ratio == pytest.approx(1.5)


def test_the_factor_is_the_limit(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.commit(AFTER, [0.00129, 0.00263])
    regressed = {change.key for change in asv.verdict().regressions}
    assert regressed == {key("1024"), key("1024", "pure")}


def test_counts_are_judged_as_times_are(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.commit(AFTER, weight=[131])
    assert {c.key.benchmark for c in asv.verdict().regressions} == {WEIGHT}


def test_nothing_that_becomes_something_is_a_regression(asv: Asv) -> None:
    asv.commit(BEFORE, weight=[0])
    asv.commit(AFTER, weight=[1])
    assert {change.ratio for change in asv.verdict().regressions} == {inf}


def test_nothing_that_stays_nothing_is_none(asv: Asv) -> None:
    asv.commit(BEFORE, weight=[0])
    asv.commit(AFTER, weight=[0])
    assert not asv.verdict().regressions


def test_a_benchmark_that_fails_is_missing(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.commit(AFTER, [0.001, None])
    assert asv.verdict().missing == [
        f"{SEAL}(1024) [compiled], after",
        f"{SEAL}(1024) [pure], after",
    ]


def test_a_benchmark_whose_every_run_failed_is_missing(asv: Asv) -> None:
    asv.commit(BEFORE, None)
    asv.commit(AFTER)
    assert len(asv.verdict().missing) == 4


def test_a_configuration_that_did_not_run_is_missing(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.measured(AFTER, "", FINE)
    assert len(asv.verdict().missing) == 3


def test_a_commit_that_was_not_built_is_missing(asv: Asv) -> None:
    asv.commit(AFTER)
    missing = asv.verdict().missing
    assert len(missing) == 7
    assert missing[-1] == "anything to compare"


def test_what_only_the_newer_commit_can_do_is_new(asv: Asv) -> None:
    asv.commit(BEFORE, [nan, 0.002])
    asv.commit(AFTER)
    verdict = asv.verdict()
    assert verdict.new == [key("64"), key("64", "pure")]
    assert not verdict.missing


def test_what_the_newer_commit_can_no_longer_do_is_missing(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.commit(AFTER, [nan, 0.002])
    assert len(asv.verdict().missing) == 2


def test_a_pattern_that_matches_nothing_fails(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.commit(AFTER)
    with pytest.raises(gate.GateError, match="measured nothing"):
        asv.verdict((r"^session\.", r"^handshake\."))


def test_a_run_that_left_nothing_fails(tmp_path: Path) -> None:
    with pytest.raises(gate.GateError, match="measured nothing"):
        gate.read_verdict(tmp_path, BEFORE, AFTER, (".",))


def test_gaps_are_refused_by_name(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.commit(AFTER, [0.001, None])
    with pytest.raises(gate.GateError, match=r"2 results are missing:\n  session"):
        gate.refuse_gaps(asv.verdict())


def test_only_what_is_slower_twice_is_confirmed(tmp_path: Path) -> None:
    first, second = Asv(tmp_path / "first"), Asv(tmp_path / "second")
    for run in (first, second):
        run.commit(BEFORE)
    first.commit(AFTER, [0.002, 0.004], [300])
    second.commit(AFTER, [0.002, 0.0021], [100])
    slower = gate.confirmed(first.verdict(), second.verdict())
    assert [change.key for change in slower] == [key("64"), key("64", "pure")]


def test_the_second_run_is_of_those_that_regressed(asv: Asv) -> None:
    asv.commit(BEFORE)
    asv.commit(AFTER, [0.01, 0.02])
    patterns = gate.patterns_of(asv.verdict().regressions)
    assert patterns == [r"^session\.Records\.time_seal_1000(\(|$)"]
    found = expected_keys(asv.folder, patterns)
    assert {k.benchmark for k in found} == {SEAL}


def test_results_of_other_configurations_are_left_out(asv: Asv) -> None:
    asv.commit(BEFORE)
    stray = asv.folder / gate.MACHINE / f"{BEFORE[:8]}-existing-py_usr_bin_python.json"
    stray.write_text("{}")
    assert len(read_commit(asv.folder, gate.MACHINE, BEFORE)) == 6
