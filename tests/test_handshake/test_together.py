"""Both ends joined: what no change on the way can bring about."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sage.handshake
from sage.encoding import b64u_encode, jcs
from sage.errors import Code, PeerError, UsageError
from sage.handshake import Event, State

HANDSHAKE_CODES = {code for code in Code if code.startswith("handshake.")}
MEMBERS = st.sampled_from(
    [
        *("v", "task", "ctx", "initDid", "respDid", "initKid", "respKid", "kemKid"),
        *("suite", "combiner", "nonce", "enc", "ephC", "ephS", "kid"),
        *("transcript", "ackTagB64", "sigB64", "other"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=40)
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)
    | st.sampled_from([16, 32, 64]).flatmap(
        lambda size: st.binary(min_size=size, max_size=size).map(b64u_encode)
    )
    | st.uuids(version=4).map(str)
)
ABSENT = object()


def flipped(data, position, change):
    changed = bytearray(data)
    changed[position % len(changed)] ^= change
    return bytes(changed)


def with_member(members, name, value):
    """The object with one member set, added or left out, wherever it belongs."""
    if "transcript" in members and name in members["transcript"]:
        inner = with_member(members["transcript"], name, value)
        return members | {"transcript": inner}
    if value is ABSENT:
        return {key: members[key] for key in members if key != name}
    return members | {name: value}


def assert_no_session(pair, payload):
    """The changed initiation ends in documented errors at either end."""
    with pytest.raises(PeerError) as raised:
        pair.finish(pair.respond(payload))
    assert raised.value.code in HANDSHAKE_CODES
    assert pair.initiator.state is not State.ESTABLISHED
    assert pair.responder.state is not State.ESTABLISHED


def assert_refused(pair, data):
    exporter = pair.initiator._exporter
    with pytest.raises(PeerError) as raised:
        pair.finish(data)
    assert raised.value.code in HANDSHAKE_CODES
    assert pair.initiator.state is State.CLOSED
    assert exporter == bytes(32)


@given(st.integers(0, 2000), st.integers(1, 255))
def test_any_changed_byte_of_an_initiation(make_pair, position, change):
    pair = make_pair()
    assert_no_session(pair, flipped(pair.start(), position, change))


@given(MEMBERS, VALUES | st.just(ABSENT))
def test_any_changed_member_of_an_initiation(make_pair, name, value):
    pair = make_pair()
    payload = pair.start()
    changed = jcs(with_member(json.loads(payload), name, value))
    if changed != payload:
        assert_no_session(pair, changed)


@given(st.integers(0, 2000), st.integers(1, 255))
def test_any_changed_byte_of_a_completion(make_pair, position, change):
    pair = make_pair()
    assert_refused(pair, flipped(pair.answered(), position, change))


@given(MEMBERS, VALUES | st.just(ABSENT), st.booleans())
def test_any_changed_member_of_a_completion(make_pair, name, value, signed):
    """Even where the responder itself signs the changed message."""
    pair = make_pair()
    data = pair.answered()
    message = with_member(json.loads(data), name, value)
    changed = pair.signed(message) if signed else jcs(message)
    if changed != data:
        assert_refused(pair, changed)


@given(st.binary(max_size=300))
def test_any_bytes_at_all(make_pair, data):
    pair = make_pair()
    pair.start()
    assert_refused(pair, data)
    with pytest.raises(PeerError) as raised:
        make_pair().respond(data)
    assert raised.value.code in HANDSHAKE_CODES


@given(st.integers(0, 3000))
def test_any_part_of_a_message(make_pair, end):
    pair = make_pair()
    payload = pair.start()
    if end < len(payload):
        with pytest.raises(PeerError):
            make_pair().respond(payload[:end])
    data = pair.respond(payload)
    if end < len(data):
        assert_refused(pair, data[:end])


def test_messages_do_not_change_places(make_pair):
    """Of two attempts between the same ends, neither fits into the other."""
    one, two = make_pair(), make_pair()
    first, second = one.answered(), two.answered()
    assert_refused(one, second)
    assert_refused(two, first)


STEPS = ("start", "respond", "finish", "confirm", "close_i", "close_r", "fail_i")


@settings(max_examples=60)
@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_any_order_of_calls(make_pair, steps):
    """Whatever is called when: a legal step works, another changes nothing."""
    pair = make_pair()
    payload, data = b"", b""
    events = {
        "start": (pair.initiator, Event.START),
        "respond": (pair.responder, Event.RESPOND),
        "finish": (pair.initiator, Event.FINISH),
        "confirm": (pair.responder, Event.CONFIRM),
        "close_i": (pair.initiator, Event.CLOSE),
        "close_r": (pair.responder, Event.CLOSE),
        "fail_i": (pair.initiator, Event.FAIL),
    }
    for step in steps:
        engine, event = events[step]
        before = engine.state
        legal = (engine._machine.role, before, event) in sage.handshake.TRANSITIONS
        try:
            if step == "start":
                payload = pair.start()
            elif step == "respond":
                data = pair.respond(payload)
            elif step == "finish":
                pair.finish(data)
            elif step == "confirm":
                pair.confirm()
            elif step == "fail_i":
                engine.fail()
            else:
                engine.close()
        except UsageError:
            assert not legal
            assert engine.state is before
        except PeerError:
            assert legal
            assert engine.state is State.CLOSED
        else:
            assert legal


def test_public_names():
    names = sage.handshake.__all__
    assert len(names) == len(set(names))
    modules = {"binding", "deadline", "engine", "erase", "hpke", "identifiers"}
    modules |= {"canonical", "derive", "initiator", "messages", "responder", "state"}
    modules |= {"transcript"}
    public = {name for name in vars(sage.handshake) if not name.startswith("_")}
    assert public - modules == set(names)
