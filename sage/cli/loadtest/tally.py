"""What became of the messages: counts, errors by type, latencies by the second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .latencies import PERCENTILES, Latencies, Latency, make_histogram

__all__ = ["PERCENTILES", "Latency", "Second", "Tally"]

# The last messages may leave late, as others do. A longer backlog does not leave at
# all.
_LATE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the run.

    Attributes:
        offset: from the start, in seconds.
        sent: messages sent in it.
        latency: of the messages answered in it.
    """

    offset: int
    sent: int
    latency: Latency


class Tally:
    """Counts from ``start`` on; what was meant to leave before is not counted.

    Args:
        start: monotonic seconds.
        end: monotonic seconds; messages meant to leave from then on do not count.

    Attributes:
        sent, answered: messages.
        errors: how many ended with each error, by its name and code.

    Raises:
        ConfigError: hdrhistogram is not installed.
    """

    def __init__(self, start: float, end: float) -> None:
        make_histogram()  # says now whether there will be one
        self.start, self.end = start, end
        self.sent = self.answered = 0
        self.errors: Counter[str] = Counter()
        self._whole, self._part = Latencies(), Latencies()
        self._sent_by_second: Counter[int] = Counter()
        self._second = 0
        self._last = end
        self._seconds: list[tuple[int, Latency]] = []

    def counts(self, intended: float) -> bool:
        """Whether a message meant to leave then is counted."""
        return self.start <= intended < self.end

    def is_over(self, now: float) -> bool:
        """Whether it is too late to send even what was meant to leave before."""
        return now >= self.end + _LATE_S

    def send(self, intended: Sequence[float]) -> None:
        """Count messages that leave now, by when they were meant to, in this order."""
        intended = self._counted(intended)
        if not intended:
            return
        self.sent += len(intended)
        first, last = (int(time - self.start) for time in (intended[0], intended[-1]))
        if first == last:
            self._sent_by_second[first] += len(intended)
        else:
            self._sent_by_second.update(int(time - self.start) for time in intended)

    def answer(self, intended: Sequence[float], now: float) -> None:
        """Count messages whose answers arrived together and are good; in order."""
        intended = self._counted(intended)
        if not intended:
            return
        second = int(now - self.start)
        if second != self._second:
            self._turn(second)
        self.answered += len(intended)
        self._last = max(self._last, now)
        self._part.add([(now - time) * 1e6 for time in intended])

    def fail(self, intended: float, error: BaseException, count: int = 1) -> None:
        """Count messages that ended with an error."""
        if self.counts(intended):
            code = getattr(error, "code", None)
            name = type(error).__name__
            self.errors[f"{name} ({code})" if code else name] += count

    @property
    def elapsed_s(self) -> float:
        """Seconds from the start to the end, or to the last answer if that is later."""
        return self._last - self.start

    @property
    def latency(self) -> Latency:
        """Return how long all of them took."""
        self._turn(self._second)
        return self._whole.summary()

    def seconds(self) -> list[Second]:
        """Return the run by its seconds, also those in which nothing was answered."""
        self._turn(self._second)
        latencies = dict(self._seconds)
        last = max([*latencies, *self._sent_by_second], default=-1)
        return [
            Second(n, self._sent_by_second[n], latencies.get(n, _NOTHING))
            for n in range(last + 1)
        ]

    def curve(self) -> list[tuple[float, float]]:
        """Return percentile and latency in seconds, ever finer towards 100."""
        self._turn(self._second)
        if not self.answered:
            return []
        iterator = self._whole.histogram().get_percentile_iterator(5)
        return [
            (
                float(item.percentile_level_iterated_to),
                item.value_iterated_to / 1e6,
            )
            for item in iterator
        ]

    def _counted(self, intended: Sequence[float]) -> Sequence[float]:
        if intended and self.start <= intended[0] and intended[-1] < self.end:
            return intended
        return [time for time in intended if self.counts(time)]

    def _turn(self, second: int) -> None:
        """Close the second that is being counted, in about half a millisecond."""
        if self._part:
            self._seconds.append((self._second, self._part.summary()))
            self._whole.merge(self._part)
            self._part = Latencies()
        self._second = second


_NOTHING: Final = Latency(0, 0.0, dict.fromkeys(PERCENTILES, 0.0))
