"""The everyday session: the kernels' core under a profile's name."""

from __future__ import annotations

import copy
import gc
import pickle
import sys

import pytest

from sage._accel import SessionCore, backend
from sage.errors import LimitReached, SessionClosed, SessionExpired, UsageError
from sage.session import V0_10, Session, session_id
from sage.types import Role

SEED, TH = bytes(range(32)), bytes(range(100, 132))


def both(now=0.0):
    return (Session.v0_10(SEED, TH, role, now=now) for role in Role)


def test_a_conversation():
    ada, grace = both()
    assert isinstance(ada, Session)
    assert isinstance(ada, SessionCore)
    assert ada.profile is V0_10
    assert ada.id == grace.id == session_id(TH)
    for number in range(20):
        sent = b"%d" % number
        assert grace.open(ada.seal(sent, b"ask", now=1.0), b"ask", now=1.0) == sent
        assert ada.open(grace.seal(sent, b"tell", now=1.0), b"tell", now=1.0) == sent
    assert (ada.sent, ada.received, ada.records_left) == (20, 20, 980)
    ada.close()
    with pytest.raises(SessionClosed):
        ada.seal(b"")


def test_its_limits():
    ada, _ = both()
    for _ in range(1000):
        ada.seal(b"", now=1.0)
    with pytest.raises(LimitReached):
        ada.seal(b"", now=1.0)
    _, grace = both()
    with pytest.raises(SessionExpired):
        grace.seal(b"", now=600.0)


def test_it_is_as_closed_as_the_core():
    ada, _ = both()
    assert repr(ada).startswith("<Session 0.10.0 initiator ")
    assert SEED.hex() not in repr(ada)
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            act(ada)
    with pytest.raises(AttributeError):
        ada.note = "a session has no room for notes"
    if backend()["core"] == "cython":
        assert not gc.is_tracked(ada)
        assert sys.getsizeof(ada) <= 512  # what pymalloc serves, header included


def test_wrong_arguments():
    with pytest.raises(UsageError, match="seed must be 32 bytes, not 3"):
        Session.v0_10(b"abc", TH, Role.INITIATOR)
    with pytest.raises(UsageError, match=r"role must be a sage\.Role, not str"):
        Session.v0_10(SEED, TH, "initiator")
