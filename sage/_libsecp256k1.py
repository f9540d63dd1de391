"""libsecp256k1, where it is installed: it verifies in a hundredth of OpenSSL's time.

`coincurve` brings it (extra ``ethereum``). It sees public values only; private keys
stay with OpenSSL, for in that package they are ``bytes``.

It is used only after it has given known answers, since our rules have no room for
others (CRYPTO-03). ``SAGE_ENGINE=cryptography`` forbids to look for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final
from warnings import warn

from ._environment import ENGINE

__all__ = ["Recover", "recovers", "recovery"]

Recover = Callable[[bytes, bytes], bytes | None]
"""``recover(digest, signature)`` returns the one secp256k1 key, 65 bytes, under which a
``r‖s‖v`` is right, if there is one."""


@lru_cache(maxsize=1)
def recovery() -> Recover | None:
    """Return secp256k1's recovery, or ``None``; importing it takes some 20 ms."""
    if ENGINE == "cryptography":
        return None
    try:
        from coincurve import PublicKey
    except Exception:  # absent; or broken, or an auditing hook refuses
        return None

    def recover(digest: bytes, signature: bytes) -> bytes | None:
        try:
            public = PublicKey.from_signature_and_message(signature, digest, None)
        except ValueError:
            return None
        return public.format(compressed=False)

    if recovers(recover):
        return recover
    warn(
        "libsecp256k1 is not used: it recovers secp256k1 by other rules",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def recovers(recover: Recover) -> bool:
    """Whether a recovery for secp256k1 gives the known answers."""
    try:
        return all(
            (recover(digest, bytes.fromhex(signature)) == _KEY) is expected
            for digest, signature, expected in _ANSWERS
        )
    except Exception:  # one that fails does not
        return False


# The key 77·G, and its signature of the digest 00 01 .. 1f.
_KEY: Final = bytes.fromhex(
    "0459dbf46f8c94759ba21277c33784f41645f7b44f6c596a58ce92e666191abe3e"
    "c534ad44175fbc300f4ea6ce648309a042ce739a7919798cd85e216c4a307f6e"
)
_DIGEST: Final = bytes(range(32))
_RS: Final = (
    "214f54a9426a95e14ddbdb5019373fa0a5185f0d2dff846439a606225e14deb4"
    "664155590f42485ab1f9566118c14a7da83d86700874ba389dbf53d192ee21ab"
)
_ANSWERS: Final = (
    (_DIGEST, _RS + "00", True),
    (_DIGEST, _RS + "01", False),
    (_DIGEST[::-1], _RS + "00", False),
    (_DIGEST, "20" + _RS[2:] + "00", False),
    (_DIGEST, _RS[:-2] + "aa00", False),
    (_DIGEST, "00" * 65, False),
    (_DIGEST, _RS + "00", True),
)
