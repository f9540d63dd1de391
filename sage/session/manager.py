"""Many sessions in one place: found by id, ended in time, never more than fit.

Threads. Looking up takes no lock: ``get`` *is* the table's own ``dict.get``, which is
atomic with the GIL and in free-threaded builds. It may answer with a session that
another thread is just ending; that one is closed then, and says so. Everything that
changes something takes the one lock, for one session or for those of one tick.
Sessions are closed and callbacks run outside of it, so a callback may use the manager.

Time. The manager has no clock: call ``expire`` about once per ``tick_s``. A session
refuses work from the very moment at which it expires; the tick only decides when its
keys are wiped and its place is free, at most ``tick_s`` later.

A session that is used is not moved. When the tick comes that it was filed under, the
manager reads ``expires_at`` again and files it anew, once in so many idle minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from sys import float_info
from threading import Lock
from typing import NoReturn

from .._accel import untrack
from ..errors import Overloaded, SessionClosed, UsageError
from ..limits import EVICTION_CANDIDATES, EXPIRY_TICK_S, MANAGER_MAX_SESSIONS
from ..runtime.bounds import check_count
from .expiry import TimingWheel
from .session import Session

__all__ = ["CapacityPolicy", "ManagerStatistics", "SessionManager"]

logger = logging.getLogger("sage.session")


class CapacityPolicy(StrEnum):
    """What a full manager does with one session more."""

    REFUSE = "refuse"
    """Raise `Overloaded`; those that are here stay."""

    EVICT_IDLEST = "evict-idlest"
    """End the session that would expire first, to within a tick."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManagerStatistics:
    """What a manager holds, and what became of the sessions since it was made.

    ``added`` is always ``live + removed + expired + evicted + closed``.

    Attributes:
        live: sessions held now.
        peak: the most that were held at once.
        bound: key ids bound now.
        added: sessions taken in.
        removed: sessions given back by ``remove``.
        expired: sessions ended by ``expire``.
        evicted: sessions ended to make room.
        closed: sessions ended by ``close``.
        refused: sessions not taken in, for want of room.
        callback_errors: callbacks that raised.
    """

    live: int
    peak: int
    bound: int
    added: int
    removed: int
    expired: int
    evicted: int
    closed: int
    refused: int
    callback_errors: int


