"""The secrets of a handshake, in use."""

from __future__ import annotations

import pytest

from sage.errors import AuthenticationError
from sage.handshake import State
from sage.session import Session
from sage.types import Role


def test_two_sessions_that_open_each_others_records(pair):
    found = pair.finish(pair.answered())
    ada = Session.v0_10(found.seed, found.transcript_hash, found.binding.role)
    theirs = pair.responder.secrets
    grace = Session.v0_10(theirs.seed, theirs.transcript_hash, theirs.binding.role)
    assert (ada.role, grace.role) == (Role.INITIATOR, Role.RESPONDER)
    assert ada.id == grace.id == found.binding.session_id
    first = ada.seal(b"hello from ada", b"aad")
    with pytest.raises(AuthenticationError):
        grace.open(first, b"other aad")
    assert pair.responder.state is State.RESPONSE_SENT
    assert grace.open(first, b"aad") == b"hello from ada"
    pair.confirm()
    found.wipe()
    pair.responder.close()
    assert ada.open(grace.seal(b"hello from grace")) == b"hello from grace"
    for number in range(10):
        assert grace.open(ada.seal(b"%d" % number)) == b"%d" % number


def test_sessions_of_two_handshakes_are_strangers(make_pair):
    one, two = make_pair(), make_pair()
    found, other = one.run()[0], two.run()[1]
    ada = Session.v0_10(found.seed, found.transcript_hash, Role.INITIATOR)
    grace = Session.v0_10(other.seed, other.transcript_hash, Role.RESPONDER)
    assert ada.id != grace.id
    with pytest.raises(AuthenticationError):
        grace.open(ada.seal(b"hello"))
