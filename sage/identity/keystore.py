"""Secrets at rest: a passphrase, scrypt and one AEAD.

Wire::

    sage-secret|1 LF
    {"n":131072,"p":1,"r":8,"salt":"<22 characters of base64url>"} LF
    ChaCha20-Poly1305(key, nonce = 12 zero bytes, plaintext, aad = both lines)

``key`` is scrypt of the passphrase's SHA-256 with the header's cost and salt
(RFC 7914). Without the hash, scrypt's HMAC would pad: a passphrase and the same with
zero bytes behind it would be one.
Every file has a fresh salt and so a key of its own, which encrypts exactly once:
that is why the nonce can be constant. Both lines are authenticated, so a cost that
somebody changed is noticed; it is bounded before it is paid.
"""

from __future__ import annotations

import os
import unicodedata
from typing import Final

from .. import _crypto
from ..encoding import b64u_decode, b64u_encode, jcs, parse_strict
from ..errors import ConfigError, DecodeError, UsageError
from ..limits import (
    AEAD_NONCE_BYTES,
    AEAD_TAG_BYTES,
    KEYSTORE_MAX_BYTES,
    SCRYPT_N,
    SCRYPT_N_MAX,
    SCRYPT_P,
    SCRYPT_R,
    SCRYPT_SALT_BYTES,
)
from ..types import Buffer
from .entropy import Entropy, draw
from .files import as_path, read_regular, reason, write_atomic
from .signature import as_bytes

__all__ = [
    "decrypt_secret",
    "encrypt_secret",
    "read_private_file",
    "write_private_file",
]


def encrypt_secret(
    plaintext: Buffer,
    passphrase: str | bytes,
    *,
    entropy: Entropy,
    n: int = SCRYPT_N,
) -> bytes:
    """Encrypt a secret under a passphrase.

    Args:
        plaintext: at most about 1 MiB.
        passphrase: text, which is normalised (NFC) so that it does not depend on
            the keyboard, or bytes, which are taken as they are.
        entropy: returns that many fresh random bytes, such as `os.urandom`.
        n: scrypt's cost, a power of two within 2..2^20; 2^17 takes 128 MiB and
            about half a second.

    Raises:
        ConfigError: an empty passphrase, or not enough memory for scrypt.
        UsageError: ``n`` is out of bounds, the plaintext is too long, ``entropy``
            gave something else, or a wrong type.
    """
    secret = as_bytes(plaintext, "plaintext")
    if not _cost_is_allowed(n, SCRYPT_R, SCRYPT_P):
        raise UsageError(f"n is a power of two within 2..{SCRYPT_N_MAX}")
    salt = draw(entropy, SCRYPT_SALT_BYTES)
    header = jcs({"n": n, "r": SCRYPT_R, "p": SCRYPT_P, "salt": b64u_encode(salt)})
    lines = _MAGIC + header + b"\n"
    if len(lines) + len(secret) + AEAD_TAG_BYTES > KEYSTORE_MAX_BYTES:
        raise UsageError(f"an encrypted secret is at most {KEYSTORE_MAX_BYTES} bytes")
    key = _crypto.scrypt(_passphrase(passphrase), salt, n=n, r=SCRYPT_R, p=SCRYPT_P)
    return lines + _crypto.ChaCha20Poly1305(key).encrypt(_NONCE, secret, lines)


def decrypt_secret(data: Buffer, passphrase: str | bytes) -> bytes:
    """Decrypt what `encrypt_secret` made.

    Raises:
        ConfigError: not such a file; or, with one text for all of them, a wrong
            passphrase, a changed byte, a missing end or a cost out of bounds. Also
            an empty passphrase, or not enough memory for scrypt.
        UsageError: a wrong type.
    """
    blob, secret = as_bytes(data, "encrypted secret"), _passphrase(passphrase)
    if not blob.startswith(_MAGIC):
        raise ConfigError("not a secret encrypted by sage, version 1")
    header, _, box = blob[len(_MAGIC) :].partition(b"\n")
    salt, n, r, p = _read_header(header)
    key = _crypto.scrypt(secret, salt, n=n, r=r, p=p)
    try:
        return _crypto.ChaCha20Poly1305(key).decrypt(
            _NONCE, box, blob[: len(blob) - len(box)]
        )
    except _crypto.InvalidTag:
        raise _refused() from None


def write_private_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on (0600).

    The file is replaced in one step: a reader, or a crash, finds the old content
    or the new, never half of it.

    Raises:
        ConfigError: it cannot be written, or ``data`` is longer than 1 MiB.
        UsageError: ``data`` is not a buffer.
    """
    data = as_bytes(data, "private file's content")
    if len(data) > KEYSTORE_MAX_BYTES:
        raise ConfigError(f"a private file is at most {KEYSTORE_MAX_BYTES} bytes")
    try:
        write_atomic(as_path(path), data, mode=0o600)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {reason(exc)}") from exc


def read_private_file(path: str | os.PathLike[str]) -> bytes:
    """Read a file of at most 1 MiB that only its owner can touch.

    Raises:
        ConfigError: it cannot be read, is too long, is not a regular file, or is
            open to its group or others (POSIX); then the text says what to do.
    """
    try:
        data = read_regular(as_path(path), KEYSTORE_MAX_BYTES, private=True)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {reason(exc)}") from exc
    if len(data) > KEYSTORE_MAX_BYTES:
        raise ConfigError(f"{path} is longer than {KEYSTORE_MAX_BYTES} bytes")
    return data


_MAGIC: Final = b"sage-secret|1\n"
_NONCE: Final = bytes(AEAD_NONCE_BYTES)
_HEADER_MAX_BYTES: Final = 128


def _passphrase(passphrase: str | bytes) -> bytes:
    """Return what scrypt gets: 32 bytes, different for different passphrases."""
    if isinstance(passphrase, str):
        try:
            passphrase = unicodedata.normalize("NFC", passphrase).encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigError("the passphrase is not valid Unicode") from None
    secret = as_bytes(passphrase, "passphrase")
    if not secret:
        raise ConfigError("the passphrase is empty")
    return _crypto.sha256(secret)


def _read_header(header: bytes) -> tuple[bytes, int, int, int]:
    """Return salt, n, r and p; every doubt is the same refusal."""
    try:
        members = parse_strict(header, max_bytes=_HEADER_MAX_BYTES)
        if not isinstance(members, dict) or members.keys() != {"n", "r", "p", "salt"}:
            raise _refused()
        n, r, p, salt = (members[name] for name in ("n", "r", "p", "salt"))
        if not isinstance(salt, str) or not _cost_is_allowed(n, r, p):
            raise _refused()
        return b64u_decode(salt, size=SCRYPT_SALT_BYTES), n, r, p  # type: ignore[return-value]  # checked to be int
    except DecodeError:
        raise _refused() from None


def _cost_is_allowed(n: object, r: object, p: object) -> bool:
    """Whether scrypt needs at most 1 GiB and 2^20 default-sized steps."""
    if type(n) is not int or type(r) is not int or type(p) is not int:
        return False
    if not 2 <= n <= SCRYPT_N_MAX or n & (n - 1) or r < 1 or p < 1:
        return False
    return n * r * p <= SCRYPT_N_MAX * SCRYPT_R


def _refused() -> ConfigError:
    return ConfigError("wrong passphrase, or the file was changed")
