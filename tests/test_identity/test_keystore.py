from __future__ import annotations

import itertools
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.errors import ConfigError, UsageError
from sage.identity import (
    decrypt_secret,
    encrypt_secret,
    read_private_file,
    write_private_file,
)
from sage.limits import KEYSTORE_MAX_BYTES

REFUSED = "wrong passphrase, or the file was changed"
MAGIC = b"sage-secret|1\n"
N = 2


def entropy(size: int) -> bytes:
    return bytes(range(size))


def encrypt(plaintext: bytes = b"secret", passphrase: str | bytes = "pass") -> bytes:
    return encrypt_secret(plaintext, passphrase, entropy=entropy, n=N)


def with_header(**members: Any) -> bytes:
    """A file whose header was rewritten; the seal no longer matches."""
    magic, header, box = encrypt().split(b"\n", 2)
    value = json.loads(header) | members
    value = {name: item for name, item in value.items() if item is not ...}
    return b"\n".join([magic, json.dumps(value).encode(), box])


def refusal(data: bytes, passphrase: str | bytes = "pass") -> str:
    with pytest.raises(ConfigError) as caught:
        decrypt_secret(data, passphrase)
    return str(caught.value)


# --- encryption ----------------------------------------------------------


@settings(deadline=None)
@given(plaintext=st.binary(max_size=200), passphrase=st.text(min_size=1, max_size=20))
def test_what_was_encrypted_comes_back(plaintext: bytes, passphrase: str) -> None:
    try:
        passphrase.encode()
    except UnicodeEncodeError:
        passphrase = "pass"
    data = encrypt_secret(plaintext, passphrase, entropy=entropy, n=N)
    assert decrypt_secret(data, passphrase) == plaintext
    assert decrypt_secret(bytearray(data), passphrase) == plaintext
    if len(plaintext) > 8:
        assert plaintext not in data.split(b"\n", 2)[2]


def test_the_default_cost_is_what_the_limits_say() -> None:
    data = encrypt_secret(b"secret", "pass", entropy=os.urandom)
    header = json.loads(data.split(b"\n", 2)[1])
    assert header | {"salt": ""} == {"n": 2**17, "r": 8, "p": 1, "salt": ""}
    assert decrypt_secret(data, "pass") == b"secret"


def test_the_same_secret_looks_different_each_time() -> None:
    first, second = (
        encrypt_secret(b"secret", "pass", entropy=os.urandom, n=N) for _ in range(2)
    )
    assert first.split(b"\n", 2)[1:] != second.split(b"\n", 2)[1:]
    assert first.split(b"\n", 2)[2] != second.split(b"\n", 2)[2]


def test_the_file_is_this_one() -> None:
    """Fixed bytes: files of this version stay readable."""
    stored = b'sage-secret|1\n{"n":2,"p":1,"r":8,"salt":"AAECAwQFBgcICQoLDA0ODw"}\n'
    assert encrypt().startswith(stored)
    assert len(encrypt()) == len(stored) + len(b"secret") + 16


def test_text_passphrases_do_not_depend_on_the_keyboard() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    data = encrypt(passphrase=composed)
    assert decrypt_secret(data, decomposed) == b"secret"
    assert decrypt_secret(data, composed.encode()) == b"secret"
    assert refusal(data, decomposed.encode()) == REFUSED


@pytest.mark.parametrize(
    "passphrase", ["Pass", "pass ", "pas", b"pass\0", "\0", "pass\n"]
)
def test_a_wrong_passphrase(passphrase: str | bytes) -> None:
    assert refusal(encrypt(), passphrase) == REFUSED


@pytest.mark.parametrize("passphrase", ["", b"", bytearray()])
def test_an_empty_passphrase(passphrase: Any) -> None:
    assert refusal(encrypt(), passphrase) == "the passphrase is empty"
    with pytest.raises(ConfigError):
        encrypt(passphrase=passphrase)


def test_a_passphrase_that_is_no_text() -> None:
    with pytest.raises(ConfigError):
        encrypt(passphrase="\ud800")
    for bad in (None, 5):
        with pytest.raises(UsageError):
            encrypt(passphrase=bad)  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            decrypt_secret(encrypt(), bad)  # type: ignore[arg-type]


def test_every_changed_bit_is_noticed() -> None:
    data = encrypt()
    for position, bit in itertools.product(range(len(MAGIC), len(data)), range(8)):
        changed = bytearray(data)
        changed[position] ^= 1 << bit
        assert refusal(bytes(changed)) == REFUSED


def test_every_missing_end_is_noticed() -> None:
    data = encrypt()
    for size in range(len(MAGIC), len(data)):
        assert refusal(data[:size]) == REFUSED
    assert refusal(data + b"\0") == REFUSED


