"""The only importer of `cryptography`: primitives, and the checks it leaves out.

Nothing here invents cryptography. Each function is one primitive under the name
that the protocol uses, with the protocol's stricter rules around it: Ed25519 keys
must lie in the prime-order subgroup, ECDSA signatures are raw and low-S, points
are uncompressed (CRYPTO-01..05).

The arithmetic in this file touches public values only (public keys, signatures),
so it need not run in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

import cryptography
from cryptography.exceptions import (
    InternalError,
    InvalidSignature,
    InvalidTag,
    UnsupportedAlgorithm,
)
from cryptography.hazmat.backends.openssl.backend import backend
from cryptography.hazmat.bindings import _rust
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey as OpensslEd25519PrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey as OpensslX25519PrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from . import _libsecp256k1, _libsodium
from .errors import (
    AuthenticationError,
    Code,
    ConfigError,
    DecodeError,
    ProtocolError,
    UsageError,
)
from .limits import PUBLIC_KEY_CACHE_ENTRIES, RSA_KEY_MAX_BITS, RSA_KEY_MIN_BITS
from .types import Buffer

__all__ = [
    "AESGCM",
    "CRYPTOGRAPHY_VERSION",
    "ChaCha20Poly1305",
    "EcdsaPrivateKey",
    "EcdsaPublicKey",
    "Ed25519PrivateKey",
    "Ed25519PublicKey",
    "InvalidTag",
    "OpensslEd25519PrivateKey",
    "OpensslX25519PrivateKey",
    "PrivateKey",
    "RsaPrivateKey",
    "RsaPublicKey",
    "X25519PrivateKey",
    "aes256_cbc_encrypt",
    "ecdsa_public_bytes",
    "ecdsa_verify_any_s",
    "ed25519_generate",
    "ed25519_load_private",
    "ed25519_load_public",
    "ed25519_public_bytes",
    "ed25519_verify",
    "extension_file",
    "hkdf_expand",
    "hkdf_expand_into",
    "hkdf_extract",
    "hkdf_into",
    "hmac_sha256",
    "hmac_sha256_into",
    "keccak256",
    "load_private_pem",
    "load_public_pem",
    "openssl_version",
    "p256_generate",
    "p256_is_low_s",
    "p256_load_private",
    "p256_load_public",
    "p256_sign",
    "p256_verify",
    "p384_generate",
    "p384_load_private",
    "p384_load_public",
    "p384_sign",
    "pbkdf2",
    "pkcs8_encode",
    "pkcs8_load",
    "private_bytes",
    "rsa_check_size",
    "rsa_generate",
    "rsa_pss_sign",
    "rsa_pss_verify",
    "rsa_v1_5_verify",
    "scrypt",
    "secp256k1_generate",
    "secp256k1_load_private",
    "secp256k1_load_public",
    "secp256k1_sign",
    "secp256k1_verify",
    "sha256",
    "spki_encode",
    "spki_load",
    "x25519_check_public",
    "x25519_exchange",
    "x25519_generate",
    "x25519_load_private",
    "x25519_public_bytes",
]

CRYPTOGRAPHY_VERSION: Final = cryptography.__version__

EcdsaPrivateKey = ec.EllipticCurvePrivateKey
EcdsaPublicKey = ec.EllipticCurvePublicKey
RsaPrivateKey = rsa.RSAPrivateKey
RsaPublicKey = rsa.RSAPublicKey


def openssl_version() -> str:
    """Return the version of the OpenSSL inside `cryptography`, as ``"3.5.0"``."""
    return backend.openssl_version_text().split()[1]


def extension_file() -> str | None:
    """Return where the compiled part of `cryptography` lies."""
    return cast("str | None", getattr(_rust, "__file__", None))


# --- hashes and key derivation ---------------------------------------------------


def sha256(data: Buffer) -> bytes:
    """Return the 32-byte SHA-256 of ``data``."""
    return hashlib.sha256(data).digest()


def hmac_sha256(key: Buffer, data: Buffer) -> bytes:
    """Return the 32-byte HMAC-SHA-256 of ``data`` (RFC 2104)."""
    return _hmac_digest(key, data, "sha256")


def hmac_sha256_into(key: Buffer, data: Buffer, out: Buffer) -> None:
    """Write the HMAC-SHA-256 into the first 32 bytes of the writable ``out``."""
    memoryview(out)[:32] = _hmac_digest(key, data, "sha256")


# Its stub names fewer sorts of buffer than it takes.
_hmac_digest: Final[Callable[..., bytes]] = hmac.digest


def hkdf_extract(salt: Buffer, ikm: Buffer) -> bytes:
    """Return the 32-byte pseudorandom key (RFC 5869, 2.2, SHA-256)."""
    return _hmac_digest(salt, ikm, "sha256")


def hkdf_expand(prk: Buffer, info: bytes, length: int) -> bytes:
    """Return ``length`` bytes, at most 8160 (RFC 5869, 2.3, SHA-256).

    Raises:
        UsageError: ``length`` is not within 1..8160.
    """
    if not 1 <= length <= _EXPAND_MAX_BYTES:
        raise _no_such_output(length)
    return HKDFExpand(_SHA256, length, info).derive(prk)


def hkdf_expand_into(prk: Buffer, info: bytes, out: Buffer) -> None:
    """Fill the writable ``out``, at most 8160 bytes (RFC 5869, 2.3, SHA-256).

    Raises:
        UsageError: ``out`` is empty, too long, not writable or not contiguous.
    """
    view = memoryview(out)
    if view.readonly or not view.c_contiguous:
        raise UsageError("HKDF output must be writable and contiguous")
    length = view.nbytes
    if not 1 <= length <= _EXPAND_MAX_BYTES:
        raise _no_such_output(length)
    HKDFExpand(_SHA256, length, info).derive_into(prk, view)


def hkdf_into(salt: Buffer, ikm: Buffer, info: bytes, out: Buffer) -> None:
    """Fill the writable ``out``, at most 8160 bytes, by both halves (RFC 5869).

    Raises:
        UsageError: ``out`` is empty, too long, not writable or not contiguous.
    """
    hkdf_expand_into(hkdf_extract(salt, ikm), info, out)


def _no_such_output(length: int) -> UsageError:
    return UsageError(f"HKDF output must be 1..8160 bytes, not {length}")


_SHA256: Final = SHA256()
_EXPAND_MAX_BYTES: Final = 255 * 32


def scrypt(passphrase: bytes, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    """Return a 32-byte key from a passphrase (RFC 7914); takes 128·n·r bytes.

    Raises:
        ConfigError: the machine has not that much memory, or the cost is invalid.
    """
    try:
        return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase)
    except (ValueError, MemoryError) as exc:
        raise ConfigError(f"scrypt with n={n}, r={r}, p={p} cannot run: {exc}") from exc


def pbkdf2(passphrase: bytes, salt: bytes, *, iterations: int) -> bytes:
    """Return a 32-byte key from a passphrase (RFC 8018, 5.2, HMAC-SHA-256)."""
    return hashlib.pbkdf2_hmac("sha256", passphrase, salt, iterations, 32)


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 (the padding before NIST's, not SHA3-256).

    Raises:
        ConfigError: `pycryptodome` is not installed.
    """
    try:
        from Crypto.Hash import keccak
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "Keccak-256 needs pycryptodome: pip install 'sage-secure[ethereum]'"
        ) from exc
    return keccak.new(digest_bits=256, data=data).digest()


