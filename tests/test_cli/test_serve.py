from __future__ import annotations

import os
import shutil
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sage.cli.receiver import Receiver

from .conftest import ADA, House, Run, needs_pipes, one_line, running


@pytest.fixture
def words(house: House) -> tuple[object, ...]:
    return (
        *("--certificate", house / "tls.pem", "--port", "0"),
        *("--records", house / "records", "--passphrase-file", house / "pass"),
    )


def send(run: Run, house: House, url: str, file: Path) -> object:
    return run(
        *("send", file, "--agent", house / "ada.sage", "--url", url),
        *("--to", ADA.replace("ada", "grace"), "--ca", house / "ca.pem"),
        *("--records", house / "records", "--passphrase-file", house / "pass"),
    )


def test_it_says_who_listens_where(
    house: House, words: tuple[object, ...], tmp_path: Path
) -> None:
    with running("serve", house / "grace.sage", *words, log=tmp_path / "l") as facts:
        assert facts["did"].endswith(":grace")
        assert facts["url"].startswith("wss://127.0.0.1:")
        assert facts["url"].endswith("/sage")
    assert (tmp_path / "l").read_text() == ""


def test_only_the_allowed_may_send(
    run: Run, house: House, words: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("x")
    allow = ("--allow", "did:sage:web:agents.example:somebody-else")
    with running(
        "serve", house / "grace.sage", *words, *allow, log=tmp_path / "l"
    ) as facts:
        ended = send(run, house, facts["url"], tmp_path / "x")
    assert ended.code == 1  # type: ignore[attr-defined]
    assert "policy_denied" in ended.out  # type: ignore[attr-defined]
    assert f"not allowed: {ADA}" in (tmp_path / "l").read_text()


def test_without_its_replay_file_it_says_that_it_refuses_everything(
    run: Run, house: House, words: tuple[object, ...], tmp_path: Path
) -> None:
    shutil.copy(house / "grace.sage", tmp_path / "grace.sage")
    (tmp_path / "x").write_text("x")
    with running("serve", tmp_path / "grace.sage", *words, log=tmp_path / "l") as facts:
        ended = send(run, house, facts["url"], tmp_path / "x")
    first, *rest = (tmp_path / "l").read_text().splitlines()
    assert "grace.sage.replay is missing" in first
    assert "6 minutes" in first
    assert any("refused: " in line and "replay.state-lost" in line for line in rest)
    assert ended.code == 5  # type: ignore[attr-defined]


def read(house: House, url: str) -> tuple[int, str]:
    """Ask over TLS, and trust the house's authority."""
    context = ssl.create_default_context(cafile=house / "ca.pem")
    try:
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


@pytest.mark.parametrize("asked", [False, True])
def test_metrics_are_for_whoever_asks_for_them(
    house: House, words: tuple[object, ...], tmp_path: Path, asked: bool
) -> None:
    options = ("--metrics",) if asked else ()
    with running(
        "serve", house / "grace.sage", *words, *options, log=tmp_path / "l"
    ) as facts:
        top = facts["url"].replace("wss://", "https://").removesuffix("/sage")
        status, body = read(house, f"{top}/metrics")
        assert read(house, f"{top}/health/live") == (200, '{"status": "ok"}')
    assert status == (200 if asked else 404)
    assert ("sage_build_info" in body) == asked


def test_metrics_and_probes_at_an_address_of_their_own(
    house: House, words: tuple[object, ...], tmp_path: Path
) -> None:
    at = ("--metrics-at", "127.0.0.1:0")
    with running(
        "serve", house / "grace.sage", *words, *at, log=tmp_path / "l"
    ) as facts:
        top = facts["url"].replace("wss://", "https://").removesuffix("/sage")
        assert read(house, f"{top}/metrics")[0] == 404  # there, and not here
        url = facts["metrics"]
        assert url.startswith("https://127.0.0.1:")
        assert "sage_build_info" in read(house, url)[1]
        # Before the six minutes of a new guard are over, it is not ready.
        assert read(house, url.replace("metrics", "health/ready"))[0] in (200, 503)


@pytest.mark.parametrize(
    "address", ["9100", ":9100", "127.0.0.1:", "a:b", "a:99999", "\udcff:1", "a:٣"]
)
def test_an_address_that_is_none_is_one_line(
    run: Run, house: House, words: tuple[object, ...], address: str
) -> None:
    ended = run("serve", house / "grace.sage", *words, "--metrics-at", address)
    assert ended.code == 2
    assert "HOST:PORT" in one_line(ended)


def test_unfinished_files_do_not_outlive_it(house: House, tmp_path: Path) -> None:
    from sage.cli.serve import _receiver

    with _receiver(tmp_path / "saved", None) as receiver:
        assert isinstance(receiver, Receiver)
        assert receiver._folder is not None
        receiver._folder.begin()
    assert receiver._folder._top == -1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"--certificate": "none"}, 3),
        ({"--records": "none"}, 3),
        ({"--passphrase-file": "none"}, 3),
        ({"--save-to": "tls.pem"}, 3),
        ({"--host-map": "hosts.json"}, 2),
        ({"--certificate": "."}, 3),
        ({"--key": "/dev/null"}, 3),
        ({"--domain": "a b"}, 2),
        ({"--domain": "HTTPS://agents.example"}, 2),
    ],
)
def test_what_cannot_start_is_one_line(
    run: Run,
    house: House,
    change: dict[str, str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {
        "--certificate": "tls.pem",
        "--records": "records",
        "--passphrase-file": "pass",
        "--port": "0",
    } | change
    words = [word for pair in options.items() for word in pair]
    monkeypatch.chdir(house.top)
    ended = run("serve", "grace.sage", *words)
    assert ended.code == code
    one_line(ended)


@needs_pipes
@pytest.mark.parametrize("option", ["--certificate", "--key"])
def test_a_pipe_is_refused_and_not_waited_for(
    run: Run,
    house: House,
    words: tuple[object, ...],
    tmp_path: Path,
    option: str,
) -> None:
    os.mkfifo(tmp_path / "pipe")
    ended = run("serve", house / "grace.sage", *words, option, tmp_path / "pipe")
    assert ended.code == 3
    assert "pipe is not a regular file" in one_line(ended)
