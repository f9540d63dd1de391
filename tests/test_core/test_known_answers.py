"""Every way in which an engine may err is noticed before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sage import _known_answers as known_answers
from sage._crypto import (
    AESGCM,
    ChaCha20Poly1305,
    InvalidTag,
    hkdf_expand_into,
    hkdf_into,
    hmac_sha256_into,
)
from sage._known_answers import Engine
from sage.errors import ConfigError

RIGHT = Engine(
    "tested",
    ChaCha20Poly1305,
    AESGCM,
    hmac_sha256_into,
    hkdf_expand_into,
    hkdf_into,
    invalid_tag=InvalidTag,
)


class Aead:
    """One of `cryptography`, which subclasses make err."""

    def __init__(self, make: Callable[[Any], Any], key: Any) -> None:
        self.real = make(key)

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        return self.real.encrypt(nonce, data, aad)

    def decrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        return self.real.decrypt(nonce, data, aad)


class SealsWrong(Aead):
    def encrypt(self, nonce, data, aad):
        sealed = super().encrypt(nonce, data, aad)
        return sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:]


class ErrsAtLength(Aead):
    """Right on what is short: as code for wide vectors would be that is broken."""

    def encrypt(self, nonce, data, aad):
        sealed = super().encrypt(nonce, data, aad)
        return sealed if len(data) < 1024 else sealed[:-1] + bytes([sealed[-1] ^ 1])

    def decrypt(self, nonce, data, aad):
        if len(data) >= 1024:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return super().decrypt(nonce, data, aad)


class CutsTheTag(Aead):
    def encrypt(self, nonce, data, aad):
        return super().encrypt(nonce, data, aad)[:-4]


class LeavesOutTheAad(Aead):
    def encrypt(self, nonce, data, aad):
        return super().encrypt(nonce, data, None)

    def decrypt(self, nonce, data, aad):
        return super().decrypt(nonce, data, None)


class OpensWrong(Aead):
    def decrypt(self, nonce, data, aad):
        return super().decrypt(nonce, data, aad)[::-1]


class AcceptsEverything(Aead):
    def decrypt(self, nonce, data, aad):
        try:
            return super().decrypt(nonce, data, aad)
        except InvalidTag:
            return data[:-16]


class LooksAtNoTag(Aead):
    """Notices what is forged of the ciphertext, and not what is of the tag."""

    seen: bytes = b""

    def decrypt(self, nonce, data, aad):
        try:
            opened = super().decrypt(nonce, data, aad)
        except InvalidTag:
            if data[:-16] == self.seen[:-16]:
                return self.opened
            raise
        self.seen, self.opened = data, opened
        return opened


class RefusesEverything(Aead):
    def decrypt(self, nonce, data, aad):
        raise InvalidTag


class RefusesInItsOwnWay(Aead):
    def decrypt(self, nonce, data, aad):
        try:
            return super().decrypt(nonce, data, aad)
        except InvalidTag:
            raise ValueError("forged") from None


class Late(Aead):
    """Looks at its key when it is used, not when it is made."""

    def __init__(self, make, key):
        self.make, self.key = make, key.obj

    @property
    def real(self):
        return self.make(bytes(self.key))


class SealsOnce(Aead):
    """A context that does not start anew."""

    again = False

    def encrypt(self, nonce, data, aad):
        if self.again:
            nonce = nonce[:-1] + b"?"
        self.again = True
        return super().encrypt(nonce, data, aad)


class IsUpsetByForgeries(Aead):
    upset = False

    def decrypt(self, nonce, data, aad):
        if self.upset:
            raise InvalidTag
        try:
            return super().decrypt(nonce, data, aad)
        except InvalidTag:
            self.upset = True
            raise


class CannotBeMade(Aead):
    def __init__(self, make, key):
        raise MemoryError("no")


WRONG = (
    SealsWrong,
    CutsTheTag,
    LeavesOutTheAad,
    ErrsAtLength,
    OpensWrong,
    AcceptsEverything,
    LooksAtNoTag,
    RefusesEverything,
    RefusesInItsOwnWay,
    Late,
    SealsOnce,
    IsUpsetByForgeries,
    CannotBeMade,
)
FAILS = "the engine tested fails"


def test_one_that_is_right_passes():
    known_answers.check(RIGHT)
    known_answers.check(
        RIGHT._replace(
            chacha20poly1305=lambda key: Aead(ChaCha20Poly1305, key),
            aes_256_gcm=lambda key: Aead(AESGCM, key),
        )
    )


@pytest.mark.parametrize("cipher", ["chacha20poly1305", "aes_256_gcm"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_cipher_that_errs(cipher, kind):
    make = getattr(RIGHT, cipher)
    engine = RIGHT._replace(**{cipher: lambda key: kind(make, key)})
    with pytest.raises(ConfigError, match=FAILS):
        known_answers.check(engine)


def test_ciphers_that_were_mixed_up():
    engine = RIGHT._replace(chacha20poly1305=AESGCM, aes_256_gcm=ChaCha20Poly1305)
    with pytest.raises(ConfigError, match=FAILS):
        known_answers.check(engine)


@pytest.mark.parametrize("at", [0, 31, 32, 41, 63, 64, 81])
def test_a_derivation_that_errs_anywhere(at):
    def expand(prk, info, out):
        hkdf_expand_into(prk, info, out)
        if at < len(out):
            out[at] ^= 0x80

    with pytest.raises(ConfigError, match="fails its known-answer test"):
        known_answers.check(RIGHT._replace(expand_into=expand))


@pytest.mark.parametrize("at", [0, 31, 32, 41, 63, 64, 81])
def test_a_whole_derivation_that_errs_anywhere(at):
    def derive(salt, ikm, info, out):
        hkdf_into(salt, ikm, info, out)
        if at < len(out):
            out[at] ^= 0x80

    with pytest.raises(ConfigError, match="fails its known-answer test"):
        known_answers.check(RIGHT._replace(hkdf_into=derive))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_whole_derivation_that_leaves_something_out(place):
    def derive(*given):
        known = [*given]
        known[place] = b""
        hkdf_into(*known)

    with pytest.raises(ConfigError, match="fails its known-answer test"):
        known_answers.check(RIGHT._replace(hkdf_into=derive))


def test_a_derivation_that_writes_nothing():
    for nothing in (
        RIGHT._replace(expand_into=lambda prk, info, out: None),
        RIGHT._replace(hkdf_into=lambda salt, ikm, info, out: None),
    ):
        with pytest.raises(ConfigError, match="fails its known-answer test"):
            known_answers.check(nothing)


@pytest.mark.parametrize("longest_key", [4, 64])
def test_an_hmac_that_errs_for_longer_keys(longest_key):
    def mac(key, data, out):
        hmac_sha256_into(key[:longest_key], data, out)

    short = RIGHT._replace(hmac_into=mac)
    with pytest.raises(ConfigError, match="fails its known-answer test"):
        known_answers.check(short)


def test_an_hmac_that_writes_nothing():
    with pytest.raises(ConfigError, match="fails its known-answer test"):
        known_answers.check(RIGHT._replace(hmac_into=lambda key, data, out: None))


def test_an_error_is_told():
    def expand(prk, info, out):
        raise OSError("no device")

    with pytest.raises(ConfigError) as caught:
        known_answers.check(RIGHT._replace(expand_into=expand))
    assert str(caught.value) == "the engine tested fails: OSError('no device')"
    assert isinstance(caught.value.__cause__, OSError)
