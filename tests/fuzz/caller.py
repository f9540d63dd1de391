"""Steps out of the fuzzer's bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arguments import Arguments, matrix_of
from hostile import WRITABLE
from profiles import PATTERN, PROFILES
from stage import Stage, identity
from steps import (
    Call,
    Close,
    Derive,
    Drop,
    Make,
    Meddle,
    Pair,
    Recipe,
    Step,
    Surface,
    Window,
)

from sage.types import Role

__all__ = ["Caller"]

BATCH_WIDTH_MAX = 100_000


class Caller(Arguments):
    """Read one step after the other."""

    def step(self) -> Step:
        """Return what to do next."""
        return self.reader.pick(_STEPS)(self)

    def race(self) -> Step:
        """Return what one of several threads does next."""
        return self.reader.pick(_RACES)(self)

    # --- the life of sessions ---------------------------------------------------------

    def pair(self) -> Step:
        profile = self.reader.pick(PROFILES)
        if profile.layout == "draft1" and self.reader.chance(3):
            return Pair(profile, (None, None))
        return Pair(profile, (Role.INITIATOR, Role.RESPONDER))

    def make(self) -> Step:
        profile, role = self.reader.pick(PROFILES), self.reader.pick((*Role, None))
        th, name = identity(profile)
        recipes: dict[str, Recipe] = {
            "profile": lambda stage: profile,
            "seed": lambda stage: bytes(32),
            "th": lambda stage: th,
            "role": lambda stage: role,
            "session_id": lambda stage: name,
            "deadline": lambda stage: None,
            "now": self.now(),
        }
        which = self.reader.pick((*recipes, "deadline", "now"))
        if which in ("deadline", "now"):
            recipes["deadline"] = self.now()
        elif which in ("profile", "role"):
            recipes[which] = self.strange()
        else:
            recipes[which] = self.buffer(self.reader.pick((16, 32, 0, 31)))
        keywords = {key: recipes.pop(key) for key in ("session_id", "deadline", "now")}
        return Make(list(recipes.values()), keywords, self.is_comparable())

    def derive(self) -> Step:
        who, profile = self.reader.below(16), self.reader.pick(PROFILES)
        name = self.plain(16)
        if not self.reader.chance(4):
            return Derive(who, profile, name)
        # Nothing that uses the session again: the name is read under its lock.
        arguments: list[Recipe] = [lambda stage: profile, lambda stage: name]
        arguments[self.reader.below(2)] = self.strange()
        return self.call(who, "derive", *arguments)

    def close(self) -> Step:
        return Close(self.reader.below(16))

    def drop(self) -> Step:
        return Drop()

    def surface(self) -> Step:
        return Surface(self.reader.below(16))

    def window(self) -> Step:
        which, method = self.reader.below(2), self.reader.pick(("accept", "check"))
        seq = self.seq()
        return Window(which, method, seq, self.is_comparable())

    # --- calls ------------------------------------------------------------------------

    def call(
        self, who: int | None, method: str, *arguments: Recipe, record: int = 0
    ) -> Step:
        """Add the arguments that all methods have."""
        keywords = {"now": self.now()}
        if method not in ("accept", "derive"):
            keywords["aad"] = self.aad()
        if method in _BATCHES:
            keywords["threads"] = self.hands()
        comparable = self.is_comparable()
        return Call(who, method, list(arguments), keywords, record, comparable)

    def seal(self) -> Step:
        return self.call(self.reader.below(16), "seal", self.buffer())

    def seal_into(self) -> Step:
        who, size = self.reader.below(16), self.size()
        return self.call(who, "seal_into", self.buffer(size), self.out(size + 36))

    def seal_many(self) -> Step:
        return self.call(self.reader.below(16), "seal_many", self.rows(self.buffer))

    def seal_batch(self) -> Step:
        who, count = self.reader.below(16), self.reader.below(6)
        size = min(self.size(), BATCH_WIDTH_MAX)
        arguments = [self.matrix(count, size)]
        if self.reader.chance(2):
            arguments.append(self.matrix(count, size + 36))
        return self.call(who, "seal_batch", *arguments)

    def deliver(self) -> Step:
        """Give a record, whole or not, to whom it was meant for."""
        which = self.reader.below(32) if self.reader.chance(2) else 0
        damage, method = self.damage(), self.reader.pick(("open", *_OPENING))
        arguments: list[Recipe] = [lambda stage: damage(stage.record(which)[1])]
        if method == "open_into":
            arguments.append(self.place(which))
        return self.call(None, method, *arguments, record=which)

    def place(self, which: int) -> Recipe:
        """Return where a record's plaintext goes."""
        if self.reader.chance(4):
            return self.out(self.size())
        shape = self.reader.pick(WRITABLE)
        return lambda stage: shape(bytes(max(len(stage.record(which)[1]) - 36, 0)))

    def in_place(self) -> Step:
        """Seal or open within the arena, from one part to one that may overlap it."""
        who, size = self.reader.below(16), self.reader.below(64)
        plain, sealed = self.reader.below(150), self.reader.below(150)
        parts: list[Recipe] = [
            lambda stage: memoryview(stage.arena)[plain : plain + size],
            lambda stage: memoryview(stage.arena)[sealed : sealed + size + 36],
        ]
        if not self.reader.chance(3):
            return self.call(who, "seal_into", *parts)
        return self.call(who ^ 1, "open_into", *reversed(parts))

    def open(self) -> Step:
        who, method = self.reader.below(16), self.reader.pick(_OPENING)
        arguments = [self.buffer()]
        if method == "open_into":
            arguments.append(self.out(self.size()))
        return self.call(who, method, *arguments)

    def open_many(self) -> Step:
        which = self.reader.below(32)
        rows = self.rows(self.buffer if self.reader.chance(8) else self.record)
        return self.call(None, "open_many", rows, record=which)

    def open_batch(self) -> Step:
        """Open the last records that were sent, those that are of one size."""
        count, flip = 1 + self.reader.below(5), self.reader.number(2)
        kind, room = self.reader.below(6), self.reader.below(6)
        if self.reader.chance(6):
            arguments = [self.matrix(count, min(self.size(), BATCH_WIDTH_MAX))]
            if self.reader.chance(2):
                arguments.append(self.matrix(count, self.reader.below(64)))
            return self.call(self.reader.below(16), "open_batch", *arguments)
        arguments = [lambda stage: wire_of(stage, kind, count, flip)]
        if self.reader.chance(2):
            arguments.append(lambda stage: room_of(stage, room, count))
        return self.call(None, "open_batch", *arguments)

    def accept(self) -> Step:
        who, seq = self.reader.below(16), self.seq()
        return self.call(who, "accept", seq)

    # --- threads ----------------------------------------------------------------------

    def meddle(self) -> Step:
        return Meddle(self.reader.below(3), self.reader.below(64))

    def share(self) -> Step:
        """Use buffers that other threads use, too."""
        one, other = self.reader.below(3), self.reader.below(3)
        who, kind = self.reader.below(16), self.reader.below(8)

        def source(stage: Stage) -> Any:
            return stage.large[one]

        def target(stage: Stage) -> Any:
            return stage.large[other]

        if kind < 3:
            return self.call(who, "seal_into", source, target)
        if kind < 5:
            return self.call(who, "open_into", source, target)
        if kind < 6:
            return self.call(who, "seal_many", lambda stage: [source(stage)] * 3)
        if kind < 7:
            return self.call(who, "seal", source)
        return self.call(who, "seal_batch", lambda stage: quarters(source(stage)))


