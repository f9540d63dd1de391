from __future__ import annotations

import sys

import pytest

from sage.cli.bench.figures import PRIMITIVES, TLS_HANDSHAKE
from sage.cli.bench.handshakes import (
    Agents,
    handshake_cases,
    in_a_row,
    primitives,
)
from sage.cli.bench.timing import FULL
from sage.types import Role

from .conftest import measure_all


def test_both_ends_have_a_session_that_works() -> None:
    ours, theirs = Agents().shake_hands()
    assert (ours.role, theirs.role) == (Role.INITIATOR, Role.RESPONDER)
    assert ours.id == theirs.id
    assert ours.open(theirs.seal(b"x")) == b"x"


def test_each_handshake_is_another_one() -> None:
    agents = Agents()
    assert agents.shake_hands()[0].id != agents.shake_hands()[0].id


def test_it_is_measured_against_its_primitives_and_tls() -> None:
    bare, tls = measure_all(handshake_cases())
    assert (bare.against, tls.against) == (PRIMITIVES, TLS_HANDSHAKE)
    assert bare.ns == tls.ns
    assert tls.note is not None
    assert "P-256" in tls.note
    assert tls.ratio


def test_without_certificates_only_against_its_primitives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    bare, tls = measure_all(handshake_cases())
    assert bare.ratio
    assert tls.ratio is None
    assert "trustme" in (tls.absent or "")


def test_the_primitives_work() -> None:
    primitives().prepare(1)()


def test_a_burst_has_room_for_several() -> None:
    longer = in_a_row(FULL)
    assert longer.rounds == FULL.rounds
    assert longer.burst_ns == 10 * FULL.burst_ns