# --- X25519 (RFC 7748) -----------------------------------------------------------


class X25519PrivateKey:
    """A loaded private key, in libsodium where the compiled core calls it, or OpenSSL.

    Either lies in memory that is wiped when the last reference goes.
    """

    __slots__ = ("_openssl", "_sodium")

    def __init__(self, openssl: OpensslX25519PrivateKey | None, sodium: Any) -> None:
        """Take one of the two; the other is ``None``."""
        self._openssl, self._sodium = openssl, sodium

    def exchange(self, public: Buffer) -> bytearray | None:
        """Return the 32-byte shared secret, or ``None`` where there is none."""
        if self._openssl is None:
            shared: bytearray | None = self._sodium.exchange(public)
            return shared
        try:
            theirs = X25519PublicKey.from_public_bytes(bytes(public))
            return bytearray(self._openssl.exchange(theirs))
        except ValueError:
            return None

    def public_bytes_raw(self) -> bytes:
        """Return the raw 32-byte public key."""
        if self._openssl is None:
            public: bytes = self._sodium.public_bytes_raw()
            return public
        return self._openssl.public_key().public_bytes_raw()

    def private_bytes_raw(self) -> bytes:
        """Return the raw 32-byte private key."""
        key = self._sodium if self._openssl is None else self._openssl
        private: bytes = key.private_bytes_raw()
        return private

    def openssl(self) -> OpensslX25519PrivateKey:
        """Return the same key in OpenSSL."""
        if self._openssl is None:
            raw = self._sodium.private_bytes_raw()
            return OpensslX25519PrivateKey.from_private_bytes(raw)
        return self._openssl


