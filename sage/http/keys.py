"""Keys for signed HTTP, beyond those of an agent's record.

An agent signs with its own `sage.identity.SigningKey` and is verified under the
`sage.identity.PublicKey` of its record: both fit here as they are. `HttpKey` and
`HttpPublicKey` are for everybody else: RSA, P-384, shared secrets, keys in PEM, and
names that are no key URLs.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn, Protocol, Self

from .. import _crypto
from ..errors import UsageError
from ..identity.signature import as_bytes
from ..limits import HMAC_KEY_MIN_BYTES
from ..types import Buffer
from .algorithms import HTTP_ALGORITHMS, HttpAlgorithm

__all__ = ["HttpKey", "HttpPublicKey", "SignatureKey", "VerificationKey"]

_HMAC: Final = "hmac-sha256"
_CURVES: Final = {
    "ecdsa-p256-sha256": "secp256r1",
    "ecdsa-p384-sha384": "secp384r1",
    "es256k": "secp256k1",
}


class SignatureKey(Protocol):
    """What signs: `sage.identity.SigningKey`, `HttpKey`, or yours."""

    @property
    def kid(self) -> str:
        """What ``keyid`` says."""
        ...

    @property
    def algorithm(self) -> str:
        """What ``alg`` says."""
        ...

    def sign(self, message: Buffer, /) -> bytes:
        """Return the signature over the signature base."""
        ...


class VerificationKey(Protocol):
    """What verifies: `sage.identity.PublicKey`, `HttpPublicKey`, or yours."""

    @property
    def kid(self) -> str:
        """What ``keyid`` must say."""
        ...

    @property
    def algorithm(self) -> str:
        """What ``alg`` must say."""
        ...

    def verify(self, message: Buffer, signature: Buffer, /) -> None:
        """Return only if the signature is right; else raise `AuthenticationError`."""
        ...


class HttpPublicKey:
    """A key that verifies. Use `from_pem` or `from_public_bytes`.

    ECDSA signatures may have either s, as RFC 9421 has no rule for it; the `V10`
    profile refuses the higher one whatever the key.
    """

    __slots__ = ("_algorithm", "_key", "_kid", "_suite")

    def __init__(self, kid: str, algorithm: str, key: Any) -> None:
        """Name a loaded public key."""
        self._suite = _suite(algorithm)
        self._kid, self._algorithm, self._key = _name(kid), algorithm, key

    @classmethod
    def from_pem(cls, kid: str, algorithm: str, pem: Buffer) -> Self:
        """Load a SubjectPublicKeyInfo in PEM.

        Raises:
            UsageError: an unknown algorithm, not a public key in PEM, another
                algorithm's, or an RSA key that is not of 2048 to 8192 bits.
            AuthenticationError: an Ed25519 key that CRYPTO-02 refuses.
        """
        key = _crypto.load_public_pem(as_bytes(pem, "public key"))
        return cls(kid, algorithm, _checked_public(algorithm, key))

    @classmethod
    def from_public_bytes(cls, kid: str, algorithm: str, raw: Buffer) -> Self:
        """Load raw bytes: 32 (Ed25519), 65 or 97 (``04‖X‖Y``).

        Raises:
            UsageError: an unknown algorithm, or one without a raw form.
            AuthenticationError: not a public key of it.
        """
        load = _suite(algorithm).load_public
        if load is None:
            raise UsageError(f"{algorithm} keys have no raw form")
        return cls(kid, algorithm, load(as_bytes(raw, "public key")))

    @property
    def kid(self) -> str:
        """The name that ``keyid`` must say."""
        return self._kid

    @property
    def algorithm(self) -> str:
        """The name in RFC 9421's registry."""
        return self._algorithm

    def verify(self, message: Buffer, signature: Buffer) -> None:
        """Verify a signature with exactly this key.

        Raises:
            AuthenticationError: it does not verify (``sig.bad``), or has the wrong
                length (``sig.malformed``).
            UsageError: an argument is not a buffer.
        """
        data, proof = as_bytes(message, "message"), as_bytes(signature, "signature")
        self._suite.verify(self._key, data, proof)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._kid} {self._algorithm}>"

    def __getstate__(self) -> object:
        if self._algorithm == _HMAC:  # what verifies is what signs
            raise TypeError("a shared secret cannot be pickled")
        return super().__getstate__()


