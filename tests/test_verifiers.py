"""Other libraries verify by the same rules as OpenSSL and we do, or not at all."""

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

from sage import _crypto, _verifiers
from sage._accel import backend
from sage._verifiers import Recover, Verify
from sage.errors import AuthenticationError
from sage.types import Buffer

from .ed25519_group import (
    BASE,
    IDENTITY,
    L,
    P,
    Point,
    add,
    challenge,
    decode,
    double_and_add,
    encode,
    forge,
    multiply,
    torsion,
)

FOUND = _verifiers.libsodium()
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
    assert _verifiers.verifies(openssl)
    assert _verifiers.verifies(textbook(1))


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
    assert not _verifiers.verifies(verify)


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


# --- secp256k1 ------------------------------------------------------------------------

RECOVER = _verifiers.libsecp256k1()
needs_libsecp256k1 = pytest.mark.skipif(
    RECOVER is None, reason="coincurve is not installed, or not to be looked for"
)
SECP_P = 2**256 - 2**32 - 977
SECP_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECP_G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def secp_add(one: Point | None, other: Point | None) -> Point | None:
    if one is None or other is None:
        return one or other
    if one[0] == other[0]:
        if (one[1] + other[1]) % SECP_P == 0:
            return None
        slope = 3 * one[0] ** 2 * pow(2 * one[1], -1, SECP_P)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, SECP_P)
    x = (slope * slope - one[0] - other[0]) % SECP_P
    return x, (slope * (one[0] - x) - one[1]) % SECP_P


def secp_multiply(n: int, point: Point | None) -> Point | None:
    return double_and_add(n, point, secp_add, None)


def secp_encode(point: Point) -> bytes:
    return b"\x04" + point[0].to_bytes(32) + point[1].to_bytes(32)


