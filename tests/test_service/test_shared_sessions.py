"""Sessions that are bound to no connection."""

from __future__ import annotations

import asyncio

import pytest

import sage
from sage.errors import Overloaded
from sage.limits import REQUEST_TIMEOUT_S, SESSION_IDLE_S
from sage.service import Clock, shared_sessions
from sage.service.shared_sessions import SharedSessions


class Time:
    """A monotonic clock that a test sets forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        real = Clock()
        self.clock = Clock(monotonic=lambda: real.now() + self.ahead_s)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
async def make(time):
    stores = []

    def make(max_sessions=10, *, max_per_peer=10, max_unused=10):
        store = SharedSessions(
            max_sessions,
            max_per_peer=max_per_peer,
            max_unused=max_unused,
            clock=time.clock,
        )
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def accept(shake_hands):
    async def accept():
        return (await shake_hands())[1]

    return accept


async def test_a_session_is_found_by_its_id_until_it_is_dropped(make, accept):
    store, accepted = make(), await accept()
    store.keep(accepted)
    session_id = accepted.binding.session_id
    assert store.get(session_id) is accepted
    assert store.get("") is None
    assert store.pinned_key(accepted.binding.init_kid) is accepted.binding.init_key
    for name in ("", "#", f"{accepted.binding.init_did}#other", "did:sage:web:a:b#c"):
        assert store.pinned_key(name) is None
    for _ in range(2):
        store.drop(accepted)
    assert accepted.session.closed
    assert store.get(session_id) is None
    assert store.pinned_key(accepted.binding.init_kid) is None
    assert len(store) == 0


async def test_beyond_the_whole_number_new_ones_are_refused(make, accept):
    store = make(2)
    first, second, third = [await accept() for _ in range(3)]
    for accepted in (first, second):
        store.keep(accepted)
        store.confirm(accepted)
    with pytest.raises(Overloaded):
        store.keep(third)
    assert third.session.closed
    assert not first.session.closed
    assert len(store) == 2


async def test_one_that_was_dropped_makes_room(make, accept):
    store = make(1)
    first, second = await accept(), await accept()
    store.keep(first)
    store.drop(first)
    store.keep(second)
    assert not second.session.closed


async def test_nothing_is_left_of_a_peer_without_sessions(make, accept):
    """Strangers choose their names, and there are many."""
    store, accepted = make(), await accept()
    store.keep(accepted)
    store.drop(accepted)
    assert not store._of_peer
    assert not store._unused


async def test_of_those_never_used_the_oldest_gives_way(make, accept):
    store = make(max_unused=2)
    used, *unused = [await accept() for _ in range(5)]
    store.keep(used)
    store.confirm(used)
    for accepted in unused:
        store.keep(accepted)
    assert [one.session.closed for one in unused] == [True, True, False, False]
    assert not used.session.closed


async def test_of_a_peer_the_one_gives_way_that_nobody_used_for_longest(make, accept):
    store = make(max_per_peer=3)
    busy, dead, new, newer, newest = [await accept() for _ in range(5)]
    for accepted in (busy, dead, new):
        store.keep(accepted)
    for accepted in (busy, dead):
        store.confirm(accepted)
    busy.used_at, dead.used_at, new.used_at = 3.0, 1.0, 2.0
    newer.used_at = newest.used_at = 4.0
    store.keep(newer)
    assert dead.session.closed
    # It was never used; its client had more time for that than any other.
    store.keep(newest)
    assert new.session.closed
    assert not any(one.session.closed for one in (busy, newer, newest))
    assert len(store) == 3


async def test_a_session_that_has_a_successor_gives_way_first(
    make, shake_hands, time, monkeypatch
):
    monkeypatch.setattr(shared_sessions, "RENEW_AFTER_RECORDS", 3)
    store = make(max_per_peer=2)
    (_, idle, _), (theirs, busy, _), (_, new, _), (_, newer, _) = [
        await shake_hands() for _ in range(4)
    ]
    for accepted in (idle, busy):
        store.keep(accepted)
        store.confirm(accepted)
    for _ in range(3):
        busy.session.open(theirs.session.seal(b""))
    time.ahead_s = REQUEST_TIMEOUT_S + 1
    store.keep(new)
    assert busy.session.closed
    assert not idle.session.closed
    # As long as requests may be under way in it, it is as good as any other.
    for _ in range(3):
        new.session.accept(new.session.received)
    new.used_at = time.clock.now()
    store.keep(newer)
    assert idle.session.closed
    assert not new.session.closed


async def test_handshakes_of_one_peer_at_once_push_none_of_them_out(make, accept):
    store = make(max_per_peer=4)
    for accepted in [await accept() for _ in range(4)]:
        store.keep(accepted)
        store.confirm(accepted)
    at_once = [await accept() for _ in range(3)]
    for accepted in at_once:
        store.keep(accepted)
    assert not any(accepted.session.closed for accepted in at_once)


async def test_keys_are_wiped_in_time_with_nobody_asking(make, accept, time):
    store, accepted = make(), await accept()
    store.keep(accepted)
    time.ahead_s = SESSION_IDLE_S + 2
    async with asyncio.timeout(4):
        while len(store):
            await asyncio.sleep(0.05)
    assert accepted.session.closed
    assert store.get(accepted.binding.session_id) is None


async def test_one_timer_looks_after_all_for_as_long_as_there_are_any(
    make, accept, time
):
    store, first, second = make(), await accept(), await accept()
    store.keep(first)
    tick = store._tick
    store.keep(second)
    assert store._tick is tick
    tick.cancel()
    store._run_tick()
    assert store._tick is not None  # both may expire yet
    store._tick.cancel()
    time.ahead_s = SESSION_IDLE_S + 2
    store._run_tick()
    assert first.session.closed
    assert store._tick is None


async def test_expired_ones_make_room(make, accept, time):
    store = make(1)
    first, second = await accept(), await accept()
    store.keep(first)
    store.confirm(first)
    time.ahead_s = SESSION_IDLE_S + 2
    store.keep(second)
    assert first.session.closed
    assert store.get(second.binding.session_id) is second


async def test_closing_wipes_them_all(make, accept):
    store = make()
    sessions = [await accept() for _ in range(3)]
    for accepted in sessions:
        store.keep(accepted)
    tick = store._tick
    for _ in range(2):
        store.close()
    assert tick.cancelled()
    assert all(one.session.closed for one in sessions)
    assert len(store) == 0
    assert isinstance(sessions[0].session, sage.Session)
