"""A bad line in user space: a UDP relay between a client and the server's media port, with the lines of a county.

Each direction is a leaky bucket with a bounded queue, a Gilbert–Elliott loss (mean burst 3) and a delay with jitter
that never reorders, as a real queue does not. Everything random comes from one seed. Whoever starts an ``ImpairedLine``
rewrites the port in the server's SDP answer (``through``), and everything the client sends goes the long way.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self

HEADERS: Final = 28  # IPv4 and UDP
BURST: Final = 3.0  # packets, mean
_CANDIDATE: Final = re.compile(r"(a=candidate:\S+ \d+ \S+ \d+ \S+) (\d+) ")
IN_FLIGHT: Final = 8192  # datagrams per direction, whatever the rate says: beyond, the newest are dropped


@dataclass(frozen=True, slots=True)
class Way:
    """One direction. ``standing_ms`` is a queue that others keep full (an upload that saturates the line)."""

    mbit: float
    delay_ms: float
    jitter_ms: float = 0.0
    loss: float = 0.0
    queue_ms: float = 500.0
    cross_mbit: float = 0.0
    standing_ms: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    """(seconds since the start, Mbit/s from then on)"""


@dataclass(frozen=True, slots=True)
class Line:
    down: Way
    up: Way


def _line(down: float, up: float, rtt: float, jitter: float, loss: float, queue: float, **more: Any) -> Line:
    way = Way(down, rtt / 2, jitter / 2, loss, queue, **more)
    return Line(way, replace(way, mbit=up, cross_mbit=0.0))


LINES: Final = {
    "P1": _line(100, 100, 20, 3, 0.0005, 70),
    "P2": _line(20, 10, 40, 15, 0.005, 400, cross_mbit=15),
    "P3": _line(20, 4, 60, 20, 0.01, 500),
    "P4": Line(
        Way(12, 45, 20, 0.02, 1000, steps=((30, 2), (60, 12), (90, 2))),
        Way(3, 45, 20, 0.02, 1000, steps=((30, 0.5), (60, 3), (90, 0.5))),
    ),
    "P5": _line(1.0, 0.5, 80, 20, 0.01, 500),
    "P6": Line(
        Way(3.2, 60, 30, 0.03, 1000),
        Way(0.64, 60, 30, 0.03, 1500, cross_mbit=0.4, standing_ms=1000),
    ),
    "P8": _line(10, 2, 600, 20, 0.005, 500),
    "P9": _line(20, 4, 60, 20, 0.01, 500),
}
"""The lines of the product's networks by their ids: P1 fibre-100, P2 shared-20, P3 4g-average, P4 4g-edge, P5 floor,
P6 hill-village, P8 geo-sat, P9 outage (P3, with ``cut`` and ``mend``)."""


@dataclass(slots=True)
class Counts:
    """Of one direction."""

    carried: int = 0
    lost: int = 0  # by the loss model or the outage
    dropped: int = 0  # by a full queue
    octets: int = 0


class Channel:
    """One direction, sans-IO: ``take`` says when a datagram arrives, or ``None`` when it never does."""

    def __init__(self, way: Way, rng: random.Random) -> None:
        self.way = way
        self.counts = Counts()
        self._rng = rng
        self._bad = False
        self._free_at = 0.0
        self._last_out = 0.0

    def take(self, size: int, now: float) -> float | None:
        """``now`` in seconds since the start; the time of arrival on the same clock."""
        way, counts = self.way, self.counts
        if self._loses():
            counts.lost += 1
            return None
        rate = max(0.001, self._mbit(now) - way.cross_mbit) * 1e6
        begin = max(now, self._free_at)
        if (begin - now) * 1000 > way.queue_ms - way.standing_ms:
            counts.dropped += 1
            return None
        self._free_at = begin + (size + HEADERS) * 8 / rate
        delay = way.delay_ms + way.standing_ms + self._rng.uniform(-way.jitter_ms, way.jitter_ms)
        self._last_out = max(self._last_out, self._free_at + delay / 1000)
        counts.carried += 1
        counts.octets += size
        return self._last_out

    def _mbit(self, now: float) -> float:
        return next((mbit for at, mbit in reversed(self.way.steps) if now >= at), self.way.mbit)

    def _loses(self) -> bool:
        """Gilbert–Elliott with a bad state in which everything is lost."""
        loss = self.way.loss
        if self._bad:
            self._bad = self._rng.random() >= 1 / BURST
        else:
            self._bad = self._rng.random() < loss / (1 - loss) / BURST
        return self._bad


@dataclass(slots=True)
class _Flow:
    """One client's address, and the socket by which the server knows it."""

    client: tuple[str, int]
    transport: asyncio.DatagramTransport
    former: list[asyncio.DatagramTransport] = field(default_factory=list)