def x25519_generate() -> X25519PrivateKey:
    """Return a fresh private key, whose bytes nobody has seen."""
    core = _libsodium.compiled()
    if core is None:
        return X25519PrivateKey(OpensslX25519PrivateKey.generate(), None)
    return X25519PrivateKey(None, core.X25519Key())


def x25519_load_private(private: Buffer) -> X25519PrivateKey:
    """Load a raw 32-byte private key.

    Raises:
        UsageError: not 32 bytes.
    """
    _require_32_bytes(private, "an X25519 private key")
    core = _libsodium.compiled()
    if core is None:
        openssl = OpensslX25519PrivateKey.from_private_bytes(private)
        return X25519PrivateKey(openssl, None)
    return X25519PrivateKey(None, core.X25519Key(private))


def x25519_public_bytes(private: X25519PrivateKey) -> bytes:
    """Return the raw 32-byte public key."""
    return private.public_bytes_raw()


def x25519_exchange(private: X25519PrivateKey, public: Buffer) -> bytearray:
    """Return the 32-byte shared secret (RFC 7748, 6.1); wipe it later.

    Raises:
        ProtocolError: ``public`` is not 32 bytes, or is of small order, so that
            the secret would be all zero (``handshake.invalid-dh``).
    """
    shared = private.exchange(public)
    if shared is None:
        raise ProtocolError(
            "unusable X25519 public key", code=Code.HANDSHAKE_INVALID_DH
        )
    return shared


def x25519_check_public(public: bytes) -> None:
    """Refuse a public key with which every shared secret would be zero.

    Raises:
        AuthenticationError: not 32 bytes, or of small order.
    """
    if _PROBE.exchange(public) is None:
        raise AuthenticationError


def _require_32_bytes(private: Buffer, what: str) -> None:
    if memoryview(private).nbytes != 32:
        raise UsageError(f"{what} is 32 bytes")


# Any scalar does: clamping makes it a multiple of 8, and the order of every
# small-order point divides 8.
_PROBE: Final = X25519PrivateKey(
    OpensslX25519PrivateKey.from_private_bytes(bytes(range(32))), None
)


# --- Ed25519 (RFC 8032), strict ----------------------------------------------------

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SIGN_BIT: Final = 1 << 255
_IDENTITY_ENCODING: Final = (1).to_bytes(32, "little")

# A scalar that is -1 modulo L and 0 modulo 8, with the bits that X25519 would set.
_MINUS_ONE: Final = X25519PrivateKey(
    OpensslX25519PrivateKey.from_private_bytes((5 * _L - 1).to_bytes(32, "little")),
    None,
)


class Ed25519PrivateKey:
    """A loaded private key, in OpenSSL, and in libsodium where the core calls it.

    Libsodium signs short messages in two thirds of OpenSSL's time, and long ones more
    slowly. Both lie in memory that is wiped when the last reference goes.
    """

    __slots__ = ("_openssl", "_sodium")

    def __init__(self, openssl: OpensslEd25519PrivateKey, sodium: Any) -> None:
        """Take both; the second may be ``None``."""
        self._openssl, self._sodium = openssl, sodium

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        if self._sodium is None or len(message) > _libsodium.SIGN_MAX_BYTES:
            return self._openssl.sign(message)
        signature: bytes = self._sodium.sign(message)
        return signature

    def public_key(self) -> Ed25519PublicKey:
        """Return the public key, loaded."""
        return self._openssl.public_key()

    def private_bytes_raw(self) -> bytes:
        """Return the raw 32-byte seed."""
        return self._openssl.private_bytes_raw()

    def openssl(self) -> OpensslEd25519PrivateKey:
        """Return the same key in OpenSSL."""
        return self._openssl


