"""What has been accepted, and therefore never will be again (MSG-05).

A guard remembers three things of every envelope that it lets pass, each within the
pair of sender and recipient: the nonce, the id, and, in a session, the sequence
number. They are reserved together or not at all. A used id stays used whatever
nonce comes with it. An entry lives until ``expires`` + 30 s, when the envelope is
stale by itself.

Two things would make a guard forget too early, and both end in *quarantine*: for
360 s (300 of life, 30 of skew, 30 of grace) it lets nothing pass, and after them
nothing that it may have forgotten is still fresh.

* The state was lost: a new process with only memory, a reboot that cut off the
  database, a deleted file.
* The wall clock was set back by more than 30 s, so that entries already dropped
  would be fresh again. Smaller steps do no harm, because the guard's own clock
  never runs backwards: it judges by the highest second that it has seen. (Callers
  that read the clock at different moments look like such a step.) No guard helps
  against a clock set back to a *wrong* time: it will pass old seconds once more.

**A new identity has no history to lose.** A guard cannot know that; its caller can,
and says so with ``assume_no_history=True``. What is at stake when that is wrong:
sessions and their keys end with the process, so a record from before is worthless;
what can be replayed is a *plain* envelope still within its 300 s. A replayed
handshake initiation yields a provisional session that its sender cannot confirm; any
other plain request would run twice. So: ``True`` for an identity that has never
received anything, quarantine for all others, and a guard on disk for whoever cannot
wait six minutes after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from .._crypto import sha256
from ..errors import Code, Overloaded, ReplayError, StaleError, UsageError
from ..limits import (
    FRESHNESS_SKEW_S,
    FRESHNESS_WINDOW_S,
    JSON_INTEGER_MAX,
    REPLAY_GRACE_S,
    REPLAY_QUARANTINE_S,
)
from ..runtime.bounds import check_count
from ..types import SessionId
from .base import Envelope

__all__ = [
    "PURGE_ENTRIES",
    "ReplayGuard",
    "Reservation",
    "Watch",
    "check_room",
    "check_unix_time",
    "forked",
    "overloaded",
    "replayed",
]

# How many expired entries one reservation drops. It adds three at most, so a guard
# with expired entries always shrinks, always has room for the next, and no single
# reservation waits for the clearing of a whole second's.
PURGE_ENTRIES = 64

# A collision would refuse an honest message. 128 bits make that impossible to
# arrange for anybody else's, and an entry a third smaller than the whole hash.
_KEY_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What one authentic envelope uses up.

    Attributes:
        sender: the verified sender: a DID, or the key of a signed HTTP message.
        recipient: whom it is for.
        id: the envelope's UUIDv4; ``None`` for a signed HTTP message, which has
            no id, only a nonce.
        nonce: its 22 characters.
        expires: wall seconds; 30 s later the reservation may go.
        session_id: 22 characters, in a session.
        seq: the record's sequence number, in a session and only there.

    Raises:
        UsageError: ``session_id`` without ``seq``, or the reverse; wrong types.
    """

    sender: str
    recipient: str
    id: str | None
    nonce: str
    expires: int
    session_id: SessionId | None = None
    seq: int | None = None

    def __post_init__(self) -> None:
        """Refuse half a session."""
        if (self.session_id is None) != (self.seq is None):
            raise UsageError("session_id and seq are reserved together")
        if self.id is None and self.seq is not None:
            raise UsageError("in a session every envelope has an id")
        texts = (self.sender, self.recipient, self.nonce)
        if not all(type(text) is str for text in texts) or not (
            self.id is None or type(self.id) is str
        ):
            raise UsageError("sender, recipient, id and nonce must be str")
        if type(self.expires) is not int:
            raise UsageError("expires must be int")
        if self.seq is not None and (type(self.seq) is not int or self.seq < 0):
            raise UsageError("seq must be an int from 0")

    @classmethod
    def of(cls, envelope: Envelope, *, seq: int | None = None) -> Self:
        """Return what a verified envelope uses up.

        Args:
            envelope: after `verify_request` or `verify_response`.
            seq: of the authenticated record; exactly where ``encoding`` is
                ``session``.

        Raises:
            UsageError: a session envelope without ``seq``, or a plain one with it.
        """
        return cls(
            sender=envelope.did,
            recipient=envelope.recipient,
            id=envelope.id,
            nonce=envelope.nonce,
            expires=envelope.expires,
            session_id=envelope.session_id,
            seq=seq,
        )

    def keys(self) -> tuple[bytes, ...]:
        """Return the entries, 16 bytes each: id if there is one, nonce, sequence."""
        # Lengths in front, so that no two pairs of names run together alike.
        pair = f"{len(self.sender)}:{self.sender}{len(self.recipient)}:{self.recipient}"
        parts = [f"nonce:{self.nonce}"]
        if self.id is not None:
            parts.insert(0, f"id:{self.id}")
        if self.seq is not None:
            # In the pair as well: each direction counts its own records.
            parts.append(f"seq:{self.seq}:{self.session_id}")
        # "surrogatepass": whatever is a str has its own bytes, and none fails.
        texts = ((pair + part).encode("utf-8", "surrogatepass") for part in parts)
        return tuple(sha256(text)[:_KEY_BYTES] for text in texts)

    @property
    def until(self) -> int:
        """The wall second from which the envelope is stale by itself."""
        return self.expires + REPLAY_GRACE_S


