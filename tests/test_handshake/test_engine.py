from __future__ import annotations

import copy
import pickle

import pytest

from sage.errors import Code, StaleError, UsageError
from sage.handshake import State
from sage.handshake.engine import require_own
from sage.identity.keys import KemKey, PublicKey, SigningKey


@pytest.fixture(params=["initiator", "responder"])
def pending(request, pair):
    """An engine that waits, and its state."""
    pair.answered()
    return getattr(pair, request.param)


def test_deadline_of_a_pending_attempt(pending, make_pair):
    state = pending.state
    just_now = {"now": make_pair.NOW + 299.9, "unix_time": make_pair.EXPIRES - 1}
    assert not pending.expired(**just_now)
    pending.check_deadline(**just_now)
    assert pending.state is state
    for late in (
        just_now | {"now": make_pair.NOW + 300},
        just_now | {"unix_time": make_pair.EXPIRES},
    ):
        assert pending.expired(**late)
        assert pending.state is state
    with pytest.raises(StaleError) as raised:
        pending.check_deadline(**late)
    assert raised.value.code == Code.HANDSHAKE_EXPIRED
    assert pending.state is State.CLOSED
    assert not pending.expired(**late)
    pending.check_deadline(**late)


def test_only_pending_attempts_expire(pair):
    late = {"now": 10**9, "unix_time": 10**12}
    for engine in (pair.initiator, pair.responder):
        assert not engine.expired(**late)
        engine.check_deadline(**late)
    pair.run()
    for engine in (pair.initiator, pair.responder):
        assert not engine.expired(**late)
        engine.check_deadline(**late)
        assert engine.state is State.ESTABLISHED


def test_fail_ends_what_is_not_established(pair, make_pair):
    pair.initiator.fail()
    pair.initiator.fail()
    assert pair.initiator.state is State.CLOSED
    pair = make_pair()
    pair.run()
    for engine in (pair.initiator, pair.responder):
        with pytest.raises(UsageError):
            engine.fail()
        assert engine.state is State.ESTABLISHED
    assert any(pair.responder.secrets.seed)


def test_close_ends_everything(pending, make_pair):
    pending.close()
    pending.close()
    assert pending.state is State.CLOSED
    pair = make_pair()
    pair.run()
    for engine in (pair.initiator, pair.responder):
        engine.close()
        assert engine.state is State.CLOSED


def test_engines_hide_and_stay_here(pending):
    assert repr(pending) == f"<{type(pending).__name__} {pending.state.value}>"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(pending)


def test_own_keys_must_be_on_record(make_pair):
    kid = f"{make_pair.ADA}#sign-1"
    for own in (SigningKey.generate(kid), KemKey.generate(kid)):
        require_own(own, PublicKey(own.kid, own.algorithm, own.public_key))
        for wrong in (
            PublicKey(own.kid + "2", own.algorithm, own.public_key),
            PublicKey(own.kid, "other", own.public_key),
            PublicKey(own.kid, own.algorithm, bytes(32)),
        ):
            with pytest.raises(UsageError):
                require_own(own, wrong)
