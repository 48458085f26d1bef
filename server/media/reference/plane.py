"""The plane in Python: one UDP socket in one event loop; ``transport`` opens what comes, ``forwarding`` moves it.

A wake-up is a straight line: read a batch, take each datagram (``Peers``), forward what was media (``Router``), do what
is due, hand the ring to the kernel. Everything runs in the loop's thread; nothing here waits.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from ..plane import (
    AddSink,
    AddSource,
    CloseTransport,
    Command,
    Event,
    OpenTransport,
    PlaneStats,
    RestartIce,
    TapItem,
)
from .counters import zeroed
from .forwarding.egress import Egress
from .forwarding.router import Router
from .limits import READ_TURN_NS, TAP_ITEMS, TICK_MS
from .transport import sockets
from .transport.identity import Identity
from .transport.peers import Peers
from .transport.ring import Ring


def _nobody(_items: Sequence[Any]) -> None:
    """Where events and tap items go until somebody listens."""


class ReferencePlane:
    """``server.media.plane.Plane`` in pure Python. Made by ``open``; lives in one event loop (asyncio or uvloop)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self.on_events: Callable[[Sequence[Event]], None] = _nobody
        self.on_tap: Callable[[Sequence[TapItem]], None] = _nobody
        self._loop = loop
        self._identity = Identity()
        self._socket, self.families = sockets.bind(host, port)
        self._receiver = sockets.Receiver(self._socket.fileno())
        self._stats = zeroed()
        self._stats.socket_buffers = sockets.granted(self._socket)
        self._counters = self._stats.counters
        self._kernel_lost = self._cut = 0
        self._ring = Ring(self._socket.fileno(), self._stats)
        self._router = Router(Egress(self._ring, self._stats), self._emit, self._stats, self._tap)
        self._peers = Peers(self._identity, self._ring, self._router, self._emit, self._stats)
        self._events: list[Event] = []
        self._taps: list[TapItem] = []
        self._ticking: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        loop.add_reader(self._socket.fileno(), self._readable)

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Bind and listen; port 0 lets the kernel choose. Raises ``OSError``: port in use, address not ours."""
        return cls(asyncio.get_running_loop(), host, port)

    @property
    def fingerprint(self) -> str:
        return self._identity.fingerprint

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def stats(self) -> PlaneStats:
        """A snapshot; the caller may keep it."""
        self._count_lost()
        snapshot = copy.deepcopy(self._stats)
        snapshot.transports = len(self._peers)
        return snapshot

    # --- commands ---------------------------------------------------------------------------------------------------

    def submit(self, commands: Sequence[Command]) -> None:
        now = time.monotonic_ns()
        for command in commands:
            if not self._carry_out(command, now):
                self._counters["commands_ignored"] += 1
        self._peers.flush()
        self._keep_ticking()
        if self._router.busy:
            self._tick_soon()

    def _carry_out(self, command: Command, now: int) -> bool:
        """``False`` for what names an id that is unknown (it may have just gone by itself) or in use already."""
        match command:
            case OpenTransport():
                return self._peers.open(command, now)
            case RestartIce():
                return self._peers.restart(command)
            case CloseTransport():
                return self._peers.close(command.transport)
            case AddSource() | AddSink():
                peer = self._peers.get(command.transport)
                return peer is not None and self._router.apply(command, peer, now)
            case _:
                return self._router.apply(command, None, now)

    async def close(self) -> None:
        """Say goodbye to every peer and release the port. No event follows."""
        self._peers.close_all()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for handle in (self._ticking, self._soon):
            if handle is not None:
                handle.cancel()
        self._events.clear()
        self._taps.clear()

    # --- datagrams --------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        """Read what waits, but no longer than ``READ_TURN_NS``: the loop's timers must come round in a flood too."""
        began = time.monotonic_ns()
        mono, more = began, True
        while more and mono - began <= READ_TURN_NS:
            try:
                batch, more = self._receiver.read()
            except OSError:  # an ICMP message about someone we sent to; the socket is well
                self._counters["icmp_errors"] += 1
            else:
                self._take(batch, mono, time.time_ns())
            mono = time.monotonic_ns()
        self._after_burst()

    def _take(self, batch: list[sockets.Datagram], mono: int, wall: int) -> None:
        take, pointers = self._peers.datagram, self._receiver.pointers
        for source, slot, length in batch:
            try:
                take(source, pointers[slot], length, mono, wall)
            except Exception as bug:  # reported, and the others' datagrams of this burst are still moved
                self._loop.call_exception_handler({"message": "a datagram met a bug in the plane", "exception": bug})

    def _after_burst(self) -> None:
        self._router.tick(time.monotonic_ns(), time.time_ns())
        self._peers.flush()
        if self._router.busy:
            self._tick_soon()
        if self._taps:
            items, self._taps = self._taps, []
            self.on_tap(items)

    def _count_lost(self) -> None:
        """Carry over what the socket has counted since the last time."""
        lost, cut = self._receiver.lost, self._receiver.cut
        self._stats.drops["socket"] += lost - self._kernel_lost
        self._counters["junk"] += cut - self._cut
        self._kernel_lost, self._cut = lost, cut

    # --- time -------------------------------------------------------------------------------------------------------

    def _keep_ticking(self) -> None:
        if self._ticking is None and len(self._peers):
            self._ticking = self._loop.call_later(TICK_MS / 1000, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        self._keep_ticking()  # first: whatever happens below, the clock goes on
        self._peers.tick(time.monotonic_ns(), time.time_ns())
        self._after_burst()

    def _tick_soon(self) -> None:
        """A sliced burst waits: go on after one turn of the loop, in which the socket is read and timers run."""
        if self._soon is None:
            self._soon = self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._soon = None
        self._after_burst()

    # --- what comes up ----------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        """Queue for the next turn of the loop. Bounded by what one turn can cause: some events for each peer."""
        self._events.append(event)
        if len(self._events) == 1:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        events, self._events = self._events, []
        if events:
            self.on_events(events)

    def _tap(self, item: TapItem) -> None:
        if len(self._taps) < TAP_ITEMS:
            self._taps.append(item)
        else:
            self._stats.drops["tap"] += 1
