"""RTCP in: what publishers say of their clocks, what subscribers say of loss, and what they want again."""

from __future__ import annotations

from typing import Final

from ...plane import PlaneStats
from ..limits import BLACK_NS, KEYFRAME_GRACE_NS, NACK_PER_SINK
from . import rtcp
from .clock import SenderClock
from .layers import Layers
from .ports import Port
from .sender import Sender
from .sink import Sink

_GUESSED_RTT_NS: Final = 100_000_000
_FLYING_NS: Final = 300_000_000
_LONGEST_RTT_NS: Final = 10_000_000_000
_MOST_REMB: Final = 1 << 40


class Feedback:
    """Applies parsed RTCP to a port."""

    def __init__(self, sender: Sender, layers: Layers, stats: PlaneStats) -> None:
        self._sender = sender
        self._layers = layers
        self._counters = stats.counters
        self._read: dict[Sink, int] = {}
        """Sequence numbers read from NACKs since the last tick."""

    def tick(self) -> None:
        self._read.clear()

    def take(self, port: Port, data: bytes, now: int, wall_ns: int) -> None:
        """One clear compound packet. Never raises for what it holds."""
        for item in rtcp.parse(data):
            if isinstance(item, rtcp.Nack):
                self._resend(port, item, now)
            elif isinstance(item, rtcp.ReportBlock):
                self._read_block(port, item, now)
            elif isinstance(item, rtcp.KeyframeWanted):
                self._want_keyframe(port, item.ssrc, now)
            elif isinstance(item, rtcp.Remb):
                port.remb = min(item.bitrate, _MOST_REMB)
            elif isinstance(item, rtcp.SenderReport):
                self._read_clock(port, item, now, wall_ns)

    def _read_clock(self, port: Port, report: rtcp.SenderReport, now: int, wall_ns: int) -> None:
        route = port.routes.get(report.ssrc)
        if route is None or route.stream is None or route.rtx or not report.ntp:  # 0: a sender without a clock
            return
        stream = route.stream
        stream.clock = clock = SenderClock(report.ntp, report.rtp, now, stream.codec.clock_rate)
        port.clock_offset_ns = clock.ntp_ns - wall_ns
        audience = self._layers.audience(stream)
        for tap in audience.taps if audience is not None else ():
            tap.clock(wall_ns)

    def _read_block(self, port: Port, block: rtcp.ReportBlock, now: int) -> None:
        sink = port.sinks.get(block.ssrc)
        if sink is None:
            return
        before = sink.fraction
        black = sink.kind == "video" and before is not None and now - before[1] > BLACK_NS
        sink.fraction = (0 if black else block.fraction), now
        for lsr, left_ns in sink.last_report:
            if lsr == block.lsr:
                rtt = now - left_ns - block.dlsr * 1_000_000_000 // 65536
                if 0 <= rtt < _LONGEST_RTT_NS:
                    port.rtt_ns = max(rtt, 1)

    def _want_keyframe(self, port: Port, ssrc: int, now: int) -> None:
        sink = port.sinks.get(ssrc)
        if sink is None or sink.kind == "audio":
            return
        self._counters["keyframe_in"] += 1
        stream = sink.stream
        if stream is None or sink.position is not None or now - sink.started_ns < KEYFRAME_GRACE_NS:
            return  # it waits for one already, or has one on its way
        keyframe = stream.history.keyframe
        if keyframe is not None and now - keyframe.mono_ns < min(port.rtt_ns or _GUESSED_RTT_NS, _FLYING_NS):
            return
        stream.requests.want()

    def _resend(self, port: Port, item: rtcp.Nack, now: int) -> None:
        """RTX from the one store, within the sink's allowance. A sink without RTX gets nothing: libsrtp does not
        send a number twice, and a keyframe will heal the picture."""
        sink = port.sinks.get(item.ssrc)
        if sink is None:
            return
        counters = self._counters
        counters["nack_in"] += len(item.sequences)
        read = self._read.get(sink, 0)
        sequences = item.sequences[: max(0, NACK_PER_SINK - read)]
        self._read[sink] = read + len(sequences)
        counters["rtx_refused"] += len(item.sequences) - len(sequences)
        if sink.rtx_ssrc is None:
            return
        sink.allowance.earn(sink.sent[2])
        rtt_ns = port.rtt_ns or _GUESSED_RTT_NS
        for sequence in sequences:
            self._resend_one(sink, sequence, now, rtt_ns)

    def _resend_one(self, sink: Sink, sequence: int, now: int, rtt_ns: int) -> None:
        found = sink.find(sequence)
        if found is None:
            return
        span, packet = found
        if packet is None:  # lost before us, or forgotten
            return
        if not sink.allowance.afford(len(packet.payload)) or not sink.may_resend(sequence, now, rtt_ns):
            self._counters["rtx_refused"] += 1
            return
        octets = self._sender.again(sink, span, packet, sequence)
        sink.allowance.spend(octets)
        if octets:
            self._counters["rtx_out"] += 1
