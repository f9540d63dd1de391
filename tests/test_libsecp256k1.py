"""libsecp256k1 recovers as the textbook does, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage import _crypto, _libsecp256k1
from sage._accel import backend
from sage._libsecp256k1 import Recover
from sage.errors import AuthenticationError

from .ed25519_group import Point, double_and_add
from .other_process import answer_and_warnings

RECOVER = _libsecp256k1.recovery()
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
    assert _libsecp256k1.recovers(textbook_recovery)


@pytest.mark.parametrize(
    "recover",
    [
        pytest.param(lambda *given: None, id="recovers nothing"),
        pytest.param(lambda *given: _libsecp256k1._KEY, id="always the same"),
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
    assert not _libsecp256k1.recovers(recover)


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
        monkeypatch.setattr(_libsecp256k1, "recovery", lambda found=found: found)
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


# --- whether it is taken --------------------------------------------------------------

REPORT = """
import sys
import sage
from sage.identity import SigningKey, verify
assert "coincurve" not in sys.modules  # not before there is something to sign
algorithm = "sage-secp256k1-keccak256"
key = SigningKey.generate("did:sage:web:agents.example:ada#sign-1", algorithm)
signature = key.sign(b"m")
verify(algorithm, key.public_key, b"m", signature)
try:
    verify(algorithm, key.public_key, b"n", signature)
except sage.errors.AuthenticationError:
    pass
else:
    raise SystemExit("a forgery was accepted")
print(sage.backend()["secp256k1"], "coincurve" in sys.modules)
"""
ANY_TIME = REPORT.replace("assert", "...,")


def test_backend_says_who_recovers() -> None:
    found = "cryptography" if RECOVER is None else "libsecp256k1"
    assert backend()["secp256k1"] == found


@needs_libsecp256k1
def test_it_is_taken_where_it_is_installed() -> None:
    assert answer_and_warnings(REPORT) == ("libsecp256k1 True", "")
    assert answer_and_warnings(REPORT, SAGE_NO_EXTENSIONS="1") == (
        "libsecp256k1 True",
        "",
    )


def test_nobody_looks_for_it_where_that_is_forbidden() -> None:
    assert answer_and_warnings(REPORT, SAGE_ENGINE="cryptography") == (
        "cryptography False",
        "",
    )


def test_nothing_is_amiss_without_it() -> None:
    absent = "import sys\nsys.modules['coincurve'] = None\n"
    assert answer_and_warnings(absent + ANY_TIME) == ("cryptography True", "")


@needs_libsecp256k1
def test_one_that_errs_is_not_used_and_told() -> None:
    errs = """
import coincurve
key = coincurve.PublicKey.from_secret((77).to_bytes(32))
coincurve.PublicKey.from_signature_and_message = lambda *given: key
"""
    out, err = answer_and_warnings(errs + ANY_TIME)
    assert out == "cryptography True"
    warning = "libsecp256k1 is not used: it recovers secp256k1 by other rules"
    assert err.count(f"RuntimeWarning: {warning}") == 1
