"""The manager against a plain dictionary, and under threads that race."""

from __future__ import annotations

import dataclasses
import gc
import logging
import random
import sys
import threading
import weakref
from collections import Counter
from math import floor, inf, nan

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sage._accel import backend
from sage.errors import Overloaded, SessionClosed, UsageError
from sage.limits import EVICTION_CANDIDATES, SESSION_IDLE_S
from sage.session import (
    CapacityPolicy,
    ManagerStatistics,
    Session,
    SessionManager,
    session_id,
)
from sage.types import Role

SEED = bytes(range(32))
IDS = [session_id(n.to_bytes(32, "big")) for n in range(64)]


def make(number, now=0.0):
    return Session.v0_10(SEED, number.to_bytes(32, "big"), Role.INITIATOR, now=now)


def balanced(statistics):
    s = statistics
    return s.added == s.live + s.removed + s.expired + s.evicted + s.closed


class ManagerMachine(RuleBasedStateMachine):
    """Real sessions, a virtual clock, and a dictionary that says what must be."""

    @initialize(
        policy=st.sampled_from(CapacityPolicy),
        tick_s=st.sampled_from([0.5, 1.0, 10.0, 97.0]),
    )
    def start(self, policy, tick_s):
        self.ended = []
        self.tick_s, self.now = tick_s, 1000.25
        self.manager = SessionManager(
            8, policy=policy, on_expire=self.ended.append, tick_s=tick_s
        )
        self.sessions, self.keys = {}, {}
        self.count = Counter()

    def pick(self, data):
        return data.draw(st.sampled_from(sorted(self.sessions)))

    def gone(self, session):
        del self.sessions[session.id]
        self.keys = {k: s for k, s in self.keys.items() if s is not session}

    @rule(number=st.integers(0, 30))
    def add(self, number):
        session = make(number, self.now)
        if session.id in self.sessions:
            with pytest.raises(UsageError, match="here already"):
                self.manager.add(session)
        elif len(self.sessions) < 8:
            self.manager.add(session)
            self.sessions[session.id] = session
            self.count["added"] += 1
        elif self.manager.policy is CapacityPolicy.REFUSE:
            with pytest.raises(Overloaded):
                self.manager.add(session)
            self.count["refused"] += 1
        else:
            self.evict_for(session)

    def evict_for(self, session):
        before = {id_: s.expires_at for id_, s in self.sessions.items()}
        self.manager.add(session)
        (evicted,) = self.ended
        self.ended.clear()
        assert evicted.closed
        # The idlest, to within a tick. One closed from outside waits for its own.
        open_ = [expires_at for expires_at in before.values() if expires_at != -inf]
        assert before[evicted.id] <= min(open_, default=-inf) + self.tick_s
        self.gone(evicted)
        self.sessions[session.id] = session
        self.count.update(("added", "evicted"))

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def use(self, data):
        session = self.sessions[self.pick(data)]
        if session.expires_at > self.now:
            session.seal(b"", now=self.now)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def close_from_outside(self, data):
        self.sessions[self.pick(data)].close()

    @rule(number=st.integers(0, 30))
    def remove(self, number):
        expected = self.sessions.get(IDS[number])
        was_closed = expected is not None and expected.closed
        assert self.manager.remove(IDS[number]) is expected
        if expected is not None:
            assert expected.closed is was_closed
            self.gone(expected)
            self.count["removed"] += 1

    @rule(key_id=st.sampled_from("abc"), number=st.integers(0, 30))
    def bind(self, key_id, number):
        if IDS[number] in self.sessions:
            self.manager.bind(key_id, IDS[number])
            self.keys[key_id] = self.sessions[IDS[number]]
        else:
            with pytest.raises(UsageError, match="not here"):
                self.manager.bind(key_id, IDS[number])

    @rule(step=st.sampled_from([0.0, 0.5, 1.0, 60.0, 599.75, 600.0, 4000.0, 1e7]))
    def tick(self, step):
        self.now += step
        self.expire(self.now)

    @rule(back=st.floats(0, 1e4))
    def tick_backwards(self, back):
        self.expire(self.now - back)

    @rule(step=st.floats(0, 700))
    def time_passes(self, step):
        self.now += step

    def expire(self, now):
        before = {id_: s.expires_at for id_, s in self.sessions.items()}
        must = floor(now / self.tick_s) * self.tick_s
        assert self.manager.expire(now) == len(self.ended)
        assert len({s.id for s in self.ended}) == len(self.ended)
        for session in self.ended:
            assert session.closed
            assert before[session.id] <= now  # never early
            self.gone(session)
        self.count["expired"] += len(self.ended)
        self.ended.clear()
        for id_, session in self.sessions.items():
            # One closed from outside waits for the tick that it was filed under.
            assert before[id_] > must or before[id_] == -inf
            assert session.closed is (before[id_] == -inf)

    @invariant()
    def agrees(self):
        if not hasattr(self, "manager"):
            return
        manager = self.manager
        assert not self.ended
        assert len(manager) == len(self.sessions)
        assert {s.id: s for s in manager} == self.sessions
        for id_ in IDS[:31]:
            assert manager.get(id_) is self.sessions.get(id_)
            assert (id_ in manager) is (id_ in self.sessions)
        for key_id in "abc":
            assert manager.get_bound(key_id) is self.keys.get(key_id)
        seen = manager.statistics
        assert balanced(seen)
        assert seen.bound == len(self.keys)
        assert seen.live == len(self.sessions) <= seen.peak <= 8
        for name in ("added", "removed", "expired", "evicted", "refused"):
            assert getattr(seen, name) == self.count[name], name

    def teardown(self):
        if hasattr(self, "manager"):
            self.manager.close()
            assert all(s.closed for s in self.sessions.values())
            assert self.manager.statistics.closed == len(self.sessions)
            assert not self.ended
            assert self.manager.get_bound("a") is None


ManagerMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestManager = ManagerMachine.TestCase


# --- expiry -------------------------------------------------------------------------


def test_what_expired_is_wiped_and_gone_in_the_same_tick():
    ended = []
    manager = SessionManager(on_expire=ended.append)
    old, young = make(1, now=0.0), make(2, now=5.0)
    manager.add(old)
    manager.add(young)
    assert manager.expire(SESSION_IDLE_S - 0.001) == 0
    assert manager.expire(SESSION_IDLE_S) == 1
    assert ended == [old]
    assert old.closed
    assert not young.closed
    assert manager.get(old.id) is None
    assert manager.get(young.id) is young
    with pytest.raises(SessionClosed):
        old.seal(b"")


def test_what_expired_is_found_by_no_key_id_either():
    manager, session = SessionManager(), make(0)
    manager.add(session)
    manager.bind("a", session.id)
    manager.bind("b", session.id)
    assert manager.expire(SESSION_IDLE_S + 1) == 1
    assert manager.get_bound("a") is manager.get_bound("b") is None
    assert manager.statistics.bound == 0
    assert not manager._key_ids


def test_a_session_that_is_used_stays_until_it_was_idle():
    manager = SessionManager()
    session = make(1, now=0.0)
    manager.add(session)
    for now in range(100, 3600, 100):
        session.seal(b"", now=float(now))
        assert manager.expire(float(now)) == 0
    assert manager.expire(3599.0) == 0
    assert manager.expire(3600.0) == 1  # its age, not its idleness
    assert manager.expire(1e9) == 0


def test_a_session_closed_by_its_user_leaves_with_its_tick():
    ended = []
    manager = SessionManager(on_expire=ended.append)
    session = make(1)
    manager.add(session)
    session.close()
    assert manager.expire(SESSION_IDLE_S - 1) == 0
    assert manager.expire(SESSION_IDLE_S) == 1
    assert ended == [session]