def ed25519_generate() -> Ed25519PrivateKey:
    """Return a fresh private key, whose bytes nobody has seen."""
    core = _libsodium.compiled()
    if core is None:
        return Ed25519PrivateKey(OpensslEd25519PrivateKey.generate(), None)
    sodium = core.Ed25519Signer()
    openssl = sodium.lend(OpensslEd25519PrivateKey.from_private_bytes)
    return Ed25519PrivateKey(openssl, sodium)


def ed25519_load_private(seed: Buffer) -> Ed25519PrivateKey:
    """Load a raw 32-byte seed.

    Raises:
        UsageError: not 32 bytes.
    """
    _require_32_bytes(seed, "an Ed25519 private key")
    core = _libsodium.compiled()
    openssl = OpensslEd25519PrivateKey.from_private_bytes(seed)
    return Ed25519PrivateKey(
        openssl, None if core is None else core.Ed25519Signer(seed)
    )


def ed25519_public_bytes(private: Ed25519PrivateKey) -> bytes:
    """Return the raw 32-byte public key."""
    return private.public_key().public_bytes_raw()


@lru_cache(maxsize=PUBLIC_KEY_CACHE_ENTRIES)
def ed25519_load_public(public: bytes) -> Ed25519PublicKey:
    """Load a raw 32-byte public key, refusing what CRYPTO-02 refuses.

    The subgroup check costs about as much as a verification, so loaded keys are
    cached.

    Raises:
        AuthenticationError: wrong length, non-canonical, not on the curve, the
            identity, or outside the prime-order subgroup.
    """
    if len(public) != 32 or not _in_prime_order_subgroup(public):
        raise AuthenticationError
    return Ed25519PublicKey.from_public_bytes(public)


def ed25519_verify(public: Ed25519PublicKey, message: Buffer, signature: bytes) -> None:
    """Verify a 64-byte ``R‖S`` under a key from `ed25519_load_public`.

    The cofactorless equation [S]B = R + [k]A puts R into the subgroup whenever A
    is, so R needs no check of its own but for the identity and its encoding.
    libsodium judges short messages where it is at hand; OpenSSL's hash is faster.

    Raises:
        AuthenticationError: anything about the signature is not exactly right.
    """
    if len(signature) != 64:
        raise AuthenticationError(code=Code.SIG_MALFORMED)
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    r_y = int.from_bytes(r, "little") & (_SIGN_BIT - 1)
    if s >= _L or r_y >= _P or r == _IDENTITY_ENCODING:
        raise AuthenticationError
    verify = _libsodium.verification()
    if verify is not None and len(message) <= _libsodium.VERIFY_MAX_BYTES:
        if not verify(public.public_bytes_raw(), message, signature):
            raise AuthenticationError
        return
    try:
        public.verify(signature, message)
    except InvalidSignature:
        raise AuthenticationError from None


def _in_prime_order_subgroup(encoded: bytes) -> bool:
    """Whether an encoded point is canonical, not the identity, and [L]A = 0.

    With A = P + T, P of order L or 1 and T of small order, [5L-1]A = -P. X25519
    multiplies the birationally equivalent point (RFC 7748, 4.1) and gives u(P), which
    is u(A) exactly where T is the identity. It refuses the result zero, P's identity.
    """
    y = _canonical_y(encoded)
    if y is None or y == 1:
        return False
    u = ((1 + y) * pow(1 - y, -1, _P) % _P).to_bytes(32, "little")
    product = _MINUS_ONE.exchange(u)
    return product is not None and product == u


def _canonical_y(encoded: bytes) -> int | None:
    """Decode a point (RFC 8032, 5.1.3), or return None where it is not canonical."""
    y = int.from_bytes(encoded, "little")
    sign = y >> 255
    y &= _SIGN_BIT - 1
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P and (v * x * x + u) % _P:
        return None  # u/v has no square root: not on the curve
    if u == 0 and sign:
        return None
    return y


# --- ECDSA, raw and low-S ------------------------------------------------------------

_P256_N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SECP256K1_N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SECP256K1_P: Final = 2**256 - 2**32 - 977
_PREHASHED: Final = ec.ECDSA(Prehashed(SHA256()))
_DETERMINISTIC: Final = ec.ECDSA(Prehashed(SHA256()), deterministic_signing=True)


