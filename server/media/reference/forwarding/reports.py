"""What goes out once a second to each peer: receiver reports and REMB to publishers, sender reports to subscribers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...plane import Event, LineReport
from ..limits import REMB_CAP, REMB_FLOOR, SECOND_NS
from . import rtcp
from .ports import Port
from .sender import Sender
from .sink import Sink
from .streams import Stream

OUR_SSRC: Final = 1
"""The sender of our feedback. It never sends media, so that it cannot collide in any way that matters."""

_BLOCKS: Final = 31
_SINKS: Final = 4
"""Sender reports in one datagram: with the longest CNAMEs (255 octets) four fit."""

_LOSSY: Final = 0.10
_CLEAN: Final = 0.02
_REMEMBERED: Final = 3


class Reports:
    """Builds and sends the second's reports of one peer."""

    def __init__(self, sender: Sender, emit: Callable[[Event], None]) -> None:
        self._sender = sender
        self._emit = emit

    def to_publisher(self, port: Port, now: int) -> None:
        """RR with a block per living stream, and REMB. Nothing before the first packet."""
        streams = [
            stream for source in port.sources.values() for stream in source.streams.values() if stream.alive
        ][:_BLOCKS]  # fmt: skip
        if not streams:
            return
        blocks = [stream.report_block(now) for stream in streams]
        bitrate = self._estimate(port, max(block.fraction for block in blocks) / 256, streams)
        compound = rtcp.receiver_report(OUR_SSRC, blocks)
        compound += rtcp.remb(OUR_SSRC, bitrate, [stream.ssrc for stream in streams if not stream.audio])
        self._sender.rtcp(port, compound)

    def _estimate(self, port: Port, loss: float, streams: list[Stream]) -> int:
        """A generous cap, and below it what loss leaves: the publisher's own controller does the fine work."""
        before = port.remb_sent or REMB_CAP
        if loss > _LOSSY:
            came = sum(stream.bitrate for stream in streams) or before
            before = int(min(before, came) * (1 - loss / 2))
        elif loss < _CLEAN:
            before = before * 9 // 8
        port.remb_sent = max(REMB_FLOOR, min(REMB_CAP, before))
        return port.remb_sent

    def to_subscriber(self, port: Port, now: int, wall_ns: int) -> None:
        """SR and SDES of every sink that sends, and the line's report to whoever decides layers."""
        sinks = list(port.sinks.values())
        sending = [sink for sink in sinks if sink.span is not None and sink.sent[0]]
        for start in range(0, len(sending), _SINKS):
            part = sending[start : start + _SINKS]
            reports = b"".join(rtcp.sender_report(self._sender_report(sink, now, wall_ns)) for sink in part)
            names = rtcp.source_description((sink.ssrc, sink.cname) for sink in part)
            self._sender.rtcp(port, reports + names)
        if now - port.sent_ns >= SECOND_NS:
            self._emit(self._line(port, sinks, now, wall_ns))

    def _sender_report(self, sink: Sink, now: int, wall_ns: int) -> rtcp.SenderReport:
        """The publisher's clock against the sink's RTP time, at this moment (RFC 3550, 6.4.1)."""
        span = sink.span
        assert span is not None
        ntp_ns, timestamp = publisher_time(span.stream, now, wall_ns)
        ntp = rtcp.ntp_from_ns(ntp_ns)
        sink.last_report = [*sink.last_report[1 - _REMEMBERED :], (ntp >> 16 & 0xFFFFFFFF, now)]
        packets, octets, _ = sink.sent
        return rtcp.SenderReport(sink.ssrc, ntp, timestamp + span.timestamp_offset & 0xFFFFFFFF, packets, octets)

    def _line(self, port: Port, sinks: list[Sink], now: int, wall_ns: int) -> LineReport:
        sent = 0
        loss = {"audio": -1, "video": -1}
        for sink in sinks:
            media = sink.sent[2]
            sink.allowance.second(media)
            sent += media + sink.rtx_octets
            if sink.fraction is not None and now - sink.fraction[1] <= 2 * SECOND_NS:
                loss[sink.kind] = max(loss[sink.kind], sink.fraction[0])
        elapsed = max(now - port.sent_ns, 1)
        bitrate = max(0, sent - port.sent_before) * 8_000_000_000 // elapsed
        port.sent_before, port.sent_ns = sent, now
        worst = loss["video"] if loss["video"] >= 0 else loss["audio"]
        rtt_ms = port.rtt_ns / 1e6 if port.rtt_ns else None
        return LineReport(port.peer.id, port.remb, max(worst, 0) / 256, rtt_ms, bitrate, wall_ns)


def publisher_time(stream: Stream, now: int, wall_ns: int) -> tuple[int, int]:
    """The publisher's wall clock (Unix ns) and the stream's RTP time now.

    Before the stream's first sender report the time of arrival stands in, moved by what other streams of the same
    publisher told of its clock, so that voice and picture agree even if only one of them has reported.
    """
    if stream.clock is not None:
        return stream.clock.now(now)
    head = stream.history.head
    rate = stream.codec.clock_rate
    timestamp = head.timestamp + (now - head.mono_ns) * rate // 1_000_000_000 if head is not None else 0
    return wall_ns + (stream.line.clock_offset_ns or 0), timestamp & 0xFFFFFFFF
