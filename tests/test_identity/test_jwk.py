"""Keys as JWK: the RFCs' own examples, and nothing that only looks like one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sage.encoding import b64u_decode, b64u_encode
from sage.errors import Code, DecodeError, UsageError
from sage.identity import (
    ALGORITHMS,
    KEM_ALGORITHM,
    KemKey,
    SigningKey,
    decode_private_jwk,
    decode_public_jwk,
    encode_private_jwk,
    encode_public_jwk,
    jwk_thumbprint,
)
from sage.identity.jwk import ALGORITHM_OF, CURVE_OF

KID = "did:sage:web:agents.example:ada#sign-1"
EVERY = [*ALGORITHMS, KEM_ALGORITHM]

# RFC 8037, A.1, A.2 and A.3.
ED25519 = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
ED25519_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
# RFC 8037, A.6.
X25519 = {
    "kty": "OKP",
    "crv": "X25519",
    "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08",
}
# RFC 7517, A.1 and A.2, without the hints.
P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
}


def generate(algorithm: str, kid: str = KID) -> SigningKey | KemKey:
    if algorithm == KEM_ALGORITHM:
        return KemKey.generate(kid)
    return SigningKey.generate(kid, algorithm)


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def code_of(jwk: Any) -> Code:
    """Refused as a public and as a private key."""
    codes = set()
    for decode in (decode_public_jwk, decode_private_jwk):
        with pytest.raises(DecodeError) as caught:
            decode(jwk, KID)
        codes.add(caught.value.code)
    (code,) = codes
    return code


# --- the RFCs -----------------------------------------------------------------


def test_rfc_8037_ed25519() -> None:
    key = decode_private_jwk(ED25519, KID)
    assert isinstance(key, SigningKey)
    assert key.private_bytes().hex() == (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    )
    public = decode_public_jwk(without(ED25519, "d"), KID)
    assert public.key.hex() == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    # A.4: a JWS signing input, and its signature.
    message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = b64u_decode(
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt"
        "9g7sVvpAr_MuM0KAg"
    )
    assert key.sign(message) == signature
    public.verify(message, signature)


def test_rfc_8037_thumbprint() -> None:
    for jwk in (ED25519, without(ED25519, "d")):
        decode = decode_private_jwk if "d" in jwk else decode_public_jwk
        assert jwk_thumbprint(decode(jwk, KID)) == ED25519_THUMBPRINT


def test_rfc_8037_x25519() -> None:
    """A.6: Bob's key, with whom the ephemeral one of RFC 7748, 6.1, agrees."""
    public = decode_public_jwk(X25519, KID)
    assert public.algorithm == KEM_ALGORITHM
    ephemeral = KemKey.from_private_bytes(
        KID,
        bytes.fromhex(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
        ),
    )
    assert ephemeral.exchange(public.key).hex() == (
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    )


def test_rfc_7517_p256() -> None:
    key = decode_private_jwk(P256, KID)
    assert isinstance(key, SigningKey)
    assert encode_private_jwk(key) == P256
    decode_public_jwk(without(P256, "d"), KID).verify(b"m", key.sign(b"m"))


def test_a_thumbprint_is_the_hash_of_the_required_members_in_order() -> None:
    """RFC 7638, 3.2, for both kinds; its own example is of an RSA key."""
    import hashlib

    for jwk, names in (
        (ED25519, ("crv", "kty", "x")),
        (P256, ("crv", "kty", "x", "y")),
    ):
        text = "{" + ",".join(f'"{name}":"{jwk[name]}"' for name in names) + "}"
        expected = b64u_encode(hashlib.sha256(text.encode()).digest())
        assert jwk_thumbprint(decode_private_jwk(jwk, KID)) == expected


def test_secp256k1_is_the_curve_of_rfc_8812() -> None:
    """A key that `cryptography` made, with its numbers written as RFC 7518 says."""
    numbers = ec.generate_private_key(ec.SECP256K1()).private_numbers()
    point = numbers.public_numbers
    jwk = {
        "kty": "EC",
        "crv": "secp256k1",
        "x": b64u_encode(point.x.to_bytes(32, "big")),
        "y": b64u_encode(point.y.to_bytes(32, "big")),
        "d": b64u_encode(numbers.private_value.to_bytes(32, "big")),
    }
    key = decode_private_jwk(jwk, KID)
    assert key.algorithm == "sage-secp256k1-keccak256"
    assert encode_private_jwk(key) == jwk


# --- both ways ----------------------------------------------------------------


def test_every_algorithm_has_its_curve() -> None:
    assert set(CURVE_OF) == set(EVERY)
    assert {ALGORITHM_OF[curve] for curve in CURVE_OF.values()} == set(EVERY)


@pytest.mark.parametrize("algorithm", EVERY)
@pytest.mark.parametrize(
    "form", [dict, json.dumps, lambda jwk: json.dumps(jwk).encode()]
)
def test_round_trip(algorithm: str, form: Any) -> None:
    key = generate(algorithm)
    again = decode_private_jwk(form(encode_private_jwk(key)), KID)
    assert type(again) is type(key)
    assert (again.kid, again.algorithm) == (KID, algorithm)
    assert again.private_bytes() == key.private_bytes()
    public = decode_public_jwk(form(encode_public_jwk(key)), KID)
    assert (public.kid, public.algorithm, public.key) == (
        KID,
        algorithm,
        key.public_key,
    )
    assert encode_public_jwk(public) == encode_public_jwk(key)
    assert jwk_thumbprint(public) == jwk_thumbprint(key)


