"""The load test: publish the sample, let classrooms join along a ramp, watch both ends, write the report."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from loadtest import limits, page
from loadtest.generator import Generator, Plan, Tick, merged
from loadtest.percentiles import Histogram
from loadtest.process import ProcessMeter, Usage, machine
from loadtest.rawclient import media
from loadtest.report import Point, Report, Sent, summarise
from loadtest.teacher import VirtualTeacher


class LoadError(ValueError):
    """The options contradict each other or are out of bounds."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What to do. ``whip`` empty: only watch; ``whep`` empty: only publish."""

    whip: str = ""
    whep: str = ""
    classrooms: int = 10
    seconds: float = 30.0
    whip_token: str = ""
    tokens: tuple[str, ...] = ()  # classrooms take them in turn
    ramp: float = 0.0  # seconds over which the classrooms join
    pid: int | None = None  # server process whose CPU and memory to show, with its children
    out: Path | None = None  # folder for report.json and report.html
    workers: int = 1  # generator processes; with 1 the classrooms live in this one
    bitrate: int = 0  # bit/s of video; above the sample's own it is filled up (H.264)
    codec: Literal["H264", "VP8"] = "H264"
    simulcast: bool = False
    files: tuple[Path, ...] = ()  # instead of the sample
    open_every: int = 64  # one packet of that many is decrypted
    language: str = "en"

    def check(self) -> None:
        """:raises LoadError: in words for a person."""
        if not self.whip and not self.whep:
            raise LoadError("nothing to do: give --whip, --whep or both")
        for url in filter(None, (self.whip, self.whep)):
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise LoadError(f"not an http(s) URL: {url}")
        if self.whep and not 0 < self.classrooms <= limits.MAX_CLASSROOMS:
            raise LoadError(f"--classrooms must be 1..{limits.MAX_CLASSROOMS}")
        if not 1 <= self.workers <= limits.MAX_WORKERS:
            raise LoadError(f"--workers must be 1..{limits.MAX_WORKERS}")
        if self.seconds <= 0 or self.ramp < 0 or self.ramp > self.seconds:
            raise LoadError("--seconds must be positive and not shorter than --ramp")


Progress = Callable[[Point, Sent | None], None]


@dataclass(slots=True)
class _Run:
    """What a run gathers."""

    points: list[Point] = field(default_factory=list)
    video: Histogram = field(default_factory=Histogram)
    audio: Histogram = field(default_factory=Histogram)
    last: Tick | None = None


async def run(options: LoadOptions, progress: Progress | None = None) -> Report:
    """Run the test to its end, also writing the files if ``options.out`` is set.

    :raises LoadError: bad options.
    :raises Refusal: the server refuses the publisher; also ``SdpError``, ``Unreachable``, ``ClipError``, ``OSError``.
        Refused classrooms are results, not errors.
    """
    options.check()
    started = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        teacher = None
        if options.whip:
            teacher = await stack.enter_async_context(
                VirtualTeacher(options.whip, options.whip_token, clip=_clip(options))
            )
        gathered = await _drive(options, teacher, progress)
        sent = _sent(teacher)
    report = summarise(
        gathered.points, gathered.last, gathered.video, gathered.audio, sent, _description(options, started)
    )
    if options.out is not None:
        await asyncio.to_thread(page.write, report, options.out, options.language)
    return report


def _clip(options: LoadOptions) -> media.Clip:
    if options.files:
        return media.load(options.files, options.bitrate)
    return media.sample(options.bitrate, options.codec, options.simulcast)


def _description(options: LoadOptions, started: datetime) -> dict[str, str | int | float]:
    """What the report says of the run; tokens are left out, so is everything of a URL that could hold a secret."""
    bare = {
        name: url.partition("?")[0].rpartition("@")[2] for name, url in (("whip", options.whip), ("whep", options.whep))
    }
    return {
        "started": started.isoformat(timespec="seconds"),
        **bare,
        "classrooms": options.classrooms if options.whep else 0,
        "seconds": options.seconds,
        "ramp": options.ramp,
        "workers": options.workers,
        "codec": options.codec,
        "bitrate": options.bitrate,
        "simulcast": int(options.simulcast),
        "machine": machine(),
    }


def _sent(teacher: VirtualTeacher | None) -> Sent | None:
    if teacher is None:
        return None
    stats = teacher.stats()
    sent = stats.sent
    return Sent(
        packets=sent.packets,
        bytes=sent.bytes,
        frames=sent.frames,
        keyframe_requests=sent.keyframe_requests,
        nacked=sent.nacked,
        retransmitted=sent.retransmitted,
        skipped_frames=sent.skipped_frames,
        reconnects=stats.reconnects,
        rtt_ms=sent.rtt_ms,
    )