def p256_generate() -> EcdsaPrivateKey:
    """Return a fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def secp256k1_generate() -> EcdsaPrivateKey:
    """Return a fresh private key."""
    return ec.generate_private_key(ec.SECP256K1())


def p256_load_private(scalar: Buffer) -> EcdsaPrivateKey:
    """Load a raw 32-byte P-256 scalar.

    Raises:
        UsageError: not 32 bytes, zero, or not below the group order.
    """
    return _load_scalar(ec.SECP256R1(), scalar, _P256_N)


def secp256k1_load_private(scalar: Buffer) -> EcdsaPrivateKey:
    """Load a raw 32-byte secp256k1 scalar.

    Raises:
        UsageError: not 32 bytes, zero, or not below the group order.
    """
    return _load_scalar(ec.SECP256K1(), scalar, _SECP256K1_N)


@lru_cache(maxsize=PUBLIC_KEY_CACHE_ENTRIES)
def p256_load_public(public: bytes) -> EcdsaPublicKey:
    """Load a 65-byte uncompressed P-256 point.

    Raises:
        AuthenticationError: any other encoding, or not on the curve.
    """
    return _load_point(ec.SECP256R1(), public)


@lru_cache(maxsize=PUBLIC_KEY_CACHE_ENTRIES)
def secp256k1_load_public(public: bytes) -> EcdsaPublicKey:
    """Load a 65-byte uncompressed secp256k1 point.

    Raises:
        AuthenticationError: any other encoding, or not on the curve.
    """
    return _load_point(ec.SECP256K1(), public)


def ecdsa_public_bytes(private: EcdsaPrivateKey) -> bytes:
    """Return the 65-byte uncompressed point ``04‖X‖Y``."""
    return _point_bytes(private.public_key())


def p256_sign(private: EcdsaPrivateKey, message: Buffer) -> bytes:
    """Return the 64-byte low-S ``r‖s`` over SHA-256, deterministic (RFC 6979)."""
    r, s = decode_dss_signature(private.sign(sha256(message), _DETERMINISTIC))
    return _raw(r, min(s, _P256_N - s))


def p256_verify(public: EcdsaPublicKey, message: Buffer, signature: bytes) -> None:
    """Verify a 64-byte low-S ``r‖s`` over SHA-256.

    Raises:
        AuthenticationError: anything about the signature is not exactly right.
    """
    if len(signature) != 64:
        raise AuthenticationError(code=Code.SIG_MALFORMED)
    _verify_low_s(public, sha256(message), signature, _P256_N)


def secp256k1_sign(private: EcdsaPrivateKey, message: bytes) -> bytes:
    """Return the 65-byte low-S ``r‖s‖v`` over Keccak-256, deterministic (RFC 6979)."""
    digest = keccak256(message)
    r, s = decode_dss_signature(private.sign(digest, _DETERMINISTIC))
    s = min(s, _SECP256K1_N - s)
    v = _recovery_id(private.public_key(), digest, r, s)
    if v is None:  # r is the x of a point beyond n: one signature in 2^127
        raise UsageError("this message cannot be signed with this key")
    return _raw(r, s) + bytes([v])


def secp256k1_verify(public: EcdsaPublicKey, message: bytes, signature: bytes) -> None:
    """Verify a 65-byte low-S ``r‖s‖v`` over Keccak-256; v must recover ``public``.

    Raises:
        AuthenticationError: anything about the signature is not exactly right.
        ConfigError: `pycryptodome` is not installed.
    """
    if len(signature) != 65:
        raise AuthenticationError(code=Code.SIG_MALFORMED)
    digest = keccak256(message)
    recover = _libsecp256k1.recovery()
    if recover is None:
        r, s = _verify_low_s(public, digest, signature[:64], _SECP256K1_N)
        right = _recovery_id(public, digest, r, s) == signature[64]
    else:
        # The key that is recovered is the one under which the signature is right.
        _require_low_s(signature[:64], _SECP256K1_N)
        point = _point_bytes(public)
        right = signature[64] <= 1 and recover(digest, signature) == point
    if not right:
        raise AuthenticationError


def _load_scalar(curve: ec.EllipticCurve, scalar: Buffer, n: int) -> EcdsaPrivateKey:
    value, size = int.from_bytes(scalar, "big"), curve.key_size // 8
    if memoryview(scalar).nbytes != size or not 0 < value < n:
        text = f"a {curve.name} private key is a {size}-byte scalar in 1..n-1"
        raise UsageError(text)
    return ec.derive_private_key(value, curve)


def _load_point(curve: ec.EllipticCurve, public: bytes) -> EcdsaPublicKey:
    # `cryptography` also takes compressed and hybrid points; CRYPTO-03 does not.
    if len(public) != 1 + curve.key_size // 4 or public[0] != 4:
        raise AuthenticationError
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, public)
    except ValueError:
        raise AuthenticationError from None


def _point_bytes(public: EcdsaPublicKey) -> bytes:
    return public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def _raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _verify_low_s(
    public: EcdsaPublicKey, digest: bytes, signature: bytes, n: int
) -> tuple[int, int]:
    r, s = _require_low_s(signature, n)
    try:
        public.verify(encode_dss_signature(r, s), digest, _PREHASHED)
    except InvalidSignature:
        raise AuthenticationError from None
    return r, s


def _require_low_s(signature: bytes, n: int) -> tuple[int, int]:
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not 0 < r < n or not 0 < s <= n // 2:
        raise AuthenticationError
    return r, s


def _recovery_id(public: EcdsaPublicKey, digest: bytes, r: int, s: int) -> int | None:
    """Return the v in {0, 1} with which (r, s) recovers ``public``, or None."""
    recover = _libsecp256k1.recovery()
    if recover is None:
        return _nonce_parity(public, digest, r, s)
    point, signature = _point_bytes(public), _raw(r, s)
    for v in (0, 1):
        if recover(digest, signature + bytes([v])) == point:
            return v
    return None


def _nonce_parity(public: EcdsaPublicKey, digest: bytes, r: int, s: int) -> int | None:
    """Do the same without a library that can.

    v is the parity of the y of R = u1·G + u2·Q. OpenSSL gives the point u1·G and,
    through ECDH, the x of u2·Q; of its two possible y, the one whose sum has the
    x that r demands is right.
    """
    n, p, curve = _SECP256K1_N, _SECP256K1_P, ec.SECP256K1()
    inverse = pow(s, -1, n)
    u1 = int.from_bytes(digest, "big") * inverse % n
    u2 = r * inverse % n
    if u1 == 0:
        return None
    g = ec.derive_private_key(u1, curve).public_key().public_numbers()
    shared = ec.derive_private_key(u2, curve).exchange(ec.ECDH(), public)
    x2 = int.from_bytes(shared, "big")
    root = pow(x2**3 + 7, (p + 1) // 4, p)
    for y2 in (root, p - root):
        if x2 != g.x:
            slope = (y2 - g.y) * pow(x2 - g.x, -1, p) % p
        elif y2 == g.y:
            slope = 3 * g.x * g.x * pow(2 * g.y, -1, p) % p
        else:
            continue  # the sum is the point at infinity
        x = (slope * slope - g.x - x2) % p
        if x == r:
            return (slope * (g.x - x) - g.y) % p & 1
    return None


PrivateKey: TypeAlias = Ed25519PrivateKey | X25519PrivateKey | EcdsaPrivateKey


def private_bytes(private: PrivateKey) -> bytes:
    """Return the raw 32-byte private key, for an encrypted file."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.private_numbers().private_value.to_bytes(32, "big")
    return private.private_bytes_raw()


