"""NACKs towards a publisher (RFC 4585, 6.2.1): what is missing, when to ask, when to give up."""

from __future__ import annotations

from typing import Final

from ..limits import NACK_AGE_NS, NACK_ASKED, NACK_GAP, NACK_PENDING, NACK_REORDER_NS, NACK_TRIES

_MINIMUM_WAIT_NS: Final = 20_000_000
_GUESSED_RTT_NS: Final = 100_000_000


class _Hole:
    __slots__ = ("asked_ns", "due_ns", "since_ns", "tries")

    def __init__(self, now: int) -> None:
        self.since_ns = now
        self.asked_ns = 0
        self.due_ns = now + NACK_REORDER_NS
        self.tries = 0


class Missing:
    """The extended sequence numbers that one stream lacks."""

    __slots__ = ("_holes", "_rtt_ns", "given_up", "tries")

    def __init__(self, tries: int = NACK_TRIES) -> None:
        self._holes: dict[int, _Hole] = {}
        self._rtt_ns = 0
        self.given_up = 0
        """Packets that will not come any more, since the start."""
        self.tries = tries

    def __len__(self) -> int:
        return len(self._holes)

    @property
    def rtt_ns(self) -> int:
        """Smoothed time from a NACK to its answer; a guess before the first."""
        return self._rtt_ns or _GUESSED_RTT_NS

    def gap(self, first: int, end: int, now: int) -> bool:
        """``first`` to ``end - 1`` did not come before ``end`` did. ``False`` when that is more than is worth asking
        for: only a keyframe helps then."""
        holes = self._holes
        if end - first > NACK_GAP or len(holes) + end - first > NACK_PENDING:
            self.given_up += end - first + len(holes)
            holes.clear()
            return False
        for number in range(first, end):
            holes[number] = _Hole(now)
        return True

    def arrived(self, number: int, now: int) -> bool:
        """It came after all, late or again; whether it was missed."""
        hole = self._holes.pop(number, None)
        if hole is None:
            return False
        if hole.tries == 1:  # with more tries it is unknown which one was answered (Karn)
            sample = now - hole.asked_ns
            self._rtt_ns = sample if not self._rtt_ns else (7 * self._rtt_ns + sample) // 8
        return True

    def due(self, now: int) -> tuple[list[int], int]:
        """What to ask for now (ascending, at most ``NACK_ASKED``), and how many were given up in this call."""
        asking: list[int] = []
        hopeless: list[int] = []
        wait = max(_MINIMUM_WAIT_NS, self.rtt_ns * 5 // 4)
        for number, hole in self._holes.items():
            if now < hole.due_ns or len(asking) >= NACK_ASKED:
                continue
            if hole.tries >= self.tries or now - hole.since_ns > NACK_AGE_NS:
                hopeless.append(number)
                continue
            hole.tries += 1
            hole.asked_ns = now
            hole.due_ns = now + wait * (3 + hole.tries) // 4
            asking.append(number)
        for number in hopeless:
            del self._holes[number]
        self.given_up += len(hopeless)
        asking.sort()
        return asking, len(hopeless)
