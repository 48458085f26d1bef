"""From a stored packet to sealed datagrams: for a whole group, for one sink, or again as RTX (RFC 4588)."""

from __future__ import annotations

from ...plane import PlaneStats
from .egress import Egress
from .fanout import Group
from .follower import Span
from .history import Packet
from .line import Line
from .rtp import FIXED, HEADER, abs_send_time
from .sink import Sink
from .vp8 import renumber

_VERSION = 0x80
_VERSION_AND_EXTENSION = 0x90


class Sender:
    """Writes what the router decides to the egress. ``at`` must have been told the time before."""

    def __init__(self, egress: Egress, stats: PlaneStats) -> None:
        self._egress = egress
        self._counters = stats.counters
        self._send_time = b"\0\0\0"

    def at(self, wall_ns: int) -> None:
        self._send_time = abs_send_time(wall_ns)

    def fan_out(self, group: Group, packet: Packet, audio: bool) -> None:
        """One packet to every sink of a group."""
        shape, payload = group.shape, packet.payload
        block = shape.extensions(self._send_time, packet.level, packet.capture)
        first = _VERSION_AND_EXTENSION if block else _VERSION
        prepared = FIXED.pack(first, packet.marker | shape.payload_type, 0, 0, 0) + block + payload
        lanes = group.lanes()
        vp8 = packet.vp8 if group.renumber else None
        fan_out = self._egress.fan_out
        for part in lanes:
            fan_out(part, prepared, packet.sequence, packet.timestamp, audio, vp8, HEADER + len(block))
        group.tally.add(len(payload), len(prepared))

    def one(self, sink: Sink, packet: Packet) -> None:
        """One packet to one sink: of its backlog, or late."""
        span = sink.span
        if span is None:
            return
        shape = sink.shapes[span.stream.codec.name]
        sequence = packet.sequence + span.sequence_offset & 0xFFFF
        head = self._head(shape.payload_type, sink.ssrc, sequence, span, packet, sink)
        payload = _payload(span, packet)
        if self._send(sink.line, head, payload, sink.kind == "audio"):
            sink.count(len(payload), len(head) + len(payload))

    def again(self, sink: Sink, span: Span, packet: Packet, sequence: int) -> int:
        """The packet that left as ``sequence`` once more, as RTX; octets sent, 0 when nothing was."""
        shape = sink.shapes[span.stream.codec.name]
        if shape.rtx_payload_type is None or sink.rtx_ssrc is None:
            return 0
        rtx_sequence = sink.rtx_sequence
        head = self._head(shape.rtx_payload_type, sink.rtx_ssrc, rtx_sequence & 0xFFFF, span, packet, sink)
        payload = sequence.to_bytes(2, "big") + _payload(span, packet)
        if not self._send(sink.line, head, payload, False):
            return 0
        sink.rtx_sequence = rtx_sequence + 1
        sink.rtx_octets += len(head) + len(payload)
        return len(head) + len(payload)

    def _head(self, payload_type: int, ssrc: int, sequence: int, span: Span, packet: Packet, sink: Sink) -> bytes:
        block = sink.shapes[span.stream.codec.name].extensions(self._send_time, packet.level, packet.capture)
        first = _VERSION_AND_EXTENSION if block else _VERSION
        timestamp = span.timestamp(packet.timestamp)
        return FIXED.pack(first, packet.marker | payload_type, sequence, timestamp, ssrc) + block

    def _send(self, line: Line, head: bytes, payload: bytes, audio: bool) -> bool:
        peer = line.peer
        if peer.outbound is None or peer.sockaddr is None:
            return False
        return self._egress.packet(peer.sockaddr, peer.sockaddr_len, peer.outbound.session, head, payload, audio)

    def rtcp(self, line: Line, compound: bytes) -> None:
        """Seal and queue one compound packet."""
        peer = line.peer
        if peer.outbound is None or peer.sockaddr is None:
            return
        self._egress.ring.datagram(peer.sockaddr, peer.sockaddr_len, peer.outbound.protect_rtcp(compound))
        self._counters["rtcp_out"] += 1


def _payload(span: Span, packet: Packet) -> bytes:
    if packet.vp8 is None or not (span.picture_offset or span.tl0_offset):
        return packet.payload
    return renumber(packet.payload, packet.vp8, span.picture_offset, span.tl0_offset)
