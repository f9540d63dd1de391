"""Keys as PEM (RFC 7468): PKCS#8 for private keys, SPKI for public ones.

One file is one block: ``PUBLIC KEY``, ``PRIVATE KEY`` or ``ENCRYPTED PRIVATE KEY``, and
white space at its ends only. The older forms of single curves (``EC PRIVATE KEY``) and
everything around a block are refused. An encrypted block is derived by PBKDF2, which
most tools can read: good for carrying a key, while the files of `encrypt_secret`, with
scrypt, are better for keeping it. Nor does PBES2 authenticate what it encrypts: where
bytes of an Ed25519 or X25519 key were changed, another key may be read.
"""

from __future__ import annotations

import base64
import binascii
import re
import textwrap
import unicodedata
from collections.abc import Callable
from typing import Final

from .. import _crypto
from ..errors import Code, ConfigError, DecodeError, UsageError
from ..limits import KEY_FILE_MAX_BYTES, PBKDF2_ITERATIONS, PBKDF2_ITERATIONS_MAX
from ..types import Buffer
from .entropy import Entropy
from .jwk import CURVE_OF, AnyKey, make_private, make_public
from .keys import KemKey, PublicKey, SigningKey
from .pbes2 import encrypt_info, require_bounded_cost
from .signature import as_bytes

__all__ = [
    "decode_private_pem",
    "decode_public_pem",
    "encode_private_pem",
    "encode_public_pem",
    "pem_is_encrypted",
]


def encode_public_pem(key: AnyKey) -> bytes:
    """Return the public half of a key as a ``PUBLIC KEY`` block (RFC 5280, 4.1)."""
    raw = key.key if isinstance(key, PublicKey) else key.public_key
    return _encode(_PUBLIC, _crypto.spki_encode(CURVE_OF[key.algorithm], raw))


def encode_private_pem(
    key: SigningKey | KemKey,
    passphrase: str | bytes | None,
    *,
    entropy: Entropy,
    iterations: int = PBKDF2_ITERATIONS,
) -> bytes:
    """Return a private key as PKCS#8 (RFC 5958).

    Args:
        key: ours.
        passphrase: encrypts it under PBES2, by PBKDF2 of HMAC-SHA-256 and AES-256-CBC;
            text is normalised (NFC). ``None`` must be said to get it in the clear.
        entropy: returns that many fresh random bytes, such as `os.urandom`.
        iterations: PBKDF2's cost; the default takes a fifth of a second.

    Raises:
        ConfigError: an empty passphrase.
        UsageError: the key was wiped, ``iterations`` is not an int within
            1,000..10,000,000, or ``entropy`` gave something else.
    """
    raw, curve = key.private_bytes(), CURVE_OF[key.algorithm]
    info = _crypto.pkcs8_encode(_LOADERS[curve](raw))
    if passphrase is None:
        return _encode(_PRIVATE, info)
    if (
        type(iterations) is not int
        or not _ITERATIONS_MIN <= iterations <= PBKDF2_ITERATIONS_MAX
    ):
        raise UsageError(f"iterations are {_ITERATIONS_MIN} to {PBKDF2_ITERATIONS_MAX}")
    der = encrypt_info(
        info, _passphrase(passphrase), entropy=entropy, iterations=iterations
    )
    return _encode(_ENCRYPTED, der)


def decode_public_pem(data: Buffer | str, kid: str) -> PublicKey:
    """Read a public key from a ``PUBLIC KEY`` block.

    Args:
        data: the file, at most 16 KiB.
        kid: the key URL to name it by.

    Raises:
        DecodeError: not exactly one such block, not DER's one encoding of an Ed25519,
            X25519, P-256 or secp256k1 key, or of small order (``key.malformed``).
        UsageError: ``kid`` is not a key URL, or ``data`` neither text nor a buffer.
    """
    label, der = _decode(data)
    if label != _PUBLIC:
        raise _malformed(f"{label} where {_PUBLIC} belongs")
    return make_public(*_crypto.spki_load(der), kid)


