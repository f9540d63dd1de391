from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sage.errors import Code, ResolutionError
from sage.identity import (
    AgentRecord,
    KemKey,
    ServiceEntry,
    SigningKey,
    activate,
    add_keys,
    check_successor,
    create_record,
    deactivate,
    parse_record,
    revoke_key,
    set_services,
)

DID = "did:sage:web:agents.example:ada"


def forge(record: AgentRecord, **changes: Any) -> AgentRecord:
    """Change a record without asking, then check its proofs."""
    changes = {"version": record.version + 1} | changes
    return parse_record(replace(record, **changes).encode())


def refusal(
    previous: AgentRecord, new: AgentRecord, unix_time: int | None = None
) -> Code:
    with pytest.raises(ResolutionError) as caught:
        check_successor(previous, new, unix_time=unix_time)
    return caught.value.code


def test_versions_go_up_by_one(ada: SimpleNamespace) -> None:
    record = ada.record
    check_successor(record, forge(record))
    for version in (record.version, 1):
        assert refusal(record, forge(record, version=version)) is Code.RECORD_STALE
    for version in (record.version + 2, 2**64 - 1):
        assert refusal(record, forge(record, version=version)) is Code.RECORD_INVALID


def test_the_agent_and_the_controller_stay(
    ada: SimpleNamespace, signing_key: Callable[..., SigningKey]
) -> None:
    mallory = forge(ada.record, controller="mallory")
    assert refusal(ada.record, mallory) is Code.RECORD_INVALID
    eve = "did:sage:web:agents.example:eve"
    other = activate(create_record(eve, "ops", [signing_key("k", did=eve)], []))
    assert refusal(ada.created, other) is Code.RECORD_INVALID


def test_proofs_were_checked(ada: SimpleNamespace) -> None:
    unchecked = replace(ada.record, version=ada.record.version + 1)
    assert refusal(ada.record, unchecked) is Code.KEY_UNPROVEN


STATES = ("created", "active", "deactivated")
ALLOWED = {
    ("created", "active"),
    ("created", "deactivated"),
    ("active", "active"),
    ("active", "deactivated"),
}


@pytest.mark.parametrize("old", STATES)
@pytest.mark.parametrize("new", STATES)
def test_states_only_go_forward(ada: SimpleNamespace, old: str, new: str) -> None:
    previous = forge(ada.record, state=old)
    record = forge(previous, state=new)
    if (old, new) in ALLOWED:
        check_successor(previous, record)
    else:
        assert refusal(previous, record) is Code.RECORD_INVALID


def test_entries_are_never_removed_or_changed(
    ada: SimpleNamespace, signing_key: Callable[..., SigningKey]
) -> None:
    kem, sign, eth, p256 = ada.record.keys
    other = create_record(
        DID, "ops", [SigningKey.generate(ada.sign.kid), ada.eth, ada.p256], []
    )
    new_sign = other.keys[0]
    new_kem = create_record(DID, "ops", [ada.eth], [ada.kem]).keys[0]
    for keys in (
        (sign, eth, p256),
        (kem, sign, eth),
        (kem, replace(sign, expires=9), eth, p256),
        (new_kem, sign, eth, p256),
    ):
        assert new_kem != kem
        assert refusal(ada.record, forge(ada.record, keys=keys)) is Code.RECORD_INVALID
    without_kem = forge(ada.record, keys=(sign, eth, p256))
    swapped = forge(without_kem, keys=(new_sign, eth, p256))
    assert refusal(without_kem, swapped) is Code.RECORD_INVALID
    expiring = forge(ada.record, keys=(kem, replace(sign, expires=9), eth, p256))
    for expires in (None, 10):
        keys = (kem, replace(sign, expires=expires), eth, p256)
        assert refusal(expiring, forge(expiring, keys=keys)) is Code.RECORD_INVALID


def test_revocation_is_not_taken_back(ada: SimpleNamespace) -> None:
    revoked = revoke_key(ada.record, "sign-1", unix_time=0)
    back = forge(revoked, keys=ada.record.keys)
    assert refusal(revoked, back) is Code.RECORD_INVALID


