"""A line in simulated time: capacity, queue, loss and delay, and a receiver that estimates as Chromium's does.

The estimator follows draft-ietf-rmcat-gcc: while its queue does not grow, the estimate grows by 8 % a second up to
1.5 × what it receives; when the queue grows, it falls to 0.85 × what it receives.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from server.media.plane import Layer, LineReport
from server.quality.chooser import LayerChooser

AUDIO = 45_000
STEP = 0.1


@dataclass
class SimulatedLine:
    """``capacity`` in bit/s at a time in seconds; ``queue`` in seconds of capacity; ``loss`` of random kind."""

    capacity: Callable[[float], float]
    rtt_ms: float = 60.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    queue: float = 0.5
    remb: bool = True
    first_estimate_at: float = 5.0
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def __post_init__(self) -> None:
        self._queued = 0.0
        self._estimate = 0.0

    def second(self, rate: float, now: float) -> LineReport:
        """Send ``rate`` bit/s for a second from ``now`` and report."""
        dropped = delivered = 0.0
        for step in range(round(1 / STEP)):
            capacity = self.capacity(now + step * STEP)
            before = self._queued
            self._queued += rate * STEP - capacity * STEP
            received = rate if self._queued <= 0 else capacity
            if self._queued > capacity * self.queue:
                dropped += self._queued - capacity * self.queue
                self._queued = capacity * self.queue
            self._queued = max(0.0, self._queued)
            delivered += received * STEP
            delay, earlier = self._queued / capacity, before / capacity
            # A full queue no longer grows, but its losses and the standing delay keep the detector in overuse.
            self._adapt(received, overuse=delay > 0.03 and (delay > earlier or delay > 0.8 * self.queue))
        congestion = dropped / rate if rate else 0.0
        noise = self.loss * self.rng.uniform(0.2, 1.8)
        rtt = self.rtt_ms + self.jitter_ms * self.rng.uniform(-1, 1) + 1000 * self._queued / self.capacity(now + 0.99)
        has_estimate = self.remb and now + 1 >= self.first_estimate_at
        return LineReport(
            transport=1,
            remb=round(self._estimate) if has_estimate else None,
            loss=min(1.0, congestion + noise),
            rtt_ms=rtt,
            sent=round(rate),
            at_ns=0,
        )

    def _adapt(self, received: float, *, overuse: bool) -> None:
        if overuse:
            self._estimate = min(self._estimate, 0.85 * received) if self._estimate else 0.85 * received
        elif not self._estimate:
            self._estimate = received
        else:
            bound = max(self._estimate, 1.5 * received + 10_000)
            self._estimate = min(self._estimate * 1.08**STEP, bound)


def drive(
    chooser: LayerChooser, line: SimulatedLine, layers: Sequence[Layer], seconds: int
) -> Iterator[tuple[float, str | None]]:
    """Run a chooser on a line; yields the time and the layer sent during the second that follows it."""
    rid = chooser.decide(layers, None, 0.0)
    for second in range(seconds):
        yield float(second), rid
        video = next((layer.bitrate for layer in layers if layer.rid == rid), 0)
        rid = chooser.decide(layers, line.second(AUDIO + video, float(second)), float(second + 1))