def quarters(buffer: bytearray) -> memoryview:
    """Return a buffer as four rows, none of them copied."""
    view = memoryview(buffer)  # from here on nobody resizes it
    width = len(view) // 4
    return view[: 4 * width].cast("B", (4, width)) if width else view


def wire_of(stage: Stage, kind: int, count: int, flip: int) -> Any:
    """Return the last records that are of one size, one bit of them changed or none."""
    records = [stage.record(back)[1] for back in range(count)]
    width = len(records[0])
    data = bytearray(b"".join(one for one in records if len(one) == width))
    if flip % 3 == 1:
        data[flip % len(data)] ^= 1 << flip % 8
    return matrix_of(kind, bytes(data), len(data) // width, width)


def room_of(stage: Stage, kind: int, count: int) -> Any:
    """Return a place for what `wire_of` holds."""
    rows, width = wire_of(stage, 0, count, 0).shape
    size = max(width - 36, 0)
    return matrix_of(kind, PATTERN[: rows * size], rows, size)


_BATCHES = ("seal_many", "seal_batch", "open_many", "open_batch")
_OPENING = ("open", "open_into", "authenticate")
_STEPS: tuple[Callable[[Caller], Step], ...] = (
    *(Caller.seal, Caller.seal_into, Caller.seal_many, Caller.seal_batch),
    *(Caller.deliver, Caller.deliver, Caller.deliver, Caller.in_place),
    *(Caller.open, Caller.open_many, Caller.open_batch, Caller.accept),
    *(Caller.pair, Caller.make, Caller.derive, Caller.window),
    *(Caller.close, Caller.drop, Caller.surface, Caller.deliver),
)
_RACES: tuple[Callable[[Caller], Step], ...] = (
    *(Caller.seal, Caller.seal_into, Caller.seal_many, Caller.seal_batch),
    *(Caller.share, Caller.share, Caller.share, Caller.meddle, Caller.meddle),
    *(Caller.deliver, Caller.open_many, Caller.open_batch, Caller.make),
    *(Caller.close, Caller.accept, Caller.in_place),
)
