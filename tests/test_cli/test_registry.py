from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from sage.identity import FileResolver, deactivate
from sage.service import Agent

from .conftest import ADA, House, Run, needs_pipes, one_line


def published(folder: Path) -> int:
    resolver = FileResolver(folder)
    return asyncio.run(resolver.resolve(ADA, now=time.monotonic())).version


def test_an_agents_record_is_published(run: Run, house: House, tmp_path: Path) -> None:
    words = ("registry", "publish", house / "ada.sage", "--to", tmp_path / "records")
    ended = run(*words, "--passphrase-file", house / "pass")
    assert (ended.code, ended.err) == (0, "")
    assert published(tmp_path / "records") == 2
    assert "agents.example/ada.json" in ended.out


def test_a_bare_record_needs_no_passphrase(run: Run, tmp_path: Path) -> None:
    agent = Agent.generate(ADA)
    for record, version in ((agent.record, 2), (deactivate(agent.record), 3)):
        (tmp_path / "r.json").write_bytes(b"\n" + record.encode() + b"\n")
        ended = run("registry", "publish", tmp_path / "r.json", "--to", tmp_path / "to")
        assert (ended.code, ended.err) == (0, "")
        assert published(tmp_path / "to") == version


def test_only_a_successor_is_published(run: Run, tmp_path: Path) -> None:
    for agent, code in ((Agent.generate(ADA), 0), (Agent.generate(ADA), 3)):
        (tmp_path / "r.json").write_bytes(agent.record.encode())
        ended = run("registry", "publish", tmp_path / "r.json", "--to", tmp_path / "to")
        assert ended.code == code
    assert "sage agent verify" in one_line(ended)


@pytest.mark.parametrize("content", [b"{}", b'{"a', b"", b"sage-secret|1\nnonsense"])
def test_what_is_not_a_record_is_refused(
    run: Run, house: House, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    file.chmod(0o600)
    words = ("registry", "publish", file, "--to", tmp_path / "to")
    ended = run(*words, "--passphrase-file", house / "pass")
    assert ended.code == 3
    one_line(ended)
    assert not (tmp_path / "to").exists()


@needs_pipes
def test_a_pipe_is_refused_and_not_waited_for(
    run: Run, house: House, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    serve = ("registry", "serve", house / "records", "--port", "0")
    for words in (
        ("registry", "publish", pipe, "--to", tmp_path / "to"),
        ("registry", "publish", tmp_path, "--to", tmp_path / "to"),
        (*serve, "--certificate", pipe),
        (*serve, "--certificate", house / "tls.pem", "--key", pipe),
    ):
        ended = run(*words)
        assert ended.code == 3
        assert "is not a regular file" in one_line(ended)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("none", "--certificate", "tls.pem"),
        ("records", "--certificate", "none"),
        ("records", "--certificate", "ca.pem"),
    ],
)
def test_what_cannot_be_served_is_3(
    run: Run, house: House, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house.top)
    ended = run("registry", "serve", *words, "--port", "0")
    assert ended.code == 3
    one_line(ended)


def test_the_registry_serves_what_was_published(
    run: Run, house: House, served: str
) -> None:
    ended = run("agent", "verify", ADA, "--host-map", house / "hosts.json", "--json")
    assert json.loads(ended.out) == json.loads(
        (house / "records" / "agents.example" / "ada.json").read_text()
    )
