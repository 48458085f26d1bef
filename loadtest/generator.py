"""One generator process's share of the load: opens its watchers along the ramp and says once a tick how they do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp
import msgspec

from loadtest import limits
from loadtest.percentiles import Histogram
from loadtest.rawclient.peer import Unreachable
from loadtest.rawclient.resource import Refusal, new_session
from loadtest.rawclient.sdp import SdpError
from loadtest.rawclient.watcher import Meters, Timeline, Watcher, WatcherOptions


class Plan(msgspec.Struct, frozen=True):
    """What one process does. Classroom ``i`` (``first``, ``first + step``, …) joins at ``ramp * i / classrooms``
    seconds after ``begin`` (Unix seconds) and uses token ``i`` modulo their number."""

    whep: str
    tokens: tuple[str, ...]
    classrooms: int
    first: int
    step: int
    ramp: float
    begin: float
    tick: float = 1.0
    open_every: int = 64
    feedback: bool = True
    epoch_ns: int = 0  # of the publisher's clip, 0 when it is not ours
    clip_ns: int = 0
    fingerprints: dict[int, int] = {}


class Join(msgspec.Struct):
    """One classroom's way in: seconds of the run, durations in ms since its POST."""

    at: float
    slip_ms: float  # how much later than the ramp wanted: the generator's fault, not the server's
    connected_ms: float | None = None
    first_packet_ms: float | None = None
    first_keyframe_ms: float | None = None
    error: str = ""


class Tick(msgspec.Struct):
    """Sums over this process's watchers; counters since the start, histograms since the last tick (microseconds)."""

    at: float
    joined: int = 0
    failed: int = 0
    dropped: int = 0
    receiving: int = 0
    with_picture: int = 0
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    recovered: int = 0
    reordered: int = 0
    duplicates: int = 0
    nacks: int = 0
    plis: int = 0
    opened: int = 0
    forged: int = 0
    lag_ms: float = 0.0  # how late this tick was: the event loop's own delay
    video: dict[str, object] = {}
    audio: dict[str, object] = {}
    final: bool = False  # sent after all DELETEs; only this one has the joins
    joins: list[Join] = []


_SUMS = ("packets", "bytes", "lost", "recovered", "reordered", "duplicates", "nacks", "plis", "opened", "forged")


class Generator:
    """``await run(emit, stop)``: until ``stop`` is set; the last tick has the joins, sent after all DELETEs."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._meters = Meters()
        self._watchers: list[tuple[Watcher, Join]] = []
        self._joins: list[Join] = []
        self._failed = self._dropped = 0
        self._gate = asyncio.Semaphore(limits.MAX_OPENING)
        timeline = Timeline(plan.epoch_ns, plan.clip_ns, plan.fingerprints) if plan.epoch_ns else None
        self._options = WatcherOptions(open_every=plan.open_every, feedback=plan.feedback, timeline=timeline)

    async def run(self, emit: Callable[[Tick], None], stop: asyncio.Event) -> None:
        """Join along the ramp, tick, leave."""
        async with new_session() as session:
            ramp = asyncio.create_task(self._ramp(session))
            try:
                await self._ticks(emit, stop)
            finally:
                ramp.cancel()
                await asyncio.gather(ramp, return_exceptions=True)
            last = self._tick(0.0)
            for watcher, join in self._watchers:
                stats = watcher.stats()
                join.first_packet_ms, join.first_keyframe_ms = stats.first_packet_ms, stats.first_keyframe_ms
            last.final, last.joins = True, self._joins
            await self._leave()
            emit(last)

    async def _ramp(self, session: aiohttp.ClientSession) -> None:
        plan = self._plan
        async with asyncio.TaskGroup() as group:
            for number in range(plan.first, plan.classrooms, plan.step):
                due = plan.begin + plan.ramp * number / plan.classrooms
                if (wait := due - time.time()) > 0:
                    await asyncio.sleep(wait)
                token = plan.tokens[number % len(plan.tokens)] if plan.tokens else ""
                group.create_task(self._join(session, token, due))

    async def _join(self, session: aiohttp.ClientSession, token: str, due: float) -> None:
        async with self._gate:
            now = time.time()
            join = Join(at=now - self._plan.begin, slip_ms=max(0.0, now - due) * 1000)
            self._joins.append(join)
            watcher = Watcher(session, self._plan.whep, token, self._meters, self._options)
            try:
                await watcher.start()
            except (Refusal, SdpError, Unreachable, OSError) as error:
                join.error = str(error)[:200]
                self._failed += 1
                return
            join.connected_ms = watcher.stats().connected_ms
            self._watchers.append((watcher, join))
            watcher.lost.add_done_callback(lambda lost: self._on_lost(join, lost))

    def _on_lost(self, join: Join, lost: asyncio.Future[str]) -> None:
        self._dropped += 1
        join.error = f"dropped: {lost.result()}"[:200]

    async def _ticks(self, emit: Callable[[Tick], None], stop: asyncio.Event) -> None:
        due = time.monotonic() + self._plan.tick
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), max(0.0, due - time.monotonic()))
            except TimeoutError:
                emit(self._tick((time.monotonic() - due) * 1000))
                due = max(due + self._plan.tick, time.monotonic())

    def _tick(self, lag_ms: float) -> Tick:
        tick = Tick(at=time.time() - self._plan.begin, lag_ms=max(0.0, lag_ms))
        tick.joined, tick.failed, tick.dropped = len(self._watchers), self._failed, self._dropped
        sums = dict.fromkeys(_SUMS, 0)
        for watcher, _ in self._watchers:
            stats = watcher.stats()
            tick.receiving += stats.first_packet_ms is not None
            tick.with_picture += stats.first_keyframe_ms is not None
            for name in _SUMS:
                sums[name] += getattr(stats, name)
        for name, value in sums.items():
            setattr(tick, name, value)
        tick.video = self._meters.video_latency.take().to_json()
        tick.audio = self._meters.audio_latency.take().to_json()
        return tick

    async def _leave(self) -> None:
        """DELETE all, some at a time."""

        async def leave(watcher: Watcher) -> None:
            async with self._gate:
                await watcher.stop()

        await asyncio.gather(*(leave(watcher) for watcher, _ in self._watchers))


def merged(ticks: list[Tick]) -> Tick:
    """The sum of what several processes said of the same moment."""
    total = Tick(at=max(tick.at for tick in ticks), lag_ms=max(tick.lag_ms for tick in ticks))
    for name in ("joined", "failed", "dropped", "receiving", "with_picture", *_SUMS):
        setattr(total, name, sum(getattr(tick, name) for tick in ticks))
    for name in ("video", "audio"):
        histogram = Histogram()
        for tick in ticks:
            if part := getattr(tick, name):
                histogram.merge(Histogram.from_json(part))
        setattr(total, name, histogram.to_json())
    total.final = any(tick.final for tick in ticks)
    total.joins = [join for tick in ticks for join in tick.joins]
    return total
