"""Prometheus metrics of the class. No label grows with lessons, seats or names: all come from fixed sets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from signaling.core.handle import Totals

_JOIN = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0)
_FIRST_FRAME = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0)
_LATENCY = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)


class Metrics:
    """``registry`` is what ``/metrics`` exposes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.join = Histogram(
            "kongzhong_join_seconds",
            "WHIP or WHEP request to connection up",
            ["role"],
            buckets=_JOIN,
            registry=registry,
        )
        self.first_frame = Histogram(
            "kongzhong_first_frame_seconds",
            "Offer to first media, measured by the relay or by the browser",
            ["source"],
            buckets=_FIRST_FRAME,
            registry=registry,
        )
        self.latency = Histogram(
            "kongzhong_one_way_latency_seconds",
            "Capture to display as browsers report it",
            ["source"],
            buckets=_LATENCY,
            registry=registry,
        )
        self.joins = Counter(
            "kongzhong_joins",
            "WHIP and WHEP requests by outcome: ok, or the problem's code",
            ["direction", "role", "code"],
            registry=registry,
        )
        self.lessons = Gauge("kongzhong_lessons", "Lessons by state", ["state"], registry=registry)
        self.seats = Gauge("kongzhong_seats", "Seats of running lessons by state", ["state"], registry=registry)
        self.sockets = Gauge("kongzhong_sockets", "Open WebSockets", registry=registry)
        self.socket_closes = Counter(
            "kongzhong_socket_closes", "WebSockets closed by us, by close code", ["code"], registry=registry
        )
        self.slow_readers = Counter(
            "kongzhong_slow_readers", "WebSockets closed because their queue was full", registry=registry
        )
        self.dropped = Counter(
            "kongzhong_signaling_dropped", "Items dropped by the queue that was full", ["queue"], registry=registry
        )
        self.faults = Counter(
            "kongzhong_signaling_faults", "Failures that were survived and logged", ["where"], registry=registry
        )

    def observe(self, what: str, seconds: float, label: str) -> None:
        """An effect ``Measured``."""
        histogram = {"join": self.join, "first_frame": self.first_frame, "latency": self.latency}[what]
        histogram.labels(label).observe(seconds)

    def set_totals(self, totals: Totals, lessons: dict[str, int], sockets: int) -> None:
        """``lessons`` is the store's count, which knows the archived ones; ours is the later one for the rest."""
        for state, count in {**totals.lessons, "archived": lessons.get("archived", 0)}.items():
            self.lessons.labels(state).set(count)
        for state, count in totals.seats.items():
            self.seats.labels(state).set(count)
        self.sockets.set(sockets)
