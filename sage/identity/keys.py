"""Keys with names: ours, which sign and agree, and others', which verify.

Private keys live in memory that is wiped behind them, OpenSSL's or the compiled core's.
They do not print, compare or pickle; the one way out is `private_bytes`, for an
encrypted file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, Self

from .. import _crypto
from ..errors import DecodeError, UsageError
from ..types import Buffer, KeyUrl
from .did import parse_key_url
from .signature import KEM_ALGORITHM, Suite, as_bytes, suite_named, verify

__all__ = ["KemKey", "PublicKey", "SigningKey", "own_key_url"]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Somebody's public key, as their record gives it. Compared by value.

    Attributes:
        kid: the full key URL.
        algorithm: the record's ``alg``; the key decides it, never a message.
        key: raw bytes, 32 (Ed25519, X25519) or 65 (``04‖X‖Y``).
    """

    kid: KeyUrl
    algorithm: str
    key: bytes

    def verify(self, message: Buffer, signature: Buffer) -> None:
        """Verify a signature with exactly this key.

        Raises:
            AuthenticationError: it does not verify, or this is an X25519 key.
            ConfigError: secp256k1 without `pycryptodome`.
            UsageError: an argument is not a buffer.
        """
        verify(self.algorithm, self.key, message, signature)


class _PrivateKey:
    """What both sorts of private key share: a name, and no way to leak."""

    __slots__ = ("_kid", "_private", "_public_key")

    _kid: KeyUrl
    _private: Any
    _public_key: bytes

    @property
    def kid(self) -> KeyUrl:
        """The full key URL."""
        return self._kid

    @property
    def public_key(self) -> bytes:
        """The raw public key."""
        return self._public_key

    def private_bytes(self) -> bytes:
        """Return the raw 32-byte private key, to be written to an encrypted file.

        Raises:
            UsageError: the key was wiped.
        """
        return _crypto.private_bytes(self._alive())

    def wipe(self) -> None:
        """Let go of the private key; every later use of it raises `UsageError`.

        Best effort: its memory is cleared when the last reference goes.
        """
        self._private = None

    def _alive(self) -> Any:
        if self._private is None:
            raise UsageError("this key was wiped")
        return self._private

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._kid}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled")


class SigningKey(_PrivateKey):
    """A private key that signs. Use `generate` or `from_private_bytes`."""

    __slots__ = ("_algorithm", "_suite")

    def __init__(self, kid: str, algorithm: str, private: Any) -> None:
        """Name a private key that the algorithm's suite has loaded."""
        self._suite: Suite = suite_named(algorithm)
        self._algorithm = algorithm
        self._kid = own_key_url(kid)
        self._private = private
        self._public_key = self._suite.public_bytes(private)

    @classmethod
    def generate(cls, kid: str, algorithm: str = "ed25519") -> Self:
        """Make a fresh key.

        Raises:
            UsageError: ``kid`` is not a key URL, or the algorithm is unknown.
        """
        return cls(kid, algorithm, suite_named(algorithm).generate())

    @classmethod
    def from_private_bytes(cls, kid: str, algorithm: str, raw: Buffer) -> Self:
        """Load a raw 32-byte private key.

        Raises:
            UsageError: ``kid`` is not a key URL, the algorithm is unknown, or the
                bytes are not a private key of it.
        """
        private = suite_named(algorithm).load_private(as_bytes(raw, "private key"))
        return cls(kid, algorithm, private)

    @property
    def algorithm(self) -> str:
        """The suite's name, as in the record."""
        return self._algorithm

    def sign(self, message: Buffer) -> bytes:
        """Return the 64-byte signature, or 65 bytes for secp256k1.

        Raises:
            UsageError: the key was wiped, or ``message`` is not a buffer.
            ConfigError: secp256k1 without `pycryptodome`.
        """
        return self._suite.sign(self._alive(), as_bytes(message, "message"))


class KemKey(_PrivateKey):
    """A private X25519 key that agrees. It never signs."""

    __slots__ = ()

    algorithm = KEM_ALGORITHM

    def __init__(self, kid: str, private: _crypto.X25519PrivateKey) -> None:
        """Name a loaded private key."""
        self._kid = own_key_url(kid)
        self._private = private
        self._public_key = _crypto.x25519_public_bytes(private)

    @classmethod
    def generate(cls, kid: str) -> Self:
        """Make a fresh key.

        Raises:
            UsageError: ``kid`` is not a key URL.
        """
        return cls(kid, _crypto.x25519_generate())

    @classmethod
    def from_private_bytes(cls, kid: str, raw: Buffer) -> Self:
        """Load a raw 32-byte private key.

        Raises:
            UsageError: ``kid`` is not a key URL, or ``raw`` is not 32 bytes.
        """
        return cls(kid, _crypto.x25519_load_private(as_bytes(raw, "private key")))

    @property
    def private(self) -> _crypto.X25519PrivateKey:
        """The loaded key, for HPKE.

        Raises:
            UsageError: the key was wiped.
        """
        private: _crypto.X25519PrivateKey = self._alive()
        return private

    def exchange(self, public: Buffer) -> bytes:
        """Return the 32-byte shared secret (RFC 7748, 6.1).

        Raises:
            ProtocolError: not 32 bytes, or of small order, so that the secret
                would be zero (``handshake.invalid-dh``).
            UsageError: the key was wiped, or ``public`` is not a buffer.
        """
        shared = _crypto.x25519_exchange(self.private, as_bytes(public, "public key"))
        copied = bytes(shared)
        shared[:] = bytes(len(shared))
        return copied


def own_key_url(kid: str) -> KeyUrl:
    """Return a key URL that the caller chose.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_key_url(kid).url
    except DecodeError as exc:
        raise UsageError(f"{kid!r} is not a key URL of did:sage") from exc
