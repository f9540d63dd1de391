"""Ed25519 verification by libsodium, where PyNaCl is installed: half of OpenSSL's time.

Only verification, which sees nothing that is secret. Private keys stay with OpenSSL,
which keeps them in memory of its own and wipes it; PyNaCl's are ``bytes``.

libsodium has changed its rules from release to release, so it is taken only if it
refuses all that CRYPTO-02 refuses and `_crypto` leaves to the verifier: a nonce point
with a part of small order passes where the equation is multiplied by the cofactor.
``SAGE_ENGINE=cryptography`` forbids to look for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from warnings import warn

from .types import Buffer

__all__ = ["Verify", "agrees", "verifier"]

Verify = Callable[[bytes, Buffer, bytes], bool]
"""``verify(public, message, signature)`` tells whether the signature is right."""

_FORBIDDEN: Final = os.environ.get("SAGE_ENGINE") == "cryptography"


@lru_cache(maxsize=1)
def verifier() -> Verify | None:
    """Return libsodium's verification, or ``None``; importing it takes some 30 ms."""
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

    if not agrees(verify):
        text = "libsodium is not used: it verifies Ed25519 by other rules"
        warn(text, RuntimeWarning, stacklevel=2)
        return None
    return verify


def agrees(verify: Verify) -> bool:
    """Whether a verification gives the known answers."""
    try:
        return all(
            verify(_PUBLIC, message, bytes.fromhex(signature)) is expected
            for message, signature, expected in _ANSWERS
        )
    except Exception:  # one that fails does not agree
        return False


# The key 77·B, and signatures of b"m" under the nonce 5.
_PUBLIC: Final = bytes.fromhex(
    "aa6df914f7a0f04e7f852adf459873f17dba5b1671ea62e82cc10ed6aecc489c"
)
_R: Final = "edc876d6831fd2105d0b4389ca2e283166469289146e2ce06faefe98b22548df"
_S: Final = "38ea5b881f93f9cb79a13e49c436ec2e13c642f4683fedc1eb8225353c20be00"
_ANSWERS: Final = (
    (b"m", _R + _S, True),
    (b"n", _R + _S, False),
    (b"", _R + _S, False),
    (b"m", _R + "39" + _S[2:], False),
    (b"m", "ec" + _R[2:] + _S, False),
    # S + L
    (
        b"m",
        f"{_R}25be51e539f60b24503e36eca230cb4313c642f4683fedc1eb8225353c20be10",
        False,
    ),
    # R + (0, -1), of order 2
    (
        b"m",
        "003789297ce02defa2f4bc7635d1d7ce99b96d76eb91d31f905101674ddab720"
        "4fb1f81f965d02654f00cc6c0bbdea3d635984c3680c4acf08269f5020657908",
        False,
    ),
    (b"m", _R + _S, True),  # once more, behind what was refused
)