@pytest.mark.parametrize(
    "data", [b"", b"sage", b"sage-secret|2\n{}\n", b"\x89PNG", encrypt()[1:]]
)
def test_another_sort_of_file(data: bytes) -> None:
    assert refusal(data) == "not a secret encrypted by sage, version 1"


@pytest.mark.parametrize(
    "members",
    [
        {"n": 2**21},
        {"n": 2**62},
        {"n": 3},
        {"n": 1},
        {"n": 0},
        {"n": -2},
        {"n": 2.5},
        {"n": True},
        {"n": "2"},
        {"n": None},
        {"n": ...},
        {"n": 2**20, "r": 9},
        {"r": 0},
        {"r": -8},
        {"r": 2**30},
        {"r": True},
        {"p": 0},
        {"p": 2**30},
        {"p": ...},
        {"r": 8.0},
        {"r": "8"},
        {"p": 1.0},
        {"p": None},
        {"n": 2**20, "p": 2},
        {"salt": ""},
        {"salt": 5},
        {"salt": "AAECAwQFBgcICQoLDA0OD"},
        {"salt": "AAECAwQFBgcICQoLDA0ODx"},
        {"salt": "AAECAwQFBgcICQoLDA0ODw=="},
        {"extra": 1},
        {"n": 4},
        {"r": 4},
        {"p": 2},
    ],
    ids=str,
)
def test_a_changed_header_is_refused_before_it_costs(members: dict[str, Any]) -> None:
    assert refusal(with_header(**members)) == REFUSED


def test_a_header_is_one_short_object() -> None:
    box = b"\n" + bytes(40)
    for header in (b"", b"[]", b"{", b"7", b" " * 1000, b"\xff", b"[" * 100):
        assert refusal(MAGIC + header + box) == REFUSED
        assert refusal(MAGIC + header) == REFUSED


@settings(deadline=None)
@given(data=st.binary())
def test_any_bytes_give_a_config_error(data: bytes) -> None:
    refusal(data)
    assert refusal(MAGIC + data) == REFUSED


@pytest.mark.parametrize("n", [0, 1, 3, 2**17 + 1, 2**21, -2, 2.0, True, None])
def test_our_own_cost_is_bounded_too(n: Any) -> None:
    with pytest.raises(UsageError):
        encrypt_secret(b"secret", "pass", entropy=entropy, n=n)


def test_a_cost_of_more_digits_than_are_written_out() -> None:
    with pytest.raises(UsageError):
        encrypt_secret(b"secret", "pass", entropy=entropy, n=10**5000)


def test_arguments() -> None:
    for bad in ("text", 5, None):
        with pytest.raises(UsageError):
            encrypt_secret(bad, "pass", entropy=entropy, n=N)  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            decrypt_secret(bad, "pass")  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        encrypt_secret(b"", "pass", entropy=lambda size: bytes(size - 1), n=N)


@pytest.mark.parametrize("drawn", [None, 16, "x" * 16, ["x"] * 16])
def test_randomness_that_is_none(drawn: object) -> None:
    with pytest.raises(UsageError):
        encrypt_secret(b"", "pass", entropy=lambda size: drawn, n=N)  # type: ignore


@pytest.mark.parametrize("data", [None, 5, "text", ["x"]])
def test_a_private_file_is_made_of_bytes(tmp_path: Path, data: object) -> None:
    with pytest.raises(UsageError):
        write_private_file(tmp_path / "file", data)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_secret_has_at_most_a_mebibyte() -> None:
    overhead = len(encrypt(b""))
    fits = encrypt(bytes(KEYSTORE_MAX_BYTES - overhead))
    assert len(fits) == KEYSTORE_MAX_BYTES
    with pytest.raises(UsageError):
        encrypt(bytes(KEYSTORE_MAX_BYTES - overhead + 1))


# --- files ----------------------------------------------------------


def test_a_private_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "ada.sage"
    write_private_file(path, b"one")
    write_private_file(str(path), b"two")
    assert read_private_file(path) == read_private_file(str(path)) == b"two"
    assert os.listdir(tmp_path) == ["ada.sage"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_private_file_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "ada.sage"
    path.write_bytes(b"was open to everybody")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        read_private_file(path)
    write_private_file(path, b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private_file(path) == b"secret"


def test_files_that_cannot_be(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "file", "nul\0byte"):
        with pytest.raises(ConfigError) as caught:
            read_private_file(path)
        assert "\n" not in str(caught.value)
        with pytest.raises(ConfigError):
            write_private_file(path, b"x")
    with pytest.raises(ConfigError):
        read_private_file(tmp_path)
    with pytest.raises(ConfigError):
        write_private_file(tmp_path / "file", bytes(KEYSTORE_MAX_BYTES + 1))
    (tmp_path / "long").write_bytes(bytes(KEYSTORE_MAX_BYTES + 1))
    (tmp_path / "long").chmod(0o600)
    with pytest.raises(ConfigError, match="longer than"):
        read_private_file(tmp_path / "long")
