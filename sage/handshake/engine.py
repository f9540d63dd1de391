"""What both ends of a handshake share: a state, a deadline, and how it ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn

from ..errors import StaleError, UsageError
from ..identity.keys import KemKey, PublicKey, SigningKey
from ..types import Role
from .deadline import Deadline
from .state import Event, Machine, State

__all__ = ["Engine", "require_own"]


class Engine(ABC):
    """One attempt at a handshake, seen from one end.

    No sockets and no clocks: messages, ``now`` (monotonic seconds) and ``unix_time``
    (wall seconds) come in as arguments. Not for use by two threads at once. `state`
    says what is possible next; see the table in `state`.
    """

    def __init__(self, role: Role) -> None:
        self._machine = Machine(role)
        self._deadline: Deadline | None = None

    @property
    def state(self) -> State:
        """Where the attempt stands."""
        return self._machine.state

    def expired(self, *, now: float, unix_time: int) -> bool:
        """Tell whether the attempt is pending and its deadline has passed."""
        return (
            self._deadline is not None
            and self.state.is_pending
            and self._deadline.passed(now=now, unix_time=unix_time)
        )

    def check_deadline(self, *, now: float, unix_time: int) -> None:
        """Close the attempt if it is pending and its deadline has passed.

        Raises:
            StaleError: it was closed (``handshake.expired``).
        """
        if self._deadline is None or not self.state.is_pending:
            return
        try:
            self._deadline.require(now=now, unix_time=unix_time)
        except StaleError:
            self.fail()
            raise

    def fail(self) -> None:
        """Give up an attempt that is not established, and wipe its secrets.

        Raises:
            UsageError: the handshake is established; `close` ends it.
        """
        self._machine.move(Event.FAIL)
        self._forget()

    def close(self) -> None:
        """End the attempt in any state, and wipe its secrets. Idempotent."""
        self._machine.move(Event.CLOSE)
        self._forget()

    @abstractmethod
    def _forget(self) -> None:
        """Drop and overwrite every secret."""

    def __repr__(self) -> str:
        """Show the state and nothing else."""
        return f"<{type(self).__name__} {self.state.value}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be written down."""
        raise TypeError("a handshake cannot be pickled or copied")


def require_own(own: SigningKey | KemKey, recorded: PublicKey) -> None:
    """Refuse a private key that our own record does not show.

    Raises:
        UsageError: URL, algorithm or public key differ.
    """
    if (
        own.kid != recorded.kid
        or own.algorithm != recorded.algorithm
        or own.public_key != recorded.key
    ):
        raise UsageError(f"our record does not show our key {own.kid}")
