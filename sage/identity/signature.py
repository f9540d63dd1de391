"""Raw signatures by algorithm name (CRYPTO-01..05).

Three suites, chosen by the exact name that the record carries. There are no
aliases, and a name that is not in the table fails closed: ``es256k`` is obsolete,
``x25519`` never signs, upper case is another name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from .. import _crypto
from ..errors import AuthenticationError, Code, UsageError
from ..limits import PUBLIC_KEY_CACHE_ENTRIES
from ..types import Buffer

__all__ = [
    "ALGORITHMS",
    "KEM_ALGORITHM",
    "Suite",
    "as_bytes",
    "check_public_key",
    "ethereum_address",
    "key_id",
    "sign",
    "suite_named",
    "verify",
]

KEM_ALGORITHM: Final = "x25519"
"""The one key agreement algorithm; exactly this spelling (REG-04)."""


def sign(algorithm: str, private_key: Buffer, message: Buffer) -> bytes:
    """Sign a message with a raw private key.

    Ed25519 signs the message itself, secp256k1 its Keccak-256, P-256 its SHA-256.
    The same key and message always give the same signature (RFC 8032, RFC 6979).

    Args:
        algorithm: a name from `ALGORITHMS`.
        private_key: 32 bytes: the Ed25519 seed, or the scalar, big-endian.
        message: any length.

    Returns:
        64 bytes, or 65 (``r‖s‖v``) for ``sage-secp256k1-keccak256``.

    Raises:
        UsageError: unknown algorithm, not a private key of it, or not a buffer.
        ConfigError: secp256k1 without `pycryptodome`.
    """
    suite = suite_named(algorithm)
    private = suite.load_private(as_bytes(private_key, "private key"))
    return suite.sign(private, as_bytes(message, "message"))


def verify(
    algorithm: str, public_key: Buffer, message: Buffer, signature: Buffer
) -> None:
    """Verify a signature under a raw public key; return only if it is right.

    Args:
        algorithm: a name from `ALGORITHMS`; the key's own, never the message's.
        public_key: 32 bytes (Ed25519) or 65 (``04‖X‖Y``).
        message: any length.
        signature: 64 bytes, or 65 for ``sage-secp256k1-keccak256``.

    Raises:
        AuthenticationError: an algorithm that is not in the table
            (``sig.alg-mismatch``), a wrong length (``sig.malformed``), or a key or
            signature that CRYPTO-01..05 refuses (``sig.bad``).
        ConfigError: secp256k1 without `pycryptodome`.
        UsageError: an argument is not a buffer, or the algorithm not a ``str``.
    """
    if not isinstance(algorithm, str):
        raise UsageError(f"an algorithm is str, not {type(algorithm).__name__}")
    suite = ALGORITHMS.get(algorithm)
    key = as_bytes(public_key, "public key")
    data, proof = as_bytes(message, "message"), as_bytes(signature, "signature")
    if suite is None:
        raise AuthenticationError(code=Code.SIG_ALG_MISMATCH)
    suite.verify(suite.load_public(key), data, proof)


def key_id(public_key: Buffer) -> str:
    """Return the 16 hexadecimal characters that name a key in logs.

    The first 8 bytes of SHA-256 of the raw public key. Eight bytes can be made to
    collide: never select or compare a key by this (CRYPTO-05).

    Raises:
        UsageError: not a buffer.
    """
    return _crypto.sha256(as_bytes(public_key, "public key"))[:8].hex()


def ethereum_address(public_key: Buffer) -> str:
    """Return the Ethereum address of a secp256k1 key, ``0x`` and lower case.

    Args:
        public_key: 65 bytes, ``04‖X‖Y``.

    Raises:
        UsageError: not an uncompressed point on secp256k1.
        ConfigError: `pycryptodome` is not installed.
    """
    key = as_bytes(public_key, "public key")
    try:
        _crypto.secp256k1_load_public(key)
    except AuthenticationError:
        raise UsageError("not a 65-byte uncompressed secp256k1 point") from None
    return "0x" + _crypto.keccak256(key[1:])[12:].hex()


@lru_cache(maxsize=PUBLIC_KEY_CACHE_ENTRIES)
def check_public_key(algorithm: str, key: bytes) -> None:
    """Check that raw bytes are a usable public key of an algorithm.

    Only success is remembered.

    An X25519 key of small order would make every shared secret zero; it is found
    by exchanging with it.

    Raises:
        AuthenticationError: they are not, or the algorithm is unknown.
    """
    if algorithm != KEM_ALGORITHM:
        suite = ALGORITHMS.get(algorithm)
        if suite is None:
            raise AuthenticationError(code=Code.SIG_ALG_MISMATCH)
        suite.load_public(key)
        return
    _crypto.x25519_check_public(key)


def suite_named(algorithm: str) -> Suite:
    """Return the suite for signing with our own key.

    Raises:
        UsageError: not a name from `ALGORITHMS`.
    """
    try:
        return ALGORITHMS[algorithm]
    except (KeyError, TypeError):
        raise UsageError(
            f"{algorithm!r} is not one of {', '.join(ALGORITHMS)}"
        ) from None


def as_bytes(value: Buffer, what: str) -> bytes:
    """Return a buffer's bytes; ``bytes(value)`` would also take an integer.

    Raises:
        UsageError: ``value`` is not a buffer.
    """
    if isinstance(value, bytes):
        return value
    try:
        return memoryview(value).tobytes()
    except (TypeError, ValueError, BufferError):
        raise UsageError(f"a {what} is a buffer, not {type(value).__name__}") from None


@dataclass(frozen=True, slots=True)
class Suite:
    """One signature algorithm: how its keys load and what they do.

    The private and public values are the loaded keys of `sage._crypto`.
    """

    generate: Callable[[], Any]
    load_private: Callable[[bytes], Any]
    public_bytes: Callable[[Any], bytes]
    sign: Callable[[Any, bytes], bytes]
    load_public: Callable[[bytes], Any]
    verify: Callable[[Any, bytes, bytes], None]


def _ed25519_sign(private: _crypto.Ed25519PrivateKey, message: bytes) -> bytes:
    return private.sign(message)


ALGORITHMS: Final = MappingProxyType(
    {
        "ed25519": Suite(
            _crypto.ed25519_generate,
            _crypto.ed25519_load_private,
            _crypto.ed25519_public_bytes,
            _ed25519_sign,
            _crypto.ed25519_load_public,
            _crypto.ed25519_verify,
        ),
        "sage-secp256k1-keccak256": Suite(
            _crypto.secp256k1_generate,
            _crypto.secp256k1_load_private,
            _crypto.ecdsa_public_bytes,
            _crypto.secp256k1_sign,
            _crypto.secp256k1_load_public,
            _crypto.secp256k1_verify,
        ),
        "ecdsa-p256-sha256": Suite(
            _crypto.p256_generate,
            _crypto.p256_load_private,
            _crypto.ecdsa_public_bytes,
            _crypto.p256_sign,
            _crypto.p256_load_public,
            _crypto.p256_verify,
        ),
    }
)
"""The signature suites by name. Iterating gives the names; it cannot be changed."""
