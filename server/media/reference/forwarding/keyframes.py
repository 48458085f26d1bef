"""Keyframe requests to one source stream: all reasons together, at most one per 500 ms, repeated until served.

A county that joins at the bell asks nothing of the teacher. Every stream that somebody follows is asked for a fresh
keyframe when its cached group of pictures nears the cache's bounds (``CADENCE_NS``, ``CADENCE_OCTETS``). That costs a
teacher's line a few frames' worth of bits each ten seconds, whether three classrooms watch or three hundred; in return
a joiner always finds a group that is whole and at most ten seconds long.
"""

from __future__ import annotations

from ..limits import KEYFRAME_EAGER_TRIES, KEYFRAME_INTERVAL_NS, KEYFRAME_SLOWEST_NS


class KeyframeRequests:
    """When to ask one stream. ``want`` as often as you like; ``due`` says when a request must really go out."""

    __slots__ = ("_asked_ns", "_interval_ns", "_tries", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        self._asked_ns = 0  # 0: never
        self._tries = 0
        self._interval_ns = KEYFRAME_INTERVAL_NS

    def want(self) -> None:
        self.wanted = True

    def arrived(self) -> None:
        """A keyframe begins: whoever waited is served."""
        self.wanted = False
        self._tries = 0
        self._interval_ns = KEYFRAME_INTERVAL_NS

    def due(self, now: int) -> bool:
        """Whether to send a request now; if so it counts as sent. A publisher that never answers is asked ever more
        slowly, down to ``KEYFRAME_SLOWEST_NS``."""
        if not self.wanted or (self._asked_ns and now - self._asked_ns < self._interval_ns):
            return False
        self._asked_ns = now
        self._tries += 1
        if self._tries >= KEYFRAME_EAGER_TRIES:
            self._interval_ns = min(2 * self._interval_ns, KEYFRAME_SLOWEST_NS)
        return True
