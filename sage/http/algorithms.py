"""The signature algorithms of HTTP, by the names of RFC 9421's registry.

Six names of the registry, and one from before it: ``es256k`` is what 1.0.0-draft.1
calls secp256k1 over Keccak-256. ``rsa-v1_5-sha256`` can be verified and never signs.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from .. import _crypto
from ..errors import AuthenticationError, Code

__all__ = ["HTTP_ALGORITHMS", "HttpAlgorithm"]


@dataclass(frozen=True, slots=True)
class HttpAlgorithm:
    """What one algorithm does with loaded keys of `sage._crypto`.

    Attributes:
        sign: private key and message → signature; ``None`` where we never sign.
        verify: public key, message and signature; raises `AuthenticationError`.
        generate: a fresh private key.
        load_private: raw bytes → private key; ``None`` where there is no raw form.
        load_public: raw bytes → public key; ``None`` where there is no raw form.
    """

    sign: Callable[[Any, bytes], bytes] | None
    verify: Callable[[Any, bytes, bytes], None]
    generate: Callable[[], Any] | None = None
    load_private: Callable[[bytes], Any] | None = None
    load_public: Callable[[bytes], Any] | None = None


def _ed25519_sign(private: _crypto.Ed25519PrivateKey, message: bytes) -> bytes:
    return private.sign(message)


def _hmac_verify(secret: bytes, message: bytes, signature: bytes) -> None:
    if not hmac.compare_digest(_crypto.hmac_sha256(secret, message), signature):
        raise AuthenticationError(code=Code.SIG_BAD)


HTTP_ALGORITHMS: Final[Mapping[str, HttpAlgorithm]] = MappingProxyType(
    {
        "ed25519": HttpAlgorithm(
            _ed25519_sign,
            _crypto.ed25519_verify,
            _crypto.ed25519_generate,
            _crypto.ed25519_load_private,
            _crypto.ed25519_load_public,
        ),
        "ecdsa-p256-sha256": HttpAlgorithm(
            _crypto.p256_sign,
            _crypto.ecdsa_verify_any_s,
            _crypto.p256_generate,
            _crypto.p256_load_private,
            _crypto.p256_load_public,
        ),
        "ecdsa-p384-sha384": HttpAlgorithm(
            _crypto.p384_sign,
            _crypto.ecdsa_verify_any_s,
            _crypto.p384_generate,
            _crypto.p384_load_private,
            _crypto.p384_load_public,
        ),
        "rsa-pss-sha512": HttpAlgorithm(
            _crypto.rsa_pss_sign, _crypto.rsa_pss_verify, _crypto.rsa_generate
        ),
        "rsa-v1_5-sha256": HttpAlgorithm(None, _crypto.rsa_v1_5_verify),
        "hmac-sha256": HttpAlgorithm(_crypto.hmac_sha256, _hmac_verify),
        "es256k": HttpAlgorithm(
            _crypto.secp256k1_sign,
            _crypto.secp256k1_verify,
            _crypto.secp256k1_generate,
            _crypto.secp256k1_load_private,
            _crypto.secp256k1_load_public,
        ),
    }
)
"""Every algorithm by name; which of them are accepted is the policy's."""
