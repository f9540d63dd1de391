"""Keys as PEM: to and from other programs, and nothing that only looks like one."""

from __future__ import annotations

import base64
import os
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as other
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sage import _crypto
from sage.errors import Code, ConfigError, DecodeError, UsageError
from sage.identity import (
    ALGORITHMS,
    KEM_ALGORITHM,
    KemKey,
    PublicKey,
    SigningKey,
    decode_private_pem,
    decode_public_pem,
    encode_private_pem,
    encode_public_pem,
    pem_is_encrypted,
)
from sage.identity.pbes2 import encrypt_info

KID = "did:sage:web:agents.example:ada#sign-1"
EVERY = [*ALGORITHMS, KEM_ALGORITHM]
CHEAP = 1000

# RFC 8410, 10.1 and 10.3, of one key.
ED25519_PUBLIC = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""
ED25519_PRIVATE = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""

MAKERS = {
    "ed25519": Ed25519PrivateKey.generate,
    "x25519": X25519PrivateKey.generate,
    "ecdsa-p256-sha256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "sage-secp256k1-keccak256": lambda: ec.generate_private_key(ec.SECP256K1()),
}


def generate(algorithm: str) -> SigningKey | KemKey:
    if algorithm == KEM_ALGORITHM:
        return KemKey.generate(KID)
    return SigningKey.generate(KID, algorithm)


def encrypted(key: SigningKey | KemKey, passphrase: str | bytes = "pass") -> bytes:
    return encode_private_pem(key, passphrase, entropy=os.urandom, iterations=CHEAP)


def in_the_clear(key: SigningKey | KemKey) -> bytes:
    return encode_private_pem(key, None, entropy=os.urandom)


def block(label: str, der: bytes) -> bytes:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


def code_of(data: bytes | str, passphrase: str | None = None) -> Code:
    """Refused as a public and as a private key."""
    with pytest.raises(DecodeError) as caught:
        decode_public_pem(data, KID)
    with pytest.raises(DecodeError) as again:
        decode_private_pem(data, KID, passphrase=passphrase)
    assert caught.value.code is again.value.code
    return caught.value.code


# --- other programs -----------------------------------------------------------


def test_rfc_8410() -> None:
    key = decode_private_pem(ED25519_PRIVATE, KID)
    public = decode_public_pem(ED25519_PUBLIC, KID)
    assert key.public_key == public.key
    assert key.private_bytes().hex().startswith("d4ee72dbf913584a")
    assert in_the_clear(key) == ED25519_PRIVATE
    assert encode_public_pem(public) == encode_public_pem(key) == ED25519_PUBLIC


@pytest.mark.parametrize("algorithm", EVERY)
@pytest.mark.parametrize("passphrase", [None, b"pass"])
def test_what_cryptography_wrote_is_read(
    algorithm: str, passphrase: bytes | None
) -> None:
    theirs = MAKERS[algorithm]()
    data = theirs.private_bytes(
        other.Encoding.PEM,
        other.PrivateFormat.PKCS8,
        other.NoEncryption()
        if passphrase is None
        else other.BestAvailableEncryption(passphrase),
    )
    assert pem_is_encrypted(data) == (passphrase is not None)
    key = decode_private_pem(data, KID, passphrase=passphrase)
    assert key.algorithm == algorithm
    assert key.private_bytes() == _crypto.private_bytes(theirs)
    public = theirs.public_key().public_bytes(
        other.Encoding.PEM, other.PublicFormat.SubjectPublicKeyInfo
    )
    assert decode_public_pem(public, KID) == PublicKey(KID, algorithm, key.public_key)
    assert encode_public_pem(key) == public


@pytest.mark.parametrize("algorithm", EVERY)
def test_cryptography_reads_what_we_wrote(algorithm: str) -> None:
    key = generate(algorithm)
    for data, passphrase in ((in_the_clear(key), None), (encrypted(key), b"pass")):
        theirs = other.load_pem_private_key(data, passphrase)
        assert _crypto.private_bytes(theirs) == key.private_bytes()  # type: ignore[arg-type]
    # One wrong passphrase in 256 leaves what looks like padding, behind no key.
    with pytest.raises(ValueError, match=r"[Pp]assword|deserialize"):
        other.load_pem_private_key(encrypted(key), b"wrong")


# --- both ways ----------------------------------------------------------------


