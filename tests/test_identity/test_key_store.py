"""A folder of encrypted keys: private, listed without a passphrase, hard to fool."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage.errors import ConfigError, UsageError
from sage.identity import (
    ALGORITHMS,
    KEM_ALGORITHM,
    KemKey,
    KeyStore,
    SigningKey,
    encrypt_secret,
)

KID = "did:sage:web:agents.example:ada#sign-1"
N = 2


def generate(algorithm: str = "ed25519", kid: str = KID) -> SigningKey | KemKey:
    if algorithm == KEM_ALGORITHM:
        return KemKey.generate(kid)
    return SigningKey.generate(kid, algorithm)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore.create(tmp_path / "keys", entropy=os.urandom)


@pytest.fixture
def file(store: KeyStore, tmp_path: Path) -> Path:
    store.put("ada", generate(), "pass", scrypt_n=N)
    return tmp_path / "keys" / "ada.key"


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, KEM_ALGORITHM])
def test_what_was_put_comes_back(store: KeyStore, algorithm: str) -> None:
    key = generate(algorithm)
    store.put("it", key, "pass", scrypt_n=N)
    again = store.get("it", "pass")
    assert type(again) is type(key)
    assert (again.kid, again.algorithm) == (KID, algorithm)
    assert again.private_bytes() == key.private_bytes()


def test_a_listing_needs_no_passphrase(store: KeyStore, tmp_path: Path) -> None:
    keys = {name: generate(kid=f"{KID}{name[0]}") for name in ("b", "a", "c-1.x")}
    for name, key in keys.items():
        store.put(name, key, "pass", scrypt_n=N)
    for other in (".hidden.key", "notes.txt", "x y.key", ".a.key.tmp"):
        (tmp_path / "keys" / other).write_text("?")
    found = store.entries()
    assert [entry.name for entry in found] == ["a", "b", "c-1.x"]
    for entry in found:
        assert entry.public.kid == keys[entry.name].kid
        assert entry.public.key == keys[entry.name].public_key
        assert store.find(entry.name) == entry


def test_the_file_is_private_and_shows_nothing(store: KeyStore, tmp_path: Path) -> None:
    key = generate()
    store.put("ada", key, "pass", scrypt_n=N)
    folder = tmp_path / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ada.key").stat().st_mode) == 0o600
    assert key.private_bytes() not in (folder / "ada.key").read_bytes()
    assert os.listdir(folder) == ["ada.key"]


def test_a_key_is_not_lost_by_accident(store: KeyStore) -> None:
    first, second = generate(), generate()
    store.put("ada", first, "pass", scrypt_n=N)
    with pytest.raises(ConfigError, match="exists"):
        store.put("ada", second, "pass", scrypt_n=N)
    assert store.get("ada", "pass").public_key == first.public_key
    store.put("ada", second, "other", replace=True, scrypt_n=N)
    assert store.get("ada", "other").public_key == second.public_key
    store.remove("ada")
    assert store.entries() == []
    for call in (store.remove, store.find):
        with pytest.raises(ConfigError, match="No such file"):
            call("ada")


def test_the_wrong_passphrase(store: KeyStore, file: Path) -> None:
    for passphrase in ("wrong", ""):
        with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: .*passphrase"):
            store.get("ada", passphrase)
    with pytest.raises(ConfigError):
        store.put("b", generate(), "", scrypt_n=N)
    wiped = generate()
    wiped.wipe()
    with pytest.raises(UsageError):
        store.put("b", wiped, "pass", scrypt_n=N)


@pytest.mark.parametrize("name", [None, 5, b"ada", Path("ada"), ["ada"]])
def test_names_that_are_no_text(store: KeyStore, name: Any) -> None:
    calls = (store.find, store.remove, lambda n: store.get(n, "pass"))
    for call in (*calls, lambda n: store.put(n, generate(), "pass", scrypt_n=N)):
        with pytest.raises(UsageError):
            call(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "a/b", "../a", "a b", "a\n", "é", "a" * 65, "a\0"]
)
def test_names_that_leave_the_folder(store: KeyStore, name: str) -> None:
    for call in (store.find, store.remove, lambda n: store.get(n, "pass")):
        with pytest.raises(UsageError):
            call(name)
    with pytest.raises(UsageError):
        store.put(name, generate(), "pass", scrypt_n=N)


# --- the folder and its files ---------------------------------------------------


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_can_enter(store: KeyStore, file: Path, mode: int) -> None:
    file.parent.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 700"):
        KeyStore(file.parent, entropy=os.urandom)
    with pytest.raises(ConfigError, match="chmod 700"):
        store.entries()
    with pytest.raises(ConfigError, match="chmod 700"):
        store.put("b", generate(), "pass", scrypt_n=N)
    file.parent.chmod(0o700)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link", "missing", "file/below", "\0"):
        with pytest.raises(ConfigError):
            KeyStore(tmp_path / name, entropy=os.urandom)
    for name in ("file", "link", "missing/below"):
        with pytest.raises(ConfigError):
            KeyStore.create(tmp_path / name, entropy=os.urandom)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read(store: KeyStore, file: Path, mode: int) -> None:
    file.chmod(mode)
    for call in (store.entries, lambda: store.find("ada")):
        with pytest.raises(ConfigError, match="chmod 600"):
            call()
    with pytest.raises(ConfigError, match="chmod 600"):
        store.get("ada", "pass")


def test_a_link_in_a_files_place(store: KeyStore, file: Path, tmp_path: Path) -> None:
    file.rename(tmp_path / "moved.key")
    file.symlink_to(tmp_path / "moved.key")
    with pytest.raises(ConfigError, match="symbolic links"):
        store.get("ada", "pass")
    with pytest.raises(ConfigError, match="symbolic links"):
        store.entries()
    # Replacing replaces the link, and not what it leads to.
    store.put("ada", generate(), "other", replace=True, scrypt_n=N)
    assert not file.is_symlink()
    assert store.get("ada", "other")


def test_a_pipe_and_a_folder_in_a_files_place(store: KeyStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "keys" / "pipe.key", 0o600)
    (tmp_path / "keys" / "dir.key").mkdir()
    for name in ("pipe", "dir"):
        with pytest.raises(ConfigError):
            store.find(name)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), change=st.integers(1, 255))
def test_any_altered_byte_is_a_documented_error(
    store: KeyStore, file: Path, place: int, change: int
) -> None:
    whole = file.read_bytes()
    altered = bytearray(whole)
    altered[place % len(altered)] ^= change
    file.write_bytes(altered)
    try:
        with pytest.raises(ConfigError):
            store.get("ada", "pass")
    finally:
        file.write_bytes(whole)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), keep=st.integers(0, 300))
def test_any_bytes_are_a_documented_error(
    store: KeyStore, file: Path, data: bytes, keep: int
) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:keep] + data)
    try:
        with pytest.raises(ConfigError):
            store.get("ada", "pass")
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "label",
    [
        b"[]",
        b"7",
        b"null",
        b'{"alg":[],"key":"","kid":""}',
        b'{"alg":{},"key":"","kid":""}',
        b'{"alg":"ed25519","key":"","kid":5}',
        b'{"alg":"ed25519","key":null,"kid":""}',
        b'{"alg":"ed25519","key":""}',
    ],
)
def test_a_label_that_is_none(store: KeyStore, file: Path, label: bytes) -> None:
    file.write_bytes(b"sage-key|1\n" + label + b"\n")
    with pytest.raises(ConfigError, match="not a key's file"):
        store.find(file.stem)


def test_a_label_of_another_key_is_noticed(store: KeyStore, file: Path) -> None:
    """Whoever writes the folder exchanges the labels of two good files."""
    store.put("eve", generate(kid=f"{KID}1"), "pass", scrypt_n=N)
    other = file.with_name("eve.key")
    ours, theirs = file.read_bytes(), other.read_bytes()
    at, there = (data.index(b"sage-secret") for data in (ours, theirs))
    file.write_bytes(theirs[:there] + ours[at:])
    assert store.find("ada").public.kid == f"{KID}1"
    with pytest.raises(ConfigError, match="names another key"):
        store.get("ada", "pass")


def test_a_file_that_was_made_wrong(store: KeyStore, file: Path) -> None:
    """A good seal over a key that is not the label's."""
    whole = file.read_bytes()
    label = whole[: whole.index(b"sage-secret")]
    for inside in (label + bytes(32), label, label + bytes(31)):
        box = encrypt_secret(inside, "pass", entropy=os.urandom, n=N)
        file.write_bytes(label + box)
        with pytest.raises(ConfigError):
            store.get("ada", "pass")


WRITER = """
import os, sys
from sage.identity import KeyStore, SigningKey
store = KeyStore(sys.argv[1], entropy=os.urandom)
key = SigningKey.generate("did:sage:web:agents.example:ada#sign-1")
print("ready", flush=True)
while True:
    store.put("ada", key, "pass", replace=True, scrypt_n=2)
"""


def test_killed_while_writing_it_leaves_the_old_file_or_the_new(
    store: KeyStore, file: Path
) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file.parent)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(20):
                assert store.get("ada", "pass")
            process.kill()
        assert [entry.name for entry in store.entries()] == ["ada"]
        assert store.get("ada", "pass")