def test_new_entries_are_accepted_and_vouched_for_by_accepted_ones(
    ada: SimpleNamespace, kem_key: Callable[..., KemKey]
) -> None:
    added = add_keys(ada.record, kem_keys=[kem_key("kem-2")], endorser=ada.sign)
    check_successor(ada.record, added)
    kem_2 = added.entry("kem-2")
    assert kem_2 is not None
    dead = replace(kem_2, state="revoked")
    keys = tuple(dead if entry is kem_2 else entry for entry in added.keys)
    assert refusal(ada.record, forge(ada.record, keys=keys)) is Code.RECORD_INVALID
    revoked = revoke_key(ada.record, "sign-1", unix_time=0)
    late = tuple(sorted([*revoked.keys, kem_2], key=lambda entry: entry.name))
    assert refusal(revoked, forge(revoked, keys=late)) is Code.RECORD_INVALID


def test_one_mutation_at_a_time(
    ada: SimpleNamespace, signing_key: Callable[..., SigningKey]
) -> None:
    extra = add_keys(ada.record, [signing_key("extra")])
    extra_and_revoked = revoke_key(extra, "kem-1", unix_time=0)
    services = (ServiceEntry("other", "T", "https://a.example"),)
    for changes in (
        {"keys": extra_and_revoked.keys},
        {"keys": extra.keys, "services": services},
        {"keys": extra.keys, "state": "deactivated"},
        {"services": services, "state": "deactivated"},
    ):
        assert refusal(ada.record, forge(ada.record, **changes)) is Code.RECORD_INVALID
    for changes in ({"keys": extra.keys}, {"services": services}):
        check_successor(ada.record, forge(ada.record, **changes))
        changed = forge(ada.created, **changes)
        assert refusal(ada.created, changed) is Code.RECORD_INVALID
        both = forge(ada.created, state="active", **changes)
        assert refusal(ada.created, both) is Code.RECORD_INVALID
    nothing = forge(ada.created)
    assert refusal(ada.created, nothing) is Code.RECORD_INVALID


def test_the_controllers_functions_are_followed(ada: SimpleNamespace) -> None:
    for new in (
        deactivate(ada.record),
        set_services(ada.record, []),
        revoke_key(ada.record, "sign-1", unix_time=5),
    ):
        check_successor(ada.record, new, unix_time=5)
    check_successor(ada.created, activate(ada.created), unix_time=5)
    check_successor(ada.created, revoke_key(ada.created, "kem-1", unix_time=5))


def test_expiry_counts_where_the_time_is_known(
    ada: SimpleNamespace,
    signing_key: Callable[..., SigningKey],
    kem_key: Callable[..., KemKey],
) -> None:
    created = create_record(DID, "ops", [ada.sign], [ada.kem], expires=100)
    active = activate(created)
    check_successor(created, active, unix_time=99)
    assert refusal(created, active, 100) is Code.RECORD_INVALID
    check_successor(created, active)

    endorsed = add_keys(active, kem_keys=[kem_key("kem-2")], endorser=ada.sign)
    check_successor(active, endorsed, unix_time=99)
    assert refusal(active, endorsed, 100) is Code.RECORD_INVALID

    # An expired record may be saved by a new key, kept, or ended; not cut further.
    renewed = add_keys(active, [signing_key("fresh")])
    check_successor(active, renewed, unix_time=100)
    check_successor(active, set_services(active, []), unix_time=100)
    check_successor(active, deactivate(active), unix_time=100)
    cut = revoke_key(active, "kem-1", unix_time=0)
    check_successor(active, cut, unix_time=99)
    assert refusal(active, cut, 100) is Code.RECORD_INVALID


def test_a_kem_key_keeps_no_record_alive(
    ada: SimpleNamespace, kem_key: Callable[..., KemKey]
) -> None:
    active = activate(create_record(DID, "ops", [ada.sign], [ada.kem], expires=100))
    lasting = add_keys(active, kem_keys=[kem_key("kem-2")], endorser=ada.sign)
    cut = revoke_key(lasting, "kem-1", unix_time=0)
    check_successor(lasting, cut, unix_time=99)
    assert refusal(lasting, cut, 100) is Code.RECORD_INVALID