@pytest.mark.parametrize("algorithm", EVERY)
def test_round_trip(algorithm: str) -> None:
    key = generate(algorithm)
    for data, passphrase in ((in_the_clear(key), None), (encrypted(key), "pass")):
        for form in (
            data,
            data.decode(),
            bytearray(data),
            data.replace(b"\n", b"\r\n"),
        ):
            again = decode_private_pem(form, KID, passphrase=passphrase)
            assert type(again) is type(key)
            assert (again.kid, again.algorithm) == (KID, algorithm)
            assert again.private_bytes() == key.private_bytes()
    public = decode_public_pem(encode_public_pem(key), KID)
    assert public == PublicKey(KID, algorithm, key.public_key)
    assert encode_public_pem(public) == encode_public_pem(key)


def test_the_default_cost_and_its_fresh_salt() -> None:
    key = generate("ed25519")
    one, two = (encode_private_pem(key, "p", entropy=os.urandom) for _ in range(2))
    assert one != two
    assert decode_private_pem(one, KID, passphrase="p").public_key == key.public_key


def test_nothing_private_without_its_name() -> None:
    key = generate("ed25519")
    secret = base64.b64encode(key.private_bytes())[3:-3]
    for data in (encode_public_pem(key), encrypted(key)):
        assert secret not in data
        assert key.private_bytes() not in base64.b64decode(
            b"".join(data.split(b"\n")[1:-2])
        )
    with pytest.raises(DecodeError, match="PRIVATE KEY where PUBLIC KEY belongs"):
        decode_public_pem(in_the_clear(key), KID)
    with pytest.raises(DecodeError, match="PUBLIC KEY where PRIVATE KEY belongs"):
        decode_private_pem(encode_public_pem(key), KID)
    key.wipe()
    with pytest.raises(UsageError):
        in_the_clear(key)


def test_a_passphrase_does_not_depend_on_the_keyboard() -> None:
    key = generate("ed25519")
    assert (
        decode_private_pem(
            encrypted(key, "cafe\u0301"), KID, passphrase="caf\u00e9"
        ).public_key
        == key.public_key
    )


# --- passphrases and costs ----------------------------------------------------


@pytest.mark.parametrize("passphrase", ["wrong", None, "", b"", "\ud800"])
def test_not_the_passphrase(passphrase: str | bytes | None) -> None:
    with pytest.raises(ConfigError):
        decode_private_pem(encrypted(generate("ed25519")), KID, passphrase=passphrase)


def test_a_passphrase_for_what_has_none() -> None:
    with pytest.raises(ConfigError, match="needs no passphrase"):
        decode_private_pem(ED25519_PRIVATE, KID, passphrase="pass")


@pytest.mark.parametrize("passphrase", ["", b"", "\ud800"])
def test_a_passphrase_that_is_none(passphrase: str | bytes) -> None:
    with pytest.raises(ConfigError):
        encrypted(generate("ed25519"), passphrase)


def test_too_cheap_to_write() -> None:
    with pytest.raises(UsageError):
        encode_private_pem(generate("ed25519"), "p", entropy=os.urandom, iterations=999)
    with pytest.raises(UsageError):  # which nobody could read
        encode_private_pem(
            generate("ed25519"), "p", entropy=os.urandom, iterations=10_000_001
        )


