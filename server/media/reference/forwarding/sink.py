"""One outgoing track to a peer: which layer it wants, what it has sent, what it may send again."""

from __future__ import annotations

import random

from ...plane import AddSink
from ..limits import BURST_RATE, BURST_SAVED, RTX_FLOOR, RTX_REMEMBERED, RTX_SHARE
from .follower import Follower
from .line import Line
from .rtp import Shape

_RTX_OVERHEAD = 64
"""Octets of headers and extensions at most, and of the original sequence number."""


class Tally:
    """What has been sent, retransmissions apart; it only grows."""

    __slots__ = ("octets", "packets", "total")

    def __init__(self) -> None:
        self.packets = 0
        self.octets = 0  # of payload
        self.total = 0  # octets with headers

    def add(self, octets: int, total: int) -> None:
        self.packets += 1
        self.octets += octets
        self.total += total


class Allowance:
    """Octets that may be sent again: a share of the media sent, of which what a window earned may be saved up."""

    __slots__ = ("_last", "_window", "left")

    def __init__(self) -> None:
        self.left = 0.0
        self._last = 0
        self._window = (0, 0)

    def second(self, sent: int) -> None:
        """Move the window on: it reaches back to the call before last."""
        self._window = self._window[1], sent

    def earn(self, sent: int) -> None:
        """``sent``: media octets since the start."""
        most = max(RTX_FLOOR, RTX_SHARE * (sent - self._window[0]))
        self.left = min(most, self.left + RTX_SHARE * (sent - self._last))
        self._last = sent

    def afford(self, payload: int) -> bool:
        """Whether a packet with this payload may be sent again."""
        return payload + _RTX_OVERHEAD <= self.left

    def spend(self, octets: int) -> None:
        self.left -= octets


class Sink(Follower):
    """State of an ``AddSink``."""

    __slots__ = (
        "_baseline", "_burst_left", "_burst_ns", "_own", "_shared", "allowance", "cname", "fraction", "id", "kind",
        "last_report", "layer_told", "line", "live_told", "mid", "paused", "resent", "rid", "rtx_octets",
        "rtx_sequence", "rtx_ssrc", "shapes", "ssrc", "started_ns",
    )  # fmt: skip

    def __init__(self, command: AddSink, line: Line, shapes: dict[str, Shape]) -> None:
        super().__init__()
        self.id = command.sink
        self.line = line
        self.kind = command.kind
        self.mid = command.mid
        self.ssrc = command.ssrc
        self.rtx_ssrc = command.rtx_ssrc
        self.cname = command.cname
        self.shapes = shapes  # by codec name
        self.rid: str | None = None
        """The layer asked for; ``None`` until somebody asks."""
        self.paused = False
        self._own = Tally()
        self._shared: Tally | None = None
        self._baseline = (0, 0, 0)
        self.rtx_sequence = random.randrange(1 << 14)
        self.rtx_octets = 0
        self.resent: dict[int, int] = {}
        self.allowance = Allowance()
        self.live_told = False
        self.layer_told: str | None = None
        self.started_ns = 0
        """When this sink was last given a keyframe from the cache."""
        self.fraction: tuple[int, int] | None = None
        """Fraction lost (of 256) in the last report block, and when it came."""
        self.last_report: list[tuple[int, int]] = []
        """Middle NTP words of the last sender reports, and when they left: what LSR refers to."""
        self._burst_left = float(BURST_SAVED)
        self._burst_ns = 0

    # --- what has been sent -------------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether it is served by a group's fan-out."""
        return self._shared is not None

    @property
    def sent(self) -> tuple[int, int, int]:
        """Packets, payload octets and octets with headers, retransmissions apart, since the start."""
        own, shared, before = self._own, self._shared, self._baseline
        if shared is None:
            return own.packets, own.octets, own.total
        return (
            own.packets + shared.packets - before[0],
            own.octets + shared.octets - before[1],
            own.total + shared.total - before[2],
        )

    def count(self, octets: int, total: int) -> None:
        """A packet that left outside the group's fan-out."""
        self._own.add(octets, total)

    def join(self, shared: Tally) -> None:
        """Be one of a group, which counts for all of them."""
        self._shared = shared
        self._baseline = shared.packets, shared.octets, shared.total

    def part(self) -> None:
        """Be on one's own again."""
        self._own.packets, self._own.octets, self._own.total = self.sent
        self._shared = None

    # --- pace and repetition ------------------------------------------------------------------------------------

    def may_burst(self, now: int) -> int:
        """Packets of its backlog that may leave now (``BURST_RATE``)."""
        left = self._burst_left + (now - self._burst_ns) * BURST_RATE / 1e9
        self._burst_ns = now
        self._burst_left = min(left, float(BURST_SAVED))
        return int(self._burst_left)

    def burst_sent(self, packets: int) -> None:
        self._burst_left -= packets

    def may_resend(self, sequence: int, now: int, rtt_ns: int) -> bool:
        """Whether this number was not sent again within a round trip; remembers it if so."""
        resent = self.resent
        before = resent.get(sequence)
        if before is not None and now - before < rtt_ns:
            return False
        if len(resent) >= RTX_REMEMBERED:
            self.resent = resent = {number: at for number, at in resent.items() if now - at < rtt_ns}
            if len(resent) >= RTX_REMEMBERED:
                return False
        resent[sequence] = now
        return True
