from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sage.encoding import jcs, parse_strict
from sage.errors import AuthenticationError, Code, DecodeError, ResolutionError
from sage.identity import (
    AgentRecord,
    KemKey,
    PublicKey,
    SigningKey,
    deactivate,
    parse_record,
    revoke_key,
)

Make = Callable[..., dict[str, Any]]
VECTORS = Path(__file__).parents[1] / "vectors/0.10.0/registry-proof-0.10.0.json"


def refusal(call: Callable[[], Any]) -> Code:
    with pytest.raises((ResolutionError, AuthenticationError, DecodeError)) as caught:
        call()
    return caught.value.code


def test_kem_selection_vector(
    signing_key: Callable[..., SigningKey],
    kem_key: Callable[..., KemKey],
    entry_json: Make,
    record_json: Make,
) -> None:
    vector = json.loads(VECTORS.read_text())["kem_selection"]
    did = vector["record_id"]
    signer = signing_key("sign-1", did=did)
    entries = []
    for key in vector["keys"]:
        make = kem_key if key["alg"] == "x25519" else signing_key
        entries.append(
            entry_json(
                make(key["name"], did=did),
                signer,
                state=key["state"],
                expires=key["expires"],
            )
        )
    # The vector's order is not the record's: names are sorted there.
    unsorted = record_json(*entries, id=did)
    assert refusal(lambda: parse_record(jcs(unsorted))) is Code.RECORD_INVALID
    entries.sort(key=lambda entry: entry["name"])
    record = parse_record(jcs(record_json(*entries, id=did)))
    assert record.select_kem_key(vector["now"]).kid == vector["selected_kid"]
    assert record.select_kem_key(1999).kid == vector["selected_kid"]
    assert refusal(lambda: record.select_kem_key(2000)) is Code.KEY_EXPIRED


def test_a_record_names_its_keys(ada: SimpleNamespace) -> None:
    record: AgentRecord = ada.record
    for key in (ada.sign, ada.eth, ada.p256):
        found = record.find_signing_key(key.kid, unix_time=1)
        assert found == PublicKey(key.kid, key.algorithm, key.public_key)
        assert record.find_signing_key(key.kid, unix_time=1, alg=key.algorithm) == found
        found.verify(b"message", key.sign(b"message"))
    assert record.find_kem_key(ada.kem.kid, unix_time=1) == PublicKey(
        ada.kem.kid, "x25519", ada.kem.public_key
    )
    assert record.select_kem_key(1).kid == ada.kem.kid
    assert record.select_signing_key(1).kid == ada.sign.kid


def test_a_record_is_canonical_json_that_reads_back(ada: SimpleNamespace) -> None:
    data = ada.record.encode()
    assert data == jcs(parse_strict(data))
    again = parse_record(data)
    assert again == ada.record
    assert again.encode() == data
    assert hash(again) == hash(ada.record)


@pytest.fixture
def shifting(
    ada: SimpleNamespace,
    signing_key: Callable[..., SigningKey],
    kem_key: Callable[..., KemKey],
    entry_json: Make,
    record_json: Make,
) -> AgentRecord:
    """Keys in every condition; all that expire do so at 1000."""
    keys = [
        entry_json(kem_key("a-revoked"), ada.sign, state="revoked"),
        entry_json(kem_key("b-expires"), ada.sign, expires=1000),
        entry_json(kem_key("c-stays"), ada.sign),
        entry_json(signing_key("d-revoked"), state="revoked", expires=1000),
        entry_json(signing_key("e-expires"), expires=1000),
        entry_json(ada.sign),
    ]
    return parse_record(jcs(record_json(*keys)))


def test_selection_follows_names_states_and_time(shifting: AgentRecord) -> None:
    for unix_time, kem, sign in [(0, "b-expires", "e-expires"), (999, "b-", "e-")]:
        assert kem in shifting.select_kem_key(unix_time).kid
        assert sign in shifting.select_signing_key(unix_time).kid
    for unix_time in (1000, 1001, 2**53):
        assert shifting.select_kem_key(unix_time).kid.endswith("#c-stays")
        assert shifting.select_signing_key(unix_time).kid.endswith("#sign-1")
    assert "c-stays" in shifting.select_kem_key(float("nan")).kid  # type: ignore[arg-type]


