"""A plane that keeps the books of the contract and moves no media: what a node told it, and events on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from server.media.plane import (
    AddSink,
    AddSource,
    AddTap,
    BindSink,
    CloseTransport,
    Command,
    Event,
    OpenTransport,
    PlaneStats,
    RemoveSink,
    RemoveSource,
    SetLayer,
    TapItem,
    TransportLost,
)

C = TypeVar("C")


def _nobody(_: Sequence[Any]) -> None:
    return None


class RecordingPlane:
    """Ids are checked as the contract says: never reused; what belongs to a transport goes with it."""

    def __init__(self, families: frozenset[Literal["ipv4", "ipv6"]] = frozenset({"ipv4", "ipv6"})) -> None:
        self.on_events: Callable[[Sequence[Event]], None] = _nobody
        self.on_tap: Callable[[Sequence[TapItem]], None] = _nobody
        self.fingerprint = ":".join(["AB"] * 32)
        self.port = 5004
        self.families = families
        self.batches: list[list[Command]] = []
        self.transports: dict[int, OpenTransport] = {}
        self.sources: dict[int, AddSource] = {}
        self.bound: dict[int, int | None] = {}  # sinks and taps
        self.layers: dict[int, str | None] = {}
        self.sinks: dict[int, AddSink] = {}
        self.taps: dict[int, AddTap] = {}
        self._used: set[int] = set()

    def submit(self, commands: Sequence[Command]) -> None:
        self.batches.append(list(commands))
        for command in commands:
            self._take(command)

    def stats(self) -> PlaneStats:
        return PlaneStats(transports=len(self.transports), sources=len(self.sources), sinks=len(self.sinks))

    async def close(self) -> None:
        await asyncio.sleep(0)

    def said(self, kind: type[C]) -> list[C]:
        """All commands of a kind so far."""
        return [command for batch in self.batches for command in batch if isinstance(command, kind)]

    def happen(self, *events: Event) -> None:
        """What the plane reports; a lost transport is forgotten before, as the contract says."""
        for event in events:
            if isinstance(event, TransportLost):
                self._forget(event.transport)
        self.on_events(events)

    def _take(self, command: Command) -> None:
        match command:
            case OpenTransport():
                self._use(command.transport)
                self.transports[command.transport] = command
            case CloseTransport():
                self._forget(command.transport)
            case AddSource():
                assert command.transport in self.transports
                self._use(command.source)
                self.sources[command.source] = command
            case RemoveSource():
                self.sources.pop(command.source, None)
            case AddSink():
                assert command.transport in self.transports
                self._use(command.sink)
                self.sinks[command.sink] = command
                self._bind(command.sink, command.source)
            case AddTap():
                self._use(command.tap)
                self.taps[command.tap] = command
                self._bind(command.tap, command.source)
            case BindSink():
                assert command.sink in self.bound
                self._bind(command.sink, command.source)
            case SetLayer():
                assert command.sink in self.sinks
                self.layers[command.sink] = command.rid
            case RemoveSink():
                self.bound.pop(command.sink, None)
                self.sinks.pop(command.sink, None)
                self.taps.pop(command.sink, None)
            case _:
                pass

    def _use(self, identity: int) -> None:
        assert identity > 0 and identity not in self._used
        self._used.add(identity)

    def _bind(self, sink: int, source: int | None) -> None:
        assert source is None or source in self.sources
        self.bound[sink] = source

    def _forget(self, transport: int) -> None:
        self.transports.pop(transport, None)
        for source in [s for s, command in self.sources.items() if command.transport == transport]:
            del self.sources[source]
            self.bound = {sink: None if bound == source else bound for sink, bound in self.bound.items()}
        for sink in [s for s, command in self.sinks.items() if command.transport == transport]:
            del self.sinks[sink], self.bound[sink]
