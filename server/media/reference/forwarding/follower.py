"""What sinks and taps share: one continuous outgoing RTP stream made of pieces ("spans") of incoming ones.

The single invariant: *out = in + offset within a span; offsets change only where a span begins.* So an outgoing number
leads back to the packet it stands for without any list, and a hundred followers of a stream differ by constants only.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from ..limits import SPANS, SQUEEZE
from .history import Packet
from .rtp import distance, distance32
from .source import Source
from .streams import Stream


class Span:
    """The offsets of one stretch of one stream.

    ``pivot`` is the source timestamp up to which time is squeezed (see ``limits.SQUEEZE``), ``live_from`` the source
    sequence number from which it is not any more.
    """

    __slots__ = (
        "first", "live_from", "picture_offset", "pivot", "sequence_offset", "stream", "timestamp_offset", "tl0_offset",
    )  # fmt: skip

    def __init__(self, stream: Stream, first: int, sequence_offset: int, timestamp_offset: int) -> None:
        self.stream = stream
        self.first = first
        self.sequence_offset = sequence_offset  # to extended outgoing numbers
        self.timestamp_offset = timestamp_offset
        self.picture_offset = 0
        self.tl0_offset = 0
        self.pivot: int | None = None
        self.live_from = first

    def timestamp(self, timestamp: int) -> int:
        """Outgoing RTP time of a source's."""
        if self.pivot is not None:
            behind = distance32(self.pivot, timestamp)
            if behind > 0:
                return self.pivot - behind // SQUEEZE + self.timestamp_offset & 0xFFFFFFFF
        return timestamp + self.timestamp_offset & 0xFFFFFFFF


class Last(NamedTuple):
    """The last packet before a break, in outgoing numbers: what the next span must go on from."""

    sequence: int  # extended
    timestamp: int
    mono_ns: int
    picture: int | None
    tl0: int | None
    span: Span


class Follower:
    """A continuous outgoing stream. ``position`` is the next source number of a backlog, ``None`` when live."""

    __slots__ = ("last", "latest", "position", "source", "span", "spans", "waiting")

    def __init__(self) -> None:
        self.source: Source | None = None
        """Whose streams it is to follow."""
        self.waiting: Stream | None = None
        """The stream that it goes over to at the next keyframe."""
        self.span: Span | None = None
        self.spans: list[Span] = []
        self.position: int | None = None
        self.latest: Packet | None = None
        """The last packet that left of a backlog."""
        self.last: Last | None = None

    @property
    def stream(self) -> Stream | None:
        return self.span.stream if self.span is not None else None

    def start(self, stream: Stream, first: Packet, *, live: bool, squeeze: bool) -> bool:
        """Follow ``stream`` from ``first`` on, which may lie behind the stream's head.

        ``live``: ``first`` is the head and is being forwarded now; else it is served as a backlog. ``False``, and
        nothing changed, when time would run backwards: then only a keyframe still to come will do.
        """
        head = stream.history.head or first
        last = self.last
        backlog = first is not head
        if last is None:
            offset, time_offset = random.randrange(1, 1 << 14) - first.sequence, 0
        else:
            offset = last.sequence + 1 - first.sequence
            head_out = _aligned(last, stream, head)
            behind = distance32(head.timestamp, first.timestamp)
            ahead = distance32(head_out - (behind // SQUEEZE if squeeze else behind), last.timestamp)
            if ahead <= 0:
                if backlog:
                    return False
                head_out += 1 - ahead
            time_offset = head_out - head.timestamp & 0xFFFFFFFF
        span = Span(stream, first.sequence, offset, time_offset)
        if last is not None and first.vp8 is not None and last.picture is not None and last.tl0 is not None:
            span.picture_offset = last.picture + 1 - first.vp8.picture & 0x7FFF
            span.tl0_offset = last.tl0 + 1 - first.vp8.tl0 & 0xFF
        if backlog:
            span.live_from = head.sequence + 1
            if squeeze:
                span.pivot = head.timestamp
        self._push(span)
        self.position = None if live else first.sequence
        self.latest = None
        return True

    def jump(self, packet: Packet) -> int:
        """Leave out the rest of the backlog before ``packet`` (a keyframe); how many numbers were left out."""
        span, position = self.span, self.position
        assert span is not None and position is not None
        left_out = packet.sequence - position
        new = Span(span.stream, packet.sequence, span.sequence_offset - left_out, span.timestamp_offset)
        new.pivot, new.live_from = span.pivot, span.live_from
        new.picture_offset, new.tl0_offset = span.picture_offset, span.tl0_offset
        if packet.vp8 is not None and self.latest is not None and self.latest.vp8 is not None:
            new.picture_offset = self.latest.vp8.picture + span.picture_offset + 1 - packet.vp8.picture & 0x7FFF
            new.tl0_offset = self.latest.vp8.tl0 + span.tl0_offset + 1 - packet.vp8.tl0 & 0xFF
        self._push(new)
        self.position = packet.sequence
        return left_out

    def stop(self) -> None:
        """Stop following, and remember where the next span must go on."""
        span = self.span
        if span is None:
            return
        self.span = None
        if self.position is None:
            packet, number = span.stream.history.head, None
        else:
            packet, number = self.latest, self.position - 1
        self.position = None
        self.latest = None
        if packet is None:  # nothing has left of this span
            self.spans.remove(span)
            return
        number = packet.sequence if number is None else number
        picture = tl0 = None
        if packet.vp8 is not None:
            picture = packet.vp8.picture + span.picture_offset
            tl0 = packet.vp8.tl0 + span.tl0_offset
        self.last = Last(
            number + span.sequence_offset, span.timestamp(packet.timestamp), packet.mono_ns, picture, tl0, span
        )

    def find(self, sequence: int) -> tuple[Span, Packet | None] | None:
        """The span and packet that an outgoing 16-bit sequence number stands for; ``None`` for what never left."""
        highest = self.highest()
        if highest is None:
            return None
        extended = highest + distance(sequence, highest & 0xFFFF)
        if extended > highest:
            return None
        for span in reversed(self.spans):
            if extended >= span.first + span.sequence_offset:
                return span, span.stream.history.get(extended - span.sequence_offset)
        return None

    def highest(self) -> int | None:
        """The highest extended number that has left; ``None`` before the first."""
        span = self.span
        if span is None:
            return self.last.sequence if self.last is not None else None
        if self.position is not None:
            return self.position - 1 + span.sequence_offset
        head = span.stream.history.head
        return span.sequence_offset + (head.sequence if head is not None else span.first)

    def _push(self, span: Span) -> None:
        self.span = span
        self.spans.append(span)
        del self.spans[:-SPANS]


def _aligned(last: Last, stream: Stream, head: Packet) -> int:
    """Outgoing RTP time of ``head`` of another stream: by the publisher's own clock where both streams have told it,
    else by the time that has gone by here."""
    before, offset = last.span.stream, last.span.timestamp_offset
    if before is stream:
        return head.timestamp + offset & 0xFFFFFFFF
    rate = stream.codec.clock_rate
    by_arrival = last.timestamp + (head.mono_ns - last.mono_ns) * rate // 1_000_000_000 & 0xFFFFFFFF
    if before.clock is not None and stream.clock is not None and before.line is stream.line:
        by_clock = before.clock.rtp_at(stream.clock.ns_at(head.timestamp)) + offset & 0xFFFFFFFF
        if abs(distance32(by_clock, by_arrival)) <= rate:  # a sender report that lies by a second is no help
            return by_clock
    return by_arrival