def textbook_recovery(digest: bytes, signature: bytes) -> bytes | None:
    r, s = (int.from_bytes(signature[at : at + 32]) for at in (0, 32))
    square = (pow(r, 3, SECP_P) + 7) % SECP_P
    y = pow(square, (SECP_P + 1) // 4, SECP_P)
    if not 0 < r < SECP_N or not 0 < s < SECP_N or y * y % SECP_P != square:
        return None
    if y & 1 != signature[64]:
        y = SECP_P - y
    inverse = pow(r, -1, SECP_N)
    point = secp_add(
        secp_multiply(s * inverse % SECP_N, (r, y)),
        secp_multiply(-int.from_bytes(digest) * inverse % SECP_N, SECP_G),
    )
    return None if point is None else secp_encode(point)


def test_a_recovery_that_agrees() -> None:
    assert _verifiers.recovers(textbook_recovery)


@pytest.mark.parametrize(
    "recover",
    [
        pytest.param(lambda *given: None, id="recovers nothing"),
        pytest.param(lambda *given: _verifiers._SECP256K1, id="always the same"),
        pytest.param(
            lambda digest, signature: textbook_recovery(digest, signature[:64] + b"\0"),
            id="does not look at v",
        ),
        pytest.param(
            lambda digest, signature: textbook_recovery(bytes(range(32)), signature),
            id="another digest",
        ),
        pytest.param(lambda digest, signature: signature[999], id="fails"),
    ],
)
def test_recoveries_that_do_not(recover: Recover) -> None:
    assert not _verifiers.recovers(recover)


scalars = st.integers(1, SECP_N - 1)


@needs_libsecp256k1
@given(
    r=scalars | st.integers(1, 50).map(lambda k: point_of(k)[0]),
    s=scalars,
    v=st.integers(0, 1),
    digest=st.binary(min_size=32, max_size=32),
)
def test_it_recovers_as_the_textbook_does(
    r: int, s: int, v: int, digest: bytes
) -> None:
    assert RECOVER is not None
    signature = r.to_bytes(32) + s.to_bytes(32) + bytes([v])
    assert RECOVER(digest, signature) == textbook_recovery(digest, signature)


def point_of(scalar: int) -> Point:
    point = secp_multiply(scalar, SECP_G)
    assert point is not None
    return point


def signed(z: int, nonce: int, secret: int) -> tuple[bytes, int]:
    """Return ``r‖s`` with a low s, and v."""
    x, y = point_of(nonce)
    s = (z + x * secret) * pow(nonce, -1, SECP_N) % SECP_N
    v = y & 1
    if s > SECP_N // 2:
        s, v = SECP_N - s, v ^ 1
    return x.to_bytes(32) + s.to_bytes(32), v


@pytest.mark.parametrize("nonce", [5, 6, 7, 12345])
@pytest.mark.parametrize("doubles", [False, True])
def test_secp256k1_with_and_without_a_library(
    nonce: int, doubles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both halves of R may be one point: whoever chooses the key can arrange that."""
    message = b"to Grace"
    z = int.from_bytes(_crypto.keccak256(message))
    secret = z * pow(point_of(nonce)[0], -1, SECP_N) % SECP_N if doubles else 77
    rs, v = signed(z, nonce, secret)
    key = _crypto.secp256k1_load_public(secp_encode(point_of(secret)))
    for found in (RECOVER, None):
        monkeypatch.setattr(_verifiers, "libsecp256k1", lambda found=found: found)
        _crypto.secp256k1_verify(key, message, rs + bytes([v]))
        for wrong in (
            rs + bytes([v ^ 1]),
            rs + bytes([v + 2]),
            rs + bytes([v + 27]),
            rs[:32] + (SECP_N - int.from_bytes(rs[32:])).to_bytes(32) + bytes([v ^ 1]),
            bytes(32) + rs[32:] + bytes([v]),
            rs[:32] + bytes(32) + bytes([v]),
            SECP_N.to_bytes(32) + rs[32:] + bytes([v]),
        ):
            with pytest.raises(AuthenticationError):
                _crypto.secp256k1_verify(key, message, wrong)


# --- which one is taken --------------------------------------------------------------

REPORT = """
import sys
import sage
from sage.identity import SigningKey, verify
packages = {"nacl", "coincurve"}
assert not packages & {*sys.modules}  # not before there is something to verify
for algorithm in ("ed25519", "sage-secp256k1-keccak256"):
    key = SigningKey.generate("did:sage:web:agents.example:ada#sign-1", algorithm)
    signature = key.sign(b"m")
    verify(algorithm, key.public_key, b"m", signature)
    try:
        verify(algorithm, key.public_key, b"n", signature)
    except sage.errors.AuthenticationError:
        pass
    else:
        raise SystemExit("a forgery was accepted")
found = sage.backend()
print(found["ed25519"], found["secp256k1"], len(packages & {*sys.modules}))
"""
BOTH = "libsodium libsecp256k1 2"
NEITHER = "cryptography cryptography 0"
WARNINGS = (
    "RuntimeWarning: libsodium is not used: it verifies Ed25519 by other rules",
    "RuntimeWarning: libsecp256k1 is not used: it recovers secp256k1 by other rules",
)


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
    found = backend()
    assert found["ed25519"] == ("libsodium" if FOUND else "cryptography")
    assert found["secp256k1"] == ("libsecp256k1" if RECOVER else "cryptography")


@needs_libsodium
@needs_libsecp256k1
def test_they_are_taken_where_they_are_installed() -> None:
    assert run(REPORT) == (BOTH, "")
    assert run(REPORT, SAGE_NO_EXTENSIONS="1") == (BOTH, "")


def test_nobody_looks_for_them_where_that_is_forbidden() -> None:
    assert run(REPORT, SAGE_ENGINE="cryptography") == (NEITHER, "")


def test_nothing_is_amiss_without_them() -> None:
    absent = "import sys\nsys.modules['nacl'] = sys.modules['coincurve'] = None\n"
    report = REPORT.replace("assert not packages", "packages").replace(
        "{*sys.modules}", "set()"
    )
    assert run(absent + report) == (NEITHER, "")


@needs_libsodium
@needs_libsecp256k1
def test_those_that_err_are_not_used_and_told() -> None:
    errs = """
import coincurve, nacl.bindings
nacl.bindings.crypto_sign_open = lambda signed, public: signed[64:]
key = coincurve.PublicKey.from_secret((77).to_bytes(32))
coincurve.PublicKey.from_signature_and_message = lambda *given: key
"""
    out, err = run(errs + REPORT.replace("assert not packages", "packages"))
    assert out == "cryptography cryptography 2"
    assert [err.count(warning) for warning in WARNINGS] == [1, 1]
