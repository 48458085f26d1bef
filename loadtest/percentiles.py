"""Percentiles in bounded memory: a histogram of log-linear buckets, as HdrHistogram has them.

Each power of two is cut into 32 buckets, so a value is known to 3.2 % from 32 units on and exactly below. A
percentile is the *upper* edge of its bucket: never better than the truth. Negative values (clocks that disagree) are
counted apart and never enter a percentile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

_SUB = 5  # bits: 32 buckets for each power of two
_LINEAR = 1 << _SUB
MAX_VALUE = (1 << 36) - 1  # microseconds: 19 hours
BUCKETS = (36 - _SUB + 1) * _LINEAR


def bucket(value: int) -> int:
    """Index of the bucket of ``value`` (0..MAX_VALUE)."""
    if value < _LINEAR:
        return value
    shift = value.bit_length() - _SUB - 1
    return (shift << _SUB) + (value >> shift)


def upper(index: int) -> int:
    """Largest value of bucket ``index``."""
    if index < 2 * _LINEAR:
        return index
    shift = (index >> _SUB) - 1
    return ((index - (shift << _SUB) + 1) << shift) - 1


class Histogram:
    """Counts of non-negative integers (we use microseconds). Costs one list of ``BUCKETS`` integers at most."""

    __slots__ = ("_counts", "count", "maximum", "minimum", "negative", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = self.total = self.maximum = self.negative = 0
        self.minimum = MAX_VALUE

    def add(self, value: int) -> None:
        """Count one value; larger than ``MAX_VALUE`` counts as that."""
        if value < 0:
            self.negative += 1
            return
        if value > MAX_VALUE:
            value = MAX_VALUE
        if value < _LINEAR:
            index = value
        else:
            shift = value.bit_length() - _SUB - 1
            index = (shift << _SUB) + (value >> shift)
        counts = self._counts
        counts[index] = counts.get(index, 0) + 1
        self.count += 1
        self.total += value
        if value > self.maximum:
            self.maximum = value
        if value < self.minimum:
            self.minimum = value

    def percentile(self, share: float) -> int | None:
        """The value that ``share`` (0..1) of all do not exceed, ``None`` without values."""
        if not self.count:
            return None
        rank = max(1, -(-self.count * round(share * 1_000_000) // 1_000_000))
        seen = 0
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= rank:
                return min(upper(index), self.maximum)
        return self.maximum

    def mean(self) -> float | None:
        """The exact mean."""
        return self.total / self.count if self.count else None

    def merge(self, other: Histogram) -> None:
        """Add all values of ``other``."""
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count
        self.count += other.count
        self.total += other.total
        self.negative += other.negative
        self.maximum = max(self.maximum, other.maximum)
        self.minimum = min(self.minimum, other.minimum)

    def take(self) -> Histogram:
        """Everything so far as a histogram of its own; this one is empty afterwards."""
        taken = Histogram()
        taken.merge(self)
        self._counts = {}
        self.count = self.total = self.maximum = self.negative = 0
        self.minimum = MAX_VALUE
        return taken

    def bars(self, edges: Iterable[int]) -> Iterator[int]:
        """How many values lie at or below each edge and above the one before."""
        below = 0
        for edge in edges:
            upto = sum(count for index, count in self._counts.items() if upper(index) <= edge)
            yield upto - below
            below = upto

    def to_json(self) -> dict[str, object]:
        """Plain data for the way between processes."""
        head = [self.count, self.total, self.minimum, self.maximum, self.negative]
        return {"head": head, "counts": {str(index): count for index, count in self._counts.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Histogram:
        """The reverse of :meth:`to_json`.

        :raises ValueError: not such data.
        """
        head, counts = data.get("head"), data.get("counts")
        if not isinstance(head, list) or len(head) != 5 or not isinstance(counts, dict):
            raise ValueError("not a histogram")
        made = cls()
        made.count, made.total, made.minimum, made.maximum, made.negative = (int(value) for value in head)
        made._counts = {int(index): int(count) for index, count in counts.items() if 0 <= int(index) < BUCKETS}
        return made
