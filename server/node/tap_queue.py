"""What waits for a recorder: batches of packets, bounded in bytes and seconds, and orders, which are few. Sans IO.

What went lately is kept, to be sent again to a recorder that died: it holds what arrived in the last second only in
its memory, and it tells by sequence numbers what it has already.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from recorder import tap
from server.node import limits


@dataclass(slots=True, eq=False)
class _Waiting:
    frame: bytes | None  # None once dropped or withdrawn
    at: float
    track: int
    packets: int
    order: tuple[str, str] | None  # ("end", lesson) and the like, for withdrawal


class TapQueue:
    """First in, first out. Media is dropped oldest batch first; orders never."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._media: deque[_Waiting] = deque()
        self._untold: Counter[int] = Counter()
        self._gone: deque[_Waiting] = deque()  # media that was taken, as long as a recorder may not have it on disk
        self._gone_bytes = 0
        self.bytes = 0
        self.dropped = 0
        """Packets dropped since the start."""

    def add_media(self, frame: bytes, *, track: int, packets: int, now: float) -> None:
        """Queue a batch (or a clock, of no packets), and drop what no longer fits."""
        waiting = _Waiting(frame, now, track, packets, None)
        self._waiting.append(waiting)
        self._media.append(waiting)
        self.bytes += len(frame)
        self._trim(now)

    def add_order(self, frame: bytes, name: str, about: str, now: float) -> None:
        """Queue what must arrive: ``open``, ``track``, ``end``."""
        self._waiting.append(_Waiting(frame, now, 0, 0, (name, about)))

    def withdraw(self, name: str, about: str | None = None) -> None:
        """Take back orders of a name (and about one lesson) that have not gone yet."""
        for waiting in self._waiting:
            if waiting.order and waiting.order[0] == name and about in (None, waiting.order[1]):
                waiting.frame = None

    def age(self, now: float) -> float:
        """Seconds that the oldest batch has waited."""
        return now - self._media[0].at if self._media else 0.0

    def __bool__(self) -> bool:
        return any(waiting.frame is not None for waiting in self._waiting)

    def take(self, now: float) -> bytes | None:
        """The next bytes to send, ``dropped`` frames first; ``None`` when nothing waits."""
        self._trim(now)
        if self._untold:
            told = b"".join(tap.encode("dropped", track, packets) for track, packets in self._untold.items())
            self._untold.clear()
            return told
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.frame is None:
                continue
            if waiting.order is None:
                self._media.popleft()
                self.bytes -= len(waiting.frame)
                self._keep(waiting)
            return waiting.frame
        return None

    def rewind(self, now: float) -> None:
        """Another recorder process listens: what went lately goes again, before all else."""
        self._forget(now)
        self._waiting.extendleft(reversed(self._gone))
        self._media.extendleft(reversed(self._gone))
        self.bytes += self._gone_bytes
        self._gone.clear()
        self._gone_bytes = 0

    def _keep(self, waiting: _Waiting) -> None:
        self._gone.append(waiting)
        self._gone_bytes += len(waiting.frame or b"")
        self._forget(waiting.at)

    def _forget(self, now: float) -> None:
        while self._gone and (
            self._gone_bytes > limits.TAP_QUEUE_BYTES or now - self._gone[0].at > limits.TAP_QUEUE_AGE
        ):
            self._gone_bytes -= len(self._gone.popleft().frame or b"")

    def _trim(self, now: float) -> None:
        while self._media and (self.bytes > limits.TAP_QUEUE_BYTES or self.age(now) > limits.TAP_QUEUE_AGE):
            oldest = self._media.popleft()
            self.bytes -= len(oldest.frame or b"")
            oldest.frame = None
            if oldest.packets:
                self._untold[oldest.track] += oldest.packets
                self.dropped += oldest.packets
        while self._waiting and self._waiting[0].frame is None:
            self._waiting.popleft()
