from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sage.encoding import b64u_encode, jcs
from sage.errors import AuthenticationError, Code, ResolutionError, UsageError
from sage.identity import (
    AgentRecord,
    Proof,
    SigningKey,
    parse_record,
    proof_challenge,
)
from sage.identity.proof import _verify_once, check_proofs

VECTORS = json.loads(
    (
        Path(__file__).parents[1] / "vectors/0.10.0/registry-proof-0.10.0.json"
    ).read_text()
)


def refused(value: Any) -> ResolutionError:
    with pytest.raises(ResolutionError) as caught:
        parse_record(jcs(value))
    return caught.value


@pytest.mark.parametrize(
    "vector", VECTORS["challenge_vectors"], ids=lambda v: v["name"]
)
def test_golden_challenges(vector: dict[str, str]) -> None:
    challenge = proof_challenge(
        vector["registry_id"],
        vector["agent_id"],
        vector["name"],
        vector["alg"],
        bytes.fromhex(vector["public_key_hex"]),
    )
    assert challenge.hex() == vector["challenge_hex"]
    assert hashlib.sha256(challenge).hexdigest() == vector["challenge_sha256"]


def test_the_negative_verdicts(
    ada: SimpleNamespace,
    entry_json: Callable[..., dict[str, Any]],
    record_json: Callable[..., dict[str, Any]],
) -> None:
    sign = entry_json(ada.sign)
    seen = set()
    for case in VECTORS["negative_verdicts"]:
        seen.add(case["name"])
        assert case["verdict"] == "reject"
        match case["name"]:
            case "upper-case-kem-alg":
                kem = entry_json(ada.kem, ada.sign, alg=case["alg"])
                error = refused(record_json(kem, sign))
                assert error.code is Code.RECORD_INVALID
            case "kem-as-signature":
                # A signing entry under the KEM's name for its algorithm.
                posing = sign | {"alg": case["alg"]}
                assert refused(record_json(posing)).code is Code.RECORD_INVALID
                also = entry_json(ada.kem, ada.kem_signer)
                error = refused(record_json(also, sign))
                assert error.code is Code.POP_BAD
                assert "by the wrong key" in str(error)
            case "wrong-length-kem-key":
                short = b64u_encode(bytes.fromhex(case["public_key_hex"]))
                kem = entry_json(ada.kem, ada.sign, key=short)
                error = refused(record_json(kem, sign))
                assert error.code is Code.RECORD_INVALID
            case "duplicate-pop-fields":
                text = jcs(record_json(sign)).replace(
                    b'"signer":', b'"signer":"x","signer":'
                )
                with pytest.raises(ResolutionError) as caught:
                    parse_record(text)
                assert caught.value.code is Code.RECORD_INVALID
    assert len(seen) == 4


@pytest.fixture(autouse=True)
def kem_signer(ada: SimpleNamespace) -> None:
    """A signing key that claims to be the KEM entry itself."""
    ada.kem_signer = SigningKey.from_private_bytes(ada.kem.kid, "ed25519", bytes(32))


def test_every_suite_proves_itself(ada: SimpleNamespace) -> None:
    assert {entry.alg for entry in ada.record.keys} == {
        "x25519",
        "ed25519",
        "ecdsa-p256-sha256",
        "sage-secp256k1-keccak256",
    }
    assert parse_record(ada.record.encode()).proven


@pytest.mark.parametrize(
    "changed", ["registry", "agent", "name", "alg", "key", "signature"]
)
@pytest.mark.parametrize("who", ["sign", "eth", "p256", "kem"])
def test_a_proof_is_good_in_one_place_only(
    ada: SimpleNamespace,
    signing_key: Callable[..., SigningKey],
    entry_json: Callable[..., dict[str, Any]],
    record_json: Callable[..., dict[str, Any]],
    who: str,
    changed: str,
) -> None:
    key = getattr(ada, who)
    signer = ada.sign if who == "kem" else key
    name = key.kid.partition("#")[2]
    fields: dict[str, Any] = {
        "registry_id": "web:agents.example",
        "agent_id": "ada",
        "name": name,
        "alg": key.algorithm,
        "key": key.public_key,
    }
    match changed:
        case "registry":
            fields["registry_id"] = "web:elsewhere.example"
        case "agent":
            fields["agent_id"] = "eve"
        case "name":
            fields["name"] = name + "-2"
        case "alg":
            fields["alg"] = "ed448"
        case "key":
            fields["key"] = bytes(32)
    value = bytearray(signer.sign(proof_challenge(**fields)))
    if changed == "signature":
        value[10] ^= 1
    bad = entry_json(
        key, signer, proof={"signer": signer.kid, "value": b64u_encode(value)}
    )
    other = entry_json(signing_key("zzz"))
    keys = sorted(
        [bad, other, *([entry_json(ada.sign)] if who == "kem" else [])],
        key=lambda entry: entry["name"],
    )
    assert refused(record_json(*keys)).code is Code.POP_BAD
    good = [entry_json(key, signer), *(entry for entry in keys if entry is not bad)]
    parse_record(jcs(record_json(*sorted(good, key=lambda entry: entry["name"]))))


