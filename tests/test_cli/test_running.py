from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from sage.cli.running import (
    LineFormatter,
    announce,
    run_service,
    stopped_like_ctrl_c,
)

from .conftest import House, one_line, run_process, running


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


def test_the_loop_is_uvloops_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def loop_module() -> str:
        return type(asyncio.get_running_loop()).__module__

    if sys.platform != "win32":
        assert run_service(loop_module()) == "uvloop"
    monkeypatch.setitem(sys.modules, "uvloop", None)  # as if it were not installed
    assert run_service(loop_module()).startswith("asyncio.")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)],
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


async def ask(url: str, context: ssl.SSLContext) -> None:
    # Not the synchronous client: it reads and writes in two threads, which OpenSSL's
    # connections do not bear, so that now and then nothing is sent.
    async with connect(url, ssl=context):
        pass


def test_log_lines_are_for_programs_or_for_people(house: House, tmp_path: Path) -> None:
    for log_format in ("text", "json"):
        log = tmp_path / log_format
        words = ("--port", "0", "--records", house / "records")
        with running(
            *("serve", house / "grace.sage", "--certificate", house / "tls.pem"),
            *(*words, "--passphrase-file", house / "pass", "--log-format", log_format),
            log=log,
        ) as facts:
            port = int(facts["url"].split(":")[2].partition("/")[0])
            context = ssl.create_default_context(cafile=house / "ca.pem")
            with pytest.raises(InvalidStatus):
                asyncio.run(ask(f"wss://127.0.0.1:{port}/else", context))
    assert "connection refused: unknown path" in (tmp_path / "text").read_text()
    (line,) = (tmp_path / "json").read_text().splitlines()
    said = json.loads(line)
    assert said["message"] == "connection refused: unknown path"
    assert (said["event"], said["code"]) == ("connection_refused", "connection")
    assert len(said["correlation_id"]) == 16


def test_a_line_for_people_cannot_be_forged() -> None:
    record = logging.LogRecord("sage", 30, "f", 1, "a\nb\x1b[0m", (), None)
    line = LineFormatter().format(record)
    assert line.endswith("WARNING sage: a\\nb\\x1b[0m")


def test_the_line_is_for_programs_or_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    announce("here I am\n", as_json=False, url="u")
    assert capsys.readouterr().out == "here I am\\n  (Ctrl-C stops)\n"
    announce("here I am", as_json=True, url="u")
    facts = json.loads(capsys.readouterr().out)
    assert facts == {"ready": True, "url": "u", "pid": os.getpid()}


@pytest.mark.skipif(sys.platform == "win32", reason="no hangups there")
def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_like_ctrl_c():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