class ImpairedLine:
    """``async with ImpairedLine(LINES["P3"]) as line``: who gets ``line.through(answer)`` goes that way."""

    def __init__(self, line: Line, seed: int = 1, host: str = "127.0.0.1") -> None:
        rng = random.Random(seed)
        self.down, self.up = Channel(line.down, rng), Channel(line.up, rng)
        self.port = 0
        self._server: tuple[str, int] | None = None
        self._host = host
        self._flows: dict[tuple[str, int], _Flow] = {}
        self._opening: set[tuple[str, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._cut = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._front, _ = await self._loop.create_datagram_endpoint(
            lambda: _Receiver(self._from_client), local_addr=(self._host, 0)
        )
        self.port = self._front.get_extra_info("sockname")[1]
        _enlarge(self._front)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        for flow in self._flows.values():
            for transport in (flow.transport, *flow.former):
                transport.close()
        self._front.close()

    # --- what a test does to it ---------------------------------------------------------------------------------------

    def through(self, answer: str) -> str:
        """The server's SDP answer (or fragment) with this line in front of its media port."""
        if self._server is None and (found := _CANDIDATE.search(answer)) is not None:
            self._server = (self._host, int(found[2]))
        return _CANDIDATE.sub(rf"\1 {self.port} ", answer)

    def change(self, line: Line) -> None:
        """Another line from now on; what is under way arrives as it would have."""
        self.down.way, self.up.way = line.down, line.up

    def cut(self) -> None:
        """Nothing passes any more."""
        self._cut = True

    async def mend(self, *, new_address: bool = False) -> None:
        """The line is back; with ``new_address`` the server sees every client come from another port."""
        if new_address:
            for flow in self._flows.values():
                flow.former.append(flow.transport)
                flow.transport = await self._behind(flow)
        self._cut = False

    # --- datagrams ----------------------------------------------------------------------------------------------------

    def _from_client(self, data: bytes, client: tuple[str, int]) -> None:
        flow = self._flows.get(client)
        if flow is not None:
            self._pass(self.up, data, lambda: flow.transport.sendto(data, self._server))
        elif (
            self._server is not None and client not in self._opening
        ):  # the first datagram is lost: a check, which is sent again
            self._opening.add(client)
            task = asyncio.create_task(self._open(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self, client: tuple[str, int]) -> None:
        flow = _Flow(client, self._front)
        flow.transport = await self._behind(flow)
        self._flows[client] = flow
        self._opening.discard(client)

    async def _behind(self, flow: _Flow) -> asyncio.DatagramTransport:
        def back(data: bytes, _: tuple[str, int]) -> None:
            if transport is flow.transport:  # what still comes to the address of before is lost, as behind a NAT
                self._pass(self.down, data, lambda: self._front.sendto(data, flow.client))

        transport, _ = await self._loop.create_datagram_endpoint(lambda: _Receiver(back), local_addr=(self._host, 0))
        _enlarge(transport)
        return transport

    def _pass(self, channel: Channel, data: bytes, deliver: Callable[[], None]) -> None:
        now = self._loop.time() - self._began
        if self._cut:
            channel.counts.lost += 1
            return
        if len(self._due) >= IN_FLIGHT:
            channel.counts.dropped += 1
            return
        at = channel.take(len(data), now)
        if at is not None:
            heapq.heappush(self._due, (at, next(self._order), deliver))
            self._wind()

    def _wind(self) -> None:
        if self._due:
            at = self._began + self._due[0][0]
            if self._timer is None or self._timer.when() > at:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time() - self._began
        while self._due and self._due[0][0] <= now:
            _, _, deliver = heapq.heappop(self._due)
            if not self._cut:
                deliver()
        self._wind()


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._take(data, addr)

    def error_received(self, exc: Exception) -> None:
        """A peer that has closed its socket is no trouble of the line's."""


def _enlarge(transport: asyncio.DatagramTransport) -> None:
    sock = transport.get_extra_info("socket")
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