def decode_private_pem(
    data: Buffer | str, kid: str, *, passphrase: str | bytes | None = None
) -> SigningKey | KemKey:
    """Read a private key from a PKCS#8 block.

    Args:
        data: the file, at most 16 KiB.
        kid: the key URL to name it by.
        passphrase: of an encrypted block; ``None`` where the block is not.

    Raises:
        DecodeError: not exactly one such block, not a key of our curves, or encrypted
            otherwise than with PBES2 and PBKDF2 of 1 to 10,000,000 iterations
            (``key.malformed``).
        ConfigError: encrypted and no passphrase, not encrypted and one given, a wrong
            or empty one, or changed bytes that show. Compare the public key with one
            that you know: not all of them do.
        UsageError: ``kid`` is not a key URL, or ``data`` neither text nor a buffer.
    """
    label, der = _decode(data)
    if label not in (_PRIVATE, _ENCRYPTED):
        raise _malformed(f"{label} where {_PRIVATE} belongs")
    if (label == _ENCRYPTED) != (passphrase is not None):
        needs = "a passphrase" if passphrase is None else "no passphrase"
        raise ConfigError(f"the block is {label}: it needs {needs}")
    secret = None
    if passphrase is not None:
        secret = _passphrase(passphrase)
        require_bounded_cost(der)
    curve, private = _crypto.pkcs8_load(der, secret)
    return make_private(curve, _crypto.private_bytes(private), kid)


def pem_is_encrypted(data: Buffer | str) -> bool:
    """Whether a block needs a passphrase.

    Raises:
        DecodeError: not exactly one block of a key (``key.malformed``).
        UsageError: ``data`` is neither text nor a buffer.
    """
    return _decode(data)[0] == _ENCRYPTED


_PUBLIC: Final = "PUBLIC KEY"
_PRIVATE: Final = "PRIVATE KEY"
_ENCRYPTED: Final = "ENCRYPTED PRIVATE KEY"
_BLOCK: Final = re.compile(
    r"\s*-----BEGIN ([A-Z ]{1,40})-----\r?\n([A-Za-z0-9+/=\r\n]+)"
    r"-----END ([A-Z ]{1,40})-----\s*",
    re.ASCII,
)
_LINE_CHARACTERS: Final = 64
_ITERATIONS_MIN: Final = 1000
_LOADERS: Final[dict[str, Callable[[bytes], _crypto.PrivateKey]]] = {
    "Ed25519": _crypto.ed25519_load_private,
    "X25519": _crypto.x25519_load_private,
    "P-256": _crypto.p256_load_private,
    "secp256k1": _crypto.secp256k1_load_private,
}


def _encode(label: str, der: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(der).decode("ascii"), _LINE_CHARACTERS)
    whole = [f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]
    return "\n".join(whole).encode("ascii")


def _decode(data: Buffer | str) -> tuple[str, bytes]:
    """Return the label of the one block, and the DER in it."""
    if isinstance(data, str):
        data = data.encode("utf-8", "replace")
    block = as_bytes(data, "PEM file")
    if len(block) > KEY_FILE_MAX_BYTES:
        raise _malformed(f"longer than {KEY_FILE_MAX_BYTES} bytes")
    match = _BLOCK.fullmatch(block.decode("ascii", "replace"))
    if match is None or match[1] != match[3]:
        raise _malformed("not exactly one block")
    if match[1] not in (_PUBLIC, _PRIVATE, _ENCRYPTED):
        raise _malformed(f"{match[1]} is not a form that is read here")
    body = match[2].replace("\r", "").replace("\n", "")
    try:
        der = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("not base64") from None
    if base64.b64encode(der) != body.encode("ascii"):
        # Bits that the last character has to spare (RFC 4648, 3.5).
        raise _malformed("not canonical base64")
    return match[1], der


def _passphrase(passphrase: str | bytes) -> bytes:
    if isinstance(passphrase, str):
        try:
            passphrase = unicodedata.normalize("NFC", passphrase).encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigError("the passphrase is not valid Unicode") from None
    if not as_bytes(passphrase, "passphrase"):
        raise ConfigError("the passphrase is empty")
    return as_bytes(passphrase, "passphrase")


def _malformed(message: str) -> DecodeError:
    return DecodeError(f"not such a PEM file: {message}", code=Code.KEY_MALFORMED)
