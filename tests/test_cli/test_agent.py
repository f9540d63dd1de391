from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sage.cli.agent import replay_file
from sage.envelope import SqliteReplayGuard
from sage.identity import deactivate, key_id, parse_record, write_record_file
from sage.service import Agent

from .conftest import ADA, House, Run, one_line, private


@pytest.fixture
def new(run: Run, tmp_path: Path) -> tuple[object, ...]:
    secret = private(tmp_path / "pass", "secret\n")
    out = tmp_path / "ada.sage"
    return (
        *("agent", "new", ADA, "--out", out),
        *("--passphrase-file", secret, "--scrypt-n", "2"),
    )


def test_a_new_agent_is_private_and_has_its_replay_file(
    run: Run, new: tuple[object, ...], tmp_path: Path
) -> None:
    ended = run(*new)
    assert (ended.code, ended.err) == (0, "")
    agent = Agent.load(tmp_path / "ada.sage", passphrase="secret")
    assert agent.did == ADA
    assert agent.record.state == "active"
    assert ADA in ended.out
    assert key_id(agent.signing_key.public_key) in ended.out
    assert key_id(agent.kem_key.public_key) in ended.out
    for name in ("ada.sage", "ada.sage.replay"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


async def test_the_replay_file_says_that_nothing_was_lost(
    run: Run, new: tuple[object, ...], tmp_path: Path
) -> None:
    from sage.envelope import Reservation
    from sage.types import Did

    assert run(*new).code == 0
    assert replay_file(tmp_path / "ada.sage") == tmp_path / "ada.sage.replay"
    guard = SqliteReplayGuard(tmp_path / "ada.sage.replay")
    ada = Did(ADA)
    seen = Reservation(
        sender=ada, recipient=ada, id="id", nonce="nonce", expires=1_000_000_060
    )
    # A quarantine would refuse it.
    await guard.reserve(seen, now=1.0, unix_time=1_000_000_000)
    guard.close()


def test_where_there_can_be_no_replay_file_there_is_no_agent(
    run: Run, new: tuple[object, ...], tmp_path: Path
) -> None:
    in_its_place = tmp_path / "ada.sage.replay"
    in_its_place.mkdir()
    ended = run(*new)
    assert ended.code == 3
    assert "ada.sage.replay" in one_line(ended)
    assert not (tmp_path / "ada.sage").exists()
    in_its_place.rmdir()
    assert run(*new).code == 0


def test_an_existing_file_is_not_overwritten(
    run: Run, new: tuple[object, ...], tmp_path: Path
) -> None:
    assert run(*new).code == 0
    before = (tmp_path / "ada.sage").read_bytes()
    ended = run(*new)
    assert ended.code == 3
    assert "--force" in one_line(ended)
    assert (tmp_path / "ada.sage").read_bytes() == before
    assert run(*new, "--force").code == 0
    assert (tmp_path / "ada.sage").read_bytes() != before


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--algorithm", "rot13"), 2), (("--scrypt-n", "3"), 2)],
)
def test_what_cannot_be_made_is_a_usage_error(
    run: Run, new: tuple[object, ...], words: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    ended = run(*new, *words)
    assert ended.code == code
    one_line(ended)
    assert not (tmp_path / "ada.sage").exists()


def test_a_passphrase_that_others_can_read_is_refused(
    run: Run, new: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "pass").chmod(0o644)
    ended = run(*new)
    assert ended.code == 3
    assert "chmod 600" in one_line(ended)


def test_the_passphrase_is_asked_for_twice_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ("agent", "new", ADA, "--out", tmp_path / "a", "--scrypt-n", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "sage", *map(str, words)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for prompt in (b"Passphrase: ", b"Once more: "):
        while prompt not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, b"typed by hand\n")
    out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0, out
    assert b"typed by hand" not in shown + out
    assert Agent.load(tmp_path / "a", passphrase="typed by hand").did == ADA


def test_show_tells_names_keys_and_version(run: Run, house: House) -> None:
    words = ("agent", "show", house / "ada.sage", "--passphrase-file", house / "pass")
    agent = Agent.load(house / "ada.sage", passphrase="correct horse")
    ended = run(*words)
    assert ended.code == 0
    assert f"did      {ADA}\n" in ended.out
    assert f"version {agent.record.version}, active" in ended.out
    assert f"sign-1  ed25519  {key_id(agent.signing_key.public_key)}" in ended.out
    assert parse_record(run(*words, "--record").out.strip().encode()) == agent.record


def test_a_wrong_passphrase_is_told(run: Run, house: House, tmp_path: Path) -> None:
    wrong = private(tmp_path / "wrong", "wrong")
    ended = run("agent", "show", house / "ada.sage", "--passphrase-file", wrong)
    assert ended.code == 3
    assert "wrong passphrase" in one_line(ended)


def test_verify_says_what_was_checked(run: Run, house: House) -> None:
    words = ("agent", "verify", ADA, "--records", house / "records")
    ended = run(*words)
    assert ended.code == 0
    assert ended.out.count("checked") >= 4
    assert json.loads(run(*words, "--json").out)["id"] == ADA


def test_verify_over_the_web(run: Run, house: House, served: str) -> None:
    ended = run("agent", "verify", ADA, "--host-map", house / "hosts.json")
    assert (ended.code, ended.err) == (0, "")
    assert "https://agents.example/.well-known/sage/agents/ada" in ended.out
    assert "TLS" in ended.out


def test_an_unknown_agent_is_4(run: Run, house: House, served: str) -> None:
    for where in (("--records", "records"), ("--host-map", "hosts.json")):
        unknown = ADA.replace("ada", "nobody")
        ended = run("agent", "verify", unknown, where[0], house / where[1])
        assert ended.code == 4
        assert "record.not-found" in one_line(ended)


def test_a_deactivated_agent_is_4(run: Run, tmp_path: Path) -> None:
    record = deactivate(Agent.generate(ADA).record)
    write_record_file(tmp_path, record)
    ended = run("agent", "verify", ADA, "--records", tmp_path)
    assert ended.code == 4
    assert "record.inactive" in one_line(ended)


def test_an_unreachable_registry_is_4(run: Run, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.json"
    hosts.write_text('{"agents.example": {"address": "127.0.0.1", "port": 1}}')
    ended = run("agent", "verify", ADA, "--host-map", hosts)
    assert ended.code == 4
    assert "record.unreachable" in one_line(ended)