def test_a_callback_that_raises_stops_nothing(caplog):
    closed_before = []

    def fail(session):
        closed_before.append(all(s.closed for s in sessions))
        raise ValueError("on purpose")

    manager = SessionManager(on_expire=fail)
    sessions = [make(n) for n in range(10)]
    for session in sessions:
        manager.add(session)
    with caplog.at_level(logging.ERROR, logger="sage.session"):
        assert manager.expire(1e6) == 10
    assert closed_before == [True] * 10  # keys first, callbacks then
    assert manager.statistics.callback_errors == 10
    assert len(caplog.records) == 10
    assert SEED.hex() not in caplog.text


def test_an_interrupt_in_a_callback_passes_on_but_leaves_no_key():
    def interrupt(session):
        raise KeyboardInterrupt

    manager = SessionManager(on_expire=interrupt)
    sessions = [make(n) for n in range(3)]
    for session in sessions:
        manager.add(session)
    with pytest.raises(KeyboardInterrupt):
        manager.expire(1e6)
    assert all(session.closed for session in sessions)
    assert len(manager) == 0


def test_a_callback_may_use_the_manager():
    def replace(session):
        manager.add(make(99, now=1e6))
        assert manager.get(session.id) is None
        assert manager.expire(1e6) == 0

    manager = SessionManager(on_expire=replace)
    manager.add(make(1))
    assert manager.expire(1e6) == 1
    assert [s.id for s in manager] == [make(99).id]


@pytest.mark.parametrize("wrong", [nan, inf, -inf, 10**400, True, "1", None])
def test_wrong_times(wrong):
    with pytest.raises(UsageError, match="now must be"):
        SessionManager().expire(wrong)


# --- capacity -----------------------------------------------------------------------


def test_a_full_manager_refuses():
    manager = SessionManager(2)
    first = [make(1), make(2)]
    for session in first:
        manager.add(session)
    extra = make(3)
    with pytest.raises(Overloaded, match="2 sessions are the most"):
        manager.add(extra)
    assert not extra.closed
    assert list(manager) == first
    assert manager.statistics.refused == 1
    manager.remove(first[0].id)
    manager.add(extra)


def test_a_full_manager_evicts_the_idlest():
    ended = []
    manager = SessionManager(3, policy="evict-idlest", on_expire=ended.append)
    used, idle, young = make(1, now=0.0), make(2, now=10.0), make(3, now=20.0)
    for session in (used, idle, young):
        manager.add(session)
    manager.bind("its key", idle.id)
    used.seal(b"", now=100.0)
    manager.add(make(4, now=100.0))
    assert ended == [idle]
    assert idle.closed
    assert manager.get_bound("its key") is None
    assert len(manager) == 3
    manager.add(make(5, now=100.0))
    assert ended == [idle, young]


def test_eviction_looks_at_so_many_and_no_more():
    count = EVICTION_CANDIDATES * 4
    ended = []
    manager = SessionManager(count, policy="evict-idlest", on_expire=ended.append)
    sessions = [make(n, now=0.0) for n in range(count)]
    for number, session in enumerate(sessions):
        manager.add(session)
        session.seal(b"", now=100.0 + number)  # all are used, and none filed anew
    manager.add(make(count, now=400.0))
    (evicted,) = ended
    # The idlest of those that were looked at: 63 later ones were filed anew.
    later = [
        s
        for s in sessions
        if s.expires_at > sessions[sessions.index(evicted)].expires_at
    ]
    assert len(manager) == count
    assert len(later) >= EVICTION_CANDIDATES - 1
    for number in range(count + 1, count + 20):  # by now, some stand in their order
        manager.add(make(number, now=500.0))
    assert len(ended) == 20
    assert len(manager) == count
    assert manager.expire(1e6) == count


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_sessions": 0}, "from 1, not 0"),
        ({"max_sessions": True}, "not True"),
        ({"max_sessions": 1.5}, "not 1.5"),
        ({"max_sessions": 10**5000}, "not an int without end"),
        ({"policy": "drop"}, "refuse, evict-idlest"),
        ({"policy": None}, "policy must be one of"),
        ({"on_expire": 5}, "callable"),
        ({"tick_s": 0}, "tick_s"),
    ],
)
def test_wrong_options(arguments, text):
    with pytest.raises(UsageError, match=text):
        SessionManager(**arguments)