def test_look_ups_refuse_in_the_order_of_id_03(
    ada: SimpleNamespace, shifting: AgentRecord
) -> None:
    def code(name: str, alg: str | None = None, unix_time: int = 1000) -> Code:
        return refusal(
            lambda: shifting.find_signing_key(
                f"{ada.did}{name}", unix_time=unix_time, alg=alg
            )
        )

    assert code("") is Code.ID_MALFORMED
    assert code("#not a name") is Code.ID_MALFORMED
    assert code("#absent", "es256k") is Code.KEY_NOT_IN_RECORD
    assert code("#d-revoked", "es256k") is Code.KEY_REVOKED
    assert code("#e-expires", "es256k") is Code.KEY_EXPIRED
    assert code("#e-expires", "es256k", 999) is Code.SIG_ALG_MISMATCH
    for alg in ("es256k", "ED25519", "", "x25519", "ecdsa-p256-sha256"):
        assert code("#sign-1", alg) is Code.SIG_ALG_MISMATCH
    assert code("#a-revoked") is Code.KEY_REVOKED
    assert code("#c-stays") is Code.SIG_ALG_MISMATCH
    assert code("#c-stays", "x25519") is Code.SIG_ALG_MISMATCH


def test_kem_look_ups_refuse_in_the_same_order(
    ada: SimpleNamespace, shifting: AgentRecord
) -> None:
    def code(name: str) -> Code:
        return refusal(
            lambda: shifting.find_kem_key(f"{ada.did}{name}", unix_time=1000)
        )

    assert code("") is Code.ID_MALFORMED
    assert code("#absent") is Code.KEY_NOT_IN_RECORD
    assert code("#a-revoked") is Code.KEY_REVOKED
    assert code("#b-expires") is Code.KEY_EXPIRED
    assert code("#sign-1") is Code.SIG_ALG_MISMATCH


@pytest.mark.parametrize(
    "kid",
    [
        "did:sage:web:agents.example:eve#sign-1",
        "did:sage:web:other.example:ada#sign-1",
        "did:sage:web:agents.example:Ada#sign-1",
    ],
)
def test_another_agents_key_is_not_looked_for(ada: SimpleNamespace, kid: str) -> None:
    for find in (ada.record.find_signing_key, ada.record.find_kem_key):
        assert refusal(lambda find=find: find(kid, unix_time=1)) is Code.SIG_BINDING


def every_look_up(ada: SimpleNamespace, record: AgentRecord) -> list[Code]:
    return [
        refusal(lambda: record.find_signing_key(ada.sign.kid, unix_time=1)),
        refusal(lambda: record.find_kem_key(ada.kem.kid, unix_time=1)),
        refusal(lambda: record.select_signing_key(1)),
        refusal(lambda: record.select_kem_key(1)),
    ]


def test_only_an_active_record_has_keys(ada: SimpleNamespace) -> None:
    absent = f"{ada.did}#absent"
    for record in (ada.created, deactivate(ada.record)):
        assert every_look_up(ada, record) == [Code.RECORD_INACTIVE] * 4
        # Before the key is looked for.
        code = refusal(lambda r=record: r.find_signing_key(absent, unix_time=1))
        assert code is Code.RECORD_INACTIVE


def test_an_unchecked_record_has_no_keys(
    ada: SimpleNamespace, unproven: AgentRecord
) -> None:
    assert every_look_up(ada, unproven) == [Code.KEY_UNPROVEN] * 4


def test_a_kem_key_needs_a_usable_signing_key_beside_it(
    ada: SimpleNamespace, entry_json: Make, record_json: Make
) -> None:
    keys = [entry_json(ada.kem, ada.sign), entry_json(ada.sign, expires=5)]
    record = parse_record(jcs(record_json(*keys)))
    assert record.select_kem_key(4).kid == ada.kem.kid
    assert refusal(lambda: record.select_kem_key(5)) is Code.KEY_EXPIRED
    code = refusal(lambda: record.find_kem_key(ada.kem.kid, unix_time=5))
    assert code is Code.KEY_EXPIRED


def test_a_record_without_kem_keys_still_signs(
    ada: SimpleNamespace, entry_json: Make, record_json: Make
) -> None:
    record = parse_record(jcs(record_json(entry_json(ada.sign))))
    assert record.select_signing_key(1).kid == ada.sign.kid
    assert refusal(lambda: record.select_kem_key(1)) is Code.KEY_NOT_IN_RECORD


def test_revocation_is_final_for_look_ups(ada: SimpleNamespace) -> None:
    record = revoke_key(ada.record, "kem-1", unix_time=1)
    assert refusal(lambda: record.select_kem_key(1)) is Code.KEY_NOT_IN_RECORD
    code = refusal(lambda: record.find_kem_key(ada.kem.kid, unix_time=1))
    assert code is Code.KEY_REVOKED
    entry = record.entry("kem-1")
    assert entry is not None
    assert not entry.is_usable(1)
    assert record.entry("absent") is None


def test_a_record_prints_without_its_marker(ada: SimpleNamespace) -> None:
    assert "_proven" not in repr(ada.record)
