"""A recorder as a process of its own, and a lesson that is sent to it in real time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from tests.support.lesson_media import S, Source, audio, video
from tests.support.recorder_bench import Relay

ROOT = Path(__file__).parents[2]


class RecorderProcess:
    """``python -m recorder`` on its own data folder."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.socket = data / "tap" / "s"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "recorder", "--data", str(self.data), "--tap", f"unix:{self.socket}"]
        self._process = subprocess.Popen([*command, *self._arguments], cwd=ROOT)

    def kill(self) -> None:
        """kill -9, as the kernel or an operator would."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    async def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, 60)

    def __enter__(self) -> RecorderProcess:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class LiveLesson:
    """One lesson whose teacher never stops; a relay carries it to whatever recorder there is."""

    def __init__(self, codec: str, name: str = "lesson-1") -> None:
        begin = time.time_ns()
        self.name = name
        self.picture: Source = video(codec, begin_ns=begin)
        self.sound: Source = audio(begin_ns=begin)
        self.begin = begin
        self.relay: Relay | None = None
        self.last_sent = 0  # arrival of the last packet that a recorder was given, ns

    async def connect(self, socket: Path) -> None:
        self.relay = await Relay.connect(socket)
        self.relay.open(self.name, "第一课", v=self.picture, a=self.sound)

    async def disconnect(self) -> None:
        if self.relay is not None:
            await self.relay.close()
            self.relay = None

    async def run(self, seconds: float) -> None:
        """Teach for a while; without a relay the packets are lost."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            at = (time.time_ns() - self.begin) / S
            for number, source in enumerate((self.picture, self.sound), 1):
                packets = [[arrival, data] for arrival, data in source.until(at)]
                if packets and self.relay is not None:
                    self.relay.send("rtp", number, packets)
                    self.last_sent = max(self.last_sent, *(each[0] for each in packets))
            await asyncio.sleep(0.02)
