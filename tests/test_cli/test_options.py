from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from sage.cli import options
from sage.cli.options import check_did, load_agent, read_passphrase, resolving
from sage.errors import ConfigError, ResolutionError, UsageError
from sage.identity import FileResolver
from sage.transport import WebResolver

from .conftest import ADA, House, private


def test_a_did_is_a_did() -> None:
    assert check_did(ADA) == ADA
    with pytest.raises(typer.BadParameter, match="did:sage:web"):
        check_did("did:sage:web:UPPER:x")


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [("one", "one"), ("one\ntwo\n", "one"), (" a b \r\n", " a b "), ("é\n", "é")],
)
def test_the_first_line_of_the_file_is_the_passphrase(
    tmp_path: Path, content: str, passphrase: str
) -> None:
    assert read_passphrase(private(tmp_path / "p", content), twice=True) == passphrase


@pytest.mark.parametrize("content", [b"", b"\nsecond", b"\r\n", b"\xff\n"])
def test_a_file_without_a_passphrase_is_refused(tmp_path: Path, content: bytes) -> None:
    path = private(tmp_path / "p", "")
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="passphrase"):
        read_passphrase(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "p", "secret")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_passphrase(path)


def test_nobody_is_asked_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ConfigError, match="--passphrase-file"):
        read_passphrase(None)


@pytest.mark.parametrize(
    ("answers", "twice", "result"),
    [
        (["one"], False, "one"),
        (["one", "one"], True, "one"),
        (["one", "two"], True, None),
        ([""], False, None),
    ],
)
def test_the_passphrase_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[str],
    twice: bool,
    result: str | None,
) -> None:
    left = iter(answers)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(options.getpass, "getpass", lambda prompt: next(left))
    if result is None:
        with pytest.raises(ConfigError, match="try again"):
            read_passphrase(None, twice=twice)
    else:
        assert read_passphrase(None, twice=twice) == result
    assert not list(left)


def test_an_agent_file_that_is_not_there_is_noticed_before_asking(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_agent(tmp_path / "none", tmp_path / "nor this")


def test_an_agent_is_loaded(house: House, tmp_path: Path) -> None:
    assert load_agent(house / "ada.sage", house / "pass").did == ADA
    with pytest.raises(ConfigError, match="wrong passphrase"):
        load_agent(house / "ada.sage", private(tmp_path / "p", "wrong"))


async def test_the_resolver_is_the_one_asked_for(house: House, tmp_path: Path) -> None:
    async with resolving(None, house / "records", domains=[]) as resolver:
        assert isinstance(resolver, FileResolver)
        assert (await resolver.resolve(ADA, now=0.0)).record.id == ADA
    async with resolving(None, None, domains=[]) as resolver:
        assert isinstance(resolver, WebResolver)
    hosts = tmp_path / "hosts.json"
    hosts.write_text(
        json.dumps({"agents.example": {"address": "127.0.0.1", "port": 1}})
    )
    async with resolving(hosts, None, domains=["b.example"]) as resolver:
        assert isinstance(resolver, WebResolver)
        with pytest.raises(ResolutionError, match="not an allowed domain"):
            await resolver.resolve("did:sage:web:evil.example:x", now=0.0)
        for mapped in ("agents.example", "b.example"):
            with pytest.raises(ResolutionError, match=r"cannot connect|not resolve"):
                await resolver.resolve(f"did:sage:web:{mapped}:x", now=0.0)


async def test_a_wrong_choice_of_resolvers_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        async with resolving(tmp_path, tmp_path, domains=[]):
            pass
    with pytest.raises(ConfigError, match="not a folder"):
        async with resolving(None, tmp_path / "none", domains=[]):
            pass
    with pytest.raises(ConfigError, match="cannot read"):
        async with resolving(tmp_path / "none", None, domains=[]):
            pass
