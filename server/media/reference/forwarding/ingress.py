"""The way in: from a clear packet to its stream, and on to everybody who takes it. This is the path of each packet."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from pylibsrtp._binding import ffi

from ...plane import Codec, PlaneStats
from ..transport.peer import Peer
from . import rtcp
from .audience import Audience
from .clock import Moment
from .egress import Egress
from .history import Packet
from .layers import Layers
from .rtp import Header, parse, read_extensions
from .sender import Sender
from .source import Route
from .streams import Stream
from .upkeep import Upkeep
from .wiring import Wiring

_MINUTE_MS: Final = 60_000


class Ingress:
    def __init__(
        self,
        wiring: Wiring,
        layers: Layers,
        upkeep: Upkeep,
        sender: Sender,
        egress: Egress,
        moment: Moment,
        stats: PlaneStats,
    ) -> None:
        self._ports = wiring.ports
        self._layers = layers
        self._upkeep = upkeep
        self._sender = sender
        self._ring = egress.ring
        self._moment = moment
        self._counters = stats.counters
        self._capture = stats.capture

    def take(self, peer: Peer, buf: Any, length: int) -> None:
        """One clear RTP packet; ``buf`` is read during the call only."""
        ring, counters = self._ring, self._counters
        if not ring.read_mono_ns:
            ring.read_mono_ns = self._moment.mono_ns
        counters["rtp_in"] += 1
        counters["rtp_in_bytes"] += length
        data = ffi.buffer(buf, length)
        header = parse(data, length)
        port = self._ports.get(peer.id)
        if header is None or port is None:
            counters["junk"] += 1
            return
        route = port.routes.get(header.ssrc) or port.learn(header, data)
        if route is None or route.dead:
            counters["junk"] += 1
            return
        payload = data[header.start : header.end]
        if route.rtx:
            self._on_rtx(route, header, payload)
        else:
            self._on_media(route, header, payload, data)

    def _on_media(self, route: Route, header: Header, payload: bytes, data: Any) -> None:
        source, stream, moment = route.source, route.stream, self._moment
        codec = source.codecs.get(header.payload_type)
        if codec is None:  # comfort noise, telephone events: left out like padding
            if stream is not None:
                stream.receive(header, b"", None, None, moment.mono_ns, moment.wall_ns)
            return
        if stream is None or stream.codec.name != codec.name or stream.runs_away(header, moment.mono_ns):
            stream = self._begin(route, header, codec)
        level = capture = None
        if source.extensions and header.profile:
            elements = read_extensions(data[header.extensions_at : header.extensions_end], header.profile)
            level, capture = elements.get(source.level_id), elements.get(source.capture_id)
        packet = stream.receive(header, payload, level, capture, moment.mono_ns, moment.wall_ns)
        if packet is None and stream.numbering.restarted:
            stream = self._begin(route, header, codec)
            packet = stream.receive(header, payload, level, capture, moment.mono_ns, moment.wall_ns)
        if packet is None:
            return
        if not stream.alive:
            stream.alive = True
            self._layers.settle_all(source, moment.mono_ns)
            self._upkeep.announce(source)
        elif not source.announced:
            self._upkeep.announce(source)
        if capture is not None:
            self._sample_capture(capture)
        if packet.keyframe and not stream.proven:
            stream.proven = True
            self._layers.settle_all(source, moment.mono_ns)
        self._forward(stream, packet)

    def _on_rtx(self, route: Route, header: Header, payload: bytes) -> None:
        self._counters["rtx_in"] += 1
        stream = route.source.streams.get(route.rid)
        if stream is None:
            return
        packet = stream.recover(header, payload, self._moment.mono_ns, self._moment.wall_ns)
        if packet is not None:
            self._forward(stream, packet)

    def _begin(self, route: Route, header: Header, codec: Codec) -> Stream:
        """A layer's first packet, or the first of another run of its encoder."""
        source, now = route.source, self._moment.mono_ns
        before = source.streams.get(route.rid)
        stream = source.begin(route, header.ssrc, codec, header.sequence, now)
        if before is not None:
            before.close()
        if not stream.audio and self._layers.is_bound(source):
            stream.requests.want()  # its first keyframe tells how big it is, and so where it stands among the layers
        self._layers.settle_all(source, now)
        if before is not None:
            self._layers.end(before)
        if source.announced:
            self._upkeep.announce(source)
        return stream

    # --- on to everybody ----------------------------------------------------------------------------------------

    def _forward(self, stream: Stream, packet: Packet) -> None:
        audience = self._layers.audience(stream)
        if audience is not None:
            history = stream.history
            if audience.waiting and (stream.audio or history.keyframe is packet):
                self._layers.start_waiting(stream, packet, self._moment.mono_ns)
            if packet is history.head:
                for group in audience.groups.values():
                    if group.sinks:
                        self._sender.fan_out(group, packet, stream.audio)
            else:
                self._forward_late(audience, stream, packet)
            for tap in audience.taps:
                tap.take(packet)
        if len(self._layers.bursts) and packet is not stream.history.head:
            self._repair_backlogs(stream, packet)

    def _forward_late(self, audience: Audience, stream: Stream, packet: Packet) -> None:
        """A reordered or recovered packet: only those get it whose span reaches back to it."""
        number = packet.sequence
        for group in audience.groups.values():
            if not group.sinks:
                continue
            group.lanes()  # brings ``newest`` up to date
            if number >= group.newest:
                self._sender.fan_out(group, packet, stream.audio)
                continue
            for sink in group.sinks:
                if sink.span is not None and number >= sink.span.first:
                    self._sender.one(sink, packet)

    def _repair_backlogs(self, stream: Stream, packet: Packet) -> None:
        """The same for joiners whose backlog has passed its place."""
        number = packet.sequence
        for sink in self._layers.bursts:
            span, position = sink.span, sink.position
            if span is not None and position is not None and span.stream is stream and span.first <= number < position:
                self._sender.one(sink, packet)

    def _sample_capture(self, capture: bytes) -> None:
        """abs-capture-time against our clock, when they agree within a minute."""
        if len(capture) < 8:
            return
        elapsed_ms = (self._moment.wall_ns - rtcp.ns_from_ntp(int.from_bytes(capture[:8], "big"))) / 1e6
        if 0 <= elapsed_ms <= _MINUTE_MS:
            histogram = self._capture
            histogram.counts[bisect_left(histogram.bounds_ms, elapsed_ms)] += 1
            histogram.sum_ms += elapsed_ms
