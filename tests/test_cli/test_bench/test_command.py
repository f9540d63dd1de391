from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sage.cli.bench import command
from sage.cli.bench.contestants import CONTESTANTS, Contestant
from sage.cli.bench.race import Result
from sage.cli.exits import Exit

from ..conftest import Run, interruptible, one_line
from .conftest import Made


def test_everything_that_is_here(run: Run) -> None:
    ended = run("bench", "--quick", "--json")
    assert ended.code == Exit.OK, ended
    assert ended.err == ""
    found = json.loads(ended.out)
    assert [c["name"] for c in found["contestants"]] == [c.name for c in CONTESTANTS]
    assert found["promises"] == []
    by_name = {c["name"]: c for c in found["contestants"]}
    for contestant in found["contestants"]:
        # Never dropped in silence: figures, or a reason.
        assert bool(contestant["figures"]) != bool(contestant["absent"]), contestant
    for name in ("sage-pure", "cryptography", "tls"):
        assert by_name[name]["absent"] is None
    pure = by_name["sage-pure"]
    assert pure["facts"]["core"] == "python"
    for figure in pure["figures"]:
        assert figure["absent"] or figure["ratio"] > 0
    assert {f["row"] for f in pure["figures"]} >= {
        *("v10", "stream-aes", "many", "batch", "session", "handshake", "threads"),
    }


def test_a_part_of_it_as_tables(run: Run) -> None:
    words = ("--only", "cryptography", "--only", "sage-pure", "--only", "seal")
    ended = run("bench", "--quick", *words, "--only", "rt", "--only", "session")
    assert ended.code == Exit.OK, ended
    for text in (
        *("seal, 0.10.0", "sage, pure twin", "cryptography alone", "×"),
        *("Go original, measured on another machine", "median of 3 rounds"),
    ):
        assert text in ended.out
    assert "PyNaCl" not in ended.out
    assert "handshake" not in ended.out


def test_what_is_absent_is_in_the_table(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        command, "race", lambda c, *_, **__: Result(contestant=c, absent="not today")
    )
    ended = run("bench")
    assert ended.code == Exit.OK
    assert ended.out.count("not today") == len(CONTESTANTS)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch, made: Made):
    """Return what sets the figures, as times the promised limits."""

    def use(times: float) -> None:
        by_name = {result.contestant.name: result for result in made(times)}

        def race(contestant: Contestant, *_: object, progress, **__: object) -> Result:
            progress(1.0)
            none = Result(contestant=contestant, absent="not installed")
            return by_name.get(contestant.name, none)

        monkeypatch.setattr(command, "race", race)

    return use


def test_promises_that_are_kept(run: Run, figures) -> None:
    figures(0.99)
    ended = run("bench", "--check")
    assert ended.code == Exit.OK, ended
    assert ended.err == ""
    assert ended.out.count(" kept") == 35


def test_promises_that_are_missed_are_named(run: Run, figures) -> None:
    figures(1.5)
    ended = run("bench", "--check", "--only", "sage-libcrypto", "--only", "stream")
    assert ended.code == Exit.FAILED
    lines = ended.err.splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        "missed: sage-libcrypto: seal + open, stream, ChaCha20-Poly1305, 64 B:"
        " 2.17, promised <= 1.45"
    )


def test_programs_are_told_what_was_missed(run: Run, figures) -> None:
    figures(1.5)
    ended = run("bench", "--json", "--check")
    assert ended.code == Exit.FAILED
    assert {p["state"] for p in json.loads(ended.out)["promises"]} == {"missed"}
    assert run("bench", "--json").code == Exit.OK


def documented() -> list[list[str]]:
    page = Path(__file__).parents[3] / "docs/howto/compare-costs.md"
    lines = re.findall(r"^    sage (bench.*)$", page.read_text(), re.M)
    return [line.split() for line in lines]


@pytest.mark.parametrize("words", documented(), ids=" ".join)
def test_what_the_guide_shows_is_understood(
    run: Run, words: list[str], figures
) -> None:
    figures(0.9)
    assert run(*words).code == Exit.OK


def test_an_unknown_name_is_refused(run: Run) -> None:
    ended = run("bench", "--only", "rot13")
    assert ended.code == Exit.USAGE
    assert "sage-libcrypto" in one_line(ended)


@pytest.mark.parametrize("words", [("--quick",), ("--rounds", "30")])
def test_a_quick_look_is_no_check(run: Run, words: tuple[str, ...]) -> None:
    ended = run("bench", "--check", *words)
    assert ended.code == Exit.USAGE
    assert "31 rounds" in one_line(ended)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_measurement_says_nothing(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sage", "bench", "--rounds", "100000"],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )
    wait_until_it_catches_signals(process.pid)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out, err) == ("", "")


def wait_until_it_catches_signals(pid: int) -> None:
    """Wait for a handler of SIGTERM, which a process that has just begun has not."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():  # not Linux: a guess
        time.sleep(1.5)
        return
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", status.read_text(), re.MULTILINE)
        if int(caught, 16) & 1 << (signal.SIGTERM - 1):
            return
        time.sleep(0.02)
    raise AssertionError("it never catches SIGTERM")