# --- what RFC 9421 adds: P-384, RSA, and ECDSA with either s -------------------------

_P384_N: Final = int(
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
    "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
    16,
)
_PSS: Final = padding.PSS(padding.MGF1(SHA512()), salt_length=64)


def p256_is_low_s(signature: bytes) -> bool:
    """Whether a 64-byte ``r‖s`` has the lower of its two possible s (CRYPTO-03)."""
    return int.from_bytes(signature[32:], "big") <= _P256_N // 2


def p384_generate() -> EcdsaPrivateKey:
    """Return a fresh private key."""
    return ec.generate_private_key(ec.SECP384R1())


def p384_load_private(scalar: Buffer) -> EcdsaPrivateKey:
    """Load a raw 48-byte P-384 scalar.

    Raises:
        UsageError: not 48 bytes, zero, or not below the group order.
    """
    return _load_scalar(ec.SECP384R1(), scalar, _P384_N)


@lru_cache(maxsize=PUBLIC_KEY_CACHE_ENTRIES)
def p384_load_public(public: bytes) -> EcdsaPublicKey:
    """Load a 97-byte uncompressed P-384 point.

    Raises:
        AuthenticationError: any other encoding, or not on the curve.
    """
    return _load_point(ec.SECP384R1(), public)


def p384_sign(private: EcdsaPrivateKey, message: Buffer) -> bytes:
    """Return the 96-byte ``r‖s`` over SHA-384, deterministic (RFC 6979)."""
    scheme = ec.ECDSA(SHA384(), deterministic_signing=True)
    r, s = decode_dss_signature(private.sign(message, scheme))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def ecdsa_verify_any_s(
    public: EcdsaPublicKey, message: Buffer, signature: bytes
) -> None:
    """Verify ``r‖s`` over SHA-256 (P-256) or SHA-384 (P-384), s high or low.

    RFC 9421 signers may send either; where the protocol asks for low s, use
    `p256_verify`.

    Raises:
        AuthenticationError: it does not verify, or has the wrong length.
    """
    size = public.curve.key_size // 8
    if len(signature) != 2 * size:
        raise AuthenticationError(code=Code.SIG_MALFORMED)
    r = int.from_bytes(signature[:size], "big")
    s = int.from_bytes(signature[size:], "big")
    scheme = ec.ECDSA(SHA256() if size == 32 else SHA384())
    try:
        public.verify(encode_dss_signature(r, s), message, scheme)
    except InvalidSignature:
        raise AuthenticationError from None