def element(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def integer(value: int) -> bytes:
    return element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


@pytest.mark.parametrize("passphrase", [None, "pass"])
def test_a_key_that_is_refused_is_not_examined(passphrase: str | None) -> None:
    """An RSA key of two large primes, which to prove primes takes ten seconds."""
    p, q = 2**4253 - 1, 2**4423 - 1
    d = pow(65537, -1, (p - 1) * (q - 1))
    numbers = (0, p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    key = element(0x04, element(0x30, *map(integer, numbers)))
    algorithm = element(0x30, bytes.fromhex("06092a864886f70d010101 0500"))
    info, label = element(0x30, integer(0), algorithm, key), "PRIVATE KEY"
    if passphrase is not None:
        info = encrypt_info(info, b"pass", entropy=os.urandom, iterations=1)
        label = f"ENCRYPTED {label}"
    started = time.process_time()
    with pytest.raises(DecodeError) as caught:
        decode_private_pem(block(label, info), KID, passphrase=passphrase)
    assert caught.value.code is Code.KEY_MALFORMED
    assert time.process_time() - started < 3.0


@pytest.mark.parametrize("private", [True, False])
def test_a_key_of_another_kind_is_not_examined(private: bool) -> None:
    """Diffie-Hellman in a group whose modulus takes five seconds to prove prime."""
    group = element(0x30, integer(2**4423 - 1), integer(2))
    algorithm = element(0x30, bytes.fromhex("06092a864886f70d010301"), group)
    value = integer(2**4000)
    if private:
        label = "PRIVATE KEY"
        key = element(0x30, integer(0), algorithm, element(0x04, value))
    else:
        label = "PUBLIC KEY"
        key = element(0x30, algorithm, element(0x03, b"\0" + value))
    started = time.process_time()
    with pytest.raises(DecodeError) as caught:
        (decode_private_pem if private else decode_public_pem)(block(label, key), KID)
    assert caught.value.code is Code.KEY_MALFORMED
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("iterations", [None, "1000", 1000.5, float("nan"), True])
def test_a_cost_that_is_no_number(iterations: Any) -> None:
    with pytest.raises(UsageError):
        encode_private_pem(
            generate("ed25519"), "p", entropy=os.urandom, iterations=iterations
        )


def test_a_cost_that_only_the_file_has_chosen_is_not_paid() -> None:
    """Half a million million iterations, in a file that is right otherwise."""
    head = bytes.fromhex(
        "3081a1305d06092a864886f70d01050d3050302f06092a864886f70d01050c3022"
        "0410000102030405060708090a0b0c0d0e0f0206"
    )
    tail = bytes.fromhex(
        "300c06082a864886f70d02090500301d060960864801650304012a04100001020304"
        "05060708090a0b0c0d0e0f0440"
    )
    der = head + b"\x7f" + bytes(5) + tail + bytes(64)
    started = time.process_time()
    with pytest.raises(DecodeError) as caught:
        decode_private_pem(block("ENCRYPTED PRIVATE KEY", der), KID, passphrase="p")
    assert caught.value.code is Code.KEY_MALFORMED
    assert time.process_time() - started < 1.0


def test_a_key_that_is_too_short_for_its_curve() -> None:
    """OpenSSL's own words for it are an internal error."""
    for name in ("2b656e", "2b656f", "2b6570", "2b6571"):
        der = bytes.fromhex(f"302e02010030050603{name}04220420") + bytes(range(32))
        try:
            decode_private_pem(block("PRIVATE KEY", der), KID)
        except DecodeError as exc:
            assert name in ("2b656f", "2b6571")
            assert exc.code is Code.KEY_MALFORMED  # noqa: PT017


# --- what only looks like one -------------------------------------------------


@pytest.mark.parametrize(
    "private",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ed448.Ed448PrivateKey.generate(),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: dsa.generate_private_key(1024),
    ],
    ids=["rsa", "ed448", "p384", "dsa"],
)
def test_keys_of_other_kinds(private: object) -> None:
    theirs = private()  # type: ignore[operator]
    data = theirs.private_bytes(
        other.Encoding.PEM, other.PrivateFormat.PKCS8, other.NoEncryption()
    )
    assert code_of(data) is Code.KEY_MALFORMED
    public = theirs.public_key().public_bytes(
        other.Encoding.PEM, other.PublicFormat.SubjectPublicKeyInfo
    )
    assert code_of(public) is Code.KEY_MALFORMED


def test_older_forms_and_other_encodings() -> None:
    theirs = ec.generate_private_key(ec.SECP256R1())
    old = theirs.private_bytes(
        other.Encoding.PEM,
        other.PrivateFormat.TraditionalOpenSSL,
        other.NoEncryption(),
    )
    assert b"EC PRIVATE KEY" in old
    ssh = theirs.private_bytes(
        other.Encoding.PEM, other.PrivateFormat.OpenSSH, other.NoEncryption()
    )
    for data in (old, ssh, block("CERTIFICATE", b"x"), block("PUBLIC KEY", b"")):
        assert code_of(data) is Code.KEY_MALFORMED
    assert (
        code_of(
            theirs.private_bytes(
                other.Encoding.DER, other.PrivateFormat.PKCS8, other.NoEncryption()
            )
        )
        is Code.KEY_MALFORMED
    )


def test_a_compressed_point_and_one_of_small_order() -> None:
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    short = point.public_bytes(other.Encoding.X962, other.PublicFormat.CompressedPoint)
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    data = block("PUBLIC KEY", head + short)
    assert other.load_pem_public_key(data)  # others take it
    assert code_of(data) is Code.KEY_MALFORMED
    for name in ("2b656e", "2b6570"):
        zero = bytes.fromhex(f"302a30050603{name}032100") + b"\1" + bytes(31)
        assert code_of(block("PUBLIC KEY", zero)) is Code.KEY_MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-----BEGIN PUBLIC KEY-----",
        b"x" + ED25519_PUBLIC,
        ED25519_PUBLIC + b"x",
        ED25519_PUBLIC * 2,
        ED25519_PUBLIC + ED25519_PRIVATE,
        ED25519_PUBLIC.replace(b"END PUBLIC", b"END PRIVATE"),
        ED25519_PUBLIC.replace(b"MCow", b"MC!w"),
        ED25519_PUBLIC.replace(b"MCow", b"MC w"),
        ED25519_PUBLIC.replace(b"uE=", b"uE"),
        ED25519_PUBLIC.replace(b"KEY-----\n", b"KEY-----\nProc-Type: 4\n\n", 1),
        ED25519_PUBLIC + b" " * 20_000,
        b"\xff" + ED25519_PUBLIC,
        "\ud800",
        ED25519_PUBLIC.replace(b"\n", b""),
    ],
)
def test_a_file_that_is_not_one_block(data: bytes | str) -> None:
    assert code_of(data) is Code.KEY_MALFORMED