async def _drive(options: LoadOptions, teacher: VirtualTeacher | None, progress: Progress | None) -> _Run:
    gathered = _Run()
    interval = max(1.0, options.seconds / limits.MAX_POINTS)
    begin = time.time()
    server = ProcessMeter(options.pid) if options.pid is not None else None
    # With the tree: workers are our children. Their time and ours together are the generator's.
    generator = ProcessMeter(os.getpid())
    for meter in filter(None, (server, generator)):
        meter.look(time.monotonic())

    def take(tick: Tick) -> None:
        gathered.last = tick
        video, audio = Histogram.from_json(tick.video), Histogram.from_json(tick.audio)
        gathered.video.merge(video)
        gathered.audio.merge(audio)
        if tick.final:
            return  # the last tick is only for the sums: it covers an arbitrary time
        now = time.monotonic()
        usages: list[Usage | None] = [server.look(now) if server is not None else None, generator.look(now)]
        sent = _sent(teacher)
        point = Point.of(tick, gathered.points[-1] if gathered.points else None, video, audio, sent, *usages)
        gathered.points.append(point)
        if progress is not None:
            progress(point, sent)

    plans = [_plan(options, teacher, begin, interval, worker) for worker in range(options.workers)]
    drive = _in_process if options.workers == 1 or not options.whep else _in_workers
    await drive(plans, options.seconds, take)
    return gathered


def _plan(options: LoadOptions, teacher: VirtualTeacher | None, begin: float, interval: float, worker: int) -> Plan:
    timeline = teacher.timeline() if teacher is not None and options.whep else None
    return Plan(
        whep=options.whep,
        tokens=options.tokens,
        classrooms=options.classrooms if options.whep else 0,
        first=worker,
        step=options.workers,
        ramp=options.ramp,
        begin=begin,
        tick=interval,
        open_every=options.open_every,
        epoch_ns=timeline.epoch_ns if timeline is not None else 0,
        clip_ns=timeline.duration_ns if timeline is not None else 0,
        fingerprints=timeline.fingerprints if timeline is not None else {},
    )


async def _in_process(plans: list[Plan], seconds: float, take: Callable[[Tick], None]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await Generator(plans[0]).run(take, stop)


async def _in_workers(plans: list[Plan], seconds: float, take: Callable[[Tick], None]) -> None:
    """One process per plan; their ticks of the same second are added up. The clock starts when all are ready."""
    waiting: dict[int, list[Tick]] = {}
    rounds = [0] * len(plans)
    finals: list[Tick] = []

    def on_tick(worker: int, tick: Tick) -> None:
        if tick.final:
            finals.append(tick)
            return
        group = waiting.setdefault(rounds[worker], [])
        group.append(tick)
        if len(group) == len(plans):
            take(merged(waiting.pop(rounds[worker])))
        rounds[worker] += 1

    async with AsyncExitStack() as stack:
        started = [stack.enter_async_context(_worker()) for _ in plans]
        processes = await asyncio.gather(*started)
        begin = time.time()
        runs = [
            _follow(process, msgspec.structs.replace(plan, begin=begin), seconds, partial(on_tick, worker))
            for worker, (process, plan) in enumerate(zip(processes, plans, strict=True))
        ]
        await asyncio.gather(*runs)
    leftover = [tick for group in waiting.values() for tick in group]
    if finals:
        final = merged(finals)
        for name in ("video", "audio"):  # what incomplete rounds measured must not be lost
            histogram = Histogram.from_json(getattr(final, name))
            for tick in leftover:
                histogram.merge(Histogram.from_json(getattr(tick, name)))
            setattr(final, name, histogram.to_json())
        take(final)


@asynccontextmanager
async def _worker() -> AsyncIterator[asyncio.subprocess.Process]:
    """A generator process that has loaded its modules; at the end its input is closed and it is waited for."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.worker"),
        stdin=pipe,
        stdout=pipe,
        limit=limits.WORKER_LINE,
        start_new_session=True,  # Ctrl-C is for us; the worker leaves in good order when its input ends
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        await process.stdout.readline()
        yield process
    finally:
        process.stdin.close()
        await process.wait()
    if process.returncode:
        raise RuntimeError(f"a generator process ended with status {process.returncode}")


async def _follow(
    process: asyncio.subprocess.Process, plan: Plan, seconds: float, on_tick: Callable[[Tick], None]
) -> None:
    """Give the plan, hand on the ticks, end its input after ``seconds``."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(msgspec.json.encode(plan) + b"\n")
    await process.stdin.drain()
    timer = asyncio.get_running_loop().call_later(seconds, process.stdin.close)
    try:
        while line := await process.stdout.readline():
            on_tick(msgspec.json.decode(line, type=Tick))
    finally:
        timer.cancel()
