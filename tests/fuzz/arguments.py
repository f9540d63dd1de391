"""Arguments out of the fuzzer's bytes: most of them sensible, some hostile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from exporter import Exporter
from hostile import ERRORS, SHAPES, STRANGE, WRITABLE, Float, lying_int
from profiles import PATTERN, SEQS, SIZES, TIMES
from reader import Reader
from stage import ARENA_BYTES, Stage
from steps import Recipe

__all__ = ["Arguments", "matrix_of"]


class Arguments:
    """Read one argument after the other, each as a recipe."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.comparable = True

    def is_comparable(self) -> bool:
        """Return whether all since the last question were; see `Step`."""
        comparable, self.comparable = self.comparable, True
        return comparable

    # --- rows of bytes --------------------------------------------------------------

    def size(self) -> int:
        choice = self.reader.below(256)
        if choice < 100:
            return choice
        return SIZES[self.reader.below(len(SIZES) - (0 if choice >= 252 else 8))]

    def plain(self, size: int | None = None) -> bytes:
        """Return bytes of some size, all of them cut from one pattern."""
        size = self.size() if size is None else size
        start = self.reader.below(200)
        return PATTERN[start : start + size]

    def buffer(self, size: int | None = None) -> Recipe:
        """Return bytes in whatever form."""
        kind = self.reader.below(16)
        if kind < 6:
            data = self.plain(size)
            return lambda stage: data
        if kind < 10:
            data, shape = self.plain(size), self.reader.pick(SHAPES)
            return lambda stage: shape(data)
        if kind < 12:
            return self.slice()
        if kind < 13:
            return self.record()
        return self.exporter(size) if kind < 14 else self.strange()

    def strange(self) -> Recipe:
        make = self.reader.pick(STRANGE)
        self.comparable &= make is not lying_int
        return lambda stage: make()

    def slice(self) -> Recipe:
        """Return a part of the arena, which may overlap another argument."""
        start = self.reader.below(ARENA_BYTES)
        stop = start + self.reader.below(128)
        return lambda stage: memoryview(stage.arena)[start:stop]

    def exporter(self, size: int | None = None) -> Recipe:
        """Return a buffer that acts up while it is asked for."""
        data, kind = self.plain(size), self.reader.below(8)
        who, detail = self.reader.below(16), self.reader.below(256)
        if kind < 3:
            error = ERRORS[detail % len(ERRORS)]

            def fail() -> None:
                raise error("no buffer today")

            return lambda stage: Exporter(data, fail)
        if kind < 6:
            return lambda stage: Exporter(data, stage.session(who).close)
        self.comparable = False
        if kind < 7:
            return lambda stage: Exporter(data, Shrinking(len(data), detail))
        return lambda stage: Exporter(data, Meanwhile(stage, who))

    def record(self) -> Recipe:
        """Return a record that was sent, or what is left of it."""
        which, damage = self.reader.below(32), self.damage()
        return lambda stage: damage(stage.record(which)[1])

    def damage(self) -> Callable[[bytes], Any]:
        """Return what happens to a record on its way; most of the time nothing."""
        kind, where = self.reader.below(8), self.reader.number(2)
        shape = self.reader.pick(SHAPES)
        if kind < 4:
            return shape

        def damaged(record: bytes) -> Any:
            at = where % max(len(record), 1)
            if kind == 4:
                return shape(record[:at])
            if kind == 5:
                return shape(record + record[:at])
            changed = bytearray(record)
            if changed:
                changed[at if kind == 6 else at % 20 % len(changed)] ^= 1 << where % 8
            return shape(bytes(changed))

        return damaged

    def aad(self) -> Recipe:
        if not self.reader.chance(4):
            return lambda stage: b""
        return self.buffer(self.reader.pick((1, 20, 21, 255, 256, 4033, 4034, 4089)))

    # --- places to write to, and arrays -----------------------------------------------

    def out(self, size: int) -> Recipe:
        """Return a place to write to, mostly one that is large enough."""
        kind = self.reader.below(16)
        if kind < 12:
            shape = self.reader.pick(WRITABLE)
            data = PATTERN[: max(size + self.reader.pick((0, 0, 1, 7, -1)), 0)]
            return lambda stage: shape(data)
        return self.slice() if kind < 14 else self.buffer()

    def matrix(self, rows: int, width: int) -> Recipe:
        kind = self.reader.below(8)
        if kind > 6:
            return self.buffer()
        data = PATTERN[: rows * width]
        return lambda stage: matrix_of(kind, data, rows, width)

    def rows(self, one: Callable[[], Recipe]) -> Recipe:
        """Return a sequence, some of which end badly."""
        if self.reader.chance(16):
            return self.strange()
        recipes = [one() for _ in range(self.reader.below(5))]
        kind, detail = self.reader.below(8), self.reader.below(16)
        if kind < 6:
            return lambda stage: [recipe(stage) for recipe in recipes]

        def generated(stage: Stage) -> Iterator[Any]:
            yield from [recipe(stage) for recipe in recipes]
            if kind == 6:
                stage.session(detail).close()
            else:
                raise ERRORS[detail % len(ERRORS)]("no more")

        return generated

    # --- numbers ----------------------------------------------------------------------

    def now(self) -> Recipe:
        kind = self.reader.below(24)
        if kind < 18:
            return lambda stage: 1.0
        if kind < 21:
            at = self.reader.pick(TIMES)
            return lambda stage: at
        if kind < 22:
            who = self.reader.below(16)
            return lambda stage: Float.acting(1.0, stage.session(who).close)
        make = self.reader.pick(STRANGE[1:])  # not None: that is when it runs
        return lambda stage: make()

    def hands(self) -> Recipe:
        """Return how many threads a batch may use."""
        kind = self.reader.below(24)
        if kind > 22:
            return self.strange()
        number = self.reader.pick((0, -1, 2**70)) if kind > 20 else max(kind - 17, 1)
        return lambda stage: number

    def seq(self) -> Recipe:
        kind = self.reader.below(8)
        if kind > 6:
            return self.strange()
        if kind < 4:
            number = self.reader.below(16)
        else:
            number = self.reader.pick(SEQS) if kind < 6 else self.reader.number(8)
        return lambda stage: number


class Shrinking:
    """Show less of a buffer each time."""

    def __init__(self, size: int, step: int) -> None:
        self.size, self.step = size, step

    def __call__(self) -> int:
        self.size = max(self.size - self.step, 0)
        return self.size


class Meanwhile:
    """Use a session in the middle of another call."""

    def __init__(self, stage: Stage, who: int) -> None:
        self.session = stage.session(who)

    def __call__(self) -> None:
        self.session.seal(b"meanwhile", now=1.0)


def matrix_of(kind: int, data: bytes, rows: int, width: int) -> Any:
    """Return rows of bytes in one of the forms that they may have."""
    data = data.ljust(rows * width, b"?")
    if kind < 3 or not data:
        return np.ndarray((rows, width), np.uint8, bytearray(data))
    if kind < 4:
        return Exporter(data, None, b"B", True, rows)
    return memoryview(WRITABLE[kind % 3](data)).cast("B", (rows, width))
