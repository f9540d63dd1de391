from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sage.cli.exits import Exit

from ..conftest import ADA, GRACE, House, Run, interruptible, one_line, running


@pytest.mark.parametrize("mode", ["request", "stream", "http"])
def test_without_a_url_it_tests_itself(run: Run, tmp_path: Path, mode: str) -> None:
    ended = run(
        *("loadtest", "--mode", mode, "--duration", "0.4", "--warm-up", "0.1"),
        *("--rate", "50", "--connections", "2", "--size", "64"),
        *("--json", tmp_path / "r.json", "--html", tmp_path / "r.html"),
    )
    assert ended.code == Exit.OK, ended
    assert ended.err == ""
    assert f"{mode} of 64 bytes for 0.4 s, open loop at 50 msg/s" in ended.out
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["answered"] == found["sent"] == 20
    assert found["server"]["cpu_s"] > 0
    assert "<svg" in (tmp_path / "r.html").read_text()


def test_idle_connections(run: Run) -> None:
    ended = run("loadtest", "--idle", "--connections", "10", "--duration", "0.2")
    assert ended.code == Exit.OK, ended
    assert "KiB a connection" in ended.out


def test_a_service_of_ones_own(house: House, run: Run, tmp_path: Path) -> None:
    with running(
        *("loadtest-service", house / "grace.sage", "--records", house / "records"),
        *("--certificate", house / "tls.pem", "--port", "0"),
        *("--passphrase-file", house / "pass"),
        log=tmp_path / "log",
    ) as ready:
        ended = run(
            *("loadtest", ready["url"], "--agent", house / "ada.sage"),
            *("--peer", GRACE, "--passphrase-file", house / "pass"),
            *("--records", house / "records", "--ca", house / "ca.pem"),
            *("--duration", "0.3", "--warm-up", "0", "--in-flight", "2"),
        )
    assert ended.code == Exit.OK, ended
    assert one_line(ended).endswith("is yours, or whose owner has agreed")
    assert "closed loop, 2 in flight" in ended.out


def documented() -> list[list[str]]:
    page = Path(__file__).parents[3] / "docs/howto/load-test.md"
    lines = re.findall(r"^    sage (loadtest .*)$", page.read_text(), re.M)
    return [line.split() for line in lines if "wss:" not in line]


@pytest.mark.parametrize("words", documented(), ids=" ".join)
def test_what_the_guide_shows_runs(
    run: Run, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    # What is shown wants a quiet machine and ten seconds. The last of a repeated
    # option counts.
    less = ("--rate", "50") if "--rate" in words else ()
    ended = run(*words, "--duration", "0.3", "--warm-up", "0.1", *less)
    assert ended.code == Exit.OK, ended
    assert ("report.html" in words) == (tmp_path / "report.html").exists()


def test_a_url_needs_two_agents(run: Run) -> None:
    ended = run("loadtest", "wss://127.0.0.1:1/sage", "--peer", ADA)
    assert ended.code == Exit.USAGE
    assert "--agent and --peer" in one_line(ended)


@pytest.mark.parametrize(
    "words",
    [
        ("--size", "9000000"),
        ("--mode", "stream", "--size", "2000000"),
        ("--duration", "0"),
        ("--rate", "nan"),
    ],
)
def test_what_cannot_be_run_is_refused(run: Run, words: tuple[str, ...]) -> None:
    ended = run("loadtest", *words)
    assert ended.code == Exit.USAGE
    one_line(ended)


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_report_that_cannot_be_written_is_named_before_the_test(
    run: Run, tmp_path: Path, option: str
) -> None:
    missing = tmp_path / "none" / "r"
    ended = run("loadtest", "--duration", "3600", option, missing)
    assert (ended.code, ended.out) == (Exit.CONFIG, "")
    assert f"cannot write {missing}: " in one_line(ended)


WITHOUT_HISTOGRAMS = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hdrh":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
from sage.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_its_extra_it_says_which_one_it_needs() -> None:
    words = ("loadtest", "--duration", "3600")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HISTOGRAMS, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (Exit.CONFIG, "")
    assert "pip install 'sage-secure[loadtest]'" in one_line(done)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agent", "ada.sage"), "--agent without a URL"),
        (("--peer", ADA, "--ca", "ca.pem"), "--peer and --ca without a URL"),
        (("--passphrase-file", "pass"), "--passphrase-file without a URL"),
    ],
)
def test_what_needs_a_url_is_not_ignored(
    run: Run, words: tuple[str, ...], said: str
) -> None:
    ended = run("loadtest", "--duration", "3600", *words)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert said in one_line(ended)


@pytest.mark.parametrize(
    ("mode", "scheme"), [("stream", "https"), ("request", "https"), ("http", "wss")]
)
def test_a_url_is_one_for_the_mode(run: Run, mode: str, scheme: str) -> None:
    """Else what is measured is not what the report says, or nothing at all."""
    url = f"{scheme}://127.0.0.1:1/sage"
    ended = run("loadtest", url, "--mode", mode, "--agent", "none", "--peer", ADA)
    assert ended.code == Exit.USAGE
    assert "--mode http needs an https:// URL" in one_line(ended)


@pytest.mark.parametrize("url", ["wss://127.0.0.1:999999/sage", "", "127.0.0.1"])
def test_a_url_is_one_before_anything_is_opened(run: Run, url: str) -> None:
    ended = run("loadtest", url, "--agent", "none", "--peer", ADA)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "wss://host:port/sage" in one_line(ended)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_test_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sage", "loadtest", "--duration", "60"],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("service "), process.communicate()
    port = int(re.findall(r":(\d+)/", line)[0])
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    assert not any(tmp_path.iterdir())