# --- the rest -----------------------------------------------------------------------


def test_what_is_not_taken_in():
    manager = SessionManager()
    session, twin = make(1), make(1)
    manager.add(session)
    with pytest.raises(UsageError, match="here already"):
        manager.add(twin)
    with pytest.raises(UsageError, match="here already"):
        manager.add(session)
    with pytest.raises(UsageError, match="not a sage Session but str"):
        manager.add(session.id)
    closed = make(2)
    closed.close()
    with pytest.raises(SessionClosed):
        manager.add(closed)
    assert list(manager) == [session]
    assert not session.closed


def test_removing_gives_the_session_back_open():
    manager = SessionManager()
    session = make(1)
    manager.add(session)
    assert manager.remove(session.id) is session
    assert not session.closed
    assert manager.remove(session.id) is None
    assert manager.expire(1e6) == 0
    manager.add(session)
    assert manager.get(session.id) is session


def test_key_ids():
    manager = SessionManager()
    one, two = make(1), make(2)
    manager.add(one)
    manager.add(two)
    for key_id in ("a", "b", "b"):
        manager.bind(key_id, one.id)
    manager.bind("c", two.id)
    manager.bind("b", two.id)  # moves
    assert [manager.get_bound(k) for k in "abcd"] == [one, two, two, None]
    manager.bind("a", two.id)
    manager.remove(one.id)
    assert [manager.get_bound(k) for k in "abc"] == [two, two, two]
    manager.remove(two.id)
    assert [manager.get_bound(k) for k in "abc"] == [None, None, None]
    assert manager.statistics.bound == 0
    with pytest.raises(UsageError, match="not here"):
        manager.bind("a", one.id)
    with pytest.raises(UsageError, match="key_id must be text, not bytes"):
        manager.bind(b"a", one.id)
    for act in (lambda: manager.bind("a", [one.id]), lambda: manager.remove([one.id])):
        with pytest.raises(UsageError, match="session_id must be text, not list"):
            act()


def test_iteration_is_over_a_snapshot():
    manager = SessionManager()
    for number in range(5):
        manager.add(make(number))
    seen = []
    for session in manager:
        manager.remove(session.id)
        manager.add(make(10 + len(seen)))
        seen.append(session.id)
    assert seen == [make(n).id for n in range(5)]
    assert len(manager) == 5


def test_closing():
    ended = []
    manager = SessionManager(on_expire=ended.append)
    sessions = [make(n) for n in range(5)]
    for session in sessions:
        manager.add(session)
    manager.bind("k", sessions[0].id)
    get = manager.get
    assert not manager.closed
    manager.close()
    manager.close()
    assert manager.closed
    assert all(session.closed for session in sessions)
    assert ended == []
    assert len(manager) == 0
    assert get(sessions[0].id) is manager.get_bound("k") is None
    assert manager.expire(1e9) == 0
    assert manager.statistics.closed == 5
    assert repr(manager) == "<SessionManager 0 of 1000000, closed>"
    with pytest.raises(UsageError, match="manager is closed"):
        manager.add(make(9))


def test_options_and_statistics_can_be_read():
    manager = SessionManager(7, tick_s=2, policy=CapacityPolicy.EVICT_IDLEST)
    assert (manager.max_sessions, manager.tick_s) == (7, 2.0)
    assert manager.policy is CapacityPolicy.EVICT_IDLEST
    assert dataclasses.is_dataclass(ManagerStatistics)
    with pytest.raises(dataclasses.FrozenInstanceError):
        manager.statistics.live = 5
    with pytest.raises(AttributeError):
        manager.note = "no room for notes"


