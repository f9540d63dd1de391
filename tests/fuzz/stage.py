"""The sessions of one twin, what they sent, and what became of it all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any

from exporter import Exporter

from sage.errors import BatchError
from sage.session import DRAFT1, Profile
from sage.types import Role

__all__ = ["ARENA_BYTES", "Stage", "contents", "identity", "is_free", "outcome"]

ARENA_BYTES = 256
SESSIONS_MAX = 12
SENT_MAX = 32
SEED, TH = bytes(range(32)), bytes(range(100, 132))


class Stage:
    """What the steps of one input act upon, for one of the twins.

    Sessions lie in pairs: the peer of number i is number i ^ 1.
    """

    def __init__(self, core: ModuleType) -> None:
        self.core = core
        self.sessions: list[Any] = []
        self.windows = [core.ReplayWindow(), core.ReplayWindow()]
        self.sent: list[tuple[int, bytes]] = []  # and by whom
        self.arena = bytearray(range(ARENA_BYTES))
        self.large = [bytearray(40_000), bytearray(40_036), bytearray(500)]
        chance = count()
        # Random nonces, the same on both stages; all else in a session is counted.
        vars(core)["urandom"] = lambda size: next(chance).to_bytes(size, "big")

    def pair(self, profile: Profile, roles: tuple[Role | None, Role | None]) -> None:
        """Make both ends of a session, at time 0."""
        th, name = identity(profile)
        self.add(
            *(
                self.core.SessionCore(profile, SEED, th, role, session_id=name, now=0.0)
                for role in roles
            )
        )

    def add(self, *pair: Any) -> None:
        if len(self.sessions) >= SESSIONS_MAX:
            self.drop()
        self.sessions += pair

    def drop(self) -> None:
        """Forget the oldest pair, but never the last."""
        if len(self.sessions) > 2:
            del self.sessions[:2]
            self.sent = [(who - 2, record) for who, record in self.sent if who > 1]

    def session(self, who: int) -> Any:
        return self.sessions[who % len(self.sessions)]

    def record(self, which: int) -> tuple[int, bytes]:
        """Return one that was sent, the newest first, and who should open it."""
        sent = self.sent[:]  # threads add to it
        if not sent:
            return 0, bytes(40)
        who, record = sent[-1 - which % len(sent)]
        return who ^ 1, record

    def note(self, who: int, records: list[bytes]) -> None:
        """Keep what was sent, so that it can be delivered."""
        self.sent += [(who % len(self.sessions), record) for record in records]
        del self.sent[:-SENT_MAX]

    def facts(self, who: int) -> Any:
        one = self.session(who)
        return (
            (one.id, one.role, one.profile.name, one.closed, one.expires_at),
            (one.sent, one.received, one.failed_opens, one.records_left, repr(one)),
        )


def identity(profile: Profile) -> tuple[bytes | None, bytes | None]:
    """Return a transcript hash and a session id such as a profile wants them."""
    return (
        None if profile.layout == DRAFT1.layout else TH,
        None if profile.layout == "transcript" else TH[:16],
    )


def outcome(act: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Return what a call gives or raises; last and not to be compared, the value."""
    try:
        value = act(*arguments, **keywords)
    except BatchError as exc:
        errors = {at: reason(error) for at, error in exc.errors.items()}
        same = exc.error is exc.errors[exc.index]
        return (*reason(exc), exc.index, same, errors, contents(exc.opened), None)
    except BaseException as exc:
        return (*reason(exc), None)
    given = [at for at, argument in enumerate(arguments) if value is argument]
    return "value", contents(value), given, value


def reason(error: BaseException) -> tuple[type, str, Any]:
    return type(error), str(error), getattr(error, "code", None)


def contents(value: Any) -> Any:
    """Return a value as something that compares, arrays by kind, shape and bytes."""
    if type(value) is bytes:
        return value
    if isinstance(value, Exporter):
        return "Exporter", value.contents()
    if type(value) in (list, tuple):
        return type(value).__name__, [contents(one) for one in value]
    if type(value).__name__ == "SessionCore":
        return repr(value), value.expires_at
    try:
        view = memoryview(value)
        return type(value).__name__, view.shape, view.tobytes()
    except (TypeError, ValueError, NotImplementedError):  # no buffer, or released
        pass
    known = isinstance(value, bool | int | float | str | None)
    return type(value).__name__, repr(value) if known else ""


def is_free(value: Any) -> Any:
    """Return whether nobody holds on to a buffer any longer; a view is released."""
    if isinstance(value, Exporter):
        return value.exports
    if type(value) is list:
        return [is_free(one) for one in value]
    try:
        if isinstance(value, bytearray):
            value += b"1"
            del value[-1:]
        elif isinstance(value, memoryview):
            value.release()
    except BufferError:
        return False
    return True
