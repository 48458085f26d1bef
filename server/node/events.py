"""Relay events to any number of readers, each with a bounded queue of its own: a slow reader loses, nobody waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from weakref import WeakSet

from server.node import limits
from signaling.relay import Line, PublicationLive, RecorderState, Refused, RelayEvent

_DROPPED_FIRST: tuple[tuple[type, ...], ...] = ((Line,), (PublicationLive, RecorderState))


class EventReader(AsyncIterator[RelayEvent]):
    """Everything from its creation on, in order. Ends when the relay closes."""

    def __init__(self) -> None:
        self._queue: deque[RelayEvent] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def __aiter__(self) -> EventReader:
        return self

    async def __anext__(self) -> RelayEvent:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._queue.popleft()

    def put(self, event: RelayEvent) -> int:
        """Queue one event; returns how many were dropped for it (0 or 1)."""
        dropped = 0
        if len(self._queue) >= limits.EVENTS:
            self._drop_one()
            dropped = 1
        self._queue.append(event)
        self._news.set()
        return dropped

    def close(self) -> None:
        self._closed = True
        self._news.set()

    def _drop_one(self) -> None:
        self.dropped += 1
        for kinds in _DROPPED_FIRST:
            for index, event in enumerate(self._queue):
                if isinstance(event, kinds):
                    del self._queue[index]
                    return
        self._queue.popleft()


class EventHub:
    """Hands each event to all readers; a reader that nobody holds any more is forgotten."""

    def __init__(self) -> None:
        self._readers: WeakSet[EventReader] = WeakSet()
        self.dropped = 0

    def reader(self) -> EventReader:
        """:raises Refused: ``full``, with too many readers."""
        if len(self._readers) >= limits.READERS:
            raise Refused("full", "too many readers of this relay's events")
        reader = EventReader()
        self._readers.add(reader)
        return reader

    def emit(self, event: RelayEvent) -> None:
        for reader in self._readers:
            self.dropped += reader.put(event)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
