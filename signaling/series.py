"""The figures of the last hour, in memory: one ring for each name, a point each 5 s, and what counts per minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from signaling.core.totals import Totals
from signaling.limits import SERIES_POINTS, SERIES_SECONDS


class Series:
    """Rings of ``(t, value)``; ``t`` is Unix seconds on the grid of ``SERIES_SECONDS``."""

    def __init__(self) -> None:
        self._rings: dict[str, deque[tuple[int, float | None]]] = {}
        self._last: int | None = None

    def due(self, now: float) -> bool:
        """Has this step of the grid no sample yet?"""
        return self._last is None or _step(now) > self._last

    def add(self, values: Mapping[str, float | None], now: float) -> bool:
        """Take a sample unless this step of the grid has one; ``None`` is a figure that nobody knows now."""
        if not self.due(now):
            return False
        step = self._last = _step(now)
        for name, value in values.items():
            self._rings.setdefault(name, deque(maxlen=SERIES_POINTS)).append((step, value))
        return True

    def since(self, start: float = 0.0) -> dict[str, list[tuple[int, float | None]]]:
        return {name: [point for point in ring if point[0] > start] for name, ring in self._rings.items()}


class PerMinute:
    """How often something happened in the last 60 s, in twelve steps of 5 s."""

    _STEPS = 12

    def __init__(self) -> None:
        self._steps: deque[list[float]] = deque(maxlen=self._STEPS)  # [step, count]

    def add(self, now: float) -> None:
        step = now // SERIES_SECONDS
        if not self._steps or self._steps[-1][0] != step:
            self._steps.append([step, 0])
        self._steps[-1][1] += 1

    def count(self, now: float) -> int:
        oldest = now // SERIES_SECONDS - self._STEPS + 1
        return int(sum(count for step, count in self._steps if step >= oldest))


def figures(totals: Totals, joins_per_minute: int) -> dict[str, float | None]:
    """What a sample holds."""
    losses, recorders = totals.losses, totals.recorders
    return {
        "lessons": totals.lessons["live"],
        "seats": sum(count for state, count in totals.seats.items() if state != "gone"),
        "joins_per_minute": joins_per_minute,
        "latency_p50_ms": percentile(totals.latencies, 0.5),
        "latency_p99_ms": percentile(totals.latencies, 0.99),
        "loss": sum(losses) / len(losses) if losses else None,
        "recorder_lag_ms": max((state.lag_ms for state in recorders), default=None),
    }


def _step(now: float) -> int:
    return int(now // SERIES_SECONDS * SERIES_SECONDS)


def percentile(ordered: list[float], share: float) -> float | None:
    """Nearest rank of a sorted list; ``None`` when it is empty."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
