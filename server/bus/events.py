"""Relay events on their way: the relay's numbered log, and the bounded queue of one reader."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator

from server.bus.limits import FACTS_KEPT, LINES_KEPT, READER_EVENTS
from server.bus.wire import Told
from signaling.relay import Line, RelayEvent


class EventLog:
    """What a relay said lately, numbered from 1. ``Line`` reports are kept apart: many of them push out no fact."""

    def __init__(self) -> None:
        self._facts: deque[Told] = deque(maxlen=FACTS_KEPT)
        self._lines: deque[Told] = deque(maxlen=LINES_KEPT)
        self._grown = asyncio.Event()
        self.last = 0

    def append(self, event: RelayEvent) -> None:
        self.last += 1
        (self._lines if isinstance(event, Line) else self._facts).append(Told(self.last, event))
        self._grown.set()
        self._grown = asyncio.Event()

    def after(self, number: int, most: int) -> tuple[Told, ...]:
        """At most ``most`` events after ``number``, in order; those that fell away are skipped."""
        newer = [_newer(ring, number, most) for ring in (self._facts, self._lines)]
        return tuple(heapq.merge(*newer, key=lambda told: told.number))[:most]

    async def beyond(self, number: int) -> None:
        """Return once there is an event after ``number``."""
        while self.last <= number:
            await self._grown.wait()


def _newer(ring: deque[Told], number: int, most: int) -> list[Told]:
    """From the right, since listeners are nearly always close to the end."""
    found: list[Told] = []
    for told in reversed(ring):
        if told.number <= number:
            break
        found.append(told)
    found.reverse()
    return found[:most]


class EventQueue:
    """Events waiting for one reader. Full: the oldest ``Line`` goes, else the oldest of all; ``dropped`` counts."""

    def __init__(self, limit: int = READER_EVENTS) -> None:
        self._limit = limit
        self._waiting: deque[RelayEvent] = deque()
        self._lines = 0
        self._some = asyncio.Event()
        self.dropped = 0

    def put(self, event: RelayEvent) -> bool:
        """Whether another event had to go for it."""
        full = len(self._waiting) >= self._limit
        if full:
            self._drop_one()
        self._waiting.append(event)
        self._lines += isinstance(event, Line)
        self._some.set()
        return full

    async def get(self) -> RelayEvent:
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        event = self._waiting.popleft()
        self._lines -= isinstance(event, Line)
        return event

    def _drop_one(self) -> None:
        self.dropped += 1
        if self._lines:
            index = next(i for i, waiting in enumerate(self._waiting) if isinstance(waiting, Line))
            del self._waiting[index]
            self._lines -= 1
        else:
            self._waiting.popleft()


class EventHub:
    """Hands each event to every reader's queue."""

    def __init__(self) -> None:
        self._queues: set[EventQueue] = set()
        self.dropped = 0

    def put(self, event: RelayEvent) -> None:
        for queue in self._queues:
            self.dropped += queue.put(event)

    def read(self) -> AsyncIterator[RelayEvent]:
        """From the call on (not from the first ``__anext__``): what happens in between is not lost."""
        queue = EventQueue()
        self._queues.add(queue)
        return self._drain(queue)

    async def _drain(self, queue: EventQueue) -> AsyncIterator[RelayEvent]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)