def test_trailing_bytes_inside_the_block() -> None:
    for data in (ED25519_PUBLIC, ED25519_PRIVATE):
        label, der = data.split(b"-----")[1][6:].decode(), data.split(b"\n")[1]
        whole = base64.b64decode(der) + b"\0"
        assert code_of(block(label, whole)) is Code.KEY_MALFORMED


@settings(deadline=None)
@given(place=st.integers(0, 10_000), change=st.integers(1, 255), data=st.data())
def test_an_altered_file_is_an_error_or_a_key_of_its_own(
    place: int, change: int, data: st.DataObject
) -> None:
    """The secret itself has no checksum where it is in the clear."""
    key = SigningKey.from_private_bytes(KID, "ed25519", bytes(range(32)))
    passphrase = data.draw(st.sampled_from([None, "pass"]))
    pem = in_the_clear(key) if passphrase is None else encrypted(key)
    altered = bytearray(pem)
    altered[place % len(altered)] ^= change
    try:
        again = decode_private_pem(bytes(altered), KID, passphrase=passphrase)
    except (DecodeError, ConfigError):
        return
    assert len(again.private_bytes()) == 32


@given(place=st.integers(0, 10_000), change=st.integers(1, 255))
@example(place=ED25519_PUBLIC.index(b"=") - 1, change=ord("E") ^ ord("m"))
def test_an_altered_public_key_is_an_error_or_another_key(
    place: int, change: int
) -> None:
    altered = bytearray(ED25519_PUBLIC)
    altered[place % len(altered)] ^= change
    try:
        public = decode_public_pem(bytes(altered), KID)
    except DecodeError as exc:
        assert exc.code is Code.KEY_MALFORMED  # noqa: PT017
        return
    assert encode_public_pem(public).split() == bytes(altered).split()


@given(data=st.binary(max_size=300))
def test_any_der_is_a_documented_error(data: bytes) -> None:
    for label in ("PUBLIC KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"):
        pem = block(label, data)
        with pytest.raises((DecodeError, ConfigError)):
            decode_private_pem(pem, KID, passphrase="p" if "ENC" in label else None)
        with pytest.raises(DecodeError):
            decode_public_pem(pem, KID)


def test_a_name_that_is_none_is_the_callers_fault() -> None:
    with pytest.raises(UsageError):
        decode_public_pem(ED25519_PUBLIC, "ada")
    with pytest.raises(UsageError):
        decode_private_pem(ED25519_PRIVATE, "ada")
    with pytest.raises(UsageError):
        decode_public_pem(7, KID)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["EC PRIVATE KEY", "CERTIFICATE", "RSA PUBLIC KEY"])
def test_what_is_no_key_needs_no_passphrase(label: str) -> None:
    block = f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"
    with pytest.raises(DecodeError, match="not a form that is read here"):
        pem_is_encrypted(block)
