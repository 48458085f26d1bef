"""Who follows which stream: choice of a layer, start from the cache or at a keyframe, switch, pause, fall-back."""

from __future__ import annotations

from collections.abc import Callable

from ..plane import Event, PlaneStats, SinkLayer, SinkLive
from .bursts import Bursts
from .clock import Moment
from .history import Packet
from .sender import Sender
from .sink import Sink
from .source import Source
from .streams import Stream
from .taps import Tap


class Layers:
    """Moves sinks and taps between streams."""

    def __init__(
        self, sender: Sender, emit: Callable[[Event], None], stats: PlaneStats, moment: Moment
    ) -> None:  # fmt: skip
        self._sender = sender
        self._emit = emit
        self._drops = stats.drops
        self._moment = moment
        self.bursts = Bursts(self._send_backlog)

    # --- choice -------------------------------------------------------------------------------------------------

    def settle(self, follower: Sink | Tap, now: int) -> None:
        """Bring a follower to the stream that it should have, as far as that is possible now."""
        stream = self._choice(follower)
        if stream is not None and stream is follower.waiting:
            return
        unwait(follower)
        current = follower.stream
        if current is not None and current.closed:
            self.leave(follower)
        if stream is None or follower.stream is stream:
            return
        if follower.span is None and self._start_from_cache(follower, stream, now):
            return
        stream.waiting[follower] = None
        follower.waiting = stream
        if not stream.audio:
            stream.requests.want()

    def settle_all(self, source: Source, now: int) -> None:
        """After a layer has come, gone, or grown past another."""
        for follower in tuple(source.followers):
            self.settle(follower, now)

    def _choice(self, follower: Sink | Tap) -> Stream | None:
        source = follower.source
        if source is None:
            return None
        if isinstance(follower, Tap):
            stream = source.best(follower.stream)
            return stream if stream is not None and stream.codec.name in follower.payload_types else None
        if follower.paused or not follower.port.peer.ready:
            return None
        stream = source.choose(follower.rid, follower.stream)
        return stream if stream is not None and stream.codec.name in follower.shapes else None

    # --- start and stop -----------------------------------------------------------------------------------------

    def leave(self, follower: Sink | Tap) -> None:
        """Follow nothing for now."""
        unwait(follower)
        if isinstance(follower, Sink):
            follower.leave()
        else:
            if follower.stream is not None:
                follower.stream.taps.pop(follower, None)
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
            stream.taps[follower] = None
            return True
        if not follower.start(stream, keyframe, live=False, squeeze=True):
            return False
        follower.started_ns = now
        self.bursts.add(follower)
        return True

    def start_waiting(self, stream: Stream, packet: Packet, now: int) -> None:
        """A keyframe begins with ``packet`` (or any packet of voice): those that wait go over to it."""
        live = packet is stream.history.head
        for follower in tuple(stream.waiting):
            del stream.waiting[follower]
            follower.waiting = None
            self.leave(follower)
            if isinstance(follower, Tap):
                self._start_tap(follower, stream, packet, live)
            elif not follower.start(stream, packet, live=live, squeeze=True):
                stream.waiting[follower] = None
                follower.waiting = stream
                stream.requests.want()
            elif live:
                follower.join(stream.group(follower.shapes[stream.codec.name]))
                self._tell(follower)
            else:
                follower.started_ns = now
                self.bursts.add(follower)

    def _start_tap(self, tap: Tap, stream: Stream, packet: Packet, live: bool) -> None:
        if not tap.start(stream, packet, live=live, squeeze=False):
            stream.waiting[tap] = None
            tap.waiting = stream
            return
        tap.clock(self._moment.wall_ns)
        stream.taps[tap] = None
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
            sink.join(span.stream.group(sink.shapes[span.stream.codec.name]))
        return sent

    def _dropped(self, packets: int) -> None:
        self._drops["burst"] = self._drops.get("burst", 0) + packets

    # --- events -------------------------------------------------------------------------------------------------

    def _tell(self, sink: Sink) -> None:
        span = sink.span
        if span is None:
            return
        if not sink.live_told:
            sink.live_told = True
            sink.port.report_soon(self._moment.mono_ns)
            self._emit(SinkLive(sink.id, self._moment.wall_ns))
        if sink.kind == "video" and sink.layer_told != span.stream.rid:
            sink.layer_told = span.stream.rid
            self._emit(SinkLayer(sink.id, span.stream.rid, self._moment.wall_ns))

    def tell_paused(self, sink: Sink) -> None:
        if sink.kind == "video" and sink.layer_told is not None:
            sink.layer_told = None
            self._emit(SinkLayer(sink.id, None, self._moment.wall_ns))


def unwait(follower: Sink | Tap) -> None:
    """No longer await another stream."""
    if follower.waiting is not None:
        follower.waiting.waiting.pop(follower, None)
        follower.waiting = None
