"""The limits that the project promises, and whether figures keep them.

A limit is a ratio, so that it holds on a slow machine as on a fast one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from .figures import ENCRYPT, ONE_THREAD, PRIMITIVES, SIZES, TLS_HANDSHAKE, Figure
from .race import Result

__all__ = ["PROMISES", "Promise", "State", "Verdict", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One ratio that is to be kept.

    Attributes:
        contestant: a name of `contestants`.
        row: a name of `figures.ROWS`.
        bytes: a size, or ``None``.
        against: a name of `figures.AGAINST`.
        limit: the ratio.
        at_least: whether it may not be less, instead of not more.
    """

    contestant: str
    row: str
    bytes: int | None
    against: str
    limit: float
    at_least: bool = False

    def kept_by(self, ratio: float) -> bool:
        """Whether a ratio is within the limit."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


_FAST, _PLAIN, _PURE = "sage-libcrypto", "sage-cryptography", "sage-pure"

# Each against one encryption of the same size; for `many` and `batch`, a record.
_RECORDS: Final[tuple[tuple[str, str, tuple[float, float, float]], ...]] = (
    # contestant, row              64 B, 1 KiB, 16 KiB
    (_FAST, "v10", (1.45, 1.55, 1.85)),
    (_FAST, "stream", (1.45, 1.55, 1.85)),
    (_FAST, "stream-aes", (0.90, 1.15, 1.50)),
    (_PLAIN, "v10", (2.75, 2.65, 2.15)),
    (_PLAIN, "stream", (2.75, 2.65, 2.15)),
    (_PURE, "v10", (4.5, 4.0, 2.4)),
    (_PURE, "stream", (4.5, 4.0, 2.4)),
    (_FAST, "many", (1.2, 1.35, 1.8)),
    (_FAST, "batch", (1.1, 1.25, 1.8)),
    (_FAST, "batch-aes", (0.6, 0.95, 1.45)),
)

# contestant, row, bytes, against, limit, at least
_OTHERS: Final = (
    (_FAST, "session", None, ENCRYPT, 3.0, False),
    (_FAST, "handshake", None, PRIMITIVES, 1.3, False),
    (_FAST, "handshake", None, TLS_HANDSHAKE, 0.5, False),
    (_FAST, "threads", 16384, ONE_THREAD, 1.8, True),
    (_FAST, "threads-batch", 1024, ONE_THREAD, 1.8, True),
)

PROMISES: Final = (
    *(
        Promise(contestant=who, row=row, bytes=size, against=ENCRYPT, limit=limit)
        for who, row, limits in _RECORDS
        for size, limit in zip(SIZES, limits, strict=True)
    ),
    *(
        Promise(
            contestant=who,
            row=row,
            bytes=size,
            against=against,
            limit=limit,
            at_least=at_least,
        )
        for who, row, size, against, limit, at_least in _OTHERS
    ),
)
"""All of them."""


class State(StrEnum):
    """What became of a promise."""

    KEPT = "kept"
    MISSED = "missed"
    NOT_MEASURED = "not measured"
    """The contestant is absent or failed: nobody knows, which is as good as missed."""
    NOT_POSSIBLE = "not possible here"
    """The machine cannot show it, as one core cannot run two threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A promise, and what came of it."""

    promise: Promise
    state: State
    ratio: float | None = None
    reason: str | None = None

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return self.state in (State.KEPT, State.NOT_POSSIBLE)

    def as_json(self) -> dict[str, Any]:
        """Return everything, flat."""
        promise = self.promise
        return {
            "contestant": promise.contestant,
            "row": promise.row,
            "bytes": promise.bytes,
            "against": promise.against,
            "limit": promise.limit,
            "at_least": promise.at_least,
            "ratio": self.ratio,
            "state": self.state.value,
            "reason": self.reason,
        }


def judge(
    results: Iterable[Result],
    *,
    promises: Sequence[Promise] = PROMISES,
    asked: Callable[[str, str], bool] = lambda contestant, row: True,
) -> list[Verdict]:
    """Hold figures against promises.

    Args:
        results: of those that were measured.
        promises: what to hold them against.
        asked: whether a row of a contestant was to be measured at all; a promise
            about anything else is left out.
    """
    by_name = {result.contestant.name: result for result in results}
    return [
        _judge_one(promise, by_name.get(promise.contestant))
        for promise in promises
        if asked(promise.contestant, promise.row)
    ]


def _judge_one(promise: Promise, result: Result | None) -> Verdict:
    figure = None if result is None else next(_about(promise, result.figures), None)
    if figure is not None and figure.ratio is not None:
        kept = promise.kept_by(figure.ratio)
        state = State.KEPT if kept else State.MISSED
        return Verdict(promise=promise, state=state, ratio=figure.ratio)
    if figure is not None:
        return Verdict(promise=promise, state=State.NOT_POSSIBLE, reason=figure.absent)
    reason = None if result is None else result.absent
    return Verdict(promise=promise, state=State.NOT_MEASURED, reason=reason)


def _about(promise: Promise, figures: Iterable[Figure]) -> Iterator[Figure]:
    wanted = promise.row, promise.bytes, promise.against
    return (f for f in figures if (f.row, f.bytes, f.against) == wanted)