def rsa_generate() -> RsaPrivateKey:
    """Return a fresh private key of 3072 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def rsa_check_size(key: RsaPrivateKey | RsaPublicKey) -> None:
    """Refuse keys that are too short to trust or too long to bear.

    Raises:
        UsageError: not 2048 to 8192 bits.
    """
    if not RSA_KEY_MIN_BITS <= key.key_size <= RSA_KEY_MAX_BITS:
        raise UsageError(
            f"an RSA key has {RSA_KEY_MIN_BITS} to {RSA_KEY_MAX_BITS} bits, "
            f"not {key.key_size}"
        )


def rsa_pss_sign(private: RsaPrivateKey, message: bytes) -> bytes:
    """Return an RSASSA-PSS signature over SHA-512, salt 64 bytes (RFC 9421, 3.3.1)."""
    return private.sign(message, _PSS, SHA512())


def rsa_pss_verify(public: RsaPublicKey, message: bytes, signature: bytes) -> None:
    """Verify an RSASSA-PSS signature over SHA-512, salt 64 bytes.

    Raises:
        AuthenticationError: it does not verify.
    """
    try:
        public.verify(signature, message, _PSS, SHA512())
    except InvalidSignature:
        raise AuthenticationError from None


def rsa_v1_5_verify(public: RsaPublicKey, message: bytes, signature: bytes) -> None:
    """Verify an RSASSA-PKCS1-v1_5 signature over SHA-256 (RFC 9421, 3.3.2).

    There is no function that signs this way.

    Raises:
        AuthenticationError: it does not verify.
    """
    try:
        public.verify(signature, message, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        raise AuthenticationError from None


# `InternalError`: what OpenSSL says to a key that is too short for its curve.
_LOADING_FAILED: Final = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)


def load_private_pem(pem: bytes) -> object:
    """Load an unencrypted private key, PKCS #8 or the older forms.

    Raises:
        UsageError: not such a key.
    """
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except _LOADING_FAILED as exc:
        raise UsageError("not an unencrypted private key in PEM") from exc
    if isinstance(private, OpensslEd25519PrivateKey):
        return ed25519_load_private(private.private_bytes_raw())
    return private


def load_public_pem(pem: bytes) -> object:
    """Load a public key, SubjectPublicKeyInfo in PEM.

    Raises:
        UsageError: not such a key.
    """
    try:
        return serialization.load_pem_public_key(pem)
    except _LOADING_FAILED as exc:
        raise UsageError("not a public key in PEM") from exc


# --- keys as DER: PKCS#8 (RFC 5958) and SPKI (RFC 5280) ------------------------------

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "secp256k1": ec.SECP256K1(),
}


# The AlgorithmIdentifier of each curve, which has one encoding (RFC 8410, RFC 5480).
_ALGORITHMS: Final = tuple(
    map(
        bytes.fromhex,
        (
            "3005 0603 2b6570",  # Ed25519
            "3005 0603 2b656e",  # X25519
            "3013 0607 2a8648ce3d0201 0608 2a8648ce3d030107",  # P-256
            "3010 0607 2a8648ce3d0201 0605 2b8104000a",  # secp256k1
        ),
    )
)


def pkcs8_encode(private: PrivateKey) -> bytes:
    """Return a private key as the DER of a PrivateKeyInfo, not encrypted."""
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        return _pkcs8(private.openssl())
    return _pkcs8(private)


def _pkcs8(
    private: OpensslEd25519PrivateKey | OpensslX25519PrivateKey | EcdsaPrivateKey,
) -> bytes:
    return private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def pkcs8_load(der: bytes, passphrase: bytes | None) -> tuple[str, PrivateKey]:
    """Load a PrivateKeyInfo, or an EncryptedPrivateKeyInfo, from DER.

    Args:
        der: the whole structure, nothing behind it. What an encrypted one costs to
            derive was bounded before.
        passphrase: of an encrypted one; ``None`` for one that is not encrypted.

    Returns:
        The curve, as JWK names it (``Ed25519``, ``X25519``, ``P-256``,
        ``secp256k1``), and the loaded key.

    Raises:
        DecodeError: not a key of these curves (``key.malformed``).
        ConfigError: a wrong passphrase, or changed bytes.
    """
    if passphrase is None:
        _require_curve(der, behind=len(b"\x02\x01\x00"))  # the version
    try:
        # Of an RSA key that was encrypted, which is refused below, nobody need know
        # whether its numbers are primes. That takes a minute for those of a small file.
        private = serialization.load_der_private_key(
            der, passphrase, unsafe_skip_rsa_key_validation=True
        )
    except _LOADING_FAILED:
        if passphrase is not None:
            raise ConfigError("wrong passphrase, or the key was changed") from None
        raise _malformed_key() from None
    if isinstance(private, OpensslEd25519PrivateKey):
        return "Ed25519", Ed25519PrivateKey(private, None)
    if isinstance(private, OpensslX25519PrivateKey):
        return "X25519", X25519PrivateKey(private, None)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return _curve_name(private.curve), private
    raise _malformed_key()


def aes256_cbc_encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Return data padded and encrypted, as encrypted PKCS#8 has it, and nothing else.

    It authenticates nothing; the padding is that of RFC 5652, 6.3.
    """
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    padded = padder.update(data) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize()


