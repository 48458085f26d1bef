"""The way to one peer as forwarding sees it: where it is, how long the way is, what its clock says, when to report."""

from __future__ import annotations

from typing import Final

from ..limits import SECOND_NS
from ..transport.peer import Peer

_FIRST_REPORT_NS: Final = 100_000_000


class Line:
    """What the streams, sources and sinks of one peer share."""

    __slots__ = ("clock_offset_ns", "due_ns", "peer", "remb", "remb_sent", "rtt_ns", "sent_before", "sent_ns")

    def __init__(self, peer: Peer, now: int) -> None:
        self.peer = peer
        self.due_ns = now + SECOND_NS
        """When its next reports leave."""
        self.remb: int | None = None
        self.rtt_ns = 0  # 0 while unknown
        self.remb_sent = 0
        self.sent_before = 0
        self.sent_ns = now
        self.clock_offset_ns: int | None = None
        """A publisher's wall clock minus ours, transit included, from its sender reports."""

    def report_soon(self, now: int) -> None:
        """Media has begun: its reports should not wait for the second to be full."""
        self.due_ns = min(self.due_ns, now + _FIRST_REPORT_NS)
