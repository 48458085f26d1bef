"""Sequence numbers of one incoming stream: extended (RFC 3550, A.1), made compact, and counted for receiver reports."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from ..limits import SEQUENCE_DROPOUT, SEQUENCE_MISORDER, SKIPPED
from .rtp import distance, distance32

_FIRST_CYCLE: Final = 1 << 16  # so that what was sent before the first packet we saw has a positive number too


class Numbering:
    """Where a packet stands, and what receiver reports say of the stream (RFC 3550, A.3 and A.8)."""

    __slots__ = (
        "_bad",
        "_base",
        "_expected_prior",
        "_folded",
        "_jitter",
        "_last_timestamp",
        "_received_prior",
        "_skipped",
        "_transit",
        "highest",
        "received",
    )  # fmt: skip

    def __init__(self, sequence: int) -> None:
        self._base = self.highest = sequence + _FIRST_CYCLE
        self.received = 0
        self._bad = -1
        self._skipped: list[int] = []  # ascending, recent
        self._folded = 0
        self._expected_prior = self._received_prior = 0
        self._jitter = 0.0
        self._transit = 0
        self._last_timestamp = -1

    def extend(self, sequence: int) -> int:
        """The extended number next to the highest known one."""
        return self.highest + distance(sequence, self.highest)

    def place(self, sequence: int) -> int | None:
        """Count a packet and return its extended number; ``None`` while a jump has not been confirmed.

        Two packets in a row after a jump mean that the sender started again: see ``restarted``.
        """
        ahead = distance(sequence, self.highest)
        if not -SEQUENCE_MISORDER < ahead < SEQUENCE_DROPOUT:
            if sequence == self._bad:
                self._bad = -2
            else:
                self._bad = sequence + 1 & 0xFFFF
            return None
        self.received += 1
        extended = self.highest + ahead
        if ahead > 0:
            self.highest = extended
        return extended

    @property
    def restarted(self) -> bool:
        return self._bad == -2

    def skip(self, extended: int) -> None:
        """Leave a packet out (padding only), so that those after it close up. Only the highest can be left out: once
        a later one has been forwarded, the number in between is taken."""
        self._skipped.append(extended)
        if len(self._skipped) > SKIPPED:
            del self._skipped[0]
            self._folded += 1

    def compact(self, extended: int) -> int:
        """The number without those left out before it."""
        if not self._skipped:
            return extended - self._folded
        return extended - self._folded - bisect_left(self._skipped, extended)

    def time(self, timestamp: int, mono_ns: int, clock_rate: int) -> None:
        """Interarrival jitter, one sample a frame: the packets of one frame share their timestamp."""
        if timestamp == self._last_timestamp:
            return
        transit = mono_ns * clock_rate // 1_000_000_000 - timestamp & 0xFFFFFFFF
        if self._last_timestamp >= 0:
            self._jitter += (abs(distance32(transit, self._transit)) - self._jitter) / 16
        self._transit, self._last_timestamp = transit, timestamp

    @property
    def jitter(self) -> int:
        return int(self._jitter)

    def lost(self) -> int:
        """Cumulative, as the 24-bit signed field of a report block holds it."""
        return max(-0x800000, min(0x7FFFFF, self.highest - self._base + 1 - self.received))

    def fraction_lost(self) -> int:
        """Of 256, since the last call."""
        expected = self.highest - self._base + 1
        expected_now, received_now = expected - self._expected_prior, self.received - self._received_prior
        self._expected_prior, self._received_prior = expected, self.received
        lost = expected_now - received_now
        return min(255, (lost << 8) // expected_now) if expected_now > 0 and lost > 0 else 0