class HttpKey:
    """A private key or shared secret that signs. It does not print or pickle.

    Use `generate`, `from_pem`, `from_private_bytes` or `from_secret`.
    """

    __slots__ = ("_algorithm", "_key", "_kid", "_suite")

    def __init__(self, kid: str, algorithm: str, key: Any) -> None:
        """Name a loaded private key."""
        self._suite = _suite(algorithm)
        if self._suite.sign is None:
            raise UsageError(f"{algorithm} is verified only, never signed with")
        self._kid, self._algorithm, self._key = _name(kid), algorithm, key

    @classmethod
    def generate(cls, kid: str, algorithm: str = "ed25519") -> Self:
        """Make a fresh key.

        Raises:
            UsageError: an unknown algorithm, or ``hmac-sha256``, whose secret must
                come from somewhere that the other side knows too.
        """
        generate = _suite(algorithm).generate
        if generate is None:
            raise UsageError(f"{algorithm} keys are not generated here")
        return cls(kid, algorithm, generate())

    @classmethod
    def from_pem(cls, kid: str, algorithm: str, pem: Buffer) -> Self:
        """Load an unencrypted private key in PEM.

        Raises:
            UsageError: an unknown algorithm, not a private key in PEM, another
                algorithm's, or an RSA key that is not of 2048 to 8192 bits.
        """
        key = _crypto.load_private_pem(as_bytes(pem, "private key"))
        return cls(kid, algorithm, _checked_private(algorithm, key))

    @classmethod
    def from_private_bytes(cls, kid: str, algorithm: str, raw: Buffer) -> Self:
        """Load raw bytes: the 32-byte Ed25519 seed, or a scalar of 32 or 48.

        Raises:
            UsageError: an unknown algorithm, one without a raw form, or not a key.
        """
        load = _suite(algorithm).load_private
        if load is None:
            raise UsageError(f"{algorithm} keys have no raw form")
        return cls(kid, algorithm, load(as_bytes(raw, "private key")))

    @classmethod
    def from_secret(cls, kid: str, secret: Buffer) -> Self:
        """Take a shared secret for ``hmac-sha256``, 32 bytes or more.

        Whoever verifies with it can sign with it: it proves nothing to a third.

        Raises:
            UsageError: fewer than 32 bytes.
        """
        raw = as_bytes(secret, "secret")
        if len(raw) < HMAC_KEY_MIN_BYTES:
            raise UsageError(f"a shared secret has {HMAC_KEY_MIN_BYTES} bytes or more")
        return cls(kid, _HMAC, raw)

    @property
    def kid(self) -> str:
        """The name that ``keyid`` says."""
        return self._kid

    @property
    def algorithm(self) -> str:
        """The name in RFC 9421's registry."""
        return self._algorithm

    def sign(self, message: Buffer) -> bytes:
        """Return the signature; ECDSA as ``r‖s``.

        Raises:
            UsageError: the key was wiped, or ``message`` is not a buffer.
            ConfigError: ``es256k`` without `pycryptodome`.
        """
        sign = self._suite.sign
        if self._key is None or sign is None:
            raise UsageError("this key was wiped")
        return sign(self._key, as_bytes(message, "message"))

    def verification_key(self) -> HttpPublicKey:
        """Return the key that verifies what this one signs.

        For a shared secret that is the secret itself.

        Raises:
            UsageError: the key was wiped.
        """
        if self._key is None:
            raise UsageError("this key was wiped")
        public = self._key if self._algorithm == _HMAC else self._key.public_key()
        return HttpPublicKey(self._kid, self._algorithm, public)

    def wipe(self) -> None:
        """Let go of the key, best effort; every later use raises `UsageError`."""
        self._key = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._kid} {self._algorithm}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an HttpKey cannot be pickled")


def _suite(algorithm: str) -> HttpAlgorithm:
    try:
        return HTTP_ALGORITHMS[algorithm]
    except (KeyError, TypeError):
        names = ", ".join(HTTP_ALGORITHMS)
        raise UsageError(f"{algorithm!r} is not one of {names}") from None


def _name(kid: str) -> str:
    if type(kid) is not str or not kid:
        raise UsageError("a key's name is a str, and not empty")
    return kid


def _checked_private(algorithm: str, key: object) -> Any:
    _check_kind(algorithm, key, _crypto.Ed25519PrivateKey, _crypto.EcdsaPrivateKey)
    return key


def _checked_public(algorithm: str, key: object) -> Any:
    _check_kind(algorithm, key, _crypto.Ed25519PublicKey, _crypto.EcdsaPublicKey)
    if isinstance(key, _crypto.Ed25519PublicKey):
        return _crypto.ed25519_load_public(key.public_bytes_raw())
    return key


def _check_kind(algorithm: str, key: object, edwards: Any, ecdsa: Any) -> None:
    """Refuse a key of another algorithm than the one it is named for."""
    _suite(algorithm)
    if isinstance(key, _crypto.RsaPrivateKey | _crypto.RsaPublicKey):
        fits = algorithm.startswith("rsa-")
        _crypto.rsa_check_size(key)
    elif isinstance(key, ecdsa):
        fits = key.curve.name == _CURVES.get(algorithm)
    else:
        fits = isinstance(key, edwards) and algorithm == "ed25519"
    if not fits:
        raise UsageError(f"not an {algorithm} key")
