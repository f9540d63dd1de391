from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from sage.cli import main
from sage.service import Agent

ADA = "did:sage:web:agents.example:ada"
GRACE = "did:sage:web:agents.example:grace"


@dataclass
class Ended:
    """A command that ran in this process, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]

needs_pipes = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="no named pipes here"
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def run(*words: object) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Ended(int(code), said.out, said.err)

    return run


def one_line(ended: Ended | subprocess.CompletedProcess[str]) -> str:
    """Return the one line on stderr."""
    err = ended.err if isinstance(ended, Ended) else ended.stderr
    (line,) = err.splitlines()
    assert "Traceback" not in line
    return line


def pure(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that forces the pure twin, whatever it forced before."""
    switches = {"SAGE_REQUIRE_EXTENSIONS": "", "SAGE_ENGINE": ""}
    return {**environment, **switches, "SAGE_NO_EXTENSIONS": "1"}


def interruptible() -> None:
    """Undo, in a new process, that whoever runs the tests ignores Ctrl-C.

    A shell sets SIGINT to be ignored in what it starts in the background, and every
    process below inherits that. For ``preexec_fn``.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_process(
    *words: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command in another process."""
    return subprocess.run(
        [sys.executable, "-m", "sage", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env=env,
        cwd=cwd,
    )


@contextmanager
def running(*words: object, log: Path) -> Iterator[dict[str, str]]:
    """Run a server until the block ends; yield what it said when it was ready."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "sage", *map(str, words), "--json-ready"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@dataclass
class House:
    """Two agents with published records, certificates, and where they are."""

    top: Path

    def __truediv__(self, name: str) -> Path:
        return self.top / name


def make_house(top: Path) -> House:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(top / "ca.pem")
    certificate = authority.issue_cert("agents.example", "127.0.0.1")
    private(
        top / "tls.pem", certificate.private_key_and_cert_chain_pem.bytes().decode()
    )
    private(top / "pass", "correct horse\n")
    for did in (ADA, GRACE):
        name = did.rpartition(":")[2]
        words = ("agent", "new", did, "--out", top / f"{name}.sage")
        secret = ("--passphrase-file", top / "pass", "--scrypt-n", "2")
        assert main([*map(str, (*words, *secret))]) == 0
        words = ("registry", "publish", top / f"{name}.sage", "--to", top / "records")
        assert main([*map(str, (*words, *secret[:2]))]) == 0
    return House(top)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Read it, do not write in it."""
    return make_house(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="session")
def served(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Grace's URL; her registry is in the house's host map."""
    logs = tmp_path_factory.mktemp("logs")
    tls = ("--certificate", house / "tls.pem", "--port", "0")
    with running(
        "registry", "serve", house / "records", *tls, log=logs / "registry"
    ) as registry:
        port = int(registry["url"].rpartition(":")[2])
        entry = {"address": "127.0.0.1", "port": port, "ca": "ca.pem"}
        (house / "hosts.json").write_text(json.dumps({"agents.example": entry}))
        with running(
            *("serve", house / "grace.sage", *tls, "--host-map", house / "hosts.json"),
            *("--passphrase-file", house / "pass", "--save-to", house / "saved"),
            log=logs / "grace",
        ) as grace:
            yield grace["url"]


@pytest.fixture
def ada(house: House) -> Agent:
    return Agent.load(house / "ada.sage", passphrase="correct horse")
