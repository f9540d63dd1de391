from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from sage.cli.running import announce

from .conftest import House, one_line, run_process


def start(house: House, *words: str) -> subprocess.Popen[str]:
    command = ("registry", "serve", "records", "--certificate", "tls.pem", *words)
    return subprocess.Popen(
        [sys.executable, "-m", "sage", *command],
        cwd=house.top,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)]
)
def test_it_runs_until_it_is_told_to_stop(
    house: House, number: signal.Signals, code: int
) -> None:
    process = start(house, "--port", "0", "--json-ready")
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["ready"] is True
    assert ready["pid"] == process.pid
    port = int(ready["url"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == code
    assert (out, err) == ("", "")


def test_people_get_a_sentence(house: House) -> None:
    process = start(house, "--port", "0")
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    process.communicate(timeout=10)
    assert line.startswith("serving records at https://127.0.0.1:")


def test_a_port_that_is_taken_is_3_and_one_line(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ("registry", "serve", "records", "--certificate", "tls.pem")
        done = run_process(*words, "--port", port, cwd=house.top)
    assert done.returncode == 3
    assert port in one_line(done)


def test_the_line_is_for_programs_or_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    announce("here I am\n", as_json=False, url="u")
    assert capsys.readouterr().out == "here I am\\n  (Ctrl-C stops)\n"
    announce("here I am", as_json=True, url="u")
    facts = json.loads(capsys.readouterr().out)
    assert facts == {"ready": True, "url": "u", "pid": os.getpid()}
