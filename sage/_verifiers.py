"""Libraries that verify signatures faster than OpenSSL does, where they are installed.

libsodium (PyNaCl) takes half of OpenSSL's time for Ed25519, libsecp256k1 (coincurve) a
hundredth for secp256k1. They only verify, which needs nothing that is secret. Private
keys stay with OpenSSL, which keeps them in memory of its own and wipes it; in these
packages they are ``bytes``.

Each is used only after it has given known answers: libraries have changed their rules
from release to release, and ours have no room for it (CRYPTO-02, CRYPTO-03).
``SAGE_ENGINE=cryptography`` forbids to look for either.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from warnings import warn

from .types import Buffer

__all__ = [
    "Recover",
    "Verify",
    "libsecp256k1",
    "libsodium",
    "recovers",
    "verifies",
]

Verify = Callable[[bytes, Buffer, bytes], bool]
"""``verify(public, message, signature)`` tells whether Ed25519's signature is right."""

Recover = Callable[[bytes, bytes], bytes | None]
"""``recover(digest, signature)`` returns the one secp256k1 key, 65 bytes, under which a
``r‖s‖v`` is right, if there is one."""

_FORBIDDEN: Final = os.environ.get("SAGE_ENGINE") == "cryptography"


@lru_cache(maxsize=1)
def libsodium() -> Verify | None:
    """Return Ed25519's verification, or ``None``; importing it takes some 30 ms."""
    if _FORBIDDEN:
        return None
    try:
        from nacl.bindings import crypto_sign_open
        from nacl.exceptions import BadSignatureError
    except Exception:  # absent; or broken, or an auditing hook refuses
        return None

    def verify(public: bytes, message: Buffer, signature: bytes) -> bool:
        try:
            crypto_sign_open(b"".join((signature, message)), public)
        except BadSignatureError:
            return False
        return True

    if verifies(verify):
        return verify
    _warn("libsodium is not used: it verifies Ed25519 by other rules")
    return None


@lru_cache(maxsize=1)
def libsecp256k1() -> Recover | None:
    """Return secp256k1's recovery, or ``None``; importing it takes some 20 ms."""
    if _FORBIDDEN:
        return None
    try:
        from coincurve import PublicKey
    except Exception:  # as above
        return None

    def recover(digest: bytes, signature: bytes) -> bytes | None:
        try:
            public = PublicKey.from_signature_and_message(signature, digest, None)
        except ValueError:
            return None
        return public.format(compressed=False)

    if recovers(recover):
        return recover
    _warn("libsecp256k1 is not used: it recovers secp256k1 by other rules")
    return None


def _warn(text: str) -> None:
    warn(text, RuntimeWarning, stacklevel=3)


def verifies(verify: Verify) -> bool:
    """Whether a verification of Ed25519 gives the known answers."""
    try:
        return all(
            verify(_ED25519, message, bytes.fromhex(signature)) is expected
            for message, signature, expected in _ED25519_ANSWERS
        )
    except Exception:  # one that fails does not
        return False


def recovers(recover: Recover) -> bool:
    """Whether a recovery for secp256k1 gives the known answers."""
    try:
        return all(
            (recover(digest, bytes.fromhex(signature)) == _SECP256K1) is expected
            for digest, signature, expected in _SECP256K1_ANSWERS
        )
    except Exception:
        return False


# The key 77·B, and signatures of b"m" under the nonce 5.
_ED25519: Final = bytes.fromhex(
    "aa6df914f7a0f04e7f852adf459873f17dba5b1671ea62e82cc10ed6aecc489c"
)
_R: Final = "edc876d6831fd2105d0b4389ca2e283166469289146e2ce06faefe98b22548df"
_S: Final = "38ea5b881f93f9cb79a13e49c436ec2e13c642f4683fedc1eb8225353c20be00"
_S_AND_ORDER: Final = "25be51e539f60b24503e36eca230cb4313c642f4683fedc1eb8225353c20be10"
# The nonce point and (0, -1), which is of order 2. Where the equation is multiplied by
# the cofactor, such a signature passes.
_MIXED: Final = (
    "003789297ce02defa2f4bc7635d1d7ce99b96d76eb91d31f905101674ddab720"
    "4fb1f81f965d02654f00cc6c0bbdea3d635984c3680c4acf08269f5020657908"
)
_ED25519_ANSWERS: Final = (
    (b"m", _R + _S, True),
    (b"n", _R + _S, False),
    (b"", _R + _S, False),
    (b"m", _R + "39" + _S[2:], False),
    (b"m", "ec" + _R[2:] + _S, False),
    (b"m", _R + _S_AND_ORDER, False),
    (b"m", _MIXED, False),
    (b"m", _R + _S, True),  # once more, behind what was refused
)

# The key 77·G, and its signature of the digest 00 01 .. 1f.
_SECP256K1: Final = bytes.fromhex(
    "0459dbf46f8c94759ba21277c33784f41645f7b44f6c596a58ce92e666191abe3e"
    "c534ad44175fbc300f4ea6ce648309a042ce739a7919798cd85e216c4a307f6e"
)
_DIGEST: Final = bytes(range(32))
_RS: Final = (
    "214f54a9426a95e14ddbdb5019373fa0a5185f0d2dff846439a606225e14deb4"
    "664155590f42485ab1f9566118c14a7da83d86700874ba389dbf53d192ee21ab"
)
_SECP256K1_ANSWERS: Final = (
    (_DIGEST, _RS + "00", True),
    (_DIGEST, _RS + "01", False),
    (_DIGEST[::-1], _RS + "00", False),
    (_DIGEST, "20" + _RS[2:] + "00", False),
    (_DIGEST, _RS[:-2] + "aa00", False),
    (_DIGEST, "00" * 65, False),
    (_DIGEST, _RS + "00", True),
)
