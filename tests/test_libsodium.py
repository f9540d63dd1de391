"""Ed25519 verification by libsodium: by the same rules as OpenSSL's, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from hypothesis import given
from hypothesis import strategies as st

from sage import _crypto, _libsodium
from sage._accel import backend
from sage._libsodium import Verify
from sage.errors import AuthenticationError
from sage.types import Buffer

from .ed25519_group import (
    BASE,
    IDENTITY,
    L,
    P,
    add,
    challenge,
    decode,
    encode,
    forge,
    multiply,
    torsion,
)

FOUND = _libsodium.verifier()
needs_libsodium = pytest.mark.skipif(
    FOUND is None, reason="PyNaCl is not installed, or not to be looked for"
)


def openssl(public: bytes, message: Buffer, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def textbook(cofactor: int, *, reduces: bool = False) -> Verify:
    """Return a verification of the equation times a cofactor."""

    def verify(public: bytes, message: Buffer, signature: bytes) -> bool:
        try:
            r = decode(signature[:32])
        except AssertionError:
            return False
        s = int.from_bytes(signature[32:], "little")
        if s >= L and not reduces:
            return False
        k = challenge(signature[:32], public, bytes(message))
        left = multiply(cofactor * s, BASE)
        right = add(r, multiply(k, decode(public)))
        return left == multiply(cofactor, right)

    return verify


def test_verifications_that_agree() -> None:
    assert _libsodium.agrees(openssl)
    assert _libsodium.agrees(textbook(1))


def fails(public: bytes, message: Buffer, signature: bytes) -> bool:
    raise OSError("no library")


@pytest.mark.parametrize(
    "verify",
    [
        pytest.param(textbook(8), id="cofactored"),
        pytest.param(textbook(1, reduces=True), id="reduces the scalar"),
        pytest.param(lambda *given: True, id="accepts everything"),
        pytest.param(lambda *given: False, id="refuses everything"),
        pytest.param(lambda *given: openssl(*given) or None, id="says nothing"),
        pytest.param(lambda public, *given: openssl(bytes(32), *given), id="no key"),
        pytest.param(
            lambda public, message, signature: openssl(public, b"m", signature),
            id="another message",
        ),
        pytest.param(fails, id="fails"),
    ],
)
def test_verifications_that_do_not(verify: Verify) -> None:
    assert not _libsodium.agrees(verify)


# --- the library itself -------------------------------------------------------------


def forged(index: int, nonce: int, message: bytes) -> bytes:
    return forge(add(multiply(nonce, BASE), torsion()[index]), nonce, 77, message)


@needs_libsodium
@pytest.mark.parametrize("nonce", [0, 5, 1234567])
@pytest.mark.parametrize("index", range(8))
def test_nonce_points_of_every_order(index: int, nonce: int) -> None:
    """Only one of the identity differs, and `ed25519_verify` refuses it itself."""
    assert FOUND is not None
    public, signature = encode(multiply(77, BASE)), forged(index, nonce, b"m")
    accepts = FOUND(public, b"m", signature)
    assert accepts == (index == 0 and nonce != 0)
    if add(multiply(nonce, BASE), torsion()[index]) != IDENTITY:
        assert accepts == openssl(public, b"m", signature)


MUTATIONS: dict[str, Callable[[bytes, int], bytes]] = {
    "none": lambda signature, at: signature,
    "bit": lambda signature, at: (
        int.from_bytes(signature, "little") ^ 1 << at
    ).to_bytes(64, "little"),
    "large scalar": lambda signature, at: (
        signature[:32]
        + (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")
    ),
    "other encoding": lambda signature, at: (
        (P + at % 19).to_bytes(32, "little") + signature[32:]
    ),
    "noise": lambda signature, at: bytes([at % 256]) * 64,
}


@needs_libsodium
@given(
    seed=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=300),
    mutation=st.sampled_from(list(MUTATIONS)),
    at=st.integers(0, 511),
)
def test_it_judges_as_openssl_does(
    seed: bytes, message: bytes, mutation: str, at: int
) -> None:
    assert FOUND is not None
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes_raw()
    signature = MUTATIONS[mutation](key.sign(message), at)
    verdict = openssl(public, message, signature)
    assert FOUND(public, message, signature) == verdict == (mutation == "none")
    assert FOUND(public, bytearray(message), signature) == verdict
    assert FOUND(public, memoryview(message), signature) == verdict


@pytest.mark.parametrize("size", [16 * 1024, 16 * 1024 + 1])
def test_both_sides_of_the_limit(size: int) -> None:
    private = _crypto.ed25519_generate()
    key = _crypto.ed25519_load_public(_crypto.ed25519_public_bytes(private))
    message = bytes(size)
    signature = private.sign(message)
    _crypto.ed25519_verify(key, message, signature)
    with pytest.raises(AuthenticationError):
        _crypto.ed25519_verify(key, message[:-1] + b"x", signature)


# --- which one is taken --------------------------------------------------------------

REPORT = """
import sys
import sage
from sage.identity import sign, verify
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
assert "nacl" not in sys.modules  # not before there is something to verify
public = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
signature = sign("ed25519", bytes(32), b"m")
verify("ed25519", public, b"m", signature)
try:
    verify("ed25519", public, b"n", signature)
except sage.errors.AuthenticationError:
    print(sage.backend()["ed25519"], sys.modules.get("nacl") is not None)
"""
WARNING = "RuntimeWarning: libsodium is not used: it verifies Ed25519 by other rules"


def run(code: str, **environment: str) -> tuple[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip(), done.stderr


def test_backend_says_who_verifies() -> None:
    expected = "cryptography" if FOUND is None else "libsodium"
    assert backend()["ed25519"] == expected


@needs_libsodium
def test_it_is_taken_where_it_is_installed() -> None:
    assert run(REPORT) == ("libsodium True", "")
    assert run(REPORT, SAGE_NO_EXTENSIONS="1") == ("libsodium True", "")


@needs_libsodium
def test_nobody_looks_for_it_where_that_is_forbidden() -> None:
    assert run(REPORT, SAGE_ENGINE="cryptography") == ("cryptography False", "")


def test_nothing_is_amiss_without_it() -> None:
    absent = "import sys; sys.modules['nacl'] = None\nimport sage\n"
    report = REPORT.replace('assert "nacl" not in sys.modules', "")
    assert run(absent + report) == ("cryptography False", "")


@needs_libsodium
def test_one_that_errs_is_not_used_and_told() -> None:
    errs = """
import nacl.bindings
nacl.bindings.crypto_sign_open = lambda signed, public: signed[64:]
"""
    report = REPORT.replace('assert "nacl" not in sys.modules', "")
    out, err = run(errs + report)
    assert out == "cryptography True"
    assert err.count(WARNING) == 1
