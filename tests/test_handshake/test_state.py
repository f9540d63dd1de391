from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import UsageError
from sage.handshake.state import TRANSITIONS, Event, Machine, State
from sage.types import Role

# Written out a second time, from the protocol's text: what leads where.
LEGAL = {
    Role.INITIATOR: {
        State.NEW: {
            Event.START: State.INIT_SENT,
            Event.FAIL: State.CLOSED,
            Event.CLOSE: State.CLOSED,
        },
        State.INIT_SENT: {
            Event.FINISH: State.ESTABLISHED,
            Event.FAIL: State.CLOSED,
            Event.CLOSE: State.CLOSED,
        },
        State.RESPONSE_SENT: {},
        State.ESTABLISHED: {Event.CLOSE: State.CLOSED},
        State.CLOSED: {Event.FAIL: State.CLOSED, Event.CLOSE: State.CLOSED},
    },
    Role.RESPONDER: {
        State.NEW: {
            Event.RESPOND: State.RESPONSE_SENT,
            Event.FAIL: State.CLOSED,
            Event.CLOSE: State.CLOSED,
        },
        State.INIT_SENT: {},
        State.RESPONSE_SENT: {
            Event.CONFIRM: State.ESTABLISHED,
            Event.FAIL: State.CLOSED,
            Event.CLOSE: State.CLOSED,
        },
        State.ESTABLISHED: {Event.CLOSE: State.CLOSED},
        State.CLOSED: {Event.FAIL: State.CLOSED, Event.CLOSE: State.CLOSED},
    },
}
EVERYTHING = list(itertools.product(Role, State, Event))


def machine_in(role, state):
    machine = Machine(role)
    machine._state = state
    return machine


@pytest.mark.parametrize(
    ("role", "state", "event"),
    EVERYTHING,
    ids=lambda value: value.value,
)
def test_every_move(role, state, event):
    machine = machine_in(role, state)
    expected = LEGAL[role][state].get(event)
    if expected is None:
        for attempt in (machine.require, machine.move):
            with pytest.raises(UsageError):
                attempt(event)
            assert machine.state is state
        return
    assert machine.require(event) is expected
    assert machine.state is state
    assert machine.move(event) is expected
    assert machine.state is expected


def test_the_table_says_nothing_else():
    assert len(EVERYTHING) == 60
    assert len(TRANSITIONS) == sum(len(m) for r in LEGAL.values() for m in r.values())
    with pytest.raises(TypeError):
        TRANSITIONS[Role.INITIATOR, State.CLOSED, Event.START] = State.NEW


def test_a_machine_begins_new():
    for role in Role:
        machine = Machine(role)
        assert (machine.role, machine.state) == (role, State.NEW)


def test_pending_states():
    assert [s for s in State if s.is_pending] == [State.INIT_SENT, State.RESPONSE_SENT]


@given(st.sampled_from(Role), st.lists(st.sampled_from(Event), max_size=30))
def test_nothing_leads_back(role, events):
    order = [State.NEW, State.INIT_SENT, State.RESPONSE_SENT]
    order += [State.ESTABLISHED, State.CLOSED]
    machine, seen = Machine(role), [State.NEW]
    for event in events:
        try:
            seen.append(machine.move(event))
        except UsageError:
            assert machine.state is seen[-1]
    ranks = [order.index(state) for state in seen]
    assert ranks == sorted(ranks)
    other_end = State.RESPONSE_SENT if role is Role.INITIATOR else State.INIT_SENT
    assert other_end not in seen


def test_the_refusal_names_the_move():
    with pytest.raises(UsageError, match=r"finish .* responder in state NEW"):
        Machine(Role.RESPONDER).move(Event.FINISH)
