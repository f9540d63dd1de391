from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sage.errors import UsageError
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


def test_a_record_begins_created_at_version_1(ada: SimpleNamespace) -> None:
    record = ada.created
    assert (record.state, record.version) == ("created", 1)
    assert record.proven
    assert [entry.name for entry in record.keys] == [
        "kem-1",
        "sign-1",
        "sign-eth",
        "sign-p256",
    ]
    assert record.keys[0].proof.signer == ada.sign.kid
    for entry in record.keys[1:]:
        assert entry.proof.signer == record.key_url(entry.name)
    assert parse_record(record.encode()) == record


def test_each_change_is_one_version_more(
    ada: SimpleNamespace, signing_key: Callable[..., SigningKey]
) -> None:
    steps = [ada.created, activate(ada.created)]
    steps.append(add_keys(steps[-1], [signing_key("sign-9")]))
    steps.append(revoke_key(steps[-1], "sign-1", unix_time=0))
    steps.append(set_services(steps[-1], []))
    steps.append(deactivate(steps[-1]))
    assert [record.version for record in steps] == [1, 2, 3, 4, 5, 6]
    assert [record.state for record in steps] == [
        "created",
        *["active"] * 4,
        "deactivated",
    ]
    for previous, record in pairwise(steps):
        check_successor(previous, record)
        assert parse_record(record.encode()) == record
        assert record.controller == "ops"


def test_keys_expire_together(ada: SimpleNamespace) -> None:
    record = create_record(DID, "ops", [ada.sign], [ada.kem], expires=1000)
    assert [entry.expires for entry in record.keys] == [1000, 1000]
    assert activate(record, unix_time=999).state == "active"
    with pytest.raises(UsageError):
        activate(record, unix_time=1000)
    assert activate(record).state == "active"


def test_services_are_sorted(ada: SimpleNamespace) -> None:
    services = [ServiceEntry(name, "T", "https://a.example") for name in "cab"]
    record = set_services(ada.record, services)
    assert [service.name for service in record.services] == ["a", "b", "c"]


def test_keys_can_be_added(
    ada: SimpleNamespace,
    signing_key: Callable[..., SigningKey],
    kem_key: Callable[..., KemKey],
) -> None:
    record = add_keys(ada.record, [signing_key("b")], [kem_key("a")], expires=5)
    assert [entry.name for entry in record.keys][:2] == ["a", "b"]
    assert record.keys[0].proof.signer == f"{DID}#b"
    assert {entry.name: entry.expires for entry in record.keys}["b"] == 5
    record = add_keys(record, kem_keys=[kem_key("c")], endorser=ada.p256)
    assert record.entry("c").proof.signer == ada.p256.kid  # type: ignore[union-attr]
    record = add_keys(
        ada.record,
        [signing_key("b")],
        [kem_key("a")],
        endorser=ada.p256,
        expires=5,
        unix_time=4,
    )
    assert record.entry("a").proof.signer == ada.p256.kid  # type: ignore[union-attr]


def test_an_endorser_is_a_usable_key_of_the_record(
    ada: SimpleNamespace,
    signing_key: Callable[..., SigningKey],
    kem_key: Callable[..., KemKey],
) -> None:
    revoked = revoke_key(ada.record, "sign-1", unix_time=0)
    fake = SigningKey.from_private_bytes(ada.p256.kid, "ed25519", bytes(32))
    for record, endorser in [
        (ada.record, None),
        (ada.record, signing_key("stranger")),
        (ada.record, fake),
        (revoked, ada.sign),
    ]:
        with pytest.raises(UsageError):
            add_keys(record, kem_keys=[kem_key("kem-2")], endorser=endorser)
    old = activate(create_record(DID, "ops", [ada.sign], [], expires=10))
    add_keys(old, kem_keys=[kem_key("k")], endorser=ada.sign, unix_time=9)
    with pytest.raises(UsageError):
        add_keys(old, kem_keys=[kem_key("k")], endorser=ada.sign, unix_time=10)
    late = {"endorser": ada.sign, "expires": 9, "unix_time": 9}
    for added in ([signing_key("late")], []), ([], [kem_key("late")]):
        with pytest.raises(UsageError, match="expired already"):
            add_keys(ada.record, *added, **late)


