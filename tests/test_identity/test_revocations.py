"""The marks that two records of one agent are compared by."""

from __future__ import annotations

import sage
from sage.identity import SigningKey, add_keys, deactivate, revoke_key
from sage.identity.revocations import AGENT_MARK, MARKS_MAX, standing_of
from sage.limits import AGENT_RECORD_MAX_KEYS

DID = "did:sage:web:agents.example:ada"


def test_a_record_without_revocations() -> None:
    standing = standing_of(sage.Agent.generate(DID).record)
    assert standing.revoked == frozenset()
    assert AGENT_MARK in standing.accepted
    assert len(standing.accepted) == 1 + 2 * 2  # two keys, each by name and by bytes
    assert {len(mark) for mark in standing.accepted} == {16}


def test_a_revoked_key_changes_sides() -> None:
    ada = sage.Agent.generate(DID)
    extra = SigningKey.generate(f"{DID}#sign-2")
    before = add_keys(ada.record, [extra], (), endorser=ada.signing_key)
    after = revoke_key(before, "sign-2", unix_time=1)
    gone = standing_of(after).revoked
    assert len(gone) == 2
    assert gone < standing_of(before).accepted
    assert not gone & standing_of(after).accepted


def test_a_deactivated_agent_presents_nothing() -> None:
    record = sage.Agent.generate(DID).record
    standing = standing_of(deactivate(record))
    assert standing.accepted == frozenset()
    assert standing.revoked == {AGENT_MARK}


def test_names_and_keys_have_marks_of_their_own() -> None:
    """The same name with other bytes, and the same bytes under another name."""
    ada, again = sage.Agent.generate(DID), sage.Agent.generate(DID)
    both = standing_of(ada.record).accepted & standing_of(again.record).accepted
    assert len(both) == 1 + 2  # the agent, and the names of both keys


def test_the_longest_lawful_history_fits() -> None:
    assert MARKS_MAX == 2 * AGENT_RECORD_MAX_KEYS + 1