class SessionManager:
    """Sessions by id, up to a number, each until it expires.

    Args:
        max_sessions: how many there may be at once.
        policy: what happens with one more.
        on_expire: called with each session that the manager ended by itself, expired
            or evicted, after its keys were wiped; its counters can still be read. It
            runs in the thread that called ``expire`` or ``add``, without the lock.
            What it raises is logged and counted, and stops nothing.
        tick_s: how finely expiry is told apart, in seconds.

    Raises:
        UsageError: an argument of the wrong type or value.
    """

    __slots__ = (
        "__weakref__",
        "_added",
        "_bound",
        "_callback_errors",
        "_closed",
        "_closed_sessions",
        "_evicted",
        "_expired",
        "_key_ids",
        "_lock",
        "_max_sessions",
        "_on_expire",
        "_peak",
        "_policy",
        "_refused",
        "_removed",
        "_sessions",
        "_wheel",
        "get",
        "get_bound",
    )

    get: Callable[[str], Session | None]
    """Return the session with this id, or ``None``. Takes no lock."""

    get_bound: Callable[[str], Session | None]
    """Return the session that this key id is bound to, or ``None``. Takes no lock."""

    def __init__(
        self,
        max_sessions: int = MANAGER_MAX_SESSIONS,
        *,
        policy: CapacityPolicy | str = CapacityPolicy.REFUSE,
        on_expire: Callable[[Session], object] | None = None,
        tick_s: float = EXPIRY_TICK_S,
    ) -> None:
        check_count(max_sessions, "max_sessions")
        self._max_sessions = max_sessions
        self._policy = _policy(policy)
        if on_expire is not None and not callable(on_expire):
            raise UsageError("on_expire must be callable")
        self._on_expire = on_expire
        self._wheel = TimingWheel(tick_s)
        self._lock = Lock()
        # Cleared but never replaced: the look-ups belong to them.
        self._sessions: dict[str, Session] = {}
        self._bound: dict[str, Session] = {}
        self._key_ids: dict[str, tuple[str, ...]] = {}  # of a session id
        self.get, self.get_bound = self._sessions.get, self._bound.get
        self._closed = False
        self._added = self._removed = self._expired = self._evicted = 0
        self._closed_sessions = self._refused = self._callback_errors = self._peak = 0

    @property
    def max_sessions(self) -> int:
        """How many sessions there may be at once."""
        return self._max_sessions

    @property
    def policy(self) -> CapacityPolicy:
        """What a full manager does with one session more."""
        return self._policy

    @property
    def tick_s(self) -> float:
        """How finely expiry is told apart, in seconds."""
        return self._wheel.tick_s

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    @property
    def statistics(self) -> ManagerStatistics:
        """What the manager holds and held, all of one moment."""
        with self._lock:
            return ManagerStatistics(
                live=len(self._sessions),
                peak=self._peak,
                bound=len(self._bound),
                added=self._added,
                removed=self._removed,
                expired=self._expired,
                evicted=self._evicted,
                closed=self._closed_sessions,
                refused=self._refused,
                callback_errors=self._callback_errors,
            )

    def __len__(self) -> int:
        """Count the sessions, those included that expired since the last tick."""
        return len(self._sessions)

    def __contains__(self, session_id: object) -> bool:
        """Whether there is a session with this id."""
        return session_id in self._sessions

    def __iter__(self) -> Iterator[Session]:
        """Iterate over the sessions of this moment; later changes do not show."""
        with self._lock:
            return iter(list(self._sessions.values()))

    def add(self, session: Session) -> None:
        """Take a session in, and end it when it expires.

        Raises:
            Overloaded: full, and the policy is to refuse.
            SessionClosed: the session was closed.
            UsageError: not a session, one with the same id is here, or the manager
                was closed.
        """
        if not isinstance(session, Session):
            raise UsageError(f"not a sage Session but {type(session).__name__}")
        session_id, expires_at = session.id, session.expires_at
        if session.closed:
            raise SessionClosed("session closed")
        evicted = None
        with self._lock:
            if self._closed:
                _refuse_closed()
            if session_id in self._sessions:
                raise UsageError(f"session {session_id} is here already")
            if len(self._sessions) >= self._max_sessions:
                evicted = self._make_room()
            self._sessions[session_id] = session
            untrack(self._sessions)
            self._wheel.add(session_id, expires_at)
            self._added += 1
            self._peak = max(self._peak, len(self._sessions))
        if evicted is not None:
            self._end([evicted])

    def remove(self, session_id: str) -> Session | None:
        """Give a session back, open as it is, or ``None`` where there is none.

        The session is the caller's again: close it when it is no longer needed. Its
        key ids are unbound.

        Raises:
            UsageError: not text.
        """
        _check_text(session_id, "session_id")
        with self._lock:
            if session_id not in self._sessions:
                return None
            self._wheel.remove(session_id)
            self._removed += 1
            return self._take(session_id)

    def bind(self, key_id: str, session_id: str) -> None:
        """Let ``get_bound(key_id)`` find a session, for as long as it is here.

        A session may have many key ids. A key id that was bound to another session
        moves.

        Raises:
            UsageError: not text, or no session with this id is here.
        """
        _check_text(key_id, "key_id")
        _check_text(session_id, "session_id")
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                raise UsageError(f"session {session_id} is not here")
            if (before := self._bound.get(key_id)) is session:
                return
            if before is not None:
                self._forget(before.id, key_id)
            self._bound[key_id] = session
            self._key_ids[session_id] = (*self._key_ids.get(session_id, ()), key_id)
            untrack(self._bound)
            untrack(self._key_ids)

    def expire(self, now: float) -> int:
        """End what expired up to the tick at ``now``, and say how many that were.

        Every session with ``expires_at <= now``, rounded down to a whole ``tick_s``,
        is closed on return, its keys wiped; none with a later one is. The cost is
        that of the sessions that were filed under the ticks since the last call,
        however long ago that was. A time before that of the last call finds nothing.

        Args:
            now: monotonic seconds.

        Raises:
            UsageError: ``now`` is not a finite number.
        """
        if isinstance(now, bool) or not isinstance(now, (int, float)):
            raise UsageError(f"now must be seconds, not {type(now).__name__}")
        if not abs(now) <= float_info.max:  # an int may be more than a float holds
            raise UsageError("now must be finite")
        count = 0
        while (expired := self._take_due(now)) is not None:
            count += len(expired)
            self._end(expired)
        return count

    def close(self) -> None:
        """Close every session and refuse new ones; calling again does nothing.

        Callbacks are not called.
        """
        with self._lock:
            self._closed = True
            ended = list(self._sessions.values())
            self._closed_sessions += len(ended)
            for table in (self._sessions, self._bound, self._key_ids):
                table.clear()
            self._wheel.clear()
        for session in ended:
            session.close()

    def __repr__(self) -> str:
        """Say how full it is."""
        return (
            f"<{type(self).__name__} {len(self._sessions)} of {self._max_sessions}"
            f"{', closed' if self._closed else ''}>"
        )

    def _take_due(self, now: float) -> list[Session] | None:
        """Take out what expired of one tick; file again what was used meanwhile."""
        expired: list[Session] = []
        with self._lock:
            wheel, sessions, bound = self._wheel, self._sessions, self._key_ids
            if (due := wheel.pop_due(now)) is None:
                return None
            for session_id in due:
                session = sessions[session_id]
                if (expires_at := session.expires_at) > now:
                    wheel.add(session_id, expires_at, after=now)
                    continue
                del sessions[session_id]
                if session_id in bound:
                    self._unbind(session_id)
                expired.append(session)
            self._expired += len(expired)
        return expired

    def _make_room(self) -> Session:
        """Take out the session that would expire first; the caller holds the lock.

        Of sessions that were used since they were filed, so many are filed again in
        one call and no more: then the idlest of these has to go. One that its user
        closed is not known to be gone before the tick that it was filed under.
        """
        if self._policy is CapacityPolicy.REFUSE:
            self._refused += 1
            raise Overloaded(f"{self._max_sessions} sessions are the most")
        seen: list[tuple[float, str]] = []
        while len(seen) < EVICTION_CANDIDATES and (found := self._wheel.pop_soonest()):
            session_id, filed_for = found
            expires_at = self._sessions[session_id].expires_at
            seen.append((expires_at, session_id))
            if expires_at <= filed_for:
                break
        idlest = min(seen)
        for candidate in seen:
            if candidate is not idlest:
                self._wheel.add(candidate[1], candidate[0])
        self._evicted += 1
        return self._take(idlest[1])

    def _take(self, session_id: str) -> Session:
        session = self._sessions.pop(session_id)
        if session_id in self._key_ids:
            self._unbind(session_id)
        return session

    def _unbind(self, session_id: str) -> None:
        for key_id in self._key_ids.pop(session_id):
            del self._bound[key_id]

    def _forget(self, session_id: str, key_id: str) -> None:
        left = tuple(other for other in self._key_ids[session_id] if other != key_id)
        if left:
            self._key_ids[session_id] = left
        else:
            del self._key_ids[session_id]

    def _end(self, sessions: list[Session]) -> None:
        """Wipe the keys of all before any callback runs."""
        for session in sessions:
            session.close()
        if self._on_expire is None:
            return
        for session in sessions:
            try:
                self._on_expire(session)
            except Exception:
                logger.exception("on_expire failed for session %s", session.id)
                with self._lock:
                    self._callback_errors += 1


def _check_text(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{name} must be text, not {type(value).__name__}")


def _policy(policy: object) -> CapacityPolicy:
    try:
        return CapacityPolicy(policy)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(CapacityPolicy)
        raise UsageError(f"policy must be one of {known}, not {policy!r}") from None


def _refuse_closed() -> NoReturn:
    raise UsageError("the session manager is closed")
