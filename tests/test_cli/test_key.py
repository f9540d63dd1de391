from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage.identity import (
    KeyStore,
    decode_private_jwk,
    decode_private_pem,
    decode_public_jwk,
    decode_public_pem,
    key_id,
)

from .conftest import Ended, Run, one_line, private

KID = "did:sage:web:agents.example:ada#sign-1"


class Keys:
    """A store with a key, and how commands are said to it."""

    def __init__(self, run: Run, top: Path) -> None:
        self._run, self.top, self.store = run, top, top / "keys"
        self.secret = private(top / "pass", "secret\n")
        self.other = private(top / "other", "other\n")

    def __call__(self, verb: str, *words: object, secret: bool = True) -> Ended:
        more = ("--passphrase-file", self.secret) if secret else ()
        return self._run("key", verb, self.store, *words, *more)

    def new(self, name: str = "ada", *words: object) -> Ended:
        return self("new", name, KID, "--scrypt-n", "2", *words)

    def read(self, name: str = "ada") -> object:
        return KeyStore(self.store, entropy=os.urandom).get(name, "secret")


@pytest.fixture
def keys(run: Run, tmp_path: Path) -> Keys:
    return Keys(run, tmp_path)


@pytest.mark.parametrize(
    "algorithm",
    ["ed25519", "ecdsa-p256-sha256", "sage-secp256k1-keccak256", "x25519"],
)
def test_new_list_and_show(keys: Keys, algorithm: str) -> None:
    ended = keys.new("ada", "--algorithm", algorithm)
    assert (ended.code, ended.err) == (0, "")
    made = keys.read()
    line = f"ada  {algorithm}  {key_id(made.public_key)}  {KID}\n"  # type: ignore[attr-defined]
    assert ended.out == line
    # Neither asks for a passphrase.
    assert keys("list", secret=False).out == line
    shown = keys("show", "ada", secret=False)
    assert shown.code == 0
    assert f"algorithm   {algorithm}\n" in shown.out
    assert ("address     0x" in shown.out) == ("secp256k1" in algorithm)
    assert made.private_bytes().hex() not in ended.out + shown.out  # type: ignore[attr-defined]
    assert stat.S_IMODE(keys.store.stat().st_mode) == 0o700


def test_an_existing_key_is_kept(keys: Keys) -> None:
    assert keys.new().code == 0
    before = (keys.store / "ada.key").read_bytes()
    ended = keys.new()
    assert ended.code == 3
    assert "choose another name" in one_line(ended)
    assert (keys.store / "ada.key").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("new", "../x", KID), 2),
        (("new", "x", "no-url"), 2),
        (("new", "x", KID, "--algorithm", "rot13"), 2),
        (("show", "nobody"), 3),
        (("export", "nobody"), 3),
        (("remove", "nobody", "--yes"), 3),
    ],
)
def test_what_cannot_be_done(keys: Keys, words: tuple[str, ...], code: int) -> None:
    assert keys.new().code == 0
    takes_secret = words[0] in ("new", "export")
    ended = keys(*words, secret=takes_secret)
    assert ended.code == code
    one_line(ended)


def test_a_store_or_a_file_that_others_can_read(keys: Keys) -> None:
    assert keys.new().code == 0
    (keys.store / "ada.key").chmod(0o644)
    ended = keys("list", secret=False)
    assert ended.code == 3
    assert "chmod 600" in one_line(ended)
    (keys.store / "ada.key").chmod(0o600)
    keys.store.chmod(0o755)
    ended = keys("list", secret=False)
    assert ended.code == 3
    assert "chmod 700" in one_line(ended)


# --- export ---------------------------------------------------------------------


def test_a_public_key_goes_to_standard_output(keys: Keys) -> None:
    assert keys.new().code == 0
    public = keys.read().public_key  # type: ignore[attr-defined]
    pem = keys("export", "ada", secret=False)
    assert decode_public_pem(pem.out, KID).key == public
    jwk = keys("export", "ada", "--format", "jwk", secret=False)
    assert decode_public_jwk(jwk.out, KID).key == public
    assert (pem.code, pem.err, jwk.code) == (0, "", 0)