def test_revoking_keeps_the_entry(ada: SimpleNamespace) -> None:
    record = revoke_key(ada.record, "kem-1", unix_time=0)
    assert record.state == "active"
    assert record.entry("kem-1") == replace(ada.record.keys[0], state="revoked")
    assert len(record.keys) == len(ada.record.keys)
    assert ada.record.keys[0].state == "accepted"


def test_revoking_the_last_signing_key_deactivates(ada: SimpleNamespace) -> None:
    record = ada.record
    for name in ("sign-1", "sign-eth"):
        record = revoke_key(record, name, unix_time=0)
        assert record.state == "active"
    record = revoke_key(record, "sign-p256", unix_time=0)
    assert record.state == "deactivated"
    assert record.version == 5
    created = create_record(DID, "ops", [ada.sign], [])
    assert revoke_key(created, "sign-1", unix_time=0).state == "deactivated"


def test_an_expired_signing_key_keeps_nothing_alive(
    ada: SimpleNamespace, signing_key: Callable[..., SigningKey]
) -> None:
    record = activate(create_record(DID, "ops", [ada.sign], []))
    record = add_keys(record, [signing_key("brief")], expires=100)
    assert revoke_key(record, "sign-1", unix_time=99).state == "active"
    assert revoke_key(record, "sign-1", unix_time=100).state == "deactivated"


def test_what_a_state_does_not_allow(
    ada: SimpleNamespace, signing_key: Callable[..., SigningKey]
) -> None:
    extra = signing_key("extra")
    ended = deactivate(ada.record)
    assert deactivate(ada.created).state == "deactivated"
    for act in (
        lambda: activate(ada.record),
        lambda: activate(ended),
        lambda: deactivate(ended),
        lambda: add_keys(ada.created, [extra]),
        lambda: add_keys(ended, [extra]),
        lambda: revoke_key(ended, "sign-1", unix_time=0),
        lambda: set_services(ada.created, []),
        lambda: set_services(ended, []),
    ):
        with pytest.raises(UsageError):
            act()


def test_what_cannot_be_a_record(
    ada: SimpleNamespace,
    signing_key: Callable[..., SigningKey],
    kem_key: Callable[..., KemKey],
) -> None:
    bad_service = ServiceEntry("x", "T", "http://a.example")
    named_like_a_key = ServiceEntry("kem-1", "T", "https://a.example")
    twin = SigningKey.from_private_bytes(
        f"{DID}#twin", "ed25519", ada.sign.private_bytes()
    )
    foreign = signing_key("sign-1", did="did:sage:web:agents.example:eve")
    for arguments in (
        (DID, "ops", [], []),
        (DID, "ops", [], [ada.kem]),
        (DID, "", [ada.sign], []),
        (DID, "\u00e9", [ada.sign], []),
        ("did:sage:web:agents.example:eve", "ops", [ada.sign], []),
        ("nobody", "ops", [ada.sign], []),
        (DID, "ops", [foreign], []),
        (DID, "ops", [ada.sign, ada.sign], []),
        (DID, "ops", [ada.sign, twin], []),
        (DID, "ops", [ada.sign], [kem_key("sign-1")]),
        (DID, "ops", [ada.sign], [ada.kem], [bad_service]),
        (DID, "ops", [ada.sign], [ada.kem], [named_like_a_key]),
        (DID, "ops", [ada.sign], [ada.kem], [], -1),
        (DID, "ops", [signing_key(f"k{i}") for i in range(129)], []),
    ):
        with pytest.raises(UsageError):
            create_record(*arguments)  # type: ignore[arg-type]
    for act in (
        lambda: add_keys(ada.record),
        lambda: add_keys(ada.record, [ada.sign]),
        lambda: add_keys(ada.record, [twin]),
        lambda: add_keys(ada.record, [foreign]),
        lambda: set_services(ada.record, [bad_service]),
        lambda: set_services(ada.record, [named_like_a_key]),
        lambda: revoke_key(ada.record, "absent", unix_time=0),
        lambda: revoke_key(
            revoke_key(ada.record, "kem-1", unix_time=0), "kem-1", unix_time=0
        ),
    ):
        with pytest.raises(UsageError):
            act()


