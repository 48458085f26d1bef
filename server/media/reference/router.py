"""The router: from a clear packet of a publisher to sealed packets for everybody who follows it. Sans-IO.

The single invariant: *nothing here waits, and nothing costs per sink what can be paid per packet.* A packet is read
once, kept once (``history``), prepared once per shape (``sender``) and numbered for all sinks together (``egress``).

``on_rtp`` and ``on_rtcp`` take clear packets, ``apply`` takes commands, ``tick`` does everything that is due. Time is
an argument; the way out is the ``Egress``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pylibsrtp._binding import ffi

from ..plane import (
    CAPTURE_BUCKETS_MS,
    AddSink,
    AddSource,
    AddTap,
    BindSink,
    Codec,
    Command,
    Event,
    Layer,
    PlaneStats,
    RemoveSink,
    RemoveSource,
    RequestKeyframe,
    SetLayer,
    SourceLayers,
    SourceSilent,
    TapItem,
)
from . import rtcp
from .clock import Moment
from .egress import Egress
from .feedback import Feedback
from .history import Packet
from .layers import Layers
from .limits import FEEDBACK_OCTETS, LIFE_NS, SECOND_NS, TICK_NS
from .ports import Port
from .reports import OUR_SSRC, Reports
from .rtp import Header, Shape, parse, read_extensions
from .sender import Sender
from .sink import Sink
from .source import Route, Source
from .streams import Stream
from .taps import Tap

if TYPE_CHECKING:
    from .peer import Peer

COUNTERS = (
    "rtp_in", "rtp_in_bytes", "rtp_out", "rtp_out_bytes", "rtcp_in", "rtcp_out", "lost_in", "nack_in", "nack_out",
    "rtx_in", "rtx_out", "rtx_refused", "keyframe_in", "keyframe_out", "junk", "commands_ignored",
)  # fmt: skip
_MINUTE_MS = 60_000


class Router:
    """Sources, sinks and taps of one plane, and the packets between them."""

    def __init__(
        self,
        egress: Egress,
        emit: Callable[[Event], None],
        stats: PlaneStats,
        tap_out: Callable[[TapItem], None],
    ) -> None:
        self._egress = egress
        self._emit = emit
        self._stats = stats
        self._counters = stats.counters
        for name in COUNTERS:
            self._counters.setdefault(name, 0)
        self._tap_out = tap_out
        self._ports: dict[int, Port] = {}
        self._sources: dict[int, Source] = {}
        self._sinks: dict[int, Sink] = {}
        self._taps: dict[int, Tap] = {}
        self._shapes: dict[tuple[Any, ...], Shape] = {}
        self._moment = Moment()
        self._tick_at = self._life_at = 0
        self._sender = Sender(egress, stats)
        self._layers = Layers(self._sender, emit, stats, self._moment)
        self._feedback = Feedback(self._sender, stats)
        self._reports = Reports(self._sender, emit)

    @property
    def read_mono_ns(self) -> int:
        """When the oldest packet of the batch that is being built was read; 0 between batches."""
        return self._egress.read_mono_ns

    @property
    def busy(self) -> bool:
        """Whether joiners could be served further at once: call ``tick`` again as soon as live media allows."""
        return self._layers.bursts.busy

    def _at(self, mono_ns: int, wall_ns: int) -> None:
        self._moment.set(mono_ns, wall_ns)
        self._sender.at(wall_ns)

    # --- commands -----------------------------------------------------------------------------------------------

    def apply(self, command: Command, peer: Peer | None, mono_ns: int) -> None:
        """Carry one command out. ``peer`` is the transport of AddSource and AddSink; what names an id that is not known
        (any more) is ignored and counted."""
        self._moment.advance(mono_ns)
        if not self._knows(command):
            self._counters["commands_ignored"] += 1
            return
        match command:
            case AddSource() if peer is not None:
                self._add_source(command, peer)
            case AddSink() if peer is not None:
                self._add_sink(command, peer)
            case AddTap():
                tap = self._taps[command.tap] = Tap(command, self._tap_out)
                self._bind(tap, command.source)
            case BindSink():
                self._rebind(command)
            case SetLayer():
                self._set_layer(command)
            case RemoveSource():
                self._remove_source(command.source)
            case RemoveSink():
                self._remove_sink(command.sink)
            case RequestKeyframe():
                for stream in self._sources[command.source].streams.values():
                    if stream.alive and not stream.audio:
                        stream.requests.want()
            case _:
                pass

    def _knows(self, command: Command) -> bool:
        match command:
            case RemoveSource() | RequestKeyframe():
                return command.source in self._sources
            case BindSink() | SetLayer() | RemoveSink():
                return command.sink in self._sinks or command.sink in self._taps
            case _:
                return True

    def _port(self, peer: Peer) -> Port:
        port = self._ports.get(peer.id)
        if port is None:
            port = self._ports[peer.id] = Port(peer, self._moment.mono_ns)
        return port

    def _add_source(self, command: AddSource, peer: Peer) -> None:
        self._remove_source(command.source)
        source = Source(command, self._port(peer))
        self._sources[source.id] = source.port.sources[source.id] = source
        self._stats.sources = len(self._sources)

    def _add_sink(self, command: AddSink, peer: Peer) -> None:
        self._remove_sink(command.sink)
        shapes: dict[str, Shape] = {}
        for codec in command.codecs:
            key = (
                codec.payload_type, codec.rtx_payload_type, command.mid, tuple(sorted(command.extensions.items())),
            )  # fmt: skip
            shape = self._shapes.get(key)
            if shape is None:
                shape = self._shapes[key] = Shape(key[0], key[1], command.mid, command.extensions)
            shapes.setdefault(codec.name, shape)
        port = self._port(peer)
        sink = self._sinks[command.sink] = port.sinks[command.ssrc] = Sink(command, port, shapes)
        self._stats.sinks = len(self._sinks)
        self._bind(sink, command.source)

    def _bind(self, follower: Sink | Tap, source_id: int | None) -> None:
        source = self._sources.get(source_id) if source_id is not None else None
        follower.source = source
        if source is not None:
            source.followers[follower] = None
            self._layers.settle(follower, self._moment.mono_ns)

    def _rebind(self, command: BindSink) -> None:
        follower = self._sinks.get(command.sink) or self._taps.get(command.sink)
        if follower is None or (follower.source is not None and follower.source.id == command.source):
            return
        self._unbind(follower)
        self._bind(follower, command.source)

    def _unbind(self, follower: Sink | Tap) -> None:
        self._layers.leave(follower)
        if follower.source is not None:
            follower.source.followers.pop(follower, None)
            follower.source = None

    def _set_layer(self, command: SetLayer) -> None:
        sink = self._sinks.get(command.sink)
        if sink is None:
            return
        sink.paused = command.rid is None
        if sink.paused:
            self._layers.leave(sink)
            self._layers.tell_paused(sink)
            return
        sink.rid = command.rid
        self._layers.settle(sink, self._moment.mono_ns)

    def _remove_source(self, source_id: int) -> None:
        source = self._sources.pop(source_id, None)
        if source is None:
            return
        for follower in tuple(source.followers):
            self._unbind(follower)
        for stream in source.streams.values():
            stream.close()
        source.port.drop_source(source)
        self._forget_if_empty(source.port)
        self._stats.sources = len(self._sources)

    def _remove_sink(self, sink_id: int) -> None:
        tap = self._taps.pop(sink_id, None)
        if tap is not None:
            self._unbind(tap)
        sink = self._sinks.pop(sink_id, None)
        if sink is None:
            return
        self._unbind(sink)
        if sink.port.sinks.get(sink.ssrc) is sink:
            del sink.port.sinks[sink.ssrc]
        self._forget_if_empty(sink.port)
        self._stats.sinks = len(self._sinks)

    def _forget_if_empty(self, port: Port) -> None:
        if port.empty:
            self._ports.pop(port.peer.id, None)

    def peer_ready(self, peer: Peer, mono_ns: int) -> None:
        """Keys and a path are there, or have changed: what waited for this peer starts."""
        self._moment.advance(mono_ns)
        port = self._ports.get(peer.id)
        for sink in port.sinks.values() if port is not None else ():
            if sink.group is not None:
                sink.group.touch()
            self._layers.settle(sink, mono_ns)

    def forget(self, peer: Peer) -> None:
        """The peer has gone: so have its sources and sinks."""
        port = self._ports.get(peer.id)
        if port is None:
            return
        for sink in tuple(port.sinks.values()):
            self._remove_sink(sink.id)
        for source_id in tuple(port.sources):
            self._remove_source(source_id)
        self._ports.pop(peer.id, None)

    # --- packets in ---------------------------------------------------------------------------------------------

    def on_rtp(self, peer: Peer, buf: Any, length: int, mono_ns: int, wall_ns: int) -> None:
        """One clear RTP packet; ``buf`` is read during the call only."""
        egress, counters = self._egress, self._counters
        if not egress.read_mono_ns:
            egress.read_mono_ns = mono_ns
        self._at(mono_ns, wall_ns)
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
        source, stream = route.source, route.stream
        codec = source.codecs.get(header.payload_type)
        if codec is None:  # comfort noise, telephone events: left out like padding
            if stream is not None:
                stream.receive(header, b"", None, None, self._moment.mono_ns, self._moment.wall_ns)
            return
        if stream is None or stream.codec.name != codec.name or stream.runs_away(header, self._moment.mono_ns):
            stream = self._begin(route, header, codec)
        level = capture = None
        if source.extensions and header.profile:
            elements = read_extensions(data[header.extensions_at : header.extensions_end], header.profile)
            level, capture = elements.get(source.level_id), elements.get(source.capture_id)
        packet = stream.receive(header, payload, level, capture, self._moment.mono_ns, self._moment.wall_ns)
        if packet is None and stream.numbering.restarted:
            stream = self._begin(route, header, codec)
            packet = stream.receive(header, payload, level, capture, self._moment.mono_ns, self._moment.wall_ns)
        if packet is None:
            return
        if not stream.alive:
            self._revive(stream)
        if not source.announced:
            self._announce(source)
        if capture is not None:
            self._sample_capture(capture)
        if packet.keyframe and not stream.proven:
            stream.proven = True
            self._layers.settle_all(source, self._moment.mono_ns)
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
        if source.followers and not stream.audio:
            stream.requests.want()  # its first keyframe tells how big it is, and so where it stands among the layers
        self._layers.settle_all(source, now)
        if source.announced:
            self._announce(source)
        return stream

    def _revive(self, stream: Stream) -> None:
        stream.alive = True
        self._layers.settle_all(stream.source, self._moment.mono_ns)
        self._announce(stream.source)

    def _forward(self, stream: Stream, packet: Packet) -> None:
        history, audio = stream.history, stream.audio
        if stream.waiting and (audio or history.keyframe is packet):
            self._layers.start_waiting(stream, packet, self._moment.mono_ns)
        if packet is history.head:
            for group in stream.groups.values():
                if group.sinks:
                    self._sender.fan_out(group, packet, audio)
        else:
            self._forward_late(stream, packet)
        for tap in stream.taps:
            tap.take(packet)

    def _forward_late(self, stream: Stream, packet: Packet) -> None:
        """A reordered or recovered packet: only those get it whose span reaches back to it."""
        number = packet.sequence
        for group in stream.groups.values():
            if not group.sinks:
                continue
            group.lanes()  # brings ``newest`` up to date
            if number >= group.newest:
                self._sender.fan_out(group, packet, stream.audio)
                continue
            for sink in group.sinks:
                if sink.span is not None and number >= sink.span.first:
                    self._sender.one(sink, packet)
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
            histogram = self._stats.capture
            index = next((i for i, bound in enumerate(CAPTURE_BUCKETS_MS) if elapsed_ms <= bound), -1)
            histogram.counts[index] += 1
            histogram.sum_ms += elapsed_ms

    def on_rtcp(self, peer: Peer, data: bytes, mono_ns: int, wall_ns: int) -> None:
        """One clear compound packet."""
        self._at(mono_ns, wall_ns)
        self._counters["rtcp_in"] += 1
        port = self._ports.get(peer.id)
        if port is not None:
            self._feedback.take(port, data, mono_ns, wall_ns)

    # --- time ---------------------------------------------------------------------------------------------------

    def tick(self, mono_ns: int, wall_ns: int) -> None:
        """Do what is due. Cheap to call too often: timers are looked at each ``TICK_NS``, joiners at every call."""
        self._at(mono_ns, wall_ns)
        bursts = self._layers.bursts
        if len(bursts):
            bursts.slice(mono_ns)
        if mono_ns < self._tick_at:
            return
        self._tick_at = mono_ns + TICK_NS
        self._feedback.tick()
        check_life = mono_ns >= self._life_at
        if check_life:
            self._life_at = mono_ns + LIFE_NS
            for source in tuple(self._sources.values()):
                self._check_life(source)
        for port in tuple(self._ports.values()):
            if port.sources:
                self._ask(port)
            if check_life and port.sinks and port.sockaddr is not port.peer.sockaddr:
                port.sockaddr = port.peer.sockaddr
                self._touch(port)
            if mono_ns >= port.due_ns:
                self._report(port)

    def _touch(self, port: Port) -> None:
        for sink in port.sinks.values():
            if sink.group is not None:
                sink.group.touch()

    def _ask(self, port: Port) -> None:
        """NACKs and keyframe requests to one publisher, in as few datagrams as hold them."""
        now, wanted = self._moment.mono_ns, b""
        for source in port.sources.values():
            for stream in source.streams.values():
                part = self._missing(stream) if len(stream.missing) else b""
                if stream.requests.wanted and stream.alive and stream.requests.due(now):
                    part += rtcp.pli(OUR_SSRC, stream.ssrc)
                    self._counters["keyframe_out"] += 1
                if len(wanted) + len(part) > FEEDBACK_OCTETS:
                    self._sender.rtcp(port, rtcp.receiver_report(OUR_SSRC) + wanted)
                    wanted = b""
                wanted += part
        if wanted:
            self._sender.rtcp(port, rtcp.receiver_report(OUR_SSRC) + wanted)

    def _missing(self, stream: Stream) -> bytes:
        numbers, hopeless = stream.missing.due(self._moment.mono_ns)
        if hopeless:
            self._counters["lost_in"] += hopeless
            if not stream.audio and stream.followed:
                stream.requests.want()
        if not numbers:
            return b""
        self._counters["nack_out"] += len(numbers)
        return rtcp.nack(OUR_SSRC, stream.ssrc, [number & 0xFFFF for number in numbers])

    def _check_life(self, source: Source) -> None:
        now = self._moment.mono_ns
        changed = False
        for stream in source.streams.values():
            changed = stream.check_life(now) or changed
            if stream.alive and not stream.audio and stream.followed and stream.needs_keyframe(now):
                stream.requests.want()
        if not changed:
            return
        self._layers.settle_all(source, now)
        if source.living():
            self._announce(source)
        elif not source.silent:
            source.silent = True
            self._emit(SourceSilent(source.id, self._moment.wall_ns))

    def _announce(self, source: Source) -> None:
        if not source.announced:
            source.announced = True
            source.port.report_soon(self._moment.mono_ns)
        source.silent = False
        layers: tuple[Layer, ...] = source.layers()
        self._emit(SourceLayers(source.id, source.codec_name, layers, self._moment.wall_ns))

    def _report(self, port: Port) -> None:
        now, wall_ns = self._moment.mono_ns, self._moment.wall_ns
        port.due_ns += SECOND_NS
        if port.due_ns <= now:
            port.due_ns = now + SECOND_NS
        if port.sources:
            for source in port.sources.values():
                alive = [stream for stream in source.streams.values() if stream.alive]
                for stream in alive:
                    stream.measure(now)
                if alive:
                    self._announce(source)
                if len(alive) > 1:
                    self._layers.settle_all(source, now)
            self._reports.to_publisher(port, now)
        if port.sinks and port.peer.ready:
            self._reports.to_subscriber(port, now, wall_ns)
