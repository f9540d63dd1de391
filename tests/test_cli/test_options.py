from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import typer

from sage.cli import options
from sage.cli.options import (
    check_did,
    check_domain,
    check_host,
    check_url,
    decrypt_agent,
    load_agent,
    read_passphrase,
    require_regular,
    require_writable,
    resolving,
)
from sage.errors import ConfigError, ResolutionError, UsageError
from sage.identity import FileResolver
from sage.transport import WebResolver
from sage.transport.address import tls_context

from .conftest import ADA, House, needs_pipes, private


def test_a_did_is_a_did() -> None:
    assert check_did(ADA) == ADA
    with pytest.raises(typer.BadParameter, match="did:sage:web"):
        check_did("did:sage:web:UPPER:x")


@pytest.mark.parametrize("name", ["agents.example", "localhost", "a-b.example", "9a"])
def test_a_domain_is_one_that_a_did_can_have(name: str) -> None:
    assert check_domain(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", "A.example", "a..b", "a.example.", "127.0.0.1", "a:443"),
        *("é.example", "a.example\n", "a.example:x", "https://a.example", "a" * 64),
    ],
)
def test_what_no_did_can_have_is_not_a_domain(name: str) -> None:
    with pytest.raises(typer.BadParameter, match="not a domain in lower case"):
        check_domain(name)


@pytest.mark.parametrize(
    "url",
    ["wss://a.example:8443/sage", "https://a.example/sage", "wss://[::1]:1/sage"],
)
def test_a_url_is_one_of_a_service(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "a.example", "http://a.example/", "ws://a.example/", "wss:///sage"),
        *("wss://a:999999", "wss://a:0/", "wss://a:x/", "wss://a:-1/", "wss://a b/"),
        *("wss://[::1/sage", "wss://a/x\n", "wss://a/\tx"),
    ],
)
def test_what_nobody_could_connect_to_is_not_a_url(url: str) -> None:
    with pytest.raises(typer.BadParameter, match="with a port from 1 to 65535"):
        check_url(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "localhost", "a_b"])
def test_a_host_is_an_address_to_listen_on(host: str) -> None:
    assert check_host(host) == host


@pytest.mark.parametrize("host", ["", " ", "a b", "a\n", "\0", "\udcff"])
def test_nothing_else_is_listened_on(host: str) -> None:
    with pytest.raises(typer.BadParameter, match="not an address"):
        check_host(host)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(typer.BadParameter) as caught:
        check_url("wss://ada:secret@a.example/sage")
    assert "secret" not in str(caught.value)


def odd_files(folder: Path) -> list[Path]:
    """Return what is no regular file: a pipe, a device, a folder, nothing."""
    os.mkfifo(folder / "pipe")
    return [folder / "pipe", Path("/dev/zero"), folder, folder / "none"]


@needs_pipes
def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    require_regular(None, private(tmp_path / "p", "secret"))
    for file in odd_files(tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(file))):
            require_regular(None, file)
    with pytest.raises(ConfigError, match="not a regular file"):
        tls_context(tmp_path / "pipe")


def test_authorities_are_those_of_the_file(house: House) -> None:
    assert len(tls_context(house / "ca.pem").get_ca_certs()) == 1


@needs_pipes
async def test_a_host_map_is_not_a_pipe(tmp_path: Path) -> None:
    for file in odd_files(tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(file))):
            async with resolving(file, None, domains=[]):
                pass


@needs_pipes
def test_a_file_that_can_be_written_stays_as_it_was(tmp_path: Path) -> None:
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "link"
    old.write_text("what is there")
    link.symlink_to(new)
    require_writable(None, old, new, link)
    assert old.read_text() == "what is there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old"]
    os.mkfifo(tmp_path / "pipe")
    with (
        open(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK), "rb"),
        pytest.raises(ConfigError, match="it is a named pipe"),
    ):
        require_writable(tmp_path / "pipe")
    ours, theirs = os.pipe()
    require_writable(Path(f"/dev/fd/{theirs}"))
    os.write(theirs, b"x")
    assert os.read(ours, 9) == b"x"
    os.close(ours)
    os.close(theirs)
    with pytest.raises(ConfigError, match="the standard output is /dev/stdout"):
        require_writable(Path("-"))
    for file in (tmp_path, tmp_path / "none" / "x", old / "x", tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=f"cannot write {re.escape(str(file))}: "):
            require_writable(file)


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
    named = f"^{re.escape(str(house / 'ada.sage'))}: wrong passphrase"
    with pytest.raises(ConfigError, match=named):
        load_agent(house / "ada.sage", private(tmp_path / "p", "wrong"))


@pytest.mark.parametrize("content", ["", "{}", "sage-secret|1\n{}\nx"])
def test_a_file_that_holds_no_agent_is_named_once(tmp_path: Path, content: str) -> None:
    file = private(tmp_path / "x.sage", content)
    with pytest.raises(ConfigError) as caught:
        decrypt_agent(file, "secret")
    assert str(caught.value).count(str(file)) == 1
    with pytest.raises(ConfigError) as caught:
        decrypt_agent(tmp_path / "none", "secret")
    assert str(caught.value).count(str(tmp_path / "none")) == 1


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
