"""The sessions that a service keeps for one connection."""

from __future__ import annotations

import pytest

from sage.errors import UsageError
from sage.service.accepted import ConnectionSessions


@pytest.fixture
def handshakes(shake_hands):
    """Return as many sessions as are asked for, each with its ends."""

    async def make(count):
        return [(await shake_hands())[1] for _ in range(count)]

    return make


async def test_a_session_is_found_by_its_id(handshakes):
    sessions = ConnectionSessions(2)
    (accepted,) = await handshakes(1)
    sessions.keep(accepted)
    assert sessions.get(accepted.binding.session_id) is accepted
    assert sessions.get("") is None


async def test_the_oldest_that_was_never_used_gives_way(handshakes):
    sessions = ConnectionSessions(3)
    used, unused, last, more = await handshakes(4)
    for accepted in (used, unused, last):
        sessions.keep(accepted)
    sessions.confirm(used)
    sessions.keep(more)
    assert unused.session.closed
    assert not any(one.session.closed for one in (used, last, more))
    assert sessions.get(unused.binding.session_id) is None


async def test_where_all_are_used_the_oldest_gives_way(handshakes):
    sessions = ConnectionSessions(2)
    first, second, third = await handshakes(3)
    for accepted in (first, second):
        sessions.keep(accepted)
        sessions.confirm(accepted)
    sessions.keep(third)
    assert first.session.closed
    assert not second.session.closed


async def test_dropping_and_closing_wipe_and_may_be_repeated(handshakes):
    sessions = ConnectionSessions(2)
    first, second = await handshakes(2)
    sessions.keep(first)
    sessions.keep(second)
    for _ in range(2):
        sessions.drop(first)
    assert first.session.closed
    with pytest.raises(UsageError):
        first.responder.secrets  # noqa: B018  (raises)
    assert not second.session.closed
    for _ in range(2):
        sessions.close()
    assert second.session.closed
    assert sessions.get(second.binding.session_id) is None
