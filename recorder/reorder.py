"""Reordering of one track by sequence number: packets come out in order, holes come out as losses, nothing waits long.

The single invariant: what comes out is strictly increasing, and each hole between two packets that come out has been
reported as :class:`Lost` in between, once.
"""

from __future__ import annotations

from dataclasses import dataclass

from recorder import limits
from recorder.rtp import RtpPacket, extend


@dataclass(frozen=True, slots=True)
class Lost:
    """Packets that will not come. ``count`` is 0 where the stream itself started anew (how many is unknown)."""

    count: int


@dataclass(frozen=True, slots=True)
class Arrived:
    sequence: int  # extended: does not wrap
    packet: RtpPacket
    arrival_ns: int  # the relay's wall clock


Item = Arrived | Lost


class Reorder:
    """``push`` what arrives, ``poll`` as time goes by. ``now`` is any clock in ns that does not jump."""

    def __init__(self, hold: int = limits.REORDER_HOLD, capacity: int = limits.REORDER_PACKETS) -> None:
        self._hold = hold
        self._capacity = capacity
        self._next: int | None = None
        self._resumed = -(1 << 62)
        self._waiting: dict[int, tuple[int, Arrived]] = {}  # sequence -> (since, item)
        self.lost = 0
        self.late = 0
        self.duplicates = 0

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def resume(self, sequence: int) -> None:
        """Before the first packet: the stream is known up to before ``sequence`` (extended)."""
        self._next = self._resumed = sequence

    def push(self, packet: RtpPacket, arrival_ns: int, now: int) -> list[Item]:
        """Take one packet; return what can go on now, in order."""
        if self._next is None:
            self._next = packet.sequence
        sequence = extend(packet.sequence, self._next, 16)
        if abs(sequence - self._next) > limits.REORDER_JUMP:
            return self._restart(packet, arrival_ns)
        if sequence < self._next:
            self.late += sequence >= self._resumed  # what is sent again on purpose is not late
            return []
        if sequence in self._waiting:
            self.duplicates += 1
            return []
        item = Arrived(sequence, packet, arrival_ns)
        if sequence == self._next and not self._waiting:  # nearly always
            self._next += 1
            return [item]
        self._waiting[sequence] = (now, item)
        out = self._run()
        if len(self._waiting) > self._capacity:
            out += self._skip()
        return out + self.poll(now)

    def poll(self, now: int) -> list[Item]:
        """Declare lost what has been waited for long enough."""
        out: list[Item] = []
        while self._waiting:
            since, _ = self._waiting[min(self._waiting)]
            if now - since < self._hold:
                break
            out += self._skip()
        return out

    def flush(self) -> list[Item]:
        """Wait no more: the track has ended."""
        out: list[Item] = []
        while self._waiting:
            out += self._skip()
        return out

    def _run(self) -> list[Item]:
        out: list[Item] = []
        assert self._next is not None
        while (found := self._waiting.pop(self._next, None)) is not None:
            out.append(found[1])
            self._next += 1
        return out

    def _skip(self) -> list[Item]:
        assert self._next is not None
        first = min(self._waiting)
        count = first - self._next
        self.lost += count
        self._next = first
        return [Lost(count), *self._run()]

    def _restart(self, packet: RtpPacket, arrival_ns: int) -> list[Item]:
        """A publisher that began anew: its numbers have nothing to do with those before."""
        out = self.flush()
        self._next = packet.sequence + 1
        return [*out, Lost(0), Arrived(packet.sequence, packet, arrival_ns)]
