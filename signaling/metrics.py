"""Prometheus metrics of the class. No label grows with lessons, seats or names: all come from fixed sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from signaling.core.totals import Totals

_JOIN = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0)
_FIRST_FRAME = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0)
_LATENCY = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
_LOSS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5)


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
            "Offer to first picture, measured by the relay or by the browser",
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
        self.watch_loss = Histogram(
            "kongzhong_watch_loss_ratio",
            "Share of packets lost on watching connections, once a second each",
            ["source"],
            buckets=_LOSS,
            registry=registry,
        )
        self.joins = Counter(
            "kongzhong_joins",
            "WHIP and WHEP requests by outcome: ok, or the problem's code",
            ["direction", "role", "code"],
            registry=registry,
        )
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

        self._measured = {
            "join": self.join,
            "first_frame": self.first_frame,
            "latency": self.latency,
            "watch_loss": self.watch_loss,
        }

    def observe(self, what: str, value: float, label: str) -> None:
        """An effect ``Measured``."""
        self._measured[what].labels(label).observe(value)


class HouseCollector(Collector):
    """The state of the house, counted when somebody looks, so that it is of now and costs nothing in between.

    ``archived`` is the store's count, which the core does not know.
    """

    def __init__(self, totals: Callable[[], Totals], archived: Callable[[], int], sockets: Callable[[], int]) -> None:
        self._totals = totals
        self._archived = archived
        self._sockets = sockets

    def describe(self) -> Iterable[Metric]:
        """Nothing: to be registered is no reason to count."""
        return ()

    def collect(self) -> Iterator[Metric]:
        totals = self._totals()
        lessons = {**totals.lessons, "archived": self._archived()}
        yield _by_state("kongzhong_lessons", "Lessons by state", lessons)
        yield _by_state("kongzhong_seats", "Seats of running lessons by state", totals.seats)
        text = "Live lessons in which nothing is published, or nothing of it sends"
        yield GaugeMetricFamily("kongzhong_lessons_silent", text, value=totals.silent)
        yield GaugeMetricFamily("kongzhong_sockets", "Open WebSockets", value=self._sockets())


def _by_state(name: str, text: str, counts: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    return family
