"""The event loop's lag: how much later than asked a timer fires. Sampled ten times a second into a histogram."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Histogram

from server.app.limits import LAG_INTERVAL

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds. A timer of uvloop is good to a millisecond; from 5 ms on, forwarding feels it; from 1 s on, consent does."""


class LoopLag:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._histogram = Histogram(
            "kongzhong_event_loop_lag_seconds",
            "How much later than asked a timer of the event loop fired",
            buckets=BUCKETS,
            registry=registry,
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._sample(), name="loop lag")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            self._histogram.observe(max(0.0, loop.time() - due))
