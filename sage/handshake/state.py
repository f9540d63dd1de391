"""The states of a handshake, and every move between them (HPKE-05).

Two rules. Everything that decides which call is allowed now is in this table.
And this file knows nothing else: no keys, no messages, no clocks.

Theory of operation. Each end has one machine for one attempt; a new attempt is a
new machine, with a new context and new ephemeral keys.

* The initiator leaves NEW by START, when the initiation is emitted, and is then
  INIT_SENT. A valid completion (FINISH) makes it ESTABLISHED.
* The responder leaves NEW by RESPOND, when the completion is emitted, and is then
  RESPONSE_SENT: it has the keys, but no proof yet that the initiator has them. The
  first accepted record of the initiator (CONFIRM) makes it ESTABLISHED.
* FAIL is anything that ends an attempt before that: a bad message, a passed
  deadline, a changed key. The secrets are wiped; nothing leads back. An
  established handshake cannot fail any more: what the application rejects later
  does not undo it. A closed one has failed already.
* CLOSE ends everything from everywhere, as often as one likes.

A move that is not in the table raises and changes nothing.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

from ..errors import UsageError
from ..types import Role

__all__ = ["TRANSITIONS", "Event", "Machine", "State"]


class State(Enum):
    """Where an attempt stands."""

    NEW = "NEW"
    INIT_SENT = "INIT_SENT"
    RESPONSE_SENT = "RESPONSE_SENT"
    ESTABLISHED = "ESTABLISHED"
    CLOSED = "CLOSED"

    # A member is itself and no other; `Enum` would hash its name, in Python.
    __hash__ = object.__hash__

    @property
    def is_pending(self) -> bool:
        """Whether a deadline runs: a message was sent, and the peer's is awaited."""
        return self in (State.INIT_SENT, State.RESPONSE_SENT)


class Event(Enum):
    """What can happen to an attempt."""

    START = "start"
    RESPOND = "respond"
    FINISH = "finish"
    CONFIRM = "confirm"
    FAIL = "fail"
    CLOSE = "close"

    __hash__ = object.__hash__


_I, _R = Role.INITIATOR, Role.RESPONDER

TRANSITIONS: Final = MappingProxyType(
    {
        (_I, State.NEW, Event.START): State.INIT_SENT,
        (_I, State.INIT_SENT, Event.FINISH): State.ESTABLISHED,
        (_I, State.NEW, Event.FAIL): State.CLOSED,
        (_I, State.INIT_SENT, Event.FAIL): State.CLOSED,
        (_I, State.CLOSED, Event.FAIL): State.CLOSED,
        (_I, State.NEW, Event.CLOSE): State.CLOSED,
        (_I, State.INIT_SENT, Event.CLOSE): State.CLOSED,
        (_I, State.ESTABLISHED, Event.CLOSE): State.CLOSED,
        (_I, State.CLOSED, Event.CLOSE): State.CLOSED,
        (_R, State.NEW, Event.RESPOND): State.RESPONSE_SENT,
        (_R, State.RESPONSE_SENT, Event.CONFIRM): State.ESTABLISHED,
        (_R, State.NEW, Event.FAIL): State.CLOSED,
        (_R, State.RESPONSE_SENT, Event.FAIL): State.CLOSED,
        (_R, State.CLOSED, Event.FAIL): State.CLOSED,
        (_R, State.NEW, Event.CLOSE): State.CLOSED,
        (_R, State.RESPONSE_SENT, Event.CLOSE): State.CLOSED,
        (_R, State.ESTABLISHED, Event.CLOSE): State.CLOSED,
        (_R, State.CLOSED, Event.CLOSE): State.CLOSED,
    }
)
"""Where each role goes from each state on each event; what is absent is illegal."""


class Machine:
    """One role's position in the table. Not for use by two threads at once."""

    __slots__ = ("_role", "_state")

    def __init__(self, role: Role) -> None:
        self._role = role
        self._state = State.NEW

    @property
    def role(self) -> Role:
        """Which end this is."""
        return self._role

    @property
    def state(self) -> State:
        """Where the attempt stands now."""
        return self._state

    def require(self, event: Event) -> State:
        """Return where ``event`` would lead, and stay where we are.

        Raises:
            UsageError: the table has no such move.
        """
        try:
            return TRANSITIONS[self._role, self._state, event]
        except KeyError:
            raise UsageError(
                f"{event.value} is not possible for the {self._role.value}"
                f" in state {self._state.value}"
            ) from None

    def move(self, event: Event) -> State:
        """Go where ``event`` leads, and return it.

        Raises:
            UsageError: the table has no such move; the state stays as it was.
        """
        self._state = self.require(event)
        return self._state