def test_a_signing_key_vouches_for_itself_alone(
    ada: SimpleNamespace,
    entry_json: Callable[..., dict[str, Any]],
    record_json: Callable[..., dict[str, Any]],
) -> None:
    endorsed = entry_json(ada.p256, ada.sign)
    error = refused(record_json(entry_json(ada.sign), endorsed))
    assert error.code is Code.POP_BAD


def test_a_kem_key_is_endorsed_by_a_signing_key_of_its_record(
    ada: SimpleNamespace,
    signing_key: Callable[..., SigningKey],
    entry_json: Callable[..., dict[str, Any]],
    record_json: Callable[..., dict[str, Any]],
) -> None:
    sign = entry_json(ada.sign)
    absent = entry_json(ada.kem, signing_key("absent"))
    foreign = entry_json(
        ada.kem, signing_key("sign-1", did="did:sage:web:agents.example:eve")
    )
    for kem in (absent, foreign):
        assert refused(record_json(kem, sign)).code is Code.POP_BAD


@pytest.mark.parametrize("members", [{"state": "revoked"}, {"expires": 0}])
def test_an_endorsement_outlives_its_signer(
    ada: SimpleNamespace,
    entry_json: Callable[..., dict[str, Any]],
    record_json: Callable[..., dict[str, Any]],
    members: dict[str, Any],
) -> None:
    keys = [
        entry_json(ada.kem, ada.sign),
        entry_json(ada.sign, **members),
        entry_json(ada.p256),
    ]
    record = parse_record(jcs(record_json(*keys)))
    assert record.select_kem_key(1).key == ada.kem.public_key
    with pytest.raises(ResolutionError):
        record.find_signing_key(ada.sign.kid, unix_time=1)


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_a_proof_has_its_suites_length(
    ada: SimpleNamespace,
    entry_json: Callable[..., dict[str, Any]],
    record_json: Callable[..., dict[str, Any]],
    size: int,
) -> None:
    proof = {"signer": ada.sign.kid, "value": b64u_encode(bytes(size))}
    error = refused(record_json(entry_json(ada.sign, proof=proof)))
    assert error.code is Code.POP_BAD


def test_a_suite_without_its_library_leaves_the_key_unproven(
    ada: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, real = ada.record.encode(), builtins.__import__

    def without_pycryptodome(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "Crypto":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    _verify_once.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_pycryptodome)
    with pytest.raises(ResolutionError) as caught:
        parse_record(data)
    assert caught.value.code is Code.KEY_UNPROVEN
    assert "pip install" in str(caught.value)


def test_only_a_checked_record_is_proven(
    ada: SimpleNamespace, unproven: AgentRecord
) -> None:
    assert not unproven.proven
    assert unproven == ada.record
    assert check_proofs(unproven) is unproven
    assert unproven.proven
    assert not replace(ada.record, version=99).proven


def test_a_failed_check_proves_nothing(unproven: AgentRecord) -> None:
    first, *rest = unproven.keys
    forged = replace(first, proof=Proof(first.proof.signer, bytes(64)))
    record = replace(unproven, keys=(forged, *rest))
    with pytest.raises(ResolutionError) as caught:
        check_proofs(record)
    assert caught.value.code is Code.POP_BAD
    assert not record.proven


def test_only_success_is_remembered(ada: SimpleNamespace) -> None:
    entry = ada.record.keys[1]
    challenge = proof_challenge(
        "web:agents.example", "ada", entry.name, entry.alg, entry.key
    )
    good = (entry.alg, entry.key, challenge, entry.proof.value)
    bad = (*good[:3], bytes(64))
    _verify_once.cache_clear()
    for _ in range(2):
        _verify_once(*good)
        with pytest.raises(AuthenticationError):
            _verify_once(*bad)
    assert _verify_once.cache_info()[:2] == (1, 3)
    assert _verify_once.cache_info().maxsize is not None


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("bad", [None, 5, "\u00e9", "\ud800", "a" * 65_536, ["a"]])
def test_no_challenge_is_made_of_anything_else(place, bad):
    arguments = ["web:agents.example", "ada", "sign-1", "ed25519", bytes(32)]
    arguments[place] = bad
    with pytest.raises(UsageError):
        proof_challenge(*arguments)
