"""Figures of the whole house at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from signaling import messages as m
from signaling import relay as r
from signaling.core.lesson import STATES
from signaling.core.running import Running
from signaling.limits import FRESH_SECONDS


@dataclass(slots=True)
class Totals:
    """Latencies in ms, sorted; ``silent`` counts the live lessons from which nobody hears or sees anything."""

    lessons: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    seats: dict[str, int] = field(default_factory=lambda: dict.fromkeys(m.SEAT_STATES, 0))
    silent: int = 0
    latencies: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    recorders: list[r.RecorderState] = field(default_factory=list)


def totals_of(house: Iterable[Running], now: float) -> Totals:
    totals = Totals()
    for running in house:
        totals.lessons[running.lesson.state] += 1
        if running.lesson.state == "live":
            totals.silent += running.publishing.silent_now
            if running.recording is not None:
                totals.recorders.append(running.recording)
        for seat in running.seats.values():
            totals.seats[seat.state] += 1
            if seat.latency_ms is not None and now - seat.latency_at < FRESH_SECONDS:
                totals.latencies.append(seat.latency_ms)
            if seat.loss is not None:
                totals.losses.append(seat.loss)
    totals.latencies.sort()
    return totals
