"""How long a client waits before it tries again, and what it takes as a reason to."""

from __future__ import annotations

import random

from loadtest.rawclient.peer import Unreachable

FIRST, LONGEST = 0.5, 8.0  # seconds


class Backoff:
    """Exponential, with full jitter on the upper half so that a county does not come back in one second."""

    def __init__(self) -> None:
        self._delay = FIRST

    def next(self, at_least: float | None = None) -> float:
        """Seconds to wait now; ``at_least`` is a server's Retry-After."""
        delay, self._delay = self._delay, min(LONGEST, self._delay * 2)
        return max(delay * random.uniform(0.5, 1.0), at_least or 0.0)

    def reset(self) -> None:
        """After success."""
        self._delay = FIRST


__all__ = ["Backoff", "Unreachable"]
