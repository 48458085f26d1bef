"""Taps: clear RTP for a consumer on this machine, always of the best living layer, with every loss left visible."""

from __future__ import annotations

from collections.abc import Callable

from ...plane import AddTap, TapClock, TapItem, TapPacket
from .follower import Follower
from .history import Packet
from .rtp import FIXED
from .vp8 import renumber


class Tap(Follower):
    """State of an ``AddTap``. Takes what it is given at once; the queue behind ``out`` is bounded by its owner."""

    __slots__ = ("id", "out", "payload_types", "ssrc")

    def __init__(self, command: AddTap, out: Callable[[TapItem], None]) -> None:
        super().__init__()
        self.id = command.tap
        self.ssrc = command.ssrc
        self.payload_types = {codec.name: codec.payload_type for codec in reversed(command.codecs)}
        self.out = out

    def take(self, packet: Packet) -> None:
        """One packet of the stream that is followed, in order or (recovered) out of order."""
        span = self.span
        if span is None or packet.sequence < span.first:
            return
        payload = packet.payload
        if packet.vp8 is not None and (span.picture_offset or span.tl0_offset):
            payload = renumber(payload, packet.vp8, span.picture_offset, span.tl0_offset)
        header = FIXED.pack(
            0x80,
            packet.marker | self.payload_types[span.stream.codec.name],
            packet.sequence + span.sequence_offset & 0xFFFF,
            span.timestamp(packet.timestamp),
            self.ssrc,
        )
        self.out(TapPacket(self.id, packet.wall_ns, header + payload))

    def catch_up(self) -> None:
        """Take the backlog in one go: a function call a packet, no line to be careful with."""
        span, position = self.span, self.position
        if span is None or position is None:
            return
        history = span.stream.history
        head = history.head
        for number in range(position, head.sequence + 1 if head is not None else position):
            packet = history.get(number)
            if packet is not None:
                self.take(packet)
        self.position = None

    def clock(self, arrival_ns: int) -> None:
        """Pass the publisher's last sender report on, in the tap's RTP time."""
        span = self.span
        if span is None or span.stream.clock is None:
            return
        clock = span.stream.clock
        self.out(TapClock(self.id, clock.rtp + span.timestamp_offset & 0xFFFFFFFF, clock.ntp_ns, arrival_ns))
