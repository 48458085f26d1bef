"""Late joiners' backlogs: from the cached keyframe to the live head, in slices, round-robin, at a bearable rate.

A keyframe's group for four hundred sinks is a million packets. They leave ``BURST_SLICE`` at a time, each slice after
the live packets that came meanwhile, so that neither the lesson nor the others stall.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from ..limits import BURST_SLICE, BURST_TURN
from .sink import Sink


class Bursts:
    """Sinks that are behind. ``send(sink, count)`` sends up to that many packets and returns how many it looked at;
    a sink that has caught up (or was stopped) has no ``position`` any more."""

    def __init__(self, send: Callable[[Sink, int], int]) -> None:
        self._send = send
        self._queue: deque[Sink] = deque()
        self.busy = False
        """Whether the last slice ended before everybody had what the rate allows."""

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Sink]:
        return iter(tuple(self._queue))

    def add(self, sink: Sink) -> None:
        if sink not in self._queue:
            self._queue.append(sink)

    def slice(self, now: int) -> None:
        """Send one slice."""
        queue, left = self._queue, BURST_SLICE
        resting: list[Sink] = []
        while queue and left > 0:
            sink = queue.popleft()
            if sink.position is None:
                continue
            allowed = min(BURST_TURN, sink.may_burst(now), left)
            if allowed <= 0:
                resting.append(sink)
                continue
            done = self._send(sink, allowed)
            sink.burst_sent(done)
            left -= max(done, 1)
            if sink.position is not None:
                queue.append(sink)
        self.busy = bool(queue)
        queue.extend(resting)