@given(raw=st.binary(min_size=32, max_size=32))
def test_any_private_key_comes_back(raw: bytes) -> None:
    key = SigningKey.from_private_bytes(KID, "ed25519", raw)
    assert decode_private_jwk(encode_private_jwk(key), KID).private_bytes() == raw
    kem = KemKey.from_private_bytes(KID, raw)
    assert decode_private_jwk(encode_private_jwk(kem), KID).private_bytes() == raw


@pytest.mark.parametrize("algorithm", EVERY)
def test_nothing_private_without_its_name(algorithm: str) -> None:
    key = generate(algorithm)
    secret = b64u_encode(key.private_bytes())
    assert secret not in json.dumps(encode_public_jwk(key))
    assert "d" not in encode_public_jwk(key)
    with pytest.raises(DecodeError):
        decode_public_jwk(encode_private_jwk(key), KID)
    with pytest.raises(DecodeError):
        decode_private_jwk(encode_public_jwk(key), KID)
    key.wipe()
    assert encode_public_jwk(key)
    with pytest.raises(UsageError):
        encode_private_jwk(key)


# --- what only looks like one -------------------------------------------------

LOW_ORDER = b64u_encode(b"\1" + bytes(31))


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "EC"},
        {"kty": "okp"},
        {"kty": "RSA"},
        {"kty": None},
        {"kty": ["OKP"]},
        {"crv": "X25519 "},
        {"crv": "Ed448"},
        {"crv": "P-256"},
        {"crv": ["Ed25519"]},
        {"crv": 25519},
        {"x": None},
        {"x": 1},
        {"x": ED25519["x"] + "="},
        {"x": ED25519["x"][:-1]},
        {"x": ED25519["x"][:-1] + "p"},  # bits behind the last byte
        {"x": ED25519["x"].replace("_", "/")},
        {"x": " " + ED25519["x"][1:]},
        {"x": LOW_ORDER},
        {"x": b64u_encode(b"\xff" * 32)},
        {"x": b64u_encode(bytes(33))},
        {"y": ED25519["x"]},
        {"kid": "a"},
        {"alg": "EdDSA"},
        {"use": "sig"},
        {"key_ops": ["sign"]},
        {"ext": True},
        {"D": ED25519["d"]},
    ],
    ids=repr,
)
def test_a_member_that_is_not_right(change: dict[str, Any]) -> None:
    assert code_of({**ED25519, **change}) is Code.KEY_MALFORMED
    assert code_of(without({**ED25519, **change}, "d")) is Code.KEY_MALFORMED


@pytest.mark.parametrize(
    "change",
    [
        {"d": None},
        {"d": ED25519["d"] + "="},
        {"d": ED25519["d"][:-1]},
        {"d": b64u_encode(bytes(32))},  # another key's
        {"x": X25519["x"]},
    ],
    ids=repr,
)
def test_a_private_half_that_is_not_right(change: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_private_jwk({**ED25519, **change}, KID)
    assert caught.value.code is Code.KEY_MALFORMED


@pytest.mark.parametrize(
    "change",
    [
        {"y": P256["x"]},  # not on the curve
        {"crv": "secp256k1"},
        {"x": b64u_encode(bytes(32)), "y": b64u_encode(bytes(32))},
        {"d": b64u_encode(bytes(32))},
        {"d": b64u_encode(b"\xff" * 32)},
    ],
    ids=repr,
)
def test_points_and_scalars_that_are_none(change: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_private_jwk({**P256, **change}, KID)
    assert caught.value.code is Code.KEY_MALFORMED


@pytest.mark.parametrize("missing", ["kty", "crv", "x", "y"])
def test_a_member_that_is_missing(missing: str) -> None:
    assert code_of(without(P256, missing)) is Code.KEY_MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '"x"',
        json.dumps(ED25519)[:-1],
        json.dumps(ED25519) + "x",
        json.dumps(ED25519)[:-1] + ',"kty":"OKP"}',
        b"\xff",
        b"\xef\xbb\xbf" + json.dumps(ED25519).encode(),
        json.dumps({**ED25519, "pad": "x" * 20_000}),
        '{"keys":[' + json.dumps(ED25519) + "]}",
    ],
)
def test_text_that_is_not_one(text: str | bytes) -> None:
    assert code_of(text) is Code.KEY_MALFORMED


@given(place=st.integers(0, 10_000), change=st.integers(1, 255), data=st.data())
def test_an_altered_text_is_an_error_or_the_same_key(
    place: int, change: int, data: Any
) -> None:
    jwk = data.draw(st.sampled_from([ED25519, P256]))
    text = bytearray(json.dumps(jwk, separators=(",", ":")).encode())
    text[place % len(text)] ^= change
    with pytest.raises(DecodeError) as caught:
        decode_private_jwk(bytes(text), KID)
    assert caught.value.code is Code.KEY_MALFORMED


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=50),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=10,
    ),
    name=st.sampled_from(["kty", "crv", "x", "y", "d"]),
)
def test_any_value_in_any_place_is_an_error(value: Any, name: str) -> None:
    if value == P256[name]:
        return
    with pytest.raises(DecodeError):
        decode_private_jwk({**P256, name: value}, KID)


def test_a_name_that_is_none_is_the_callers_fault() -> None:
    for kid in ("", "ada#sign-1", KID.partition("#")[0]):
        with pytest.raises(UsageError):
            decode_public_jwk(without(ED25519, "d"), kid)
        with pytest.raises(UsageError):
            decode_private_jwk(ED25519, kid)
    with pytest.raises(UsageError):
        decode_public_jwk(7, KID)  # type: ignore[arg-type]
