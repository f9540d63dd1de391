from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sage.cli.send import checksum_line

from .conftest import GRACE, House, Run, interruptible, needs_pipes, one_line


def saved(house: House) -> Path:
    """Return where Grace keeps what Ada sends."""
    return house / "saved" / "agents.example" / "ada"


@pytest.fixture
def words(house: House, served: str) -> list[object]:
    return [
        *("--agent", house / "ada.sage", "--passphrase-file", house / "pass"),
        *("--to", GRACE, "--url", served, "--ca", house / "ca.pem"),
        *("--host-map", house / "hosts.json"),
    ]


def test_a_folder_arrives_whole(
    run: Run, house: House, words: list[object], tmp_path: Path
) -> None:
    top = tmp_path / "top"
    (top / "deep" / "er").mkdir(parents=True)
    contents = {
        "empty": b"",
        "small": b"x",
        "deep/name with ü": os.urandom(100_000),
        "deep/er/large": os.urandom(3 * 1024 * 1024 + 7),
    }
    for name, content in contents.items():
        (top / name).write_bytes(content)
    (top / "link").symlink_to("small")
    ended = run("send", top, *words, "--receipts", tmp_path / "sums")
    assert (ended.code, ended.err) == (0, "")
    assert "4, missing 0" in ended.out
    assert "a symbolic link" in ended.out
    for name, content in contents.items():
        assert (saved(house) / name).read_bytes() == content
    assert not (saved(house) / "link").exists()
    sums = dict(
        reversed(line.split("  ", 1))
        for line in (tmp_path / "sums").read_text().splitlines()
    )
    assert sums == {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }
    subprocess.run(
        ["sha256sum", "--check", "--quiet", tmp_path / "sums"], cwd=top, check=True
    )


def test_a_single_file_arrives(
    run: Run, house: House, words: list[object], tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("one")
    ended = run("send", tmp_path / "one", *words)
    assert ended.code == 0
    assert (saved(house) / "one").read_text() == "one"
    assert "\x1b" not in ended.out


def test_a_file_that_the_peer_cannot_take_is_1_and_named(
    run: Run, house: House, words: list[object], tmp_path: Path
) -> None:
    saved(house).mkdir(parents=True, exist_ok=True)
    (saved(house) / "way-out").symlink_to(tmp_path)
    top = tmp_path / "top"
    (top / "way-out").mkdir(parents=True)
    (top / "way-out" / "x").write_text("x")
    (top / "fine").write_text("fine")
    ended = run("send", top, *words)
    assert ended.code == 1
    assert "way-out/x" in ended.out
    assert "operation_failed" in ended.out
    assert "1, missing 1" in ended.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["top"]


@pytest.mark.parametrize(
    ("option", "value", "code", "said"),
    [
        ("--to", "nonsense", 2, "did:sage:web"),
        ("--url", "http://127.0.0.1/", 2, "wss://"),
        ("--agent", "none", 3, "No such file"),
        ("--url", "wss://127.0.0.1:999999/sage", 2, "'--url'"),
        ("--ca", "none", 3, "authorities from none: No such file"),
        ("--ca", "/dev/null", 3, "/dev/null is not a regular file"),
        ("--host-map", "none", 3, "cannot read"),
        ("--to", "did:sage:web:agents.example:nobody", 4, "record.not-found"),
        ("--url", "wss://127.0.0.1:1/sage", 5, "cannot connect"),
        ("--to", "did:sage:web:agents.example:ada", 5, "closed"),
    ],
)
def test_each_failure_has_its_code_and_one_line(
    run: Run,
    house: House,
    words: list[object],
    option: str,
    value: str,
    code: int,
    said: str,
) -> None:
    words[words.index(option) + 1] = value
    ended = run("send", house / "ca.pem", *words)
    assert ended.code == code
    assert said in one_line(ended)


def test_receipts_that_cannot_be_written_are_told_before_anything_is_sent(
    run: Run, house: House, words: list[object], tmp_path: Path
) -> None:
    (tmp_path / "unsent").write_text("unsent")
    missing = tmp_path / "none" / "sums"
    ended = run("send", tmp_path / "unsent", *words, "--receipts", missing)
    assert (ended.code, ended.out) == (3, "")
    assert f"cannot write {missing}: " in one_line(ended)
    assert not (saved(house) / "unsent").exists()


@needs_pipes
@pytest.mark.parametrize("option", ["--ca", "--host-map", "--agent", "--receipts"])
def test_a_pipe_is_refused_and_not_waited_for(
    run: Run, house: House, words: list[object], tmp_path: Path, option: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    ended = run("send", house / "ca.pem", *words, option, tmp_path / "pipe")
    assert ended.code == 3
    assert str(tmp_path / "pipe") in one_line(ended)


def test_an_untrusted_certificate_is_5(
    run: Run, house: House, words: list[object]
) -> None:
    del words[words.index("--ca") : words.index("--ca") + 2]
    ended = run("send", house / "ca.pem", *words)
    assert ended.code == 5
    assert "certificate" in one_line(ended)


def test_nothing_to_send_is_3(run: Run, words: list[object], tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        ended = run("send", path, *words)
        assert ended.code == 3
        one_line(ended)


def test_ctrl_c_while_waiting_is_130_and_silent(
    house: House, words: list[object], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        words[words.index("--url") + 1] = f"wss://127.0.0.1:{port}/sage"
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sage",
                *map(str, ["send", house / "ca.pem", *words]),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=interruptible,
        )
        connection, _ = silent.accept()
        with connection:
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert (out.strip(), err.strip()) == (b"", b"")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a b", "0  a b\n"),
        ("a\nb", "\\0  a\\nb\n"),
        ("a\\b", "\\0  a\\\\b\n"),
    ],
)
def test_receipts_are_written_as_sha256sum_writes_them(path: str, line: str) -> None:
    assert checksum_line(path, "0") == line