def test_a_revoked_key_is_never_used_again(ada: SimpleNamespace) -> None:
    record = revoke_key(ada.record, "sign-1", unix_time=0)
    renamed = SigningKey.from_private_bytes(
        f"{DID}#sign-2", "ed25519", ada.sign.private_bytes()
    )
    for key in (ada.sign, renamed):
        with pytest.raises(UsageError):
            add_keys(record, [key])


def test_the_last_version_is_the_last(
    ada: SimpleNamespace, record_json: Any, entry_json: Any
) -> None:
    top = str(2**64 - 1)
    record = parse_record(record_json(entry_json(ada.sign), version=top))
    for act in (lambda: deactivate(record), lambda: set_services(record, [])):
        with pytest.raises(UsageError):
            act()


class Lives(RuleBasedStateMachine):
    """Any life that the functions allow is one that a registry follows."""

    NAMES = tuple(f"key-{index}" for index in range(6))
    record: AgentRecord

    def __init__(self) -> None:
        super().__init__()
        self.keys = {name: SigningKey.generate(f"{DID}#{name}") for name in self.NAMES}
        self.used = {"key-0"}
        self.record = create_record(DID, "ops", [self.keys["key-0"]], [])
        self.seen = [self.record]

    def become(self, record: AgentRecord) -> None:
        check_successor(self.record, record, unix_time=0)
        self.record = record
        self.seen.append(record)

    @precondition(lambda self: self.record.state == "created")
    @rule()
    def activate(self) -> None:
        self.become(activate(self.record, unix_time=0))

    @precondition(lambda self: self.record.state == "active")
    @rule(name=st.sampled_from(NAMES), expires=st.none() | st.integers(0, 5))
    def add(self, name: str, expires: int | None) -> None:
        if name in self.used:
            with pytest.raises(UsageError):
                add_keys(self.record, [self.keys[name]])
        elif expires == 0:
            record = add_keys(self.record, [self.keys[name]], expires=0)
            assert not record.entry(name).is_usable(0)  # type: ignore[union-attr]
        else:
            self.become(add_keys(self.record, [self.keys[name]], expires=expires))
            self.used.add(name)

    @precondition(lambda self: self.record.state != "deactivated")
    @rule(name=st.sampled_from(NAMES))
    def revoke(self, name: str) -> None:
        entry = self.record.entry(name)
        if entry is None or entry.state == "revoked":
            with pytest.raises(UsageError):
                revoke_key(self.record, name, unix_time=0)
        else:
            self.become(revoke_key(self.record, name, unix_time=0))

    @precondition(lambda self: self.record.state == "active")
    @rule(count=st.integers(0, 3))
    def serve(self, count: int) -> None:
        services = [
            ServiceEntry(f"s{index}", "T", "https://a.example")
            for index in range(count)
        ]
        self.become(set_services(self.record, services))

    @rule()
    def end(self) -> None:
        if self.record.state == "deactivated":
            with pytest.raises(UsageError):
                deactivate(self.record)
        else:
            self.become(deactivate(self.record))

    @invariant()
    def versions_count_the_changes(self) -> None:
        assert [record.version for record in self.seen] == list(
            range(1, len(self.seen) + 1)
        )
        assert parse_record(self.record.encode()) == self.record


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
