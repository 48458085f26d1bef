"""The measurements: each holds a lesson on a whole server in a process of its own and looks at it from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp

from loadtest.percentiles import Histogram
from loadtest.rawclient import media
from loadtest.rawclient.resource import new_session
from loadtest.rawclient.watcher import Meters, Watcher, WatcherOptions
from loadtest.teacher import VirtualTeacher
from server.app import folder
from server.app.bench import floor
from server.app.bench.process import child_of, cpu_seconds, resident, scrape
from server.app.demo.server import DemoServer, serving
from signaling.roles import Role
from signaling.store import LessonStore
from signaling.tokens import Tokens, load_or_make_secret

BITRATE = 2_200_000
"""bit/s: about 240 packets of 1150 octets a second, the load at which mediasoup and Janus were measured."""
PACKET = 1166
"""Octets of such a packet with its SRTP tag."""
SETTLE = 3.0
"""Seconds after the joins before the steady state is measured."""
RECORDED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Joining:
    """Classrooms that join a lesson nobody teaches yet, one after the other."""

    cpu_ms: float  # of the server's process, per join, all of it: HTTP, token, SDP, ICE, DTLS, SRTP


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A steady lesson."""

    subscribers: int
    packets_per_second: float
    cpu_us: float  # of the server's process, all of it, per forwarded packet
    floor_us: float  # at the same pace
    flat_floor_us: float
    transit_p99_ms: float  # upper bound of its bucket
    lost: int

    @property
    def ratio(self) -> float:
        return self.floor_us / self.cpu_us


@dataclass(frozen=True, slots=True)
class Bell:
    """Classrooms that join at once while the teacher teaches."""

    classrooms: int
    playing: int
    first_frame_p50_ms: float
    first_frame_p95_ms: float
    keyframe_requests: int  # that reached the teacher meanwhile
    memory_kb: float  # of the server's process, per classroom that plays


@dataclass(frozen=True, slots=True)
class Recording:
    cpu_share: float  # of one core, for one 720p lesson


class Lesson:
    """A lesson on a server under measurement."""

    def __init__(self, server: DemoServer, data: Path, title: str = "bench") -> None:
        store = LessonStore(folder.lessons_file(data))
        self.id = store.create(title).id
        store.close()
        self._tokens = Tokens(load_or_make_secret(data))
        self.server = server

    def link(self, page: Literal["teach", "classroom"], role: Role, seat: str) -> str:
        """The address of a page, with its token in the fragment."""
        return f"{self.server.url}/{page}#lesson={self.id}&token={self._tokens.issue(self.id, role, seat)}"

    def ops_token(self) -> str:
        return self._tokens.issue("*", "ops", "ops")

    def teacher(self, bitrate: int = 0) -> VirtualTeacher:
        token = self._tokens.issue(self.id, "teacher", "teacher")
        return VirtualTeacher(f"{self.server.url}/whip/{self.id}", token, clip=media.sample(bitrate))

    def watcher(self, session: aiohttp.ClientSession, number: int, meters: Meters) -> Watcher:
        token = self._tokens.issue(self.id, "classroom", f"classroom {number}")
        return Watcher(session, f"{self.server.url}/whep/{self.id}", token, meters, WatcherOptions())


@contextlib.asynccontextmanager
async def _watching(lesson: Lesson, count: int, at_once: int) -> AsyncIterator[list[Watcher]]:
    async with new_session() as session:
        meters = Meters()
        watchers = [lesson.watcher(session, number, meters) for number in range(count)]
        gate = asyncio.Semaphore(at_once)

        async def start(watcher: Watcher) -> None:
            async with gate:
                await watcher.start()

        await asyncio.gather(*map(start, watchers))
        try:
            yield watchers
        finally:
            await asyncio.gather(*(watcher.stop() for watcher in watchers))


async def joining(data: Path, count: int) -> Joining:
    async with serving(data) as server:
        async with _watching(Lesson(server, data), 20, at_once=1):
            pass  # what is loaded once, at the first joins, belongs to none of them
        lesson = Lesson(server, data)
        cpu = cpu_seconds(server.pid)
        async with _watching(lesson, count, at_once=1):
            cpu = cpu_seconds(server.pid) - cpu
    return Joining(cpu / count * 1000)


async def forwarding(data: Path, count: int, seconds: float) -> Forwarding:
    before = await floor.measure(count, PACKET)
    async with serving(data) as server, aiohttp.ClientSession(server.url) as http:
        lesson = Lesson(server, data)
        async with lesson.teacher(BITRATE), _watching(lesson, count, at_once=8) as watchers:
            await asyncio.sleep(SETTLE)
            first, cpu = await scrape(http), cpu_seconds(server.pid)
            await asyncio.sleep(seconds)
            last, cpu = await scrape(http), cpu_seconds(server.pid) - cpu
            lost = sum(watcher.stats().lost for watcher in watchers)
    after = await floor.measure(count, PACKET)
    sent = last.get("kongzhong_plane_rtp_packets_total", direction="out") - first.get(
        "kongzhong_plane_rtp_packets_total", direction="out"
    )
    transit = last.quantile("kongzhong_relay_transit_seconds", 0.99, first)
    paced, flat = ((one + other) / 2 for one, other in zip(before, after, strict=True))
    return Forwarding(count, sent / seconds, cpu / sent * 1e6, paced, flat, transit * 1000, lost)


async def bell(data: Path, count: int) -> Bell:
    async with serving(data) as server:
        lesson = Lesson(server, data)
        async with lesson.teacher() as teacher:
            await asyncio.sleep(5.0)  # well into the lesson: the keyframe that they start from is an old one
            asked, memory = teacher.stats().sent.keyframe_requests, resident(server.pid)
            async with _watching(lesson, count, at_once=count) as watchers:
                await _until_playing(watchers, 15.0)
                asked = teacher.stats().sent.keyframe_requests - asked
                await asyncio.sleep(SETTLE)
                memory = resident(server.pid) - memory
                times = Histogram()
                for watcher in watchers:
                    if (first := watcher.stats().first_keyframe_ms) is not None:
                        times.add(round(first * 1000))
    p50, p95 = ((times.percentile(share) or 0) / 1000 for share in (0.5, 0.95))
    return Bell(count, times.count, p50, p95, asked, memory / count / 1000)


async def _until_playing(watchers: list[Watcher], within: float) -> None:
    for _ in range(round(within / 0.05)):
        if all(watcher.stats().first_keyframe_ms is not None for watcher in watchers):
            return
        await asyncio.sleep(0.05)


async def recording(data: Path) -> Recording:
    async with serving(data) as server:
        lesson = Lesson(server, data)
        async with lesson.teacher(1_500_000):
            await asyncio.sleep(SETTLE)
            recorder = child_of(server.pid)
            cpu = cpu_seconds(recorder)
            await asyncio.sleep(RECORDED_SECONDS)
            cpu = cpu_seconds(recorder) - cpu
    return Recording(cpu / RECORDED_SECONDS)
