"""RTP time against wall clocks (RFC 3550, 6.4.1): a stream's own from sender reports, a publisher's as a whole."""

from __future__ import annotations

from .rtcp import ns_from_ntp
from .rtp import distance32


class SenderClock:
    """What the last sender report of a stream said: at ``ntp_ns`` of the publisher's clock the RTP time was ``rtp``."""

    __slots__ = ("mono_ns", "ntp", "ntp_ns", "rate", "rtp")

    def __init__(self, ntp: int, rtp: int, mono_ns: int, rate: int) -> None:
        self.ntp = ntp
        self.ntp_ns = ns_from_ntp(ntp)
        self.rtp = rtp
        self.mono_ns = mono_ns
        self.rate = rate

    def ns_at(self, timestamp: int) -> int:
        """The publisher's wall clock at an RTP time."""
        return self.ntp_ns + distance32(timestamp, self.rtp) * 1_000_000_000 // self.rate

    def rtp_at(self, ntp_ns: int) -> int:
        """The RTP time at an instant of the publisher's wall clock."""
        return self.rtp + (ntp_ns - self.ntp_ns) * self.rate // 1_000_000_000 & 0xFFFFFFFF

    def now(self, mono_ns: int) -> tuple[int, int]:
        """The publisher's wall clock (Unix ns) and the RTP time now, carried on from the report."""
        elapsed = mono_ns - self.mono_ns
        return self.ntp_ns + elapsed, self.rtp + elapsed * self.rate // 1_000_000_000 & 0xFFFFFFFF


class Moment:
    """The time of the call that is being served, on both clocks. Commands bring no wall clock: it is carried on."""

    __slots__ = ("mono_ns", "wall_ns")

    def __init__(self) -> None:
        self.mono_ns = self.wall_ns = 0

    def set(self, mono_ns: int, wall_ns: int) -> None:
        self.mono_ns = mono_ns
        self.wall_ns = wall_ns

    def advance(self, mono_ns: int) -> None:
        self.wall_ns += mono_ns - self.mono_ns
        self.mono_ns = mono_ns
