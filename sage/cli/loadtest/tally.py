"""What became of the messages: counts, errors by type, latencies by the second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...errors import ConfigError

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

__all__ = ["PERCENTILES", "Latency", "Second", "Tally"]

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
"""What a report names, and the longest of all."""

# Microseconds up to two minutes, four times as long as any request may take, to three
# significant digits: 220 KiB a histogram, whatever the number of messages.
_LATENCY_MAX_US: Final = 120_000_000
_DIGITS: Final = 3

# The last messages may leave late, as others do. A longer backlog does not leave at
# all.
_LATE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Latency:
    """How long messages took, in seconds.

    Attributes:
        count: how many.
        max_s: the longest.
        percentiles_s: by percentile, each of `PERCENTILES`.
    """

    count: int
    max_s: float
    percentiles_s: dict[float, float]


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
        self.start, self.end = start, end
        self.sent = self.answered = 0
        self.errors: Counter[str] = Counter()
        self._whole, self._part = _histogram(), _histogram()
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

    def send(self, intended: float, count: int = 1) -> None:
        """Count messages that leave now."""
        if self.counts(intended):
            self.sent += count
            self._sent_by_second[int(intended - self.start)] += count

    def answer(self, intended: float, now: float) -> None:
        """Count one message whose answer arrived and is good."""
        if not self.counts(intended):
            return
        second = int(now - self.start)
        if second != self._second:
            self._turn(second)
        self.answered += 1
        self._last = max(self._last, now)
        latency_us = round((now - intended) * 1e6)
        self._part.record_value(min(max(latency_us, 1), _LATENCY_MAX_US))

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
        return _latency(self._whole)

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
        iterator = self._whole.get_percentile_iterator(5)
        return [
            (
                float(item.percentile_level_iterated_to),
                item.value_iterated_to / 1e6,
            )
            for item in iterator
        ]

    def _turn(self, second: int) -> None:
        """Close the second that is being counted, in about half a millisecond."""
        if self._part.get_total_count():
            self._seconds.append((self._second, _latency(self._part)))
            self._whole.add(self._part)
            self._part = _histogram()
        self._second = second


_NOTHING: Final = Latency(0, 0.0, dict.fromkeys(PERCENTILES, 0.0))


def _histogram() -> HdrHistogram:
    try:
        from hdrh.histogram import HdrHistogram
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "a load test needs hdrhistogram: pip install 'sage-secure[cli]'; where it"
            " has no wheel for this Python, take one that it has"
        ) from exc
    return HdrHistogram(1, _LATENCY_MAX_US, _DIGITS)


def _latency(histogram: HdrHistogram) -> Latency:
    count = int(histogram.get_total_count())
    if not count:
        return _NOTHING
    values = histogram.get_percentile_to_value_dict(list(PERCENTILES))
    return Latency(
        count,
        histogram.get_max_value() / 1e6,
        {percentile: values[percentile] / 1e6 for percentile in PERCENTILES},
    )
