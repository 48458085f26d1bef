"""The load test against ``python -m server serve``, as an operator would run it: real processes, real tokens."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest

from loadtest import clock
from loadtest.classroom import VirtualClassroom
from loadtest.rawclient import media
from loadtest.rawclient.resource import new_session
from loadtest.rawclient.watcher import Meters, Watcher, WatcherOptions
from loadtest.run import LoadOptions, run
from loadtest.teacher import VirtualTeacher
from tests.support.waiting import until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server, with a lesson and its tokens."""

    def __init__(self, data: Path) -> None:
        self._data, self._port = data, free_port()
        self.process: asyncio.subprocess.Process
        self.lesson = ""

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self._port}/{kind}/{self.lesson}"

    def call(self, *words: str) -> str:
        command = [sys.executable, "-m", "server", *words, "--data", str(self._data)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]

    def token(self, role: str, seat: str) -> str:
        return self.call("token", "--lesson", self.lesson, "--role", role, "--seat", seat)

    async def start(self) -> None:
        http = f"127.0.0.1:{self._port}"
        words = ("serve", "--data", str(self._data), "--http", http, "--media", f"127.0.0.1:{free_port()}")
        with (self._data.parent / "log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "server", *words, stdout=log, stderr=log, start_new_session=True
            )
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            while True:
                try:
                    async with session.get(f"http://{http}/readyz") as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientError:
                    assert self.process.returncode is None, (self._data.parent / "log").read_text()
                await asyncio.sleep(0.1)
        self.lesson = self.call("lesson", "create", "--title", "认识分数")

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), 30)
            except TimeoutError:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path / "data")
    await made.start()
    yield made
    await made.stop()


async def test_every_classroom_gets_all_that_the_publisher_sends(server: Server) -> None:
    options = LoadOptions(
        whip=server.url("whip"),
        whep=server.url("whep"),
        classrooms=6,
        seconds=6,
        ramp=1,
        whip_token=server.token("teacher", "t"),
        tokens=tuple(server.token("classroom", f"c{number}") for number in range(6)),
        pid=server.process.pid,
        simulcast=True,
    )
    report = await run(options)
    assert report.errors == {}
    assert report.totals["with_picture"] == 6
    assert report.totals["lost"] == 0
    assert report.totals["forged"] == 0
    assert report.video_latency_ms.count > 100  # abs-capture-time came through
    assert any(point.server_memory for point in report.points)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_the_clock_that_a_classroom_decodes_runs_on_without_a_hole(server: Server, codec: str) -> None:
    frames: list[Any] = []
    whip_token, whep_token = server.token("teacher", "t"), server.token("classroom", "c")
    clip = media.sample(codec=codec)
    async with VirtualTeacher(server.url("whip"), whip_token, clip=clip), new_session() as session:
        options = WatcherOptions(on_frame=frames.append)
        watcher = Watcher(session, server.url("whep"), whep_token, Meters(), options)
        await watcher.start()
        await until(lambda: sum(frame.codec == codec for frame in frames) > 45)
        await watcher.stop()
    decoder = av.CodecContext.create({"H264": "h264", "VP8": "vp8"}[codec], "r")
    pictures = [p for frame in frames if frame.codec == codec for p in decoder.decode(av.Packet(frame.data))]
    numbers = [clock.read_frame(picture) for picture in pictures]
    assert None not in numbers
    assert numbers == list(range(numbers[0] or 0, (numbers[0] or 0) + len(numbers)))
    assert sum(frame.codec == "opus" for frame in frames) > 100


async def test_a_classroom_that_came_first_sees_the_lesson_once_it_is_taught(server: Server) -> None:
    whip_token, whep_token = server.token("teacher", "t"), server.token("classroom", "c")
    async with VirtualClassroom(server.url("whep"), whep_token) as classroom:
        await until(lambda: classroom.stats().connected_ms is not None)
        assert classroom.stats().packets == 0
        async with VirtualTeacher(server.url("whip"), whip_token) as teacher:
            await until(lambda: classroom.stats().state == "watching" and classroom.stats().frames > 30)
            stats = classroom.stats()
            assert (stats.width, stats.height, stats.reconnects) == (1280, 720, 0)
            assert stats.latency_p50_ms is not None
            await until(lambda: teacher.stats().sent.rtt_ms is not None)


async def test_latency_is_found_by_fingerprint_where_capture_times_are_stripped(server: Server) -> None:
    whip_token, whep_token = server.token("teacher", "t"), server.token("classroom", "c")
    async with VirtualTeacher(server.url("whip"), whip_token) as teacher, new_session() as session:
        by_extension, by_fingerprint = Meters(), Meters()
        for meters, timeline in ((by_extension, None), (by_fingerprint, teacher.timeline())):
            options = WatcherOptions(open_every=1, timeline=timeline)
            watcher = Watcher(session, server.url("whep"), whep_token, meters, options)
            await watcher.start()
            if timeline is not None:
                watcher._capture_id = 0  # what a server that strips the extension leaves us with
            await until(lambda meters=meters: meters.video_latency.count > 30)  # type: ignore[misc]
            await watcher.stop()
    assert by_fingerprint.audio_latency.count == 0
    middle, other = by_extension.video_latency.percentile(0.5), by_fingerprint.video_latency.percentile(0.5)
    assert middle is not None and other is not None
    assert 0 <= other < middle + 1_000_000  # both of the same order, not a loop of the clip apart
