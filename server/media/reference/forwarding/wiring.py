"""Who is connected to whom: ports, sources, sinks and taps of one plane, and the commands that change them."""

from __future__ import annotations

from collections.abc import Callable

from ...plane import (
    AddSink,
    AddSource,
    AddTap,
    BindSink,
    Codec,
    Command,
    Extension,
    PlaneStats,
    RemoveSink,
    RemoveSource,
    RequestKeyframe,
    SetLayer,
    TapItem,
)
from ..limits import SHAPES
from ..transport.peer import Peer
from .clock import Moment
from .layers import Layers
from .ports import Port
from .rtp import Shape
from .sink import Sink
from .source import Source
from .taps import Tap

_ShapeKey = tuple[int, int | None, str, tuple[tuple[Extension, int], ...]]


class Wiring:
    def __init__(
        self, layers: Layers, moment: Moment, stats: PlaneStats, tap_out: Callable[[TapItem], None]
    ) -> None:  # fmt: skip
        self._layers = layers
        self._moment = moment
        self._stats = stats
        self._tap_out = tap_out
        self.ports: dict[int, Port] = {}
        self.sources: dict[int, Source] = {}
        self.sinks: dict[int, Sink] = {}
        self.taps: dict[int, Tap] = {}
        self._shapes: dict[_ShapeKey, Shape] = {}

    # --- commands -----------------------------------------------------------------------------------------------

    def apply(self, command: Command, peer: Peer | None) -> bool:
        """Carry one command out; ``False``, and nothing done, for one that adds what is there already or names what is
        not."""
        match command:
            case AddSource():
                return peer is not None and self._add_source(command, peer)
            case AddSink():
                return peer is not None and self._add_sink(command, peer)
            case AddTap():
                return self._add_tap(command)
            case BindSink():
                return self._rebind(command)
            case SetLayer():
                return self._set_layer(command)
            case RemoveSource():
                return self._remove_source(command.source)
            case RemoveSink():
                return self._remove_sink(command.sink)
            case RequestKeyframe():
                return self._request_keyframe(command.source)
            case _:
                return False

    def _port(self, peer: Peer) -> Port:
        port = self.ports.get(peer.id)
        if port is None:
            port = self.ports[peer.id] = Port(peer, self._moment.mono_ns)
        return port

    def _add_source(self, command: AddSource, peer: Peer) -> bool:
        if command.source in self.sources:
            return False
        port = self._port(peer)
        self.sources[command.source] = port.sources[command.source] = Source(command, port)
        self._count()
        return True

    def _add_sink(self, command: AddSink, peer: Peer) -> bool:
        port = self._port(peer)
        if command.sink in self.sinks or command.sink in self.taps or command.ssrc in port.sinks:
            return False
        shapes: dict[str, Shape] = {}
        for codec in command.codecs:
            shapes.setdefault(codec.name, self._shape(codec, command))
        sink = self.sinks[command.sink] = port.sinks[command.ssrc] = Sink(command, port, shapes)
        self._bind(sink, command.source)
        self._count()
        return True

    def _add_tap(self, command: AddTap) -> bool:
        if command.tap in self.taps or command.tap in self.sinks:
            return False
        tap = self.taps[command.tap] = Tap(command, self._tap_out)
        self._bind(tap, command.source)
        return True

    def _shape(self, codec: Codec, command: AddSink) -> Shape:
        """One object for all sinks that are alike: that is what makes them a group."""
        key = codec.payload_type, codec.rtx_payload_type, command.mid, tuple(sorted(command.extensions.items()))
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = Shape(key[0], key[1], command.mid, command.extensions)
        return shape

    def _bind(self, follower: Sink | Tap, source_id: int | None) -> None:
        source = self.sources.get(source_id) if source_id is not None else None
        if source is not None:
            self._layers.bind(follower, source, self._moment.mono_ns)

    def _rebind(self, command: BindSink) -> bool:
        follower = self.sinks.get(command.sink) or self.taps.get(command.sink)
        if follower is None:
            return False
        if follower.source is None or follower.source.id != command.source:
            self._layers.unbind(follower)
            self._bind(follower, command.source)
        return True

    def _set_layer(self, command: SetLayer) -> bool:
        sink = self.sinks.get(command.sink)
        if sink is None:
            return False
        sink.paused = command.rid is None
        if sink.paused:
            self._layers.leave(sink)
            self._layers.tell_paused(sink)
        else:
            sink.rid = command.rid
            self._layers.settle(sink, self._moment.mono_ns)
        return True

    def _request_keyframe(self, source_id: int) -> bool:
        source = self.sources.get(source_id)
        for stream in source.streams.values() if source is not None else ():
            if stream.alive and not stream.audio:
                stream.requests.want()
        return source is not None

    # --- ends ---------------------------------------------------------------------------------------------------

    def _remove_source(self, source_id: int) -> bool:
        source = self.sources.pop(source_id, None)
        if source is None:
            return False
        self._layers.unbind_all(source)
        port = self.ports[source.line.peer.id]
        port.drop_source(source)
        self._forget_if_empty(port)
        return True

    def _remove_sink(self, sink_id: int) -> bool:
        tap = self.taps.pop(sink_id, None)
        if tap is not None:
            self._layers.unbind(tap)
            return True
        sink = self.sinks.pop(sink_id, None)
        if sink is None:
            return False
        self._layers.unbind(sink)
        port = self.ports[sink.line.peer.id]
        del port.sinks[sink.ssrc]
        self._forget_if_empty(port)
        return True

    def _forget_if_empty(self, port: Port) -> None:
        if port.empty:
            self.ports.pop(port.peer.id, None)
        self._count()

    def forget(self, peer: Peer) -> None:
        """The peer has gone: so have its sources and sinks."""
        port = self.ports.get(peer.id)
        if port is None:
            return
        for sink in tuple(port.sinks.values()):
            self._remove_sink(sink.id)
        for source_id in tuple(port.sources):
            self._remove_source(source_id)
        self.ports.pop(peer.id, None)

    def _count(self) -> None:
        self._stats.sources, self._stats.sinks = len(self.sources), len(self.sinks)
