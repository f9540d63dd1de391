"""What can be done on a stage; both twins must give the same account of it."""

from __future__ import annotations

import copy
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stage import Stage, contents, is_free, outcome

from sage.session import Profile
from sage.types import Role

__all__ = [
    "Call",
    "Close",
    "Derive",
    "Drop",
    "Make",
    "Meddle",
    "Pair",
    "Recipe",
    "Step",
    "Surface",
    "Window",
]

UNTOUCHED = "as before, or zero"

Recipe = Callable[[Stage], Any]
"""How to make an argument: one for each of the twins, and both alike."""


class Step(ABC):
    """One step of a sequence."""

    # Whether both twins must do the same: not when an argument changes between two
    # looks at it, because nobody says how often they look.
    comparable = True

    @abstractmethod
    def run(self, stage: Stage) -> Any:
        """Do it, and return a comparable account of all that came of it."""


@dataclass
class Call(Step):
    """One call of a session's method."""

    who: int | None  # the number of a session; None: who should open `record`
    method: str
    arguments: list[Recipe]
    keywords: dict[str, Recipe]
    record: int = 0
    comparable: bool = True

    def run(self, stage: Stage) -> Any:
        who = stage.record(self.record)[0] if self.who is None else self.who
        target = stage.session(who)
        arguments = [recipe(stage) for recipe in self.arguments]
        keywords = {name: recipe(stage) for name, recipe in self.keywords.items()}
        before, arena = [contents(one) for one in arguments], bytes(stage.arena)
        *found, value = outcome(getattr(target, self.method), *arguments, **keywords)
        if found[0] == "value" and self.method.startswith("seal"):
            stage.note(who, records_of(self.method, value, arguments))
        given = [*arguments, *keywords.values()]
        after = [contents(one) for one in given]
        if self.method in ("open_into", "open_batch") and isinstance(found[0], type):
            after[: len(before)] = [
                UNTOUCHED if is_left(*both) else both[1]
                for both in zip(before, after, strict=False)
            ]
            if is_left(arena, bytes(stage.arena)):
                stage.arena[:] = arena  # on both stages, for the steps that follow
        return (
            found,
            after,
            [is_free(one) for one in given],
            bytes(stage.arena),
            stage.facts(who),
        )


def is_left(before: Any, after: Any) -> bool:
    """Return whether a place to write to is as it was, or zero where it is not."""
    if isinstance(before, tuple) and isinstance(after, tuple):
        return before[:-1] == after[:-1] and is_left(before[-1], after[-1])
    if not (isinstance(before, bytes) and isinstance(after, bytes)):
        return bool(before == after)
    return len(before) == len(after) and all(
        new in (0, old) for old, new in zip(before, after, strict=True)
    )


def records_of(method: str, value: Any, arguments: list[Any]) -> list[bytes]:
    """Return the first records of what a method of sealing gave."""
    if method == "seal":
        return [value]
    if method == "seal_many":
        return list(value[:8])
    if method == "seal_into":
        return [contents(arguments[1])[-1][:value]]
    view = memoryview(value)
    rows, width = view.tobytes(), (view.shape or (0, 0))[1]
    return [rows[at : at + width] for at in range(0, len(rows), width)][:8]


@dataclass
class Make(Step):
    """One call of the constructor; the session is asked for a record and dropped."""

    arguments: list[Recipe]
    keywords: dict[str, Recipe]
    comparable: bool = True

    def run(self, stage: Stage) -> Any:
        arguments = [recipe(stage) for recipe in self.arguments]
        keywords = {name: recipe(stage) for name, recipe in self.keywords.items()}
        *found, session = outcome(stage.core.SessionCore, *arguments, **keywords)
        sealed = None
        if found[0] == "value":
            *sealed, _ = outcome(session.seal, b"first", now=session.expires_at - 1e-3)
        given = [*arguments, *keywords.values()]
        return found, sealed, [(contents(one), is_free(one)) for one in given]


@dataclass
class Pair(Step):
    """Both ends of a new session."""

    profile: Profile
    roles: tuple[Role | None, Role | None]

    def run(self, stage: Stage) -> Any:
        stage.pair(self.profile, self.roles)


@dataclass
class Derive(Step):
    """A stream of a pair's, derived by both of its ends."""

    who: int
    profile: Profile
    name: bytes

    def run(self, stage: Stage) -> Any:
        ends = [stage.session(who) for who in (self.who, self.who ^ 1)]
        found = [outcome(one.derive, self.profile, self.name, now=1.0) for one in ends]
        if all(kind == "value" for kind, *_ in found):
            stage.add(*(value for *_, value in found))
        return [account for *account, _ in found]


@dataclass
class Window(Step):
    """One sequence number shown to a window."""

    which: int
    method: str
    seq: Recipe
    comparable: bool = True

    def run(self, stage: Stage) -> Any:
        window = stage.windows[self.which]
        return outcome(getattr(window, self.method), self.seq(stage))[:-1]


@dataclass
class Close(Step):
    """The end of a session."""

    who: int

    def run(self, stage: Stage) -> Any:
        return stage.session(self.who).close(), stage.facts(self.who)


class Drop(Step):
    """The end of the oldest pair, whatever it was doing."""

    def run(self, stage: Stage) -> Any:
        stage.drop()


@dataclass
class Surface(Step):
    """What no session gives: copies of itself."""

    who: int

    def run(self, stage: Stage) -> Any:
        one, table = stage.session(self.who), {1: stage.session(self.who)}
        acts = (copy.copy, copy.deepcopy, pickle.dumps, stage.core.untrack)
        return [outcome(act, one)[:-1] for act in acts], stage.core.untrack(table)


@dataclass
class Meddle(Step):
    """What a thread does to a buffer that another may be using."""

    which: int
    how: int

    def run(self, stage: Stage) -> Any:
        buffer = stage.large[self.which % len(stage.large)]
        kept = bytes(buffer)
        # Whatever is in use refuses to be resized; what is written is a race.
        with suppress(BufferError, IndexError):
            if self.how == 0:
                buffer.extend(kept)
                del buffer[len(kept) :]
            elif self.how == 1:
                buffer.clear()
                buffer.extend(kept)
            else:
                buffer[self.how] ^= 1
