"""The sinks of one stream that share a shape: what ``Egress.fan_out`` serves in one step."""

from __future__ import annotations

from ..limits import LANES
from .lanes import Lane, Lanes
from .rtp import Shape
from .sink import Sink, Tally


class Group:
    """Live sinks side by side."""

    __slots__ = ("_lanes", "_stale", "newest", "renumber", "shape", "sinks", "tally")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.sinks: list[Sink] = []
        self._lanes: list[Lanes] = []
        self._stale = False
        self.renumber = False
        """Whether any sink needs other VP8 picture numbers than the source's."""
        self.newest = 0
        """From this source number on a packet means the same to every sink; older ones go out one by one."""
        self.tally = Tally()
        """What each of them has been sent; a sink remembers what it stood at when it came."""

    def add(self, sink: Sink) -> None:
        self.sinks.append(sink)
        sink.join(self.tally)
        self._stale = True

    def remove(self, sink: Sink) -> None:
        self.sinks.remove(sink)
        sink.part()
        self._stale = True

    def touch(self) -> None:
        """An address or a key has changed."""
        self._stale = True

    def lanes(self) -> list[Lanes]:
        if self._stale:
            self._rebuild()
        return self._lanes

    def _rebuild(self) -> None:
        self._stale = False
        self.renumber = False
        self.newest = 0
        lanes = []
        for sink in self.sinks:
            span, peer = sink.span, sink.line.peer
            if span is None or peer.outbound is None or peer.sockaddr is None:
                continue
            self.newest = max(self.newest, span.live_from)
            self.renumber = self.renumber or bool(span.picture_offset or span.tl0_offset)
            lanes.append(
                Lane(
                    peer.outbound.session,
                    peer.sockaddr,
                    peer.sockaddr_len,
                    sink.ssrc,
                    span.sequence_offset,
                    span.timestamp_offset,
                    span.picture_offset,
                    span.tl0_offset,
                )
            )
        self._lanes = [Lanes(lanes[start : start + LANES]) for start in range(0, len(lanes), LANES)]
