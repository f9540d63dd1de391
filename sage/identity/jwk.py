"""Keys as JSON Web Keys (RFC 7517), for Ed25519, X25519, P-256 and secp256k1.

A public key has exactly the members that RFC 8037 (``OKP``) or RFC 7518 and RFC 8812
(``EC``) require, a private one ``d`` besides. Hints of other programs, such as
``alg``, ``use`` or ``kid``, are refused and not skipped: what a key may be used for is
said by the agent's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from .. import _crypto
from ..encoding import b64u_decode, b64u_encode, jcs, parse_strict
from ..errors import AuthenticationError, Code, DecodeError, UsageError
from ..limits import KEY_FILE_MAX_BYTES
from ..types import Buffer, Json, JsonObject
from .keys import KemKey, PublicKey, SigningKey, own_key_url
from .signature import KEM_ALGORITHM, check_public_key

__all__ = [
    "ALGORITHM_OF",
    "CURVE_OF",
    "AnyKey",
    "decode_private_jwk",
    "decode_public_jwk",
    "encode_private_jwk",
    "encode_public_jwk",
    "jwk_thumbprint",
    "make_private",
    "make_public",
]

AnyKey: TypeAlias = PublicKey | SigningKey | KemKey

ALGORITHM_OF: Final = MappingProxyType(
    {
        "Ed25519": "ed25519",
        "X25519": KEM_ALGORITHM,
        "P-256": "ecdsa-p256-sha256",
        "secp256k1": "sage-secp256k1-keccak256",
    }
)
"""The record's ``alg`` of each ``crv``."""

CURVE_OF: Final = MappingProxyType({alg: crv for crv, alg in ALGORITHM_OF.items()})
"""The ``crv`` of each ``alg``."""


def encode_public_jwk(key: AnyKey) -> JsonObject:
    """Return the public half of a key as a JWK: ``kty``, ``crv``, ``x`` and ``y``."""
    curve, raw = CURVE_OF[key.algorithm], _public_bytes(key)
    if len(raw) == _COORDINATE_BYTES:
        return {"kty": "OKP", "crv": curve, "x": b64u_encode(raw)}
    x, y = raw[1 : 1 + _COORDINATE_BYTES], raw[1 + _COORDINATE_BYTES :]
    return {"kty": "EC", "crv": curve, "x": b64u_encode(x), "y": b64u_encode(y)}


def encode_private_jwk(key: SigningKey | KemKey) -> JsonObject:
    """Return a private key as a JWK. Its ``d`` is the secret, in the clear.

    Raises:
        UsageError: the key was wiped.
    """
    return {**encode_public_jwk(key), "d": b64u_encode(key.private_bytes())}


def decode_public_jwk(jwk: Mapping[str, Json] | Buffer | str, kid: str) -> PublicKey:
    """Read a public key.

    Args:
        jwk: the object, or its JSON text of at most 16 KiB.
        kid: the key URL to name it by.

    Raises:
        DecodeError: not exactly such a JWK, with a member missing or too many, a value
            that is not canonical base64url of 32 bytes, a private key, or a point that
            is none or of small order (``key.malformed``).
        UsageError: ``kid`` is not a key URL.
    """
    members = _members(jwk)
    curve, raw = _decode_public(members)
    if "d" in members:
        raise _malformed("a private key where a public one belongs")
    return make_public(curve, raw, kid)


def decode_private_jwk(
    jwk: Mapping[str, Json] | Buffer | str, kid: str
) -> SigningKey | KemKey:
    """Read a private key. The public half in it must be its own.

    Args:
        jwk: the object, or its JSON text of at most 16 KiB.
        kid: the key URL to name it by.

    Raises:
        DecodeError: as for `decode_public_jwk`; or a public key (``key.malformed``).
        UsageError: ``kid`` is not a key URL.
    """
    members = _members(jwk)
    curve, raw = _decode_public(members)
    if "d" not in members:
        raise _malformed("a public key where a private one belongs")
    make_public(curve, raw, kid)
    key = make_private(curve, _value(members, "d"), kid)
    if key.public_key != raw:
        raise _malformed("the public half is another key's")
    return key


def jwk_thumbprint(key: AnyKey) -> str:
    """Return the SHA-256 thumbprint of a key as 43 characters (RFC 7638).

    The same for the private and the public half, and for every program that knows
    the RFC.
    """
    # Its canonical form is that of RFC 8785 where all values are plain texts.
    return b64u_encode(_crypto.sha256(jcs(encode_public_jwk(key))))


def make_public(curve: str, raw: bytes, kid: str) -> PublicKey:
    """Check a raw public key of a curve, and name it.

    Raises:
        DecodeError: it is none, or of small order (``key.malformed``).
        UsageError: ``kid`` is not a key URL.
    """
    algorithm = ALGORITHM_OF[curve]
    try:
        check_public_key(algorithm, raw)
    except AuthenticationError:
        raise _malformed("not a usable public key") from None
    return PublicKey(own_key_url(kid), algorithm, raw)


def make_private(curve: str, raw: bytes, kid: str) -> SigningKey | KemKey:
    """Load a raw private key of a curve, and name it.

    Raises:
        DecodeError: it is none (``key.malformed``).
        UsageError: ``kid`` is not a key URL.
    """
    name = own_key_url(kid)
    try:
        if ALGORITHM_OF[curve] == KEM_ALGORITHM:
            return KemKey.from_private_bytes(name, raw)
        return SigningKey.from_private_bytes(name, ALGORITHM_OF[curve], raw)
    except UsageError:
        raise _malformed("not a private key of its curve") from None


_COORDINATE_BYTES: Final = 32
_MEMBERS: Final = {"OKP": {"kty", "crv", "x"}, "EC": {"kty", "crv", "x", "y"}}
_CURVES: Final = {"OKP": ("Ed25519", "X25519"), "EC": ("P-256", "secp256k1")}


def _public_bytes(key: AnyKey) -> bytes:
    return key.key if isinstance(key, PublicKey) else key.public_key


def _members(jwk: Mapping[str, Json] | Buffer | str) -> Mapping[str, Json]:
    if isinstance(jwk, Mapping):
        return jwk
    try:
        value = parse_strict(jwk, max_bytes=KEY_FILE_MAX_BYTES)
    except DecodeError as exc:
        raise _malformed(str(exc)) from None
    if not isinstance(value, dict):
        raise _malformed("not a JSON object")
    return value


def _decode_public(members: Mapping[str, Json]) -> tuple[str, bytes]:
    """Return the curve and the raw public key, whose point nobody checked yet."""
    kty, curve = members.get("kty"), members.get("crv")
    if not isinstance(kty, str) or kty not in _MEMBERS or curve not in _CURVES[kty]:
        raise _malformed("not an Ed25519, X25519, P-256 or secp256k1 key")
    if set(members) - {"d"} != _MEMBERS[kty]:
        raise _malformed(f"an {kty} key has {', '.join(sorted(_MEMBERS[kty]))} and d")
    x = _value(members, "x")
    return str(curve), x if kty == "OKP" else b"\x04" + x + _value(members, "y")


def _value(members: Mapping[str, Json], name: str) -> bytes:
    text = members[name]
    if not isinstance(text, str):
        raise _malformed(f"{name} is not a text")
    try:
        return b64u_decode(text, size=_COORDINATE_BYTES)
    except DecodeError:
        raise _malformed(f"{name} is not canonical base64url of 32 bytes") from None


def _malformed(message: str) -> DecodeError:
    return DecodeError(f"not such a key: {message}", code=Code.KEY_MALFORMED)
