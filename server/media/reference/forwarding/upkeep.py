"""What is due with time: NACKs and keyframe requests to publishers, the life of layers, and the second's reports."""

from __future__ import annotations

from collections.abc import Callable

from ...plane import Event, PlaneStats, SourceLayers, SourceSilent
from ..limits import FEEDBACK_OCTETS, LIFE_NS, SECOND_NS, TICK_NS
from . import rtcp
from .clock import Moment
from .layers import Layers
from .ports import Port
from .reports import OUR_SSRC, Reports
from .sender import Sender
from .source import Source
from .streams import Stream
from .wiring import Wiring


class Upkeep:
    def __init__(
        self,
        wiring: Wiring,
        layers: Layers,
        sender: Sender,
        emit: Callable[[Event], None],
        moment: Moment,
        stats: PlaneStats,
    ) -> None:
        self._wiring = wiring
        self._layers = layers
        self._sender = sender
        self._reports = Reports(sender, emit)
        self._emit = emit
        self._moment = moment
        self._counters = stats.counters
        self._tick_at = self._life_at = 0

    def tick(self) -> bool:
        """Do what is due; whether the time for that had come."""
        now = self._moment.mono_ns
        if now < self._tick_at:
            return False
        self._tick_at = now + TICK_NS
        if now >= self._life_at:
            self._life_at = now + LIFE_NS
            for source in tuple(self._wiring.sources.values()):
                self._check_life(source)
        for port in tuple(self._wiring.ports.values()):
            if port.sources:
                self._ask(port)
            if now >= port.due_ns:
                self._report(port)
        return True

    # --- publishers ---------------------------------------------------------------------------------------------

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
            if not stream.audio and self._layers.is_followed(stream):
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
            if stream.alive and not stream.audio and self._layers.is_followed(stream) and stream.needs_keyframe(now):
                stream.requests.want()
        if not changed:
            return
        self._layers.settle_all(source, now)
        if source.living():
            self.announce(source)
        elif not source.silent:
            source.silent = True
            self._emit(SourceSilent(source.id, self._moment.wall_ns))

    def announce(self, source: Source) -> None:
        """Tell of a source's layers: when they change, and once a second."""
        if not source.announced:
            source.announced = True
            source.line.report_soon(self._moment.mono_ns)
        source.silent = False
        self._emit(SourceLayers(source.id, source.codec_name, source.layers(), self._moment.wall_ns))

    # --- reports ------------------------------------------------------------------------------------------------

    def _report(self, port: Port) -> None:
        now, wall_ns = self._moment.mono_ns, self._moment.wall_ns
        port.due_ns += SECOND_NS
        if port.due_ns <= now:
            port.due_ns = now + SECOND_NS
        if port.sources:
            for source in port.sources.values():
                self._measure(source, now)
            self._reports.to_publisher(port, now)
        if port.sinks and port.peer.ready:
            self._reports.to_subscriber(port, now, wall_ns)

    def _measure(self, source: Source, now: int) -> None:
        alive = [stream for stream in source.streams.values() if stream.alive]
        for stream in alive:
            stream.measure(now)
        if alive:
            self.announce(source)
        if len(alive) > 1:
            self._layers.settle_all(source, now)
