"""What this process shows Prometheus: the plane's counts under proper names, the recorder's figures, the page itself.

No label grows with lessons or seats: every label value below is from a fixed list, or the name of a counter in the
plane's contract.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from server.bus.redis_link import RedisLink
from server.media.plane import HistogramCounts, PlaneStats
from server.node.node import NodeStats

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


@dataclass(frozen=True, slots=True)
class Figure:
    """``name`` ends in its unit, as Prometheus wants it (``_total`` is added to counters); ``scale`` turns our unit
    into that one; of several recorders' figures the ``worst`` counts where a sum says nothing."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    scale: float = 1.0
    worst: bool = False


RECORDER_FIGURES: dict[str, Figure] = {
    "packets": Figure("packets", "counter", "RTP packets taken from relays"),
    "dropped_by_relay": Figure("dropped_by_relay", "counter", "Packets that relays say they dropped before the tap"),
    "keyframes_asked": Figure("keyframes_asked", "counter", "Keyframes asked of publishers"),
    "taps_bad": Figure("taps_bad", "counter", "Tap connections closed for a bad proof or a bad frame"),
    "taps_refused": Figure("taps_refused", "counter", "Tap connections refused, for there were too many"),
    "lessons_refused": Figure("lessons_refused", "counter", "Lessons refused, for there were too many"),
    "tracks_refused": Figure("tracks_refused", "counter", "Tracks that cannot be recorded"),
    "recover_failures": Figure("recover_failures", "counter", "Lessons of a former recorder that could not be taken"),
    "fragments": Figure("fragments", "counter", "Fragments written"),
    "written_bytes": Figure("written_bytes", "counter", "Bytes written"),
    "write_failures": Figure("write_failures", "counter", "Fragments that could not be written"),
    "overload": Figure("overload", "counter", "Fragments given up because the disk was too slow"),
    "gaps": Figure("gaps", "counter", "Gaps found in recordings, all lessons since the start"),
    "finished": Figure("finished", "counter", "Lessons put into the library"),
    "finish_failures": Figure("finish_failures", "counter", "Lessons that could not be put into the library"),
    "cpu_seconds": Figure("cpu_seconds", "counter", "Processor time used"),
    "lessons": Figure("lessons", "gauge", "Lessons being recorded"),
    "failing": Figure("failing", "gauge", "Lessons whose recording fails now"),
    "taps": Figure("taps", "gauge", "Relays connected"),
    "lag_ms": Figure("lag_seconds", "gauge", "Age of the oldest sample not yet on disk", 0.001, worst=True),
    "recorded_seconds": Figure("recorded_seconds", "gauge", "Time recorded of the lessons being recorded"),
    "lost_packets": Figure("lost_packets", "gauge", "Packets missing in the lessons being recorded"),
    "late_packets": Figure("late_packets", "gauge", "Packets that came too late, in the lessons being recorded"),
    "malformed_packets": Figure("malformed_packets", "gauge", "Unreadable packets, in the lessons being recorded"),
    "finishing": Figure("finishing", "gauge", "Lessons waiting to be put into the library"),
    "finish_seconds": Figure("finish_seconds", "gauge", "How long the last lesson took to finish", worst=True),
    "tap_connected": Figure("tap_connected", "gauge", "Recorders that this relay is connected to"),
    "tap_connections": Figure("tap_connections", "counter", "Connections made to recorders"),
    "tap_dropped": Figure("tap_dropped", "counter", "Packets dropped by the full queue to a recorder"),
    "tap_queue_bytes": Figure("tap_queue_bytes", "gauge", "Bytes waiting for recorders"),
    "tap_lag_ms": Figure(
        "tap_lag_seconds", "gauge", "Age of the oldest packet waiting for a recorder", 0.001, worst=True
    ),
}
NODE_FIGURES: dict[str, Figure] = {
    "lessons": Figure("lessons", "gauge", "Lessons on this relay"),
    "connections": Figure("connections", "gauge", "Connections, publishing and watching"),
    "pending": Figure("pending", "gauge", "Connections that were answered and are not up yet"),
    "voice_only": Figure("voice_only", "gauge", "Watchers whose line carries the voice only"),
    "layer_changes_total": Figure("layer_changes", "counter", "Changes of the layer sent to a watcher"),
    "refused_total": Figure("refused", "counter", "Offers refused"),
    "events_dropped_total": Figure("events_dropped", "counter", "Events dropped by a reader's full queue"),
}
REDIS_FIGURES: dict[str, Figure] = {
    "up": Figure("up", "gauge", "1 while Redis answers"),
    "losses_total": Figure("losses", "counter", "Times that Redis went away"),
}
BUS_FIGURES: dict[str, Figure] = {
    "relays": Figure("relays", "gauge", "Relays known"),
    "recorders": Figure("recorders", "gauge", "Recorders known"),
    "relays_lost_total": Figure("relays_lost", "counter", "Relays given up as lost"),
    "events_dropped_total": Figure("events_dropped", "counter", "Events dropped by a reader's full queue"),
    "calls_refused_total": Figure("calls_refused", "counter", "Calls refused, for too many waited"),
    "calls_open": Figure("calls_open", "gauge", "Calls being answered or waiting"),
    "direct_lines": Figure("direct_lines", "gauge", "Direct lines open"),
    "direct_lines_refused_total": Figure(
        "direct_lines_refused", "counter", "Direct lines closed unproved, or for there were too many"
    ),
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
        buffers = GaugeMetricFamily(
            "kongzhong_plane_socket_buffer_bytes", "UDP socket buffer that the kernel granted", labels=["direction"]
        )
        for direction, octets in stats.socket_buffers.items():
            buffers.add_metric([direction], octets)
        yield buffers

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
    is, each recorder's own ``/metrics`` tells. Before the first speaks, all is zero: a counter has to be seen at zero
    for its first step to have a rate."""

    def __init__(self, stats: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        zeros = dict.fromkeys(RECORDER_FIGURES, 0.0)
        yield from families("kongzhong_recorder", RECORDER_FIGURES, zeros | combined(self._stats().values()))


class NodeCollector(Collector):
    """The node's own figures."""

    def __init__(self, stats: Callable[[], NodeStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        figures = dataclasses.asdict(self._stats())
        by_layer = figures.pop("watchers_by_layer")
        del figures["watchers"]  # the sum of them
        watchers = GaugeMetricFamily(
            "kongzhong_node_watchers", "Watching connections by rank of the layer sent to them", labels=["layer"]
        )
        for layer, count in by_layer.items():
            watchers.add_metric([layer], count)
        yield watchers
        yield from families("kongzhong_node", NODE_FIGURES, figures)


class BusCollector(Collector):
    """Whether Redis is there, how often it went, and what relay or directory say of their side of the bus."""

    def __init__(self, link: RedisLink, figures: Callable[[], Mapping[str, float]]) -> None:
        self._link = link
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        redis = {"up": float(self._link.here.is_set()), "losses_total": float(self._link.losses)}
        yield from families("kongzhong_redis", REDIS_FIGURES, redis)
        yield from families("kongzhong_bus", BUS_FIGURES, self._figures())


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
            known = RECORDER_FIGURES.get(name)
            found[name] = max(before, value) if known and known.worst else before + value
    return found


def families(prefix: str, table: Mapping[str, Figure], values: Mapping[str, float]) -> Iterator[Metric]:
    """Numbers as the table describes them; those it does not know are gauges of one family, ``…_other``."""
    other = GaugeMetricFamily(f"{prefix}_other", "Figures without a name of their own", labels=["figure"])
    for name, value in values.items():
        figure = table.get(name)
        if figure is None:
            other.add_metric([name], value)
        elif figure.kind == "counter":
            yield CounterMetricFamily(f"{prefix}_{figure.name}", figure.help, value=value * figure.scale)
        else:
            yield GaugeMetricFamily(f"{prefix}_{figure.name}", figure.help, value=value * figure.scale)
    if other.samples:
        yield other


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