def test_looking_up_is_the_dictionarys_own_method():
    manager = SessionManager()
    manager.add(make(1))
    assert type(manager.get) is type({}.get)
    with manager._lock:  # held by another: no reader waits for it
        assert manager.get(make(1).id) is not None
        assert manager.get_bound("x") is None


@pytest.mark.skipif(backend()["core"] != "cython", reason="of the compiled core")
def test_no_table_is_the_garbage_collectors_business():
    manager = SessionManager()
    for number in range(2000):
        session = make(number, now=float(number % 7))
        manager.add(session)
        manager.bind(f"key {number}", session.id)
    gc.collect()
    wheel = manager._wheel
    tables = [manager._sessions, manager._bound, manager._key_ids]
    tables += [wheel._place, wheel._buckets, *wheel._buckets.values()]
    assert not any(gc.is_tracked(table) for table in tables)
    assert not any(gc.is_tracked(session) for session in manager)


def test_what_left_is_freed():
    manager = SessionManager()
    gone = weakref.ref(manager)
    manager.add(make(1))
    before = sys.getallocatedblocks()
    for number in range(2000):
        manager.add(make(2, now=float(number)))
        manager.remove(make(2).id)
    assert sys.getallocatedblocks() - before < 9000  # 2,000 empty buckets
    manager.expire(1e9)
    assert sys.getallocatedblocks() - before < 1000
    del manager
    gc.collect()
    assert gone() is None


# --- threads ------------------------------------------------------------------------


@pytest.fixture(params=[None, 1e-6], ids=["default switching", "often switching"])
def _switching(request):
    before = sys.getswitchinterval()
    sys.setswitchinterval(request.param or before)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching")
@pytest.mark.parametrize("policy", CapacityPolicy)
def test_threads_that_race(policy):
    """Every session that went in comes out exactly once, wherever it comes out."""
    ended, removed, errors, refused = [], [], [], []
    manager = SessionManager(100, policy=policy, on_expire=ended.append)
    pools = [[make(t * 1000 + n, now=float(n)) for n in range(300)] for t in range(3)]
    start = threading.Barrier(6)
    done = threading.Event()

    def guarded(work):
        def run():
            start.wait()
            try:
                work()
            except BaseException as exc:
                errors.append(exc)

        return run

    def adder(pool):
        def work():
            for session in pool:
                try:
                    manager.add(session)
                    manager.bind(f"key of {session.id}", session.id)
                except Overloaded:
                    refused.append(session)
                except UsageError as exc:
                    if "not here" not in str(exc):  # it left before it was bound
                        raise

        return work

    def remover():
        chance = random.Random(1)
        while not done.is_set():
            for session in manager:
                if chance.random() < 0.2 and manager.remove(session.id):
                    removed.append(session)

    def ticker():
        now = 0.0
        while not done.is_set():
            now += 7
            manager.expire(600 + now % 290)

    def reader():
        chance = random.Random(2)
        everyone = [s for pool in pools for s in pool]
        while not done.is_set():
            wanted = chance.choice(everyone)
            assert manager.get(wanted.id) in (None, wanted)
            assert manager.get_bound(f"key of {wanted.id}") in (None, wanted)
            assert len(manager) <= 100
            assert balanced(manager.statistics)

    works = [*(adder(pool) for pool in pools), remover, ticker, reader]
    threads = [threading.Thread(target=guarded(work)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads[:3]:
        thread.join()
    done.set()
    for thread in threads[3:]:
        thread.join()
    assert errors == []
    left = list(manager)
    out = Counter(s.id for s in [*ended, *removed, *refused, *left])
    assert out == Counter(s.id for pool in pools for s in pool)
    assert all(s.closed for s in ended)
    assert not any(s.closed for s in [*removed, *refused, *left])
    seen = manager.statistics
    assert balanced(seen)
    assert (seen.removed, seen.refused) == (len(removed), len(refused))
    assert seen.expired + seen.evicted == len(ended)
    assert len(manager._wheel) == seen.live
    manager.close()
    assert manager.statistics.bound == 0
