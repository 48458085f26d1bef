"""One lesson on the real server with real clients, and a judge who reads the clock burnt into what was recorded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import av

from loadtest import clock
from loadtest.classroom import VirtualClassroom
from loadtest.rawclient.media import Clip, sample
from loadtest.teacher import VirtualTeacher
from signaling.tokens import Tokens, load_or_make_secret
from tests.support.processes import Serving, free_udp_port
from tests.support.waiting import until

RATE = 15
"""Pictures a second in the bundled lesson; its clock counts them."""
LISTED = 60.0
"""Seconds from the bell to the library, as promised."""


class School:
    """``kongzhong serve`` on one data folder and the same ports in all its lives; tokens and REST as staff has them."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.server = Serving(data, "--media", f"127.0.0.1:{free_udp_port()}", "--log-level", "info")
        self.http: aiohttp.ClientSession

    async def start(self) -> None:
        """Also after a kill: the same ports and data."""
        await self.server.__aenter__()
        self._tokens = Tokens(load_or_make_secret(self.data))

    def token(self, lesson: str, role: Any, seat: str) -> str:
        return self._tokens.issue(lesson, role, seat)

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token('*', 'ops', 'test')}"}
        async with self.http.request(method, self.server.url + path, json=body, headers=headers) as response:
            assert response.status < 400, (method, path, response.status, await response.text())
            return await response.json()

    async def create(self, title: str = "第一课") -> str:
        return str((await self.api("POST", "/api/lessons", {"title": title}))["id"])

    async def end(self, lesson: str) -> None:
        await self.api("POST", f"/api/lessons/{lesson}/end", {})

    async def lesson(self, lesson: str) -> Any:
        return await self.api("GET", f"/api/lessons/{lesson}")

    async def archived(self, lesson: str) -> Any:
        """Wait for the library entry; returns the resource that the lesson names."""
        async with asyncio.timeout(LISTED):
            while True:
                now = await self.lesson(lesson)
                if now["state"] == "archived":
                    return await self.api("GET", f"/api/library/{now['resource']}")
                await asyncio.sleep(0.1)

    async def resources(self, lesson: str) -> list[Any]:
        listed = (await self.api("GET", "/api/library?limit=100"))["resources"]
        return [each for each in listed if each["lesson"] == lesson]

    async def fetch(self, resource: Any, to: Path) -> Path:
        headers = {"Authorization": f"Bearer {self.token('*', 'ops', 'test')}"}
        async with self.http.get(f"{self.server.url}/api/library/{resource['id']}/media", headers=headers) as response:
            assert response.status == 200
            to.write_bytes(await response.read())
        return to

    def teacher(self, lesson: str, clip: Clip | None = None) -> VirtualTeacher:
        token = self.token(lesson, "teacher", "teacher")
        return VirtualTeacher(f"{self.server.url}/whip/{lesson}", token, clip=clip or sample())

    def classroom(self, lesson: str, name: str) -> VirtualClassroom:
        token = self.token(lesson, "classroom", name)
        return VirtualClassroom(f"{self.server.url}/whep/{lesson}", token, name=name)

    # --- violence -------------------------------------------------------------------------------------------------

    @property
    def recorder(self) -> int | None:
        """Process id of the recorder that lives now."""
        children = Path(f"/proc/{self.server.process.pid}/task/{self.server.process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if b"server.app.recorder_child" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        return None

    async def kill_recorder(self) -> int:
        await until(lambda: self.recorder, "a recorder")
        recorder = self.recorder
        assert recorder is not None
        os.kill(recorder, signal.SIGKILL)
        return recorder

    async def kill_server(self) -> int | None:
        """kill -9 of the main process; returns the recorder that it had."""
        recorder = self.recorder
        self.server.process.kill()
        await self.server.process.wait()
        return recorder


@contextlib.asynccontextmanager
async def school(data: Path) -> AsyncIterator[School]:
    here = School(data)
    async with aiohttp.ClientSession() as here.http:
        await here.start()
        try:
            yield here
        finally:
            await here.server.stop()


async def vanish(teacher: VirtualTeacher) -> None:
    """The teacher's machine loses its power: no BYE, no DELETE, nothing more from its port."""
    assert teacher._task is not None and teacher._publisher is not None
    teacher._task.cancel()
    for task in teacher._publisher._tasks:
        task.cancel()
    peer = teacher._publisher._peer
    if peer._timer is not None:
        peer._timer.cancel()
    peer._closed = True
    if peer._transport is not None:
        peer._transport.abort()
    await teacher._session.close()


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


# --- the judge ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watched:
    """A recording as somebody saw it who wrote down the clock of each picture. Times are seconds of media."""

    pictures: tuple[tuple[float, int], ...]  # place in the file, clock
    sound: float  # end of the last sample
    holes: int  # places where sound does not follow sound
    duration: float

    def losses(self) -> list[tuple[float, float]]:
        """(place, seconds) of every jump of the clock by more than a picture."""
        return [
            (before[0], (step(before[1], after[1]) - 1) / RATE)
            for before, after in pairwise(self.pictures)
            if step(before[1], after[1]) > 1
        ]

    def drift(self) -> float:
        """How far the file's time and the clock's time are apart at most, within what one publisher sent."""
        worst = shown = 0.0
        for before, after in pairwise(self.pictures):
            shown += step(before[1], after[1]) / RATE
            worst = max(worst, abs(after[0] - self.pictures[0][0] - shown))
        return worst


def step(before: int, after: int) -> int:
    """Pictures from one clock to the next, around the end of the loop if need be."""
    return (after - before) % _loop()


def _loop() -> int:
    return len(sample().video[-1].frames)


def watch(file: Path) -> Watched:
    """Decode all of it. Fails where a picture's clock cannot be read: it was decoded from what it does not refer to."""
    pictures: list[tuple[float, int]] = []
    sound, holes = 0.0, 0
    with av.open(str(file)) as container:
        duration = (container.duration or 0) / av.time_base
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                number = clock.read_frame(frame)
                assert number is not None and not frame.is_corrupt, f"a broken picture at {frame.time}"
                assert frame.time is not None
                pictures.append((frame.time, number))
            else:
                assert frame.time is not None
                holes += abs(frame.time - sound) > 0.03
                sound = frame.time + frame.samples / frame.sample_rate
    return Watched(tuple(pictures), sound, holes, duration)


def covered(gaps: Sequence[Any], place: float, seconds: float, kind: str = "video") -> bool:
    """Whether a gap of that kind is listed for the time after ``place``."""
    return any(
        gap["start"] - 0.2 <= place and place + seconds <= gap["start"] + gap["seconds"] + 0.2
        for gap in gaps
        if gap["track"].endswith(kind)
    )


def last_clock(teacher: VirtualTeacher) -> int:
    """Clock of the last picture that the teacher has sent."""
    assert teacher._publisher is not None
    video = next(stream for stream in teacher._publisher._streams if stream.track.codec != "opus")
    return (video.index - 1) % _loop()


def epoch(teacher: VirtualTeacher) -> float:
    """The instant of the clip's beginning as the teacher sends it now, in seconds; only differences mean anything."""
    assert teacher._publisher is not None
    return teacher._publisher.epoch_ns / 1e9
