"""The sessions that a service accepted, and where one carrier's are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..handshake import Binding, Responder
from ..session import Session
from ..transport.metrics import NO_METRICS, Metrics
from ..types import Role, SessionId

__all__ = ["Accepted", "ConnectionSessions", "Sessions"]


@dataclass(slots=True, eq=False)
class Accepted:
    """A session with what it is pinned to; provisional until its first record.

    Attributes:
        session: its keys.
        binding: what it is pinned to.
        responder: checks the deadline of its first record.
        confirmed: whether that was accepted.
        used_at: when its last record was accepted, or it was made; monotonic seconds.
    """

    session: Session
    binding: Binding
    responder: Responder
    used_at: float
    confirmed: bool = False

    def close(self) -> None:
        """Wipe its keys. Idempotent."""
        self.session.close()
        self.responder.close()


class Sessions(Protocol):
    """Where the sessions of a carrier are kept."""

    def get(self, session_id: str) -> Accepted | None:
        """Return the session with this id, or ``None``."""

    def keep(self, accepted: Accepted) -> None:
        """Take a provisional session in; another one may give way.

        Raises:
            Overloaded: there is no room.
        """

    def confirm(self, accepted: Accepted) -> None:
        """Take note that its first record was accepted."""

    def drop(self, accepted: Accepted) -> None:
        """Close a session and forget it. Idempotent."""


class ConnectionSessions:
    """The few sessions of one connection; they end with it.

    Args:
        max_sessions: how many there are at most.
        metrics: counts them.
    """

    def __init__(self, max_sessions: int, metrics: Metrics = NO_METRICS) -> None:
        self._max_sessions, self._metrics = max_sessions, metrics
        self._sessions: dict[SessionId, Accepted] = {}

    def get(self, session_id: str) -> Accepted | None:
        """Return the session with this id, or ``None``."""
        return self._sessions.get(SessionId(session_id))

    def keep(self, accepted: Accepted) -> None:
        """Take a session in; the oldest that was never used gives way, or the oldest.

        Never the last one: that may be about to be used.
        """
        if len(self._sessions) >= self._max_sessions:
            # A client that gave a handshake up never used what came of it.
            *before, _ = self._sessions.values()
            unused = (one for one in before if not one.confirmed)
            self.drop(next(unused, next(iter(self._sessions.values()))))
        self._sessions[accepted.binding.session_id] = accepted
        self._metrics.sessions(Role.RESPONDER, 1)

    def confirm(self, accepted: Accepted) -> None:
        """Take note that its first record was accepted."""
        accepted.confirmed = True

    def drop(self, accepted: Accepted) -> None:
        """Close a session and forget it. Idempotent."""
        if self._sessions.pop(accepted.binding.session_id, None) is not None:
            self._metrics.sessions(Role.RESPONDER, -1)
        accepted.close()

    def close(self) -> None:
        """Close them all."""
        for accepted in list(self._sessions.values()):
            self.drop(accepted)