class ReplayGuard(Protocol):
    """Lets every envelope pass once."""

    async def reserve(
        self, reservation: Reservation, *, now: float, unix_time: int
    ) -> None:
        """Reserve everything that an envelope uses up, in one atomic step.

        Call it after everything else was verified and before anything is done.
        Nothing is ever given back, whatever becomes of the request.

        Args:
            reservation: what the envelope uses up.
            now: monotonic seconds, of one clock for all who share the guard.
            unix_time: wall seconds.

        Raises:
            ReplayError: the id or nonce (``sig.replay``) or the sequence number
                (``session.replay``) was used before.
            StaleError: outside its time (``sig.stale``); or the guard is in
                quarantine (``replay.state-lost``).
            Overloaded: it is full of live entries, or busy; nothing was reserved.
            ConfigError: its storage does not work; nothing was reserved.
            UsageError: it was closed, a fork copied it, or ``unix_time`` is not an
                int from 0.
        """
        ...

    def close(self) -> None:
        """End it. Closing twice is closing once."""
        ...


@dataclass(slots=True)
class Watch:
    """A guard's clock and its quarantine.

    Attributes:
        clock: the highest wall second seen since the last quarantine began.
        quarantined: whether nothing may pass.
        since: monotonic seconds at which the quarantine began; ``None`` until
            somebody says what time it is.
    """

    clock: int = 0
    quarantined: bool = False
    since: float | None = None

    def quarantine(self, now: float | None) -> None:
        """Begin a quarantine, or begin it again."""
        self.quarantined, self.since = True, now

    def observe(self, now: float, unix_time: int) -> None:
        """Take note of the time: end a quarantine that is over, begin one if due.

        Raises:
            UsageError: ``unix_time`` is not an int from 0.
        """
        check_unix_time(unix_time)
        if unix_time < self.clock - FRESHNESS_SKEW_S:
            self.quarantine(now)
            self.clock = unix_time
        elif self.quarantined and (self.since is None or now < self.since):
            # The second: another machine start, so another monotonic clock.
            self.quarantine(now)
        elif self.quarantined and self.since is not None:
            self.quarantined = not now - self.since >= REPLAY_QUARANTINE_S
        self.clock = max(self.clock, unix_time)

    def check(self, reservation: Reservation) -> None:
        """Refuse in quarantine, and what the guard's own clock finds stale.

        Raises:
            StaleError: as `ReplayGuard.reserve` says.
        """
        if self.quarantined:
            raise StaleError(
                f"replay state is lost: nothing passes for {REPLAY_QUARANTINE_S} s. "
                "Wait; or, for an identity that has never received anything, make a "
                "new guard, and a new file if it has one, with assume_no_history=True",
                code=Code.REPLAY_STATE_LOST,
            )
        latest = self.clock + FRESHNESS_SKEW_S + FRESHNESS_WINDOW_S
        if not (self.clock < reservation.until and reservation.expires <= latest):
            raise StaleError("the envelope is outside its time", code=Code.SIG_STALE)


def check_unix_time(unix_time: int) -> None:
    """Refuse a wall clock that counts no seconds.

    NaN is neither before nor after a guard's clock, so everything would pass; and of
    what else is not an int, a file gives back something that is not its clock.

    Raises:
        UsageError: not an int from 0 to 2^53 - 1.
    """
    if type(unix_time) is not int or not 0 <= unix_time <= JSON_INTEGER_MAX:
        raise UsageError("unix_time is an int from 0 to 2^53 - 1")


def check_room(max_entries: int) -> None:
    """Refuse a number of entries that a guard cannot be held to.

    Raises:
        UsageError: not an int from 3, which is the room that one message takes.
    """
    check_count(max_entries, "max_entries", least=3)


def replayed(index: int) -> ReplayError:
    """Return the error for the entry at ``index`` of `Reservation.keys`."""
    if index == 2:
        return ReplayError("the record was accepted before", code=Code.SESSION_REPLAY)
    return ReplayError("the id or nonce was used before", code=Code.SIG_REPLAY)


def forked() -> UsageError:
    """Return the error of a guard that a fork copied."""
    return UsageError("the replay guard belongs to the process that was forked")


def overloaded(max_entries: int) -> Overloaded:
    """Return the error of a guard that is full; live entries never make room."""
    return Overloaded(f"the replay guard holds {max_entries} live entries")
