"""The sessions of a service that are bound to no connection: those over HTTPS.

A client may come over many connections, one after the other or at once, so its
session is found by its id. What keeps the number bounded: sessions expire by
themselves, a peer has only so many, those that were never used give way to newer
ones, and beyond the whole number new ones are refused. Thus a flood of handshakes
pushes out nothing but other handshakes, and sessions of the same peer.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from ..identity import PublicKey
from ..limits import RENEW_AFTER_RECORDS, REQUEST_TIMEOUT_S
from ..session import Session, SessionManager
from ..transport.metrics import NO_METRICS, Metrics
from ..types import Did, Role
from .accepted import Accepted
from .clock import Clock

__all__ = ["SharedSessions"]


class SharedSessions:
    """Sessions by id, up to a number, each until it expires.

    Args:
        max_sessions: how many there may be in all.
        max_per_peer: how many of one peer; then the one whose last use, or making, is
            the longest ago gives way, and before it those that have a successor.
        max_unused: how many that were never used; then the oldest of these does.
        clock: for expiry.
        metrics: counts them.
    """

    def __init__(
        self,
        max_sessions: int,
        *,
        max_per_peer: int,
        max_unused: int,
        clock: Clock,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._max_per_peer, self._max_unused = max_per_peer, max_unused
        self._clock, self._metrics = clock, metrics
        self._manager = SessionManager(max_sessions, on_expire=self._expired)
        self._accepted: dict[str, Accepted] = {}
        self._unused: dict[str, Accepted] = {}  # in the order of their making
        self._of_peer: defaultdict[Did, dict[str, Accepted]] = defaultdict(dict)
        self._tick: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Count the sessions."""
        return len(self._accepted)

    def get(self, session_id: str) -> Accepted | None:
        """Return the session with this id, or ``None``."""
        return self._accepted.get(session_id)

    def pinned_key(self, kid: str) -> PublicKey | None:
        """Return the initiator's key of this name that some session is pinned to."""
        theirs = self._of_peer.get(Did(kid.partition("#")[0]), {})
        keys = (accepted.binding.init_key for accepted in theirs.values())
        return next((key for key in keys if key.kid == kid), None)

    def keep(self, accepted: Accepted) -> None:
        """Take a provisional session in.

        Raises:
            Overloaded: there are as many as there may be, all of them in use.
        """
        self._manager.expire(self._clock.now())
        theirs = self._of_peer.get(accepted.binding.init_did, {})
        if len(theirs) >= self._max_per_peer:
            self.drop(min(theirs.values(), key=self._worth))
        elif len(self._unused) >= self._max_unused:
            self.drop(next(iter(self._unused.values())))
        try:
            self._manager.add(accepted.session)
        except BaseException:
            accepted.close()
            raise
        session_id = accepted.binding.session_id
        self._accepted[session_id] = self._unused[session_id] = accepted
        self._of_peer[accepted.binding.init_did][session_id] = accepted
        self._metrics.sessions(Role.RESPONDER, 1)
        self._arm()

    def confirm(self, accepted: Accepted) -> None:
        """Take note that its first record was accepted."""
        accepted.confirmed = True
        self._unused.pop(accepted.binding.session_id, None)

    def drop(self, accepted: Accepted) -> None:
        """Close a session and forget it. Idempotent."""
        self._manager.remove(accepted.binding.session_id)
        self._forget(accepted)

    def close(self) -> None:
        """Close them all. Idempotent."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for accepted in list(self._accepted.values()):
            self.drop(accepted)

    def _worth(self, accepted: Accepted) -> tuple[bool, float]:
        """Return what a session is worth among those of its peer, for comparison.

        Nobody tells us that a channel was closed, so the newest may be dead and the
        oldest busy; one that was not used yet may be about to be. One that is nearly
        used up has a successor, and no request under way once it was quiet for a
        while: so a busy process takes nothing from the others of its agent.
        """
        quiet = self._clock.now() - accepted.used_at > REQUEST_TIMEOUT_S
        is_over = quiet and accepted.session.received >= RENEW_AFTER_RECORDS
        return not is_over, accepted.used_at

    def _expired(self, session: Session) -> None:
        accepted = self._accepted.get(session.id)
        if accepted is not None:
            self._forget(accepted)

    def _forget(self, accepted: Accepted) -> None:
        session_id, peer = accepted.binding.session_id, accepted.binding.init_did
        if self._accepted.pop(session_id, None) is not None:
            self._metrics.sessions(Role.RESPONDER, -1)
        self._unused.pop(session_id, None)
        theirs = self._of_peer.get(peer, {})
        theirs.pop(session_id, None)
        if not theirs:
            self._of_peer.pop(peer, None)
        accepted.close()

    def _arm(self) -> None:
        """Wipe keys in time even when nobody asks for anything any more."""
        if self._tick is None and self._accepted:
            self._tick = asyncio.get_running_loop().call_later(
                self._manager.tick_s, self._run_tick
            )

    def _run_tick(self) -> None:
        self._tick = None
        self._manager.expire(self._clock.now())
        self._arm()
