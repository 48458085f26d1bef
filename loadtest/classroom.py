"""The virtual classroom: watches a lesson through WHEP like a school does, and comes back by itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import aiohttp

from loadtest.rawclient.resource import Refusal, new_session
from loadtest.rawclient.sdp import SdpError
from loadtest.rawclient.watcher import Meters, Watcher, WatcherOptions
from loadtest.retry import Backoff, Unreachable

State = Literal["connecting", "waiting", "watching", "stopped"]
LOOK_EVERY = 0.5  # seconds
SILENT = 2.0  # seconds without a packet: "waiting", and the line is probed
CUT = 5.0  # seconds without an answer to a probe: the line is cut, connect anew


@dataclass(frozen=True, slots=True)
class ClassroomStats:
    """A snapshot. Counters run over all connections; times are of the first one, in ms since its POST began."""

    state: State
    connected_ms: float | None
    first_packet_ms: float | None
    first_frame_ms: float | None  # the first keyframe is complete
    packets: int
    bytes: int
    frames: int
    bitrate: int  # bit/s over the last look
    width: int
    height: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    lost: int
    loss: float  # 0..1
    recovered: int
    reconnects: int
    error: str  # why it is not connected, empty when it is


class VirtualClassroom:
    """``async with VirtualClassroom(url, token) as room:`` or ``start()`` and ``stop()``; ``stats()`` at any time.

    ``start`` never fails: a refusal is shown in ``stats().error`` and tried again (permanent ones every 8 s).
    """

    def __init__(
        self,
        whep: str,
        token: str = "",
        *,
        name: str = "",
        options: WatcherOptions | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.name = name
        self._whep, self._token = whep, token
        self._options = options or WatcherOptions(open_every=1)
        self._session, self._owns_session = session, session is None
        self._meters = Meters()
        self._watcher: Watcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._state: State = "connecting"
        self._error = ""
        self._reconnects = 0
        self._first: tuple[float | None, float | None, float | None] = (None, None, None)
        self._past = [0, 0, 0, 0, 0]  # packets, bytes, frames, lost, recovered of earlier connections
        self._looked = (0.0, 0)
        self._bitrate = 0

    async def start(self) -> None:
        """Begin to watch, in the background."""
        if self._session is None:
            self._session = new_session()
        self._task = asyncio.create_task(self._stay(self._session))

    async def stop(self) -> None:
        """DELETE and close. Idempotent."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        await self._leave()
        self._state = "stopped"
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def stats(self) -> ClassroomStats:
        """How it goes now."""
        packets, octets, frames, lost, recovered = (a + b for a, b in zip(self._past, self._current(), strict=True))
        connected, first_packet, first_frame = self._firsts()
        latency = self._meters.video_latency if self._meters.video_latency.count else self._meters.audio_latency
        width, height = (self._watcher.dimensions if self._watcher is not None else None) or (0, 0)
        return ClassroomStats(
            state=self._state,
            connected_ms=connected,
            first_packet_ms=first_packet,
            first_frame_ms=first_frame,
            packets=packets,
            bytes=octets,
            frames=frames,
            bitrate=self._bitrate,
            width=width,
            height=height,
            latency_p50_ms=_ms(latency.percentile(0.5)),
            latency_p99_ms=_ms(latency.percentile(0.99)),
            lost=lost,
            loss=lost / (packets + lost) if packets + lost else 0.0,
            recovered=recovered,
            reconnects=self._reconnects,
            error=self._error,
        )

    def _current(self) -> list[int]:
        if self._watcher is None:
            return [0] * 5
        stats = self._watcher.stats()
        return [stats.packets, stats.bytes, stats.frames, stats.lost, stats.recovered]

    def _firsts(self) -> tuple[float | None, float | None, float | None]:
        if self._first[2] is None and self._watcher is not None:
            stats = self._watcher.stats()
            if self._reconnects == 0 or self._first[0] is None:
                self._first = (stats.connected_ms, stats.first_packet_ms, stats.first_keyframe_ms)
        return self._first

    async def _leave(self) -> None:
        if self._watcher is not None:
            self._firsts()
            self._past = [a + b for a, b in zip(self._past, self._current(), strict=True)]
            watcher, self._watcher = self._watcher, None
            await watcher.stop()

    async def _stay(self, session: aiohttp.ClientSession) -> None:
        backoff = Backoff()
        attempts = 0
        while True:
            self._state = "connecting"
            wait: float | None = None
            try:
                watcher = Watcher(session, self._whep, self._token, self._meters, self._options)
                await watcher.start()
                self._watcher, self._error = watcher, ""
                self._reconnects += attempts > 0
                attempts += 1
                backoff.reset()
                self._error = await self._watch(watcher)
            except Refusal as refusal:
                self._error, wait = str(refusal), 8.0 if refusal.permanent else refusal.retry_after
            except (SdpError, Unreachable, OSError) as error:
                self._error = str(error)
            self._state = "connecting"
            await self._leave()
            await asyncio.sleep(backoff.next(wait))

    async def _watch(self, watcher: Watcher) -> str:
        """Until the connection is gone; says why."""
        packets, seen = 0, time.monotonic()
        self._state = "waiting"
        self._looked = (seen, 0)
        while True:
            done, _ = await asyncio.wait([watcher.lost], timeout=LOOK_EVERY)
            if done:
                return watcher.lost.result()
            now, stats = time.monotonic(), watcher.stats()
            self._bitrate = round((stats.bytes - self._looked[1]) * 8 / max(0.001, now - self._looked[0]))
            self._looked = (now, stats.bytes)
            if stats.packets > packets:
                packets, seen, self._state = stats.packets, now, "watching"
            elif now - seen > SILENT:
                self._state = "waiting"
                watcher.probe()
                if watcher.consent_age > CUT:
                    return "the line is cut"


def _ms(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000
