"""libsodium, where it is installed: Curve25519 in less time than OpenSSL takes.

PyNaCl brings it (extra ``fast``). It verifies Ed25519 in half of OpenSSL's time, signs
a short message in two thirds, and makes a key for X25519 in half.

The compiled core calls its functions through their addresses, which `ctypes` finds
behind PyNaCl's extension module. Private keys then lie in objects of the core, which
wipes them. Where these addresses are not to be had, or the core is the pure one, PyNaCl
itself verifies, which needs nothing that is secret: in that package private keys are
``bytes``, and so they stay with OpenSSL.

It is used only after it has given known answers: libraries have changed their rules
from release to release, and ours have no room for it (CRYPTO-02). ``SAGE_ENGINE=
cryptography`` forbids to look for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any, Final
from warnings import warn

from ._environment import ENGINE, PURE
from .types import Buffer

__all__ = [
    "FUNCTIONS",
    "SIGN_MAX_BYTES",
    "VERIFY_MAX_BYTES",
    "Verify",
    "agrees",
    "compiled",
    "find",
    "signs",
    "verification",
    "verifies",
]

Verify = Callable[[bytes, Buffer, bytes], bool]
"""``verify(public, message, signature)`` tells whether Ed25519's signature is right."""

SIGN_MAX_BYTES: Final = 8 * 1024
VERIFY_MAX_BYTES: Final = 16 * 1024
"""The longest messages for libsodium, whose SHA-512 is slower than OpenSSL's.

Signing reads a message twice, verifying once.
"""

FUNCTIONS: Final = (
    "crypto_scalarmult_curve25519",
    "crypto_scalarmult_curve25519_base",
    "crypto_sign_ed25519_detached",
    "crypto_sign_ed25519_seed_keypair",
    "crypto_sign_ed25519_verify_detached",
    "randombytes_buf",
)


@lru_cache(maxsize=1)
def compiled() -> Any:
    """Return the compiled core, where it may call libsodium, or ``None``.

    The core has ``X25519Key``, ``Ed25519Signer`` and ``ed25519_verify`` then.
    """
    if PURE or ENGINE == "cryptography":
        return None
    try:
        from . import _core

        _core.load_libsodium(find())
    except Exception:  # absent; or broken, or an auditing hook refuses
        return None
    if agrees(_core) and signs(_core) and verifies(_core.ed25519_verify):
        return _core
    _warn("libsodium is not used: it has other answers for Curve25519")
    return None


@lru_cache(maxsize=1)
def verification() -> Verify | None:
    """Return Ed25519's verification, or ``None``; importing it may take some 30 ms."""
    core = compiled()
    if core is not None:
        verify: Verify = core.ed25519_verify
        return verify
    if ENGINE == "cryptography":
        return None
    try:
        from nacl.bindings import crypto_sign_open
        from nacl.exceptions import BadSignatureError
    except Exception:  # as above
        return None

    def verify_copied(public: bytes, message: Buffer, signature: bytes) -> bool:
        try:
            crypto_sign_open(b"".join((signature, message)), public)
        except BadSignatureError:
            return False
        return True

    if verifies(verify_copied):
        return verify_copied
    _warn("libsodium is not used: it verifies Ed25519 by other rules")
    return None


def find() -> dict[str, int]:
    """Look for the functions behind PyNaCl's extension module, which is not imported.

    Returns:
        The address of each of `FUNCTIONS`. The library is never unloaded.

    Raises:
        LookupError: there is no PyNaCl, or it gives no such functions.
        OSError: it cannot be opened.
    """
    import ctypes  # opens a library itself, and may not be allowed to

    from ._addresses import address_of

    package = find_spec("nacl")
    module = package and PathFinder.find_spec(
        "nacl._sodium", package.submodule_search_locations
    )
    if module is None or module.origin is None:
        raise LookupError("there is no PyNaCl")
    library = ctypes.CDLL(module.origin)
    address_of(library, "sodium_init")
    if library.sodium_init() < 0:
        raise LookupError("libsodium does not start")
    return {function: address_of(library, function) for function in FUNCTIONS}


def _warn(text: str) -> None:
    warn(text, RuntimeWarning, stacklevel=3)


# --- known answers -----------------------------------------------------------------


def agrees(core: Any) -> bool:
    """Whether a core's X25519 gives the known answers (RFC 7748, 5.2)."""
    try:
        nine, fresh, other = core.X25519Key(_NINE), core.X25519Key(), core.X25519Key()
        return (
            nine.public_bytes_raw() == _NINE_PUBLIC
            and nine.private_bytes_raw() == _NINE
            and nine.exchange(_ZERO) is None
            and nine.exchange(_ORDER_8) is None
            and all(
                core.X25519Key(_hex(scalar)).exchange(_hex(point)) == _hex(product)
                for scalar, point, product in _PRODUCTS
            )
            and fresh.exchange(other.public_bytes_raw())
            == other.exchange(fresh.public_bytes_raw())
            and fresh.private_bytes_raw() != other.private_bytes_raw()
        )
    except Exception:  # one that fails does not
        return False


def signs(core: Any) -> bool:
    """Whether a core's Ed25519 signs as known (RFC 8032, 7.1, tests 1 to 3)."""
    try:
        return all(
            core.Ed25519Signer(_hex(seed)).sign(message) == _hex(signature)
            for seed, message, signature in _SIGNED
        )
    except Exception:
        return False


def verifies(verify: Verify) -> bool:
    """Whether a verification of Ed25519 gives the known answers."""
    try:
        return all(
            verify(_KEY, message, _hex(signature)) is expected
            for message, signature, expected in _VERDICTS
        )
    except Exception:
        return False


_hex = bytes.fromhex

# The scalar 9, which also begins the section's iterations; points of order 2 and 8; and
# the section's two products, whose second point has its unused bit set.
_NINE: Final = b"\x09" + bytes(31)
_NINE_PUBLIC: Final = _hex(
    "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
)
_ZERO: Final = bytes(32)
_ORDER_8: Final = _hex(
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"
)
_PRODUCTS: Final = (
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
)
_SIGNED: Final = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        b"\x72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        b"\xaf\x82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)

# The key 77·B, and signatures of b"m" under the nonce 5.
_KEY: Final = _hex("aa6df914f7a0f04e7f852adf459873f17dba5b1671ea62e82cc10ed6aecc489c")
_R: Final = "edc876d6831fd2105d0b4389ca2e283166469289146e2ce06faefe98b22548df"
_S: Final = "38ea5b881f93f9cb79a13e49c436ec2e13c642f4683fedc1eb8225353c20be00"
_S_AND_ORDER: Final = "25be51e539f60b24503e36eca230cb4313c642f4683fedc1eb8225353c20be10"
# The nonce point and (0, -1), which is of order 2. Where the equation is multiplied by
# the cofactor, such a signature passes.
_MIXED: Final = (
    "003789297ce02defa2f4bc7635d1d7ce99b96d76eb91d31f905101674ddab720"
    "4fb1f81f965d02654f00cc6c0bbdea3d635984c3680c4acf08269f5020657908"
)
_VERDICTS: Final = (
    (b"m", _R + _S, True),
    (b"n", _R + _S, False),
    (b"", _R + _S, False),
    (b"m", _R + "39" + _S[2:], False),
    (b"m", "ec" + _R[2:] + _S, False),
    (b"m", _R + _S_AND_ORDER, False),
    (b"m", _MIXED, False),
    (b"m", _R + _S, True),  # once more, behind what was refused
)
