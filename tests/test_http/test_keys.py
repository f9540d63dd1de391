"""Keys of signed HTTP: loaded, named, and never another algorithm's."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from sage import _crypto
from sage.errors import AuthenticationError, Code, UsageError
from sage.http import HttpKey, HttpPublicKey
from sage.http.algorithms import HTTP_ALGORITHMS

from .conftest import load

KEYS = load("rfc9421/appendix-b.json")["keys"]
PEMS = {
    "rsa-pss-sha512": KEYS["test-key-rsa-pss"],
    "ecdsa-p256-sha256": KEYS["test-key-ecc-p256"],
    "ed25519": KEYS["test-key-ed25519"],
}
GENERATED = [n for n, algorithm in HTTP_ALGORITHMS.items() if algorithm.generate]


@pytest.fixture(scope="module")
def keys() -> dict[str, HttpKey]:
    made = {name: HttpKey.generate("k", name) for name in GENERATED}
    return made | {"hmac-sha256": HttpKey.from_secret("k", bytes(32))}


@pytest.mark.parametrize("name", [*GENERATED, "hmac-sha256"])
def test_what_one_half_signs_the_other_verifies(
    name: str, keys: dict[str, HttpKey]
) -> None:
    key = keys[name]
    public = key.verification_key()
    assert (key.kid, key.algorithm) == (public.kid, public.algorithm) == ("k", name)
    signature = key.sign(bytearray(b"message"))
    public.verify(memoryview(b"message"), bytearray(signature))
    for message, wrong in (
        (b"massage", signature),
        (b"message", bytes(len(signature))),
        (b"message", signature + b"\0"),
    ):
        with pytest.raises(AuthenticationError) as caught:
            public.verify(message, wrong)
        assert caught.value.code in (Code.SIG_BAD, Code.SIG_MALFORMED)
    with pytest.raises(UsageError):
        key.sign("text")  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        public.verify(b"message", "text")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(PEMS))
def test_pem(name: str) -> None:
    key = HttpKey.from_pem("k", name, PEMS[name]["private_pem"].encode())
    public = HttpPublicKey.from_pem("k", name, PEMS[name]["public_pem"].encode())
    public.verify(b"message", key.sign(b"message"))


@pytest.mark.parametrize("name", sorted(HTTP_ALGORITHMS))
@pytest.mark.parametrize("other", sorted(PEMS))
def test_a_key_is_of_one_algorithm(name: str, other: str) -> None:
    if {name, other} <= {"rsa-pss-sha512", "rsa-v1_5-sha256"} or name == other:
        return  # the same RSA key serves both
    with pytest.raises(UsageError):
        HttpKey.from_pem("k", name, PEMS[other]["private_pem"].encode())
    with pytest.raises(UsageError):
        HttpPublicKey.from_pem("k", name, PEMS[other]["public_pem"].encode())


def test_pkcs1_v1_5_is_verified_and_never_signed() -> None:
    pem = PEMS["rsa-pss-sha512"]
    public = HttpPublicKey.from_pem("k", "rsa-v1_5-sha256", pem["public_pem"].encode())
    private: Any = _crypto.load_private_pem(pem["private_pem"].encode())
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    signature = private.sign(b"message", padding.PKCS1v15(), hashes.SHA256())
    public.verify(b"message", signature)
    with pytest.raises(AuthenticationError):
        public.verify(b"massage", signature)
    with pytest.raises(UsageError, match="never signed"):
        HttpKey.from_pem("k", "rsa-v1_5-sha256", pem["private_pem"].encode())
    with pytest.raises(UsageError):
        HttpKey.generate("k", "rsa-v1_5-sha256")


@pytest.mark.parametrize("bits", [1024, 2048])
def test_short_rsa_keys_are_refused(bits: int) -> None:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, bits)
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    public = key.public_key().public_bytes(
        s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo
    )
    if bits == 2048:
        HttpKey.from_pem("k", "rsa-pss-sha512", private)
        HttpPublicKey.from_pem("k", "rsa-pss-sha512", public)
        return
    with pytest.raises(UsageError, match="2048"):
        HttpKey.from_pem("k", "rsa-pss-sha512", private)
    with pytest.raises(UsageError, match="2048"):
        HttpPublicKey.from_pem("k", "rsa-pss-sha512", public)


def test_raw_keys() -> None:
    for name, private in (
        ("ed25519", bytes(range(32))),
        ("ecdsa-p256-sha256", bytes(31) + b"\1"),
        ("ecdsa-p384-sha384", bytes(47) + b"\1"),
        ("es256k", bytes(31) + b"\1"),
    ):
        key = HttpKey.from_private_bytes("k", name, private)
        key.verification_key().verify(b"m", key.sign(b"m"))
        for wrong in (b"", private + b"\0", private[:-1]):
            with pytest.raises(UsageError):
                HttpKey.from_private_bytes("k", name, wrong)
    for name in ("rsa-pss-sha512", "hmac-sha256"):
        with pytest.raises(UsageError, match="raw"):
            HttpKey.from_private_bytes("k", name, bytes(32))
        with pytest.raises(UsageError, match="raw"):
            HttpPublicKey.from_public_bytes("k", name, bytes(32))


SMALL_ORDER = [
    bytes([1]) + bytes(31),  # the identity
    bytes(32),  # order 4
    bytes([0xEC]) + b"\xff" * 30 + b"\x7f",  # order 2
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
]


@pytest.mark.parametrize("raw", SMALL_ORDER)
def test_small_order_keys_are_refused(raw: bytes) -> None:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    with pytest.raises(AuthenticationError):
        HttpPublicKey.from_public_bytes("k", "ed25519", raw)
    pem = Ed25519PublicKey.from_public_bytes(raw).public_bytes(
        s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(AuthenticationError):
        HttpPublicKey.from_pem("k", "ed25519", pem)


def test_a_secret_is_long_enough() -> None:
    with pytest.raises(UsageError, match="32"):
        HttpKey.from_secret("k", bytes(31))
    with pytest.raises(UsageError, match="not generated"):
        HttpKey.generate("k", "hmac-sha256")


def test_names_and_algorithms() -> None:
    for kid in ("", b"k", None):
        with pytest.raises(UsageError):
            HttpKey.generate(kid)  # type: ignore[arg-type]
    for algorithm in ("ED25519", "rsa-pss-sha256", "", None, []):
        with pytest.raises(UsageError):
            HttpKey.generate("k", algorithm)  # type: ignore[arg-type]
    for pem in (b"", b"nonsense"):
        with pytest.raises(UsageError):
            HttpKey.from_pem("k", "ed25519", pem)
        with pytest.raises(UsageError):
            HttpPublicKey.from_pem("k", "ed25519", pem)


def test_a_private_key_does_not_leak() -> None:
    secret = b"a secret that nobody may ever see"
    key = HttpKey.from_secret("shared", secret)
    assert repr(key) == "<HttpKey shared hmac-sha256>"
    assert repr(key.verification_key()) == "<HttpPublicKey shared hmac-sha256>"
    for holder in (key, key.verification_key()):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(holder, protocol)
    key.wipe()
    with pytest.raises(UsageError, match="wiped"):
        key.sign(b"m")
    with pytest.raises(UsageError, match="wiped"):
        key.verification_key()