def spki_encode(curve: str, public: bytes) -> bytes:
    """Return a raw public key as the DER of a SubjectPublicKeyInfo."""
    loaded: Ed25519PublicKey | X25519PublicKey | EcdsaPublicKey
    if curve == "Ed25519":
        loaded = Ed25519PublicKey.from_public_bytes(public)
    elif curve == "X25519":
        loaded = X25519PublicKey.from_public_bytes(public)
    else:
        loaded = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], public)
    return loaded.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def spki_load(der: bytes) -> tuple[str, bytes]:
    """Load a SubjectPublicKeyInfo; return the curve's JWK name and the raw key.

    Raises:
        DecodeError: not a key of these curves, or not its one encoding, with the
            curve by name and the point uncompressed (``key.malformed``).
    """
    _require_curve(der, behind=0)
    try:
        public = serialization.load_der_public_key(der)
    except _LOADING_FAILED:
        raise _malformed_key() from None
    if isinstance(public, Ed25519PublicKey):
        found = "Ed25519", public.public_bytes_raw()
    elif isinstance(public, X25519PublicKey):
        found = "X25519", public.public_bytes_raw()
    elif isinstance(public, ec.EllipticCurvePublicKey):
        found = _curve_name(public.curve), _point_bytes(public)
    else:
        raise _malformed_key()
    if spki_encode(*found) != der:
        raise _malformed_key()
    return found


def _require_curve(der: bytes, *, behind: int) -> None:
    """Refuse a key of another kind before anything is computed with it.

    `cryptography` proves the modulus of a Diffie-Hellman key prime when it loads it,
    which takes seconds for a file of 2 KiB and minutes for one of 8 KiB.
    """
    long_form = der[1] & 0x7F if len(der) > 1 and der[1] & 0x80 else 0
    if not der.startswith(_ALGORITHMS, 2 + long_form + behind):
        raise _malformed_key()


def _curve_name(curve: ec.EllipticCurve) -> str:
    for name, known in _CURVES.items():
        if known.name == curve.name:
            return name
    raise _malformed_key()


def _malformed_key() -> DecodeError:
    return DecodeError("not a key of a known form", code=Code.KEY_MALFORMED)
