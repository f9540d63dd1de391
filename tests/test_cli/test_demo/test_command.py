from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

import sage
from sage.cli.demo import command
from sage.cli.demo.attacks import Verdict
from sage.cli.demo.command import default_folder
from sage.cli.demo.stage import Stage
from sage.cli.receipts import PART_MAX_BYTES

from ..conftest import Run, interruptible, one_line, pure, run_process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    top.mkdir()
    for index, size in enumerate([0, 1, 1000, PART_MAX_BYTES + 1]):
        (top / f"file {index}").write_bytes(os.urandom(size))
    return top


@pytest.mark.parametrize(
    ("environment", "core"),
    [
        (os.environ, sage.backend()["core"]),
        pytest.param(pure(os.environ), "python", marks=pytest.mark.slow),
    ],
    ids=["this twin", "the pure twin"],
)
def test_the_whole_story(
    folder: Path, environment: Mapping[str, str], core: str
) -> None:
    done = run_process("demo", "--path", folder, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"core      {core} (" in done.stdout
    assert "4 with a receipt, 0 without" in done.stdout
    assert "5 requests" in done.stdout
    assert done.stdout.endswith(
        "4 receipts verified, 0 missing; 7 of 7 attacks refused.\n"
    )
    assert not set(done.stdout) & set("\x1b\r\x07")


def pretend(monkeypatch: pytest.MonkeyPatch, *refused: bool) -> None:
    async def attack(stage: Stage) -> AsyncIterator[Verdict]:
        for each in refused:
            yield Verdict(attack="x", ours="y", theirs="z", refused=each)

    monkeypatch.setattr("sage.cli.demo.attacks.attack", attack)


@pytest.mark.slow
def test_a_missing_receipt_is_1(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, True)
    deep = folder.joinpath(*["y" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "the path is too long").write_text("x")
    ended = run("demo", "--path", folder)
    assert ended.code == 1
    assert "4 receipts verified, 1 missing; 1 of 1 attacks refused." in ended.out


def test_an_attack_that_is_not_refused_is_1(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, True, False)
    ended = run("demo", "--path", folder)
    assert ended.code == 1
    assert "NOT REFUSED" in ended.out
    assert "1 of 2 attacks refused" in ended.out


def test_nothing_to_send_is_3(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        ended = run("demo", "--path", path)
        assert ended.code == 3
        one_line(ended)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_demo_leaves_no_process_behind(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    os.truncate(folder / "file 3", 500 * PART_MAX_BYTES)
    process = subprocess.Popen(
        [sys.executable, "-m", "sage", "demo", "--path", str(folder)],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )
    assert process.stdout is not None
    pids = []
    while len(pids) < 2:
        line = process.stdout.readline()
        assert line, process.communicate()
        if " process " in line:
            pids.append(int(line.rpartition(" ")[2]))
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == ""
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["top"]


def test_the_default_is_the_documentation_or_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert default_folder() == Path(__file__).parents[3] / "docs"
    installed = tmp_path / "site-packages" / "sage"
    monkeypatch.setattr(
        command, "__file__", str(installed / "cli" / "demo" / "command.py")
    )
    assert default_folder() == installed


@pytest.mark.slow
def test_a_thousand_files_and_more_than_one_session(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for index in range(1000):
        size = 8 * PART_MAX_BYTES if index < 2 else index * 37 % 5000
        path = top / f"{index % 7}" / f"{index}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    done = run_process("demo", "--path", top, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sessions                  2 " in done.stdout
    assert "1000 receipts verified, 0 missing" in done.stdout
