"""What this process shows Prometheus: the plane's counts under proper names, the recorder's figures, the page itself.

No label grows with lessons or seats: every label value below is from a fixed list, or the name of a counter in the
plane's contract.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from recorder.service import COUNTERS
from server.bus.redis_link import RedisLink
from server.media.plane import HistogramCounts, PlaneStats

_Where = tuple[str, dict[str, str]]

PLANE_COUNTERS: dict[str, _Where] = {
    "rtp_in": ("rtp_packets", {"direction": "in"}),
    "rtp_out": ("rtp_packets", {"direction": "out"}),
    "rtp_in_bytes": ("rtp_bytes", {"direction": "in"}),
    "rtp_out_bytes": ("rtp_bytes", {"direction": "out"}),
    "rtcp_in": ("rtcp_packets", {"direction": "in"}),
    "rtcp_out": ("rtcp_packets", {"direction": "out"}),
    "lost_in": ("rtp_lost_packets", {}),
    "nack_in": ("nacks", {"direction": "in"}),
    "nack_out": ("nacks", {"direction": "out"}),
    "rtx_in": ("rtx_packets", {"direction": "in"}),
    "rtx_out": ("rtx_packets", {"direction": "out"}),
    "rtx_refused": ("rtx_refused", {}),
    "keyframe_in": ("keyframe_requests", {"direction": "in"}),
    "keyframe_out": ("keyframe_requests", {"direction": "out"}),
    "srtp_forged": ("srtp_rejected_packets", {"reason": "forged"}),
    "srtp_replayed": ("srtp_rejected_packets", {"reason": "replayed"}),
    "stun_in": ("stun_messages", {"kind": "received"}),
    "stun_bad": ("stun_messages", {"kind": "bad"}),
    "stun_unknown": ("stun_messages", {"kind": "unknown"}),
    "handshakes": ("dtls_handshakes", {"result": "done"}),
    "dtls_failed": ("dtls_handshakes", {"result": "failed"}),
    "junk": ("discarded_datagrams", {"reason": "junk"}),
    "unvalidated": ("discarded_datagrams", {"reason": "unvalidated"}),
    "consent_lost": ("consents_lost", {}),
    "icmp_errors": ("icmp_errors", {}),
    "commands_ignored": ("commands_ignored", {}),
}

_HELP = {
    "rtp_packets": "RTP packets, received and sent",
    "rtp_bytes": "RTP bytes without IP and UDP headers, received and sent",
    "rtcp_packets": "RTCP packets, received and sent",
    "rtp_lost_packets": "Packets of publishers that never came, also not by retransmission",
    "nacks": "NACK messages: in from watchers, out to publishers",
    "rtx_packets": "Retransmissions: in from publishers, out to watchers",
    "rtx_refused": "Retransmissions not sent, to keep them within their share",
    "keyframe_requests": "Keyframe requests: in from watchers, out to publishers",
    "srtp_rejected_packets": "Packets that SRTP refused",
    "stun_messages": "STUN messages: all received, and of these the bad ones and those for an unknown ufrag",
    "dtls_handshakes": "DTLS handshakes by result",
    "discarded_datagrams": "Datagrams discarded unread",
    "consents_lost": "Peers that fell silent (RFC 7675)",
    "icmp_errors": "Errors left on the socket by peers that cannot be reached",
    "commands_ignored": "Commands for something that was already gone",
    "other": "Counters of the plane without a name of their own",
}


class PlaneCollector(Collector):
    """``PlaneStats`` as metric families, read when Prometheus asks."""

    def __init__(self, stats: Callable[[], PlaneStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        stats = self._stats()
        yield from self._counters(stats.counters)
        drops = CounterMetricFamily("kongzhong_plane_drops", "Packets dropped, by the full queue", labels=["queue"])
        for queue, dropped in stats.drops.items():
            drops.add_metric([queue], dropped)
        yield drops
        yield _histogram("kongzhong_relay_transit_seconds", "Socket read to socket write, sampled", stats.transit)
        yield _histogram(
            "kongzhong_capture_latency_seconds",
            "Capture at the publisher to our socket (abs-capture-time)",
            stats.capture,
        )
        for name, value in (("transports", stats.transports), ("sources", stats.sources), ("sinks", stats.sinks)):
            yield GaugeMetricFamily(f"kongzhong_plane_{name}", f"{name.capitalize()} open now", value=value)

    def _counters(self, counters: Mapping[str, int]) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for counter, value in counters.items():
            name, labels = PLANE_COUNTERS.get(counter, ("other", {"counter": counter}))
            if name not in families:
                families[name] = CounterMetricFamily(f"kongzhong_plane_{name}", _HELP[name], labels=list(labels))
            families[name].add_metric(list(labels.values()), value)
        yield from families.values()


class RecorderCollector(Collector):
    """What recorders say of themselves once a second. Several are one sum, and the worst of their delays: which one it
    is, each recorder's own ``/metrics`` tells."""

    def __init__(self, stats: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        for name, value in combined(self._stats().values()).items():
            yield figure("kongzhong_recorder", name, value)


class NodeCollector(Collector):
    """The node's own figures: a dataclass of numbers."""

    def __init__(self, stats: Callable[[], Any]) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        for name, value in dataclasses.asdict(self._stats()).items():
            yield figure("kongzhong_node", name, value)


class BusCollector(Collector):
    """Whether Redis is there, how often it went, and what relay or directory say of their side of the bus."""

    def __init__(self, link: RedisLink, figures: Callable[[], Mapping[str, float]]) -> None:
        self._link = link
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        yield figure("kongzhong_redis", "up", float(self._link.here.is_set()))
        yield figure("kongzhong_redis", "losses_total", self._link.losses)
        for name, value in self._figures().items():
            yield figure("kongzhong_bus", name, value)


class DiskCollector(Collector):
    """Room left where the data folder is: recordings need it."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def collect(self) -> Iterable[Metric]:
        try:
            free = shutil.disk_usage(self._data).free
        except OSError:
            return  # a folder that went away is told by everything that writes to it
        yield GaugeMetricFamily("kongzhong_data_free_bytes", "Bytes free where the data folder is", value=free)


def combined(each: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The figures of several recorders as one: sums, but the largest of what is a delay."""
    found: dict[str, float] = {}
    for stats in each:
        for name, value in stats.items():
            before = found.get(name, 0.0)
            found[name] = max(before, value) if name in _DELAYS else before + value
    return found


def figure(prefix: str, name: str, value: float) -> Metric:
    """A number under its Prometheus name; milliseconds become seconds."""
    text = name.replace("_", " ")
    if name.endswith("_total") or name in _RECORDER_COUNTERS:
        return CounterMetricFamily(f"{prefix}_{name.removesuffix('_total')}", text, value=value)
    if name.endswith("_ms"):
        return GaugeMetricFamily(f"{prefix}_{name.removesuffix('_ms')}_seconds", text, value=value / 1000)
    return GaugeMetricFamily(f"{prefix}_{name}", text, value=value)


_DELAYS = frozenset({"lag_ms", "tap_lag_ms", "finish_seconds"})
_RECORDER_COUNTERS = frozenset(
    {*COUNTERS, "finished", "finish_failures", "cpu_seconds", "tap_dropped", "tap_connections"}
)


def add_route(app: web.Application, registry: CollectorRegistry) -> None:
    async def show(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    app.router.add_get("/metrics", show)


def _histogram(name: str, text: str, counts: HistogramCounts) -> HistogramMetricFamily:
    """Buckets accumulated and milliseconds turned into seconds, as Prometheus wants both."""
    buckets = []
    total = 0
    for bound, count in zip((*counts.bounds_ms, float("inf")), counts.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound / 1000), total))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=counts.sum_ms / 1000)