def test_a_wrong_passphrase_names_the_file(keys: Keys) -> None:
    assert keys.new().code == 0
    words = ("ada", "--private", "--plain", "--out", "-")
    ended = keys("export", *words, "--passphrase-file", keys.other, secret=False)
    assert (ended.code, ended.out) == (3, "")
    assert one_line(ended).startswith(f"sage: {keys.store / 'ada.key'}: wrong pass")


def test_a_private_pem_is_encrypted(keys: Keys) -> None:
    assert keys.new().code == 0
    out = keys.top / "ada.pem"
    words = ("export", "ada", "--private", "--out", out)
    ended = keys(*words, "--pem-passphrase-file", keys.other)
    assert (ended.code, ended.out) == (0, "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    again = decode_private_pem(out.read_bytes(), KID, passphrase="other")
    assert again.private_bytes() == keys.read().private_bytes()  # type: ignore[attr-defined]
    ended = keys(*words, "--pem-passphrase-file", keys.other)
    assert ended.code == 3
    assert "exists" in one_line(ended)


def test_a_secret_in_the_clear_has_to_be_asked_for(keys: Keys) -> None:
    assert keys.new().code == 0
    secret = keys.read().private_bytes()  # type: ignore[attr-defined]
    for words in (
        ("--private",),
        ("--private", "--plain"),
        ("--private", "--format", "jwk", "--out", "-"),
    ):
        ended = keys("export", "ada", *words)
        assert (ended.code, ended.out) == (2, "")
        one_line(ended)
    jwk = keys("export", "ada", "--private", "--format", "jwk", "--plain", "--out", "-")
    assert decode_private_jwk(jwk.out, KID).private_bytes() == secret
    pem = keys("export", "ada", "--private", "--plain", "--out", "-")
    assert decode_private_pem(pem.out, KID).private_bytes() == secret


# --- import ---------------------------------------------------------------------


def test_what_was_exported_is_imported(keys: Keys) -> None:
    assert keys.new().code == 0
    for name, words, more in (
        ("a", ("--format", "jwk", "--plain"), ()),
        ("b", ("--plain",), ()),
        ("c", (), ("--pem-passphrase-file", keys.other)),
    ):
        file = keys.top / f"{name}.out"
        assert (
            keys("export", "ada", "--private", "--out", file, *words, *more).code == 0
        )
        taken = keys("import", name, KID, file, "--scrypt-n", "2", *more)
        assert (taken.code, taken.err) == (0, "")
        assert keys.read(name).private_bytes() == keys.read().private_bytes()  # type: ignore[attr-defined]


def test_another_programs_key(keys: Keys) -> None:
    theirs = Ed25519PrivateKey.generate()
    data = theirs.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = private(keys.top / "theirs.pem", data.decode())
    assert keys("import", "ada", KID, file, "--scrypt-n", "2").code == 0
    assert keys.read().private_bytes() == theirs.private_bytes_raw()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("not a key", ()),
        ("{}", ()),
        (json.dumps({"kty": "RSA", "n": "AA", "e": "AQAB"}), ()),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", ()),
    ],
)
def test_a_file_that_is_no_key(keys: Keys, text: str, words: tuple[str, ...]) -> None:
    file = private(keys.top / "bad", text)
    ended = keys("import", "ada", KID, file, *words)
    assert ended.code == 3
    assert str(file) in one_line(ended)


def test_a_key_that_others_could_have_read_is_not_taken(keys: Keys) -> None:
    file = private(keys.top / "open.pem", "x")
    file.chmod(0o644)
    ended = keys("import", "ada", KID, file)
    assert ended.code == 3
    assert "chmod 600" in one_line(ended)


# --- remove ---------------------------------------------------------------------


def test_a_key_is_lost_only_when_asked_for(keys: Keys) -> None:
    assert keys.new().code == 0
    ended = keys("remove", "ada", secret=False)
    assert ended.code == 2
    assert "--yes" in one_line(ended)
    assert keys("remove", "ada", "--yes", secret=False).code == 0
    assert keys("list", secret=False).out == ""
