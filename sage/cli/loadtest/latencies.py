"""How long messages took: counted cheaply, told as an HdrHistogram tells it.

The histogram of `hdrhistogram` is written in Python. Counting one message in it takes a
microsecond, a tenth of what the fastest messages take from end to end, and building the
next one stops the driver for half a millisecond. So messages are counted by the
histogram's own buckets in a dictionary, many at a time, and become a histogram in the
end. Nothing is lost by that: a value is never told more exactly than by its bucket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...errors import ConfigError

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

__all__ = ["LATENCY_MAX_US", "PERCENTILES", "Latencies", "Latency", "make_histogram"]

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
"""What a report names, and the longest of all."""

LATENCY_MAX_US: Final = 120_000_000
"""Two minutes, four times as long as any request may take; longer is told as this."""

# To three significant digits. Below 2**11 µs a bucket is one microsecond wide; it
# doubles with every power of two from there: 20,000 buckets in all.
_DIGITS: Final = 3
_EXACT_BITS: Final = 11
_EXACT: Final = 1 << _EXACT_BITS


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


class Latencies:
    """Counts by bucket."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        # By the lowest value of the bucket, in microseconds.
        self._counts: Counter[int] = Counter()

    def add(self, latencies_us: Iterable[float]) -> None:
        """Count each, to the microsecond, from 1 to `LATENCY_MAX_US`."""
        values = [round(latency_us) for latency_us in latencies_us]
        if values and not (min(values) > 0 and max(values) < _EXACT):
            values = [_bucket(min(max(value, 1), LATENCY_MAX_US)) for value in values]
        self._counts.update(values)

    def merge(self, other: Latencies) -> None:
        """Count what another has counted."""
        self._counts.update(other._counts)

    def __len__(self) -> int:
        return self._counts.total()

    def summary(self) -> Latency:
        """Return the percentiles, by the rules of HdrHistogram."""
        total = len(self)
        ranks = {p: max(int(p * total / 100 + 0.5), 1) for p in PERCENTILES}
        found: dict[float, float] = dict.fromkeys(PERCENTILES, 0.0)
        seen, value, waiting = 0, 0, sorted(PERCENTILES)
        for value in sorted(self._counts):
            seen += self._counts[value]
            while waiting and seen >= ranks[waiting[0]]:
                found[waiting.pop(0)] = _highest(value) / 1e6
        return Latency(total, _highest(value) / 1e6, found)

    def histogram(self) -> HdrHistogram:
        """Return all of them as a histogram.

        Raises:
            ConfigError: hdrhistogram is not installed.
        """
        histogram = make_histogram()
        for value, count in self._counts.items():
            histogram.record_value(value, count)
        return histogram


def make_histogram() -> HdrHistogram:
    """Return an empty histogram.

    Raises:
        ConfigError: hdrhistogram is not installed.
    """
    try:
        from hdrh.histogram import HdrHistogram
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "a load test needs hdrhistogram: pip install 'sage-secure[loadtest]'; where"
            " it has no wheel for this Python, take one that it has"
        ) from exc
    return HdrHistogram(1, LATENCY_MAX_US, _DIGITS)


def _bucket(value_us: int) -> int:
    """Return the lowest value that counts as the same."""
    shift = max(value_us.bit_length() - _EXACT_BITS, 0)
    return value_us >> shift << shift


def _highest(value_us: int) -> int:
    """Return the highest value that counts as the same."""
    shift = max(value_us.bit_length() - _EXACT_BITS, 0)
    return value_us | ((1 << shift) - 1)
