from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme

from sage.errors import ConfigError
from sage.transport import HostAddress, load_host_map


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def write(folder: Path, value: object) -> Path:
    path = folder / "hosts.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_every_member_and_every_default(tmp_path: Path, ca: Path) -> None:
    path = write(
        tmp_path,
        {
            "agents.example": {"address": "127.0.0.1", "port": 8444, "ca": "ca.pem"},
            "other.example": {"address": "::1", "ca": str(ca)},
            "localhost": {"address": "inside.example"},
        },
    )
    assert load_host_map(path) == {
        "agents.example": HostAddress(address="127.0.0.1", port=8444, ca=ca),
        "other.example": HostAddress(address="::1", port=443, ca=ca),
        "localhost": HostAddress(address="inside.example", port=443, ca=None),
    }


def test_ca_is_relative_to_the_file_not_to_the_process(
    tmp_path: Path, ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, {"a": {"address": "127.0.0.1", "ca": "ca.pem"}})
    monkeypatch.chdir("/")
    assert load_host_map(path)["a"].ca == ca


def test_nobody_mapped_is_fine(tmp_path: Path) -> None:
    assert load_host_map(write(tmp_path, {})) == {}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "not an object"),
        ('{"a": {"address": "1", "address": "2"}}', "not a host map"),
        ({"UPPER": {"address": "1"}}, "lower case"),
        ({"a/b": {"address": "1"}}, "host name"),
        ({"": {"address": "1"}}, "host name"),
        ({"a": "127.0.0.1"}, "no address"),
        ({"a": {}}, "no address"),
        ({"a": {"address": ""}}, "address of a"),
        ({"a": {"address": 7}}, "address of a"),
        ({"a": {"address": "1\n2"}}, "address of a"),
        ({"a": {"address": "1", "prot": 1}}, "unknown member 'prot'"),
        ({"a": {"address": "1", "port": 0}}, "port of a"),
        ({"a": {"address": "1", "port": 65536}}, "port of a"),
        ({"a": {"address": "1", "port": True}}, "port of a"),
        ({"a": {"address": "1", "port": "443"}}, "port of a"),
        ({"a": {"address": "1", "ca": 7}}, "ca of a"),
        ({"a": {"address": "1", "ca": ""}}, "ca of a"),
        ({"a": {"address": "1", "ca": "none.pem"}}, "authorities from"),
        ({"a": {"address": "1", "ca": "hosts.json"}}, "authorities from"),
    ],
)
def test_everything_else_is_a_config_error_of_one_line(
    tmp_path: Path, value: object, why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        load_host_map(write(tmp_path, value))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_or_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_host_map(tmp_path / "none")
    with pytest.raises(ConfigError, match="not a host map"):
        load_host_map(write(tmp_path, "{" + " " * 1024 * 1024 + "}"))
