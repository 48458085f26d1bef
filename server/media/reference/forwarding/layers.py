"""Who follows which stream: choice of a layer, start from the cache or at a keyframe, switch, pause, fall-back."""

from __future__ import annotations

from collections.abc import Callable

from ...plane import Event, PlaneStats, SinkLayer, SinkLive
from .audience import Audience
from .bursts import Bursts
from .clock import Moment
from .history import Packet
from .sender import Sender
from .sink import Sink
from .source import Source
from .streams import Stream
from .taps import Tap


class Layers:
    """Moves sinks and taps between streams.

    Whoever is in a stream's audience is bound to that stream's source, so that a stream whose source has been settled
    after its end has no audience left.
    """

    def __init__(
        self, sender: Sender, emit: Callable[[Event], None], stats: PlaneStats, moment: Moment
    ) -> None:  # fmt: skip
        self._sender = sender
        self._emit = emit
        self._drops = stats.drops
        self._moment = moment
        self._audiences: dict[Stream, Audience] = {}
        self._bound: dict[Source, dict[Sink | Tap, None]] = {}
        self.bursts = Bursts(self._send_backlog)

    # --- who is there -------------------------------------------------------------------------------------------

    def audience(self, stream: Stream) -> Audience | None:
        """``None`` where nobody has taken or awaited the stream so far."""
        return self._audiences.get(stream)

    def is_followed(self, stream: Stream) -> bool:
        audience = self._audiences.get(stream)
        return audience is not None and audience.present

    def is_bound(self, source: Source) -> bool:
        """Whether anybody would follow a stream of this source."""
        return bool(self._bound.get(source))

    def bind(self, follower: Sink | Tap, source: Source, now: int) -> None:
        follower.source = source
        self._bound.setdefault(source, {})[follower] = None
        self.settle(follower, now)

    def unbind(self, follower: Sink | Tap) -> None:
        self.leave(follower)
        source, follower.source = follower.source, None
        if source is not None:
            self._bound[source].pop(follower, None)

    def unbind_all(self, source: Source) -> None:
        """The source is gone, and its streams with it."""
        for follower in tuple(self._bound.get(source, ())):
            self.unbind(follower)
        self._bound.pop(source, None)
        for stream in source.streams.values():
            self.end(stream)

    def end(self, stream: Stream) -> None:
        """Close a stream that nobody follows any more."""
        stream.close()
        self._audiences.pop(stream, None)

    def touch(self, sink: Sink) -> None:
        """The sink's address or key has changed."""
        stream = sink.stream
        audience = self._audiences.get(stream) if stream is not None else None
        if stream is not None and audience is not None:
            audience.touch(sink, stream.codec.name)

    def _audience(self, stream: Stream) -> Audience:
        found = self._audiences.get(stream)
        if found is None:
            found = self._audiences[stream] = Audience()
        return found

    def _await(self, follower: Sink | Tap, stream: Stream) -> None:
        self._audience(stream).waiting[follower] = None
        follower.waiting = stream

    def _unwait(self, follower: Sink | Tap) -> None:
        stream, follower.waiting = follower.waiting, None
        audience = self._audiences.get(stream) if stream is not None else None
        if audience is not None:
            audience.waiting.pop(follower, None)

    # --- choice -------------------------------------------------------------------------------------------------

    def settle(self, follower: Sink | Tap, now: int) -> None:
        """Bring a follower to the stream that it should have, as far as that is possible now."""
        stream = self._choice(follower)
        if stream is not None and stream is follower.waiting:
            return
        self._unwait(follower)
        current = follower.stream
        if current is not None and current.closed:
            self.leave(follower)
        if stream is None or follower.stream is stream:
            return
        if follower.span is None and self._start_from_cache(follower, stream, now):
            return
        self._await(follower, stream)
        if not stream.audio:
            stream.requests.want()

    def settle_all(self, source: Source, now: int) -> None:
        """After a layer has come, gone, or grown past another."""
        for follower in tuple(self._bound.get(source, ())):
            self.settle(follower, now)

    def _choice(self, follower: Sink | Tap) -> Stream | None:
        source = follower.source
        if source is None:
            return None
        if isinstance(follower, Tap):
            stream = source.best(follower.stream)
            return stream if stream is not None and stream.codec.name in follower.payload_types else None
        if follower.paused or not follower.line.peer.ready:
            return None
        stream = source.choose(follower.rid, follower.stream)
        return stream if stream is not None and stream.codec.name in follower.shapes else None

    # --- start and stop -----------------------------------------------------------------------------------------

    def leave(self, follower: Sink | Tap) -> None:
        """Follow nothing for now."""
        self._unwait(follower)
        stream = follower.stream
        audience = self._audiences.get(stream) if stream is not None else None
        if stream is not None and audience is not None:
            audience.leave(follower, stream.codec.name)
        follower.stop()

    def _start_from_cache(self, follower: Sink | Tap, stream: Stream, now: int) -> bool:
        """Serve the cached group as a backlog. Not when there is none, or when time would have to run backwards."""
        keyframe = stream.history.keyframe
        if stream.audio or keyframe is None:
            return False
        if isinstance(follower, Tap):
            if not follower.start(stream, keyframe, live=False, squeeze=False):
                return False
            follower.clock(self._moment.wall_ns)
            follower.catch_up()
            self._audience(stream).taps[follower] = None
            return True
        if not follower.start(stream, keyframe, live=False, squeeze=True):
            return False
        follower.started_ns = now
        self.bursts.add(follower)
        return True

    def start_waiting(self, stream: Stream, packet: Packet, now: int) -> None:
        """A keyframe begins with ``packet`` (or any packet of voice): those that wait go over to it."""
        audience = self._audience(stream)
        live = packet is stream.history.head
        for follower in tuple(audience.waiting):
            self.leave(follower)
            if isinstance(follower, Tap):
                self._start_tap(follower, stream, packet, live)
            elif not follower.start(stream, packet, live=live, squeeze=True):
                self._await(follower, stream)
                stream.requests.want()
            elif live:
                audience.join(follower, follower.shapes[stream.codec.name])
                self._tell(follower)
            else:
                follower.started_ns = now
                self.bursts.add(follower)

    def _start_tap(self, tap: Tap, stream: Stream, packet: Packet, live: bool) -> None:
        if not tap.start(stream, packet, live=live, squeeze=False):
            self._await(tap, stream)
            return
        tap.clock(self._moment.wall_ns)
        self._audience(stream).taps[tap] = None
        if not live:
            tap.catch_up()

    # --- backlog ------------------------------------------------------------------------------------------------

    def _send_backlog(self, sink: Sink, count: int) -> int:
        """Up to ``count`` packets of a sink's backlog; at its end the sink joins the live group."""
        span, position = sink.span, sink.position
        if span is None or position is None:
            return 0
        history = span.stream.history
        head, keyframe = history.head, history.keyframe
        if head is None or position < history.tail or span.stream.closed:
            self._dropped(head.sequence - position + 1 if head is not None else 0)
            self.leave(sink)
            self.settle(sink, head.mono_ns if head is not None else 0)
            return 0
        if keyframe is not None and keyframe.sequence > position and sink.latest is not None:
            self._dropped(sink.jump(keyframe))
            position = keyframe.sequence
        sent, last = 0, head.sequence
        while sent < count and position <= last:
            packet = history.get(position)
            position += 1
            if packet is not None:
                self._sender.one(sink, packet)
                sink.latest = packet
                sent += 1
        sink.position = position
        if sent:
            self._tell(sink)
        if position > last:
            sink.position = None
            self._audience(span.stream).join(sink, sink.shapes[span.stream.codec.name])
        return sent

    def _dropped(self, packets: int) -> None:
        self._drops["burst"] += packets

    # --- events -------------------------------------------------------------------------------------------------

    def _tell(self, sink: Sink) -> None:
        span = sink.span
        if span is None:
            return
        if not sink.live_told:
            sink.live_told = True
            sink.line.report_soon(self._moment.mono_ns)
            self._emit(SinkLive(sink.id, self._moment.wall_ns))
        if sink.kind == "video" and sink.layer_told != span.stream.rid:
            sink.layer_told = span.stream.rid
            self._emit(SinkLayer(sink.id, span.stream.rid, self._moment.wall_ns))

    def tell_paused(self, sink: Sink) -> None:
        if sink.kind == "video" and sink.layer_told is not None:
            sink.layer_told = None
            self._emit(SinkLayer(sink.id, None, self._moment.wall_ns))
