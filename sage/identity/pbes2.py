"""The encryption around a PKCS#8 key: PBES2 with PBKDF2 (RFC 8018, appendix A).

DER, from the outside in::

    SEQUENCE {
      SEQUENCE { PBES2, SEQUENCE {
        SEQUENCE { PBKDF2, SEQUENCE { salt, iterations, SEQUENCE { HMAC-SHA-256 } } }
        SEQUENCE { AES-256-CBC, iv } } }
      OCTET STRING: the encrypted key }

`cryptography` reads all of this, at whatever cost a file names, and writes it with
2,048 iterations, too few to keep a passphrase from being guessed. So here the cost is
read before it is paid, and the structure is written with one of our own.
"""

from __future__ import annotations

from typing import Final

from .. import _crypto
from ..errors import Code, DecodeError
from ..limits import PBKDF2_ITERATIONS_MAX, PBKDF2_SALT_BYTES
from .entropy import Entropy, draw

__all__ = ["encrypt_info", "require_bounded_cost"]


def encrypt_info(
    info: bytes,
    passphrase: bytes,
    *,
    entropy: Entropy,
    iterations: int,
) -> bytes:
    """Return a PrivateKeyInfo encrypted, as the DER of an EncryptedPrivateKeyInfo.

    Args:
        info: DER, less than 64 KiB.
        passphrase: not empty.
        entropy: returns that many fresh random bytes.
        iterations: PBKDF2's cost.

    Raises:
        UsageError: ``entropy`` gave something else.
    """
    salt, iv = draw(entropy, PBKDF2_SALT_BYTES), draw(entropy, _IV_BYTES)
    key = _crypto.pbkdf2(passphrase, salt, iterations=iterations)
    count = iterations.to_bytes(iterations.bit_length() // 8 + 1, "big")
    cost = _der(
        _SEQUENCE,
        _der(_OCTETS, salt),
        _der(_INTEGER, count),
        _der(_SEQUENCE, _HMAC_SHA256, _NULL),
    )
    parameters = _der(
        _SEQUENCE,
        _der(_SEQUENCE, _PBKDF2, cost),
        _der(_SEQUENCE, _AES_256_CBC, _der(_OCTETS, iv)),
    )
    return _der(
        _SEQUENCE,
        _der(_SEQUENCE, _PBES2, parameters),
        _der(_OCTETS, _crypto.aes256_cbc_encrypt(key, iv, info)),
    )


def require_bounded_cost(der: bytes) -> None:
    """Refuse to derive a key at a cost that a file alone has chosen.

    Raises:
        DecodeError: not PBES2 with PBKDF2, or not 1 to 10,000,000 iterations
            (``key.malformed``).
    """
    inside, _ = _take(der, _SEQUENCE)
    scheme, _ = _take(inside, _SEQUENCE)
    parameters, _ = _take(_behind(scheme, _PBES2), _SEQUENCE)
    derivation, _ = _take(parameters, _SEQUENCE)
    cost, _ = _take(_behind(derivation, _PBKDF2), _SEQUENCE)
    _, behind_salt = _take(cost, _OCTETS)
    count, _ = _take(behind_salt, _INTEGER)
    if not 1 <= int.from_bytes(count, "big", signed=True) <= PBKDF2_ITERATIONS_MAX:
        raise _malformed()


_SEQUENCE: Final = 0x30
_OCTETS: Final = 0x04
_INTEGER: Final = 0x02
_NULL: Final = b"\x05\x00"
_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256: Final = bytes.fromhex("06082a864886f70d0209")
_AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")
_IV_BYTES: Final = 16


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _take(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the first element, and what is behind it."""
    if len(der) < 2 or der[0] != tag:
        raise _malformed()
    size, start = der[1], 2
    if size >= 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    # One encoding of each, as DER has it: no other reader can see another element.
    if der[:start] != _der(tag, bytes(min(size, len(der))))[:start]:
        raise _malformed()
    if len(der) < start + size:
        raise _malformed()
    return der[start : start + size], der[start + size :]


def _behind(der: bytes, identifier: bytes) -> bytes:
    if not der.startswith(identifier):
        raise _malformed()
    return der[len(identifier) :]


def _malformed() -> DecodeError:
    return DecodeError("not encrypted by PBES2 and PBKDF2", code=Code.KEY_MALFORMED)
