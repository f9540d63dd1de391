"""The tutorial, followed word for word: its files, its commands, its output."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from .ports import free_port

PAGE = Path(__file__).parent.parent / "docs/tutorial/first-channel.md"
BLOCK = re.compile(
    r"^```\{code-block\} (\w+)\n(?::caption: (\S+)\n)?\n?(.*?)^```$", re.M | re.S
)


def blocks() -> list[tuple[str, str, str]]:
    return BLOCK.findall(PAGE.read_text())


FILES = {name: code for kind, name, code in blocks() if kind == "python"}
CONSOLE = [code for kind, _, code in blocks() if kind == "console"]
SEEN_BY_GRACE = [code for kind, _, code in blocks() if kind == "text"]


def console_outputs(command: str) -> list[str]:
    """Return what the page promises behind a command, each time that it is given."""
    found = (code.partition(f"$ {command}\n") for code in CONSOLE)
    return [output for _, given, output in found if given]


def console_output(command: str) -> str:
    """Return what the page promises behind a command that it gives once."""
    (output,) = console_outputs(command)
    return output


def python(folder: Path, script: str) -> str:
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first-channel")
    for name, code in FILES.items():
        (folder / name).write_text(code.replace("8443", str(port())))
    made, kept = console_outputs("python identities.py")
    assert python(folder, "identities.py") == made
    before = content(folder)
    assert python(folder, "identities.py") == kept
    assert content(folder) == before
    return folder


def content(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


class Grace:
    """The page's `grace.py`, running."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "grace.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "grace.py"],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def expect(self, line: str) -> None:
        deadline = time.monotonic() + 10
        while line not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)


@cache
def port() -> int:
    """Return a free one: the page says 8443, which somebody here may use."""
    return free_port()


def wait_for_port(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port()), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nobody listens")


@pytest.fixture
def grace(folder: Path) -> Iterator[Grace]:
    grace = Grace(folder)
    try:
        wait_for_port(grace.process)
        yield grace
    finally:
        grace.stop()


def test_the_page_has_the_files_it_speaks_of():
    assert set(FILES) == {"identities.py", "grace.py", "ada.py", "impostor.py"}
    assert len(SEEN_BY_GRACE) == 2


def test_an_identity_that_was_made_halfway_is_finished(folder, tmp_path):
    for name in ("identities.py", "ada.sage"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "ada.sage").chmod(0o600)
    said = python(tmp_path, "identities.py")
    assert [line.split()[0] for line in said.splitlines()] == ["kept", "made"]
    assert len([*(tmp_path / "records").rglob("*.json")]) == 2
    assert python(tmp_path, "identities.py") == said.replace("made", "kept")


def test_identities_are_kept_while_grace_runs(folder, grace):
    before = content(folder)
    assert "made" not in python(folder, "identities.py")
    after = content(folder)
    for name in ("ada.sage", "grace.sage", "ca.pem", "grace.pem"):
        assert after[folder / name] == before[folder / name]
    assert python(folder, "ada.py") == console_output("python ada.py")


@pytest.mark.parametrize("time", ["first", "after a restart"])
def test_ada_speaks_and_an_impostor_does_not(folder, grace, time):
    assert python(folder, "ada.py") == console_output("python ada.py")
    grace.expect(SEEN_BY_GRACE[0])
    assert python(folder, "impostor.py") == console_output("python impostor.py")
    grace.expect(SEEN_BY_GRACE[1])
