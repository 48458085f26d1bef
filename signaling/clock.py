"""The time of the class: Unix seconds that follow the wall clock ahead and never step back."""

from __future__ import annotations

import time
from collections.abc import Callable

from signaling.limits import JUMP_SECONDS


class Clock:
    """Wall time, so that a machine that gets its time only after the start (NTP) soon stamps right.

    While the wall clock is behind what was told before, seconds go on at the pace of the steady clock: timers run.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()
        self._untold = 0.0

    def __call__(self) -> float:
        steady = self._steady()
        change = self._wall() - steady - self._ahead
        if change > 0:
            self._ahead += change
            if change >= JUMP_SECONDS:
                self._untold += change
        return steady + self._ahead

    def jumped(self) -> float:
        """Seconds by which the time told has leapt since the last call; they did not pass."""
        jumped, self._untold = self._untold, 0.0
        return jumped
