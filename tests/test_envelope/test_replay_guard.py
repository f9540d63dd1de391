"""One suite for every guard: what it lets pass, and what never again."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sage.encoding import b64u_encode
from sage.envelope import (
    MemoryReplayGuard,
    ReplayGuard,
    Request,
    Reservation,
    Response,
    SqliteReplayGuard,
)
from sage.envelope.replay_guard import PURGE_ENTRIES, Watch
from sage.errors import (
    Code,
    Overloaded,
    ReplayError,
    SageError,
    StaleError,
    UsageError,
)
from sage.types import Did, SessionId

ADA = Did("did:sage:web:agents.example.com:ada")
GRACE = Did("did:sage:web:agents.example.com:grace")
EVE = Did("did:sage:web:agents.example.com:eve")
SID = SessionId("A" * 22)
T0 = 1_730_000_000

Make: TypeAlias = Callable[..., ReplayGuard]


def run(step: Coroutine[Any, Any, None]) -> None:
    """Run a reservation to its end, which it reaches without giving way."""
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    pytest.fail("a reservation gave way to other tasks")


def reservation(**changes: Any) -> Reservation:
    members: dict[str, Any] = {
        "sender": ADA,
        "recipient": GRACE,
        "id": str(uuid.uuid4()),
        "nonce": b64u_encode(os.urandom(16)),
        "expires": T0 + 300,
    }
    return Reservation(**members | changes)


def reserve(
    guard: ReplayGuard,
    what: Reservation | None = None,
    *,
    now: float = 0.0,
    unix_time: int = T0,
) -> None:
    run(guard.reserve(what or reservation(), now=now, unix_time=unix_time))


def refused(code: Code, guard: ReplayGuard, what: Reservation, **times: Any) -> None:
    with pytest.raises((ReplayError, StaleError)) as caught:
        reserve(guard, what, **times)
    assert caught.value.code == code
    replay = code in {Code.SIG_REPLAY, Code.SESSION_REPLAY}
    assert type(caught.value) is (ReplayError if replay else StaleError)


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[ReplayGuard] = []

    def build(**options: Any) -> ReplayGuard:
        if request.param == "memory":
            guard: ReplayGuard = MemoryReplayGuard(**options)
        else:
            guard = SqliteReplayGuard(tmp_path / f"{len(made)}.db", **options)
        made.append(guard)
        return guard

    yield build
    for guard in made:
        guard.close()


@pytest.fixture
def guard(make: Make) -> ReplayGuard:
    return make(assume_no_history=True)


# --- what is reserved --------------------------------------------------------------


def test_an_envelope_passes_once(guard: ReplayGuard) -> None:
    once = reservation()
    reserve(guard, once)
    refused(Code.SIG_REPLAY, guard, once)
    reserve(guard, reservation())


@pytest.mark.parametrize("again", ["id", "nonce"])
def test_id_and_nonce_are_used_up_each_by_itself(
    again: str, guard: ReplayGuard
) -> None:
    once = reservation()
    reserve(guard, once)
    fresh = reservation(**{again: getattr(once, again)})
    refused(Code.SIG_REPLAY, guard, fresh)
    # Nothing of what was refused is used up.
    other = "nonce" if again == "id" else "id"
    reserve(guard, reservation(**{other: getattr(fresh, other)}))


def test_a_sequence_number_is_used_up_whatever_carries_it(guard: ReplayGuard) -> None:
    reserve(guard, reservation(session_id=SID, seq=7))
    again = reservation(session_id=SID, seq=7)
    refused(Code.SESSION_REPLAY, guard, again)
    reserve(guard, dataclasses.replace(again, seq=8))
    reserve(guard, reservation(session_id=SessionId("B" * 22), seq=7))


def test_a_sequence_number_alone_reserves_nothing_of_the_rest(
    guard: ReplayGuard,
) -> None:
    reserve(guard, reservation(session_id=SID, seq=0))
    refused_one = reservation(session_id=SID, seq=0)
    refused(Code.SESSION_REPLAY, guard, refused_one)
    reserve(guard, dataclasses.replace(refused_one, session_id=None, seq=None))


def test_each_direction_has_its_own_scope(guard: ReplayGuard) -> None:
    there = reservation(session_id=SID, seq=0)
    reserve(guard, there)
    for pair in ((GRACE, ADA), (EVE, GRACE), (ADA, EVE)):
        other = dataclasses.replace(there, sender=pair[0], recipient=pair[1])
        reserve(guard, other)
        refused(Code.SIG_REPLAY, guard, other)


def test_names_that_run_together_alike_are_not_alike(guard: ReplayGuard) -> None:
    reserve(guard, reservation(sender="ab", recipient="c", id="i", nonce="n"))
    reserve(guard, reservation(sender="a", recipient="bc", id="i", nonce="n"))
    # An id is not a nonce.
    reserve(guard, reservation(sender="ab", recipient="c", id="n", nonce="i"))


# --- time ------------------------------------------------------------------------


def test_a_reservation_lives_through_expires_plus_30(guard: ReplayGuard) -> None:
    once = reservation(expires=T0 + 10)
    reserve(guard, once)
    longer = dataclasses.replace(once, expires=T0 + 300)
    refused(Code.SIG_REPLAY, guard, longer, unix_time=T0 + 39)
    reserve(guard, longer, unix_time=T0 + 40)
    refused(Code.SIG_REPLAY, guard, longer, unix_time=T0 + 41)


@pytest.mark.parametrize("offset", [-31, -30, 331, 10**9])
def test_what_is_outside_its_time_is_refused(offset: int, guard: ReplayGuard) -> None:
    refused(Code.SIG_STALE, guard, reservation(expires=T0 + offset))


@pytest.mark.parametrize("offset", [-29, 0, 330])
def test_what_is_at_the_edge_of_its_time_passes(
    offset: int, guard: ReplayGuard
) -> None:
    reserve(guard, reservation(expires=T0 + offset))


def test_a_small_step_back_brings_nothing_back(guard: ReplayGuard) -> None:
    once = reservation(expires=T0 + 10)
    reserve(guard, once)
    for _ in range(3):  # more than enough to drop it
        reserve(guard, unix_time=T0 + 40)
    # Fresh again by the clock set back, and stale by the guard's own.
    refused(Code.SIG_STALE, guard, once, unix_time=T0 + 30)
    refused(Code.SIG_STALE, guard, once, unix_time=T0 + 10)
    reserve(guard, unix_time=T0 + 10)


def test_a_large_step_back_ends_in_quarantine(guard: ReplayGuard) -> None:
    once = reservation(expires=T0 + 10)
    reserve(guard, once, now=100.0)
    reserve(guard, now=200.0, unix_time=T0 + 100)
    lost = Code.REPLAY_STATE_LOST
    refused(lost, guard, once, now=200.5, unix_time=T0 + 69)
    refused(lost, guard, reservation(), now=201.0, unix_time=T0 + 101)
    refused(lost, guard, reservation(), now=560.0, unix_time=T0 + 429)
    fresh = reservation(expires=T0 + 500)
    reserve(guard, fresh, now=560.5, unix_time=T0 + 429)


def test_a_second_step_back_starts_the_quarantine_again(guard: ReplayGuard) -> None:
    reserve(guard, now=0.0)
    lost = Code.REPLAY_STATE_LOST
    refused(lost, guard, reservation(), now=1.0, unix_time=T0 - 31)
    refused(lost, guard, reservation(), now=300.0, unix_time=T0 - 100)
    refused(lost, guard, reservation(), now=659.0, unix_time=T0)
    reserve(guard, now=660.0)


# --- quarantine --------------------------------------------------------------------


@pytest.mark.parametrize("given_now", [True, False])
def test_a_guard_without_history_lets_nothing_pass_for_360_s(
    given_now: bool, make: Make
) -> None:
    guard = make(now=1000.0) if given_now else make()
    once = reservation(expires=T0 + 300)
    refused(Code.REPLAY_STATE_LOST, guard, once, now=1000.0)
    refused(Code.REPLAY_STATE_LOST, guard, once, now=1359.999, unix_time=T0 + 300)
    reserve(guard, once, now=1360.0, unix_time=T0 + 300)


def test_the_quarantine_counts_from_the_start_of_the_guard(make: Make) -> None:
    guard = make(now=1000.0)
    reserve(guard, now=1360.0)


def test_the_quarantine_says_what_to_do(make: Make) -> None:
    # The same file with the same words would be in quarantine as before.
    what = r"360 s.* new guard, and a new file .*assume_no_history=True"
    with pytest.raises(StaleError, match=what):
        reserve(make())


def test_a_clock_without_a_value_does_not_end_it(make: Make) -> None:
    guard = make(now=0.0)
    refused(Code.REPLAY_STATE_LOST, guard, reservation(), now=float("nan"))


def test_another_monotonic_clock_starts_it_again(make: Make) -> None:
    guard = make(now=1000.0)
    refused(Code.REPLAY_STATE_LOST, guard, reservation(), now=10.0)
    refused(Code.REPLAY_STATE_LOST, guard, reservation(), now=369.0)
    reserve(guard, now=370.0)


# --- room --------------------------------------------------------------------------


def test_a_full_guard_refuses_and_forgets_nothing(make: Make) -> None:
    guard = make(assume_no_history=True, max_entries=10)
    kept = [reservation() for _ in range(5)]
    for one in kept:
        reserve(guard, one)
    for _ in range(3):
        with pytest.raises(Overloaded, match="10 live entries"):
            reserve(guard)
    for one in kept:
        refused(Code.SIG_REPLAY, guard, one)


def test_all_entries_of_an_envelope_find_room_or_none(make: Make) -> None:
    guard = make(assume_no_history=True, max_entries=4)
    reserve(guard)
    three = reservation(session_id=SID, seq=0)
    with pytest.raises(Overloaded):
        reserve(guard, three)
    reserve(guard, dataclasses.replace(three, session_id=None, seq=None))


def test_what_expires_makes_room(make: Make) -> None:
    guard = make(assume_no_history=True, max_entries=10)
    for _ in range(5):
        reserve(guard, reservation(expires=T0 + 1))
    with pytest.raises(Overloaded):
        reserve(guard, unix_time=T0 + 30)
    for _ in range(5):
        reserve(guard, unix_time=T0 + 31)
    with pytest.raises(Overloaded):
        reserve(guard, unix_time=T0 + 31)


def test_more_than_one_purge_can_drop_still_makes_room(make: Make) -> None:
    size = 6 * PURGE_ENTRIES
    guard = make(assume_no_history=True, max_entries=size)
    for round_ in range(3):
        start = T0 + 100 * round_
        for _ in range(size // 2):
            reserve(guard, reservation(expires=start + 1), unix_time=start)


def test_what_is_reserved_anew_is_counted_once(make: Make) -> None:
    size = 6 * PURGE_ENTRIES
    guard = make(assume_no_history=True, max_entries=size)
    again = [reservation(expires=T0) for _ in range(size // 2)]
    for one in again:
        reserve(guard, one)
    # All have expired, and most are reserved anew before they are dropped.
    for one in again:
        reserve(guard, dataclasses.replace(one, expires=T0 + 60), unix_time=T0 + 30)
    with pytest.raises(Overloaded):
        reserve(guard, unix_time=T0 + 30)


@pytest.mark.parametrize(
    "unix_time",
    [float("nan"), float("inf"), T0 + 0.5, float(T0), True, -1, 2**99, None, "0"],
)
def test_a_wall_clock_that_counts_no_seconds_is_refused(
    unix_time: Any, make: Make
) -> None:
    guard, once = make(assume_no_history=True), reservation()
    reserve(guard, once)
    for _ in range(2):
        with pytest.raises(UsageError, match="unix_time"):
            reserve(guard, unix_time=unix_time)
    # Nothing moved, and nothing was lost.
    refused(Code.SIG_REPLAY, guard, once)
    reserve(guard)


@pytest.mark.parametrize("max_entries", [-1, 0, 2, 3.5, float("nan"), None, "9", 2**63])
def test_a_guard_has_room_for_one_envelope(max_entries: Any, make: Make) -> None:
    with pytest.raises(UsageError):
        make(max_entries=max_entries)


# --- the end -----------------------------------------------------------------------


def test_a_closed_guard_is_closed(guard: ReplayGuard) -> None:
    guard.close()
    guard.close()
    with pytest.raises(UsageError, match="closed"):
        reserve(guard)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("held", [False, True])
def test_what_a_fork_copied_lets_nothing_pass(held: bool, guard: ReplayGuard) -> None:
    """Not even where another thread was at work in it when the process forked."""
    reserve(guard)
    lock: threading.Lock = guard._lock  # type: ignore[attr-defined]
    if held:
        lock.acquire()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            reserve(guard)
        except UsageError:
            guard.close()
            os._exit(0)
        finally:
            os._exit(1)
    if held:
        lock.release()
    assert os.waitpid(child, 0)[1] == 0
    reserve(guard)


# --- reservations ------------------------------------------------------------------


def test_a_reservation_comes_from_an_envelope(
    signed_request: Callable[..., Request], signed_response: Callable[..., Response]
) -> None:
    request = signed_request(session=True)
    one = Reservation.of(request, seq=3)
    assert (one.sender, one.recipient) == (ADA, GRACE)
    assert (one.id, one.nonce, one.expires) == (
        request.id,
        request.nonce,
        request.expires,
    )
    assert (one.session_id, one.seq) == (request.session_id, 3)
    assert len(one.keys()) == 3
    plain = signed_response(signed_request())
    assert Reservation.of(plain).sender == GRACE
    assert len(Reservation.of(plain).keys()) == 2
    with pytest.raises(UsageError):
        Reservation.of(request)
    with pytest.raises(UsageError):
        Reservation.of(plain, seq=0)


def test_any_text_has_entries_of_its_own() -> None:
    texts = ("", "\0", "\ud800", "\udfff", "\U00010000", "\ufffd")
    entries = [
        Reservation(sender=s, recipient="", id=None, nonce=n, expires=0).keys()
        for s in texts
        for n in texts
    ]
    assert len(set(entries)) == 36


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 0},
        {"session_id": SID},
        {"session_id": SID, "seq": -1},
        {"session_id": SID, "seq": True},
        {"session_id": SID, "seq": 1.0},
        {"sender": None},
        {"nonce": b"A" * 22},
        {"expires": 1.5},
        {"id": 1},
        {"id": None, "session_id": SID, "seq": 0},
    ],
    ids=repr,
)
def test_half_a_reservation_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        reservation(**changes)


def test_what_has_no_id_uses_up_its_nonce(guard: ReplayGuard) -> None:
    """A signed HTTP message: its key, whom it is for, its nonce."""
    one = reservation(id=None, sender=f"{ADA}#sign-1", recipient="grace.example")
    assert len(one.keys()) == 1
    reserve(guard, one)
    with pytest.raises(ReplayError) as caught:
        reserve(guard, one)
    assert caught.value.code is Code.SIG_REPLAY
    for changes in (
        {"nonce": "another"},
        {"sender": f"{ADA}#sign-2"},
        {"recipient": "eve.example"},
    ):
        members = {"id": None, "sender": one.sender, "recipient": one.recipient}
        reserve(guard, reservation(**members | {"nonce": one.nonce} | changes))


def test_a_watch_starts_open() -> None:
    watch = Watch()
    watch.observe(0.0, T0)
    watch.check(reservation())
    assert watch.clock == T0


# --- all of it, against a set --------------------------------------------------------


class GuardMachine(RuleBasedStateMachine):
    """A guard against a model that never drops anything and knows all rules."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.guard = self.open()
        self.now, self.wall = 1000.0, T0
        self.clock, self.since = 0, -1000.0
        self.until: dict[tuple[Any, ...], int] = {}
        self.forgettable: set[tuple[Any, ...]] = set()
        self.passed: list[Reservation] = []
        self.set_back = False

    def open(self) -> ReplayGuard:
        if self.kind == "memory":
            return MemoryReplayGuard(assume_no_history=True)
        path = Path(self.folder.name, "guard.db")
        return SqliteReplayGuard(path, assume_no_history=True)

    def teardown(self) -> None:
        self.guard.close()
        self.folder.cleanup()

    @rule(seconds=st.sampled_from([0, 1, 29, 30, 100, 359, 360]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.wall += seconds

    @rule(seconds=st.sampled_from([-400, -31, -30, -1, 1, 50, 400]))
    def the_wall_clock_is_set(self, seconds: int) -> None:
        self.wall += seconds

    @precondition(lambda self: self.kind == "sqlite")
    @rule(in_order=st.booleans())
    def the_process_starts_again(self, in_order: bool) -> None:
        if in_order:
            self.guard.close()
            self.guard = self.open()
        else:  # opened by the next before the last one ends
            guard, self.guard = self.guard, self.open()
            guard.close()

    @rule(
        pair=st.sampled_from([(ADA, GRACE), (GRACE, ADA)]),
        number=st.integers(0, 3),
        nonce=st.integers(0, 3),
        seq=st.none() | st.integers(0, 2),
        ttl=st.sampled_from([-31, -30, -29, 0, 10, 300, 330, 331]),
    )
    def something_arrives(
        self, pair: tuple[Did, Did], number: int, nonce: int, seq: int | None, ttl: int
    ) -> None:
        what = Reservation(
            sender=pair[0],
            recipient=pair[1],
            id=f"id-{number}",
            nonce=f"nonce-{nonce}",
            expires=self.wall + ttl,
            session_id=None if seq is None else SID,
            seq=seq,
        )
        allowed = self.expect(what)
        outcome = None
        try:
            reserve(self.guard, what, now=self.now, unix_time=self.wall)
        except SageError as exc:
            outcome = getattr(exc, "code", None)
            assert outcome is not None
        assert outcome in allowed
        if outcome is None:
            self.passed.append(what)
            self.until.update(dict.fromkeys(self.marks(what), what.expires + 30))
            self.forgettable.difference_update(self.marks(what))

    @staticmethod
    def marks(what: Reservation) -> dict[tuple[Any, ...], Code]:
        scope = (what.sender, what.recipient)
        marks: dict[tuple[Any, ...], Code] = {
            (*scope, what.id): Code.SIG_REPLAY,
            (*scope, what.nonce): Code.SIG_REPLAY,
        }
        if what.seq is not None:
            marks[*scope, what.session_id, what.seq] = Code.SESSION_REPLAY
        return marks

    def expect(self, what: Reservation) -> set[Code | None]:
        if self.wall < self.clock - 30:
            # What had expired by the old clock may be gone, or not yet.
            self.forgettable.update(m for m, u in self.until.items() if u <= self.clock)
            self.clock, self.since = self.wall, self.now
            self.set_back = True
        self.clock = max(self.clock, self.wall)
        if self.now - self.since < 360:
            return {Code.REPLAY_STATE_LOST}
        if what.expires + 30 <= self.clock or what.expires > self.clock + 330:
            return {Code.SIG_STALE}
        allowed: set[Code | None] = set()
        for mark, code in self.marks(what).items():
            if self.until.get(mark, 0) > self.clock:
                allowed.add(code)
                if mark not in self.forgettable:
                    return allowed
        return {*allowed, None}

    @invariant()
    def nothing_passes_twice(self) -> None:
        # Independent of the model. The same envelope never again, unless the wall
        # clock was set back far enough to pass its seconds once more.
        if not self.set_back:
            assert len(set(self.passed)) == len(self.passed)


class SqliteGuardMachine(GuardMachine):
    kind = "sqlite"


@pytest.mark.parametrize("machine", [GuardMachine, SqliteGuardMachine])
def test_a_guard_does_what_a_set_would(machine: type[GuardMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=40, stateful_step_count=40, deadline=None),
    )
