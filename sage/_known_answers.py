"""What an engine must answer before it is used.

An engine is an AEAD for each cipher, HMAC, HKDF, and its second half. Known answers:
RFC 8439, 2.8.2; case 16 of the specification of GCM (McGrew and Viega), which has a
256-bit key and associated data; RFC 4231, 4.3 and 4.7, keys shorter and longer than a
block of the hash; RFC 5869, A.1 and A.2, whose blocks are one HMAC each. All of them
are short. A long message takes the way of the widest vectors that the processor
has: of its answer there is a digest, on which OpenSSL 3.0 and 4.0 agree.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, NamedTuple

from .errors import ConfigError

__all__ = ["Engine", "check"]


class Engine(NamedTuple):
    """The primitives of a kernel.

    Attributes:
        name: as `sage.backend` gives it.
        chacha20poly1305: makes an AEAD of a 32-byte key.
        aes_256_gcm: makes another.
        hmac_into: HMAC-SHA-256: ``(key, data, out)``.
        expand_into: HKDF-Expand with SHA-256: ``(prk, info, out)``.
        hkdf_into: HKDF with SHA-256: ``(salt, ikm, info, out)``.
        invalid_tag: what ``decrypt`` raises for a forgery.
    """

    name: str
    chacha20poly1305: Callable[[memoryview], Any]
    aes_256_gcm: Callable[[memoryview], Any]
    hmac_into: Callable[[Any, Any, Any], None]
    expand_into: Callable[[Any, bytes, Any], None]
    hkdf_into: Callable[[Any, Any, bytes, Any], None]
    invalid_tag: type[Exception]


def check(engine: Engine) -> None:
    """Refuse an engine that errs, or that reads its key after it was made.

    The kernels hand over a view of their key block, release the view and may wipe
    the block.

    Raises:
        ConfigError: it gave a wrong answer, or none.
    """
    try:
        right = (
            _seals(engine.chacha20poly1305, engine.invalid_tag, _CHACHA20POLY1305)
            and _seals(engine.aes_256_gcm, engine.invalid_tag, _AES_256_GCM)
            and _seals_much(engine.chacha20poly1305, _MUCH_CHACHA20POLY1305)
            and _seals_much(engine.aes_256_gcm, _MUCH_AES_256_GCM)
            and all(_writes(engine.hmac_into, *case) for case in _HMAC)
            and all(_writes(engine.expand_into, *case) for case in _EXPAND)
            and all(_writes(engine.hkdf_into, *case) for case in _HKDF)
        )
    except Exception as exc:
        raise ConfigError(f"the engine {engine.name} fails: {exc!r}") from exc
    if not right:
        raise ConfigError(f"the engine {engine.name} fails its known-answer test")


class _Sealed(NamedTuple):
    key: bytes
    nonce: bytes
    aad: bytes
    plaintext: bytes
    sealed: bytes


def _seals(
    make: Callable[[memoryview], Any], invalid_tag: type[Exception], case: _Sealed
) -> bool:
    key = bytearray(case.key)
    with memoryview(key) as view:
        aead = make(view)
    key[:] = bytes(len(key))
    return (
        _answers(aead, case)
        and all(
            _refuses(aead, invalid_tag, case, at)
            for at in (0, len(case.sealed) - 1)  # the ciphertext, and the tag
        )
        # A key is used again and again, after a forgery, too.
        and _answers(aead, case)
    )


def _answers(aead: Any, case: _Sealed) -> bool:
    nonce, aad = case.nonce, case.aad
    sealed: bytes = aead.encrypt(nonce, case.plaintext, aad)
    return sealed == case.sealed and (
        aead.decrypt(nonce, case.sealed, aad) == case.plaintext
    )


def _refuses(aead: Any, invalid_tag: type[Exception], case: _Sealed, at: int) -> bool:
    forged = bytearray(case.sealed)
    forged[at] ^= 1
    try:
        aead.decrypt(case.nonce, bytes(forged), case.aad)
    except invalid_tag:
        return True
    return False


def _seals_much(make: Callable[[memoryview], Any], digest: str) -> bool:
    aead = make(memoryview(bytearray(range(32))))
    sealed: bytes = aead.encrypt(bytes(12), _MUCH, b"sage")
    return sha256(sealed).hexdigest() == digest and (
        aead.decrypt(bytes(12), sealed, b"sage") == _MUCH
    )


def _writes(derive_into: Callable[..., None], *case: bytes) -> bool:
    *given, expected = case
    out = bytearray(len(expected))
    derive_into(*given, memoryview(out))
    return out == expected


_hex = bytes.fromhex
_CHACHA20POLY1305: Final = _Sealed(
    key=bytes(range(0x80, 0xA0)),
    nonce=_hex("070000004041424344454647"),
    aad=_hex("50515253c0c1c2c3c4c5c6c7"),
    plaintext=(
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip "
        b"for the future, sunscreen would be it."
    ),
    sealed=_hex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd060"
        "0691"
    ),
)
_AES_256_GCM: Final = _Sealed(
    key=_hex("feffe9928665731c6d6a8f9467308308" * 2),
    nonce=_hex("cafebabefacedbaddecaf888"),
    aad=_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
    plaintext=_hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    ),
    sealed=_hex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece"
        "0f4e1768cddf8853bb2d551b"
    ),
)
_MUCH: Final = bytes(range(256)) * 16
_MUCH_CHACHA20POLY1305: Final = (
    "a5992837edf65e5a64011f60bca9372a5d5dc1ecf5c2094465a41f9c72000c6f"
)
_MUCH_AES_256_GCM: Final = (
    "4e34b57165fe6e14926a3f7b2a1d1ef7982ff37225f36ffa242eee9515ca5a59"
)
_HMAC: Final = (
    (
        b"Jefe",
        b"what do ya want for nothing?",
        _hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        _hex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    ),
)
_EXPAND: Final = (
    (
        _hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"),
        _hex("f0f1f2f3f4f5f6f7f8f9"),
        _hex(
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
            "34007208d5b887185865"
        ),
    ),
    (
        _hex("06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244"),
        bytes(range(0xB0, 0x100)),
        _hex(
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87"
        ),
    ),
)
# The same two cases from their beginning.
_HKDF: Final = (
    (bytes(range(13)), b"\x0b" * 22, *_EXPAND[0][1:]),
    (bytes(range(0x60, 0xB0)), bytes(range(80)), *_EXPAND[1][1:]),
)
