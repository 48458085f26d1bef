"""A recorder for tests: the sans-IO recording on virtual time with a real writer, and a relay that speaks the tap."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av

from recorder import manifest, tap
from recorder.disk import Disk
from recorder.finish import finish
from recorder.manifest import Manifest
from recorder.recording import Recording
from recorder.writer import Close, Closed, Failed, Outcome, Writer, Written
from tests.support.lesson_media import Source, Timed

S = 1_000_000_000


class Bench:
    """One recording in ``folder``. Time is the arrival time of what is fed."""

    def __init__(self, folder: Path, disk: Disk | None = None, resumed: Manifest | None = None) -> None:
        self.folder = folder
        self.recording = Recording("lesson-1", "测试课", resumed)
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self.writer = Writer(folder, "lesson-1", "测试课", disk or Disk(), self.outcomes.put, None)
        self.now = 0
        self.keyframes: list[Any] = []
        self.failures: list[str] = []

    def track(self, handle: str, source: Source, publication: str = "camera") -> None:
        kind = "audio" if source.codec == "opus" else "video"
        self.recording.open_track(handle, publication, kind, source.codec, source.clock, 2)  # type: ignore[arg-type]

    def feed(self, handle: str, packets: Iterable[Timed]) -> None:
        packets = list(packets)
        if packets:
            self.now = max(self.now, packets[-1][0])
        self.recording.push(handle, packets, self.now)
        self.poll()

    def poll(self) -> None:
        self._write(self.recording.poll(self.now))
        self.keyframes += self.recording.keyframes(self.now)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            self.now += S // 20
            self.poll()

    def _write(self, fragments: list[Any]) -> None:
        if not fragments:
            return
        assert self.writer.submit(fragments, force=True)
        wanted = len(fragments)
        while wanted > 0:
            match self.outcomes.get(timeout=30):
                case Written(done):
                    wanted -= len(done)
                    for fragment in done:
                        self.recording.written(fragment)
                case Failed(_, error):
                    self.failures.append(error)
                    self.recording.failed("disk")
                    return
                case Closed():
                    raise AssertionError("closed early")

    def close(self, over: bool = True, ended_after: float | None = None) -> None:
        """``ended_after``: the bell, seconds after the last packet."""
        wall = 0 if over else None
        if ended_after is not None:
            wall = self.now + int(ended_after * S)
        self._write(self.recording.finish(self.now, wall))
        end = self.recording.end - (self.recording.epoch or 0)
        self.writer.close(Close(self.now if over else None, end))
        assert isinstance(self.outcomes.get(timeout=30), Closed)
        self.writer.join()
        if self.writer.lease is not None:
            self.writer.lease.release()

    def die(self) -> None:
        """As of kill -9: what was not written is forgotten, the lease is free."""
        if self.writer.lease is not None:
            self.writer.lease.release()

    def finish(self, ended_after: float | None = None) -> Manifest:
        self.close(ended_after=ended_after)
        return finish(self.folder)


def read_manifest(folder: Path) -> Manifest:
    known = manifest.parse((folder / manifest.NAME).read_bytes())
    assert known is not None
    return known


class Relay:
    """The relay's end of a tap."""

    def __init__(self) -> None:
        self.frames: list[list[Any]] = []
        self.new = asyncio.Event()
        self._reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self._task: asyncio.Task[None]

    @classmethod
    async def connect(cls, path: Path) -> Relay:
        relay = cls()
        for _ in range(600):
            try:
                relay._reader, relay.writer = await asyncio.open_unix_connection(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.05)
        else:
            raise AssertionError("the recorder does not listen")
        relay._task = asyncio.create_task(relay._read())
        relay.send("hello", tap.VERSION, b"")
        await relay.expect("ready")
        return relay

    def send(self, *frame: Any) -> None:
        if not self.writer.is_closing():
            self.writer.write(tap.encode(*frame))

    def open(self, lesson: str, title: str, **sources: Source) -> None:
        """``v=..., a=...``: tracks 1 and 2 (and so on) of the camera."""
        self.send("open", lesson, title, 0)
        for number, source in enumerate(sources.values(), 1):
            kind = "audio" if source.codec == "opus" else "video"
            self.send("track", lesson, number, "camera", kind, source.codec, source.clock, 2)

    async def expect(self, name: str, timeout: float = 60.0, **values: Any) -> list[Any]:
        """The next frame of this name; ``state="failing"`` picks by the state."""
        async with asyncio.timeout(timeout):
            while True:
                for index, frame in enumerate(self.frames):
                    if frame[0] == name and ("state" not in values or frame[2] == values["state"]):
                        del self.frames[: index + 1]
                        return frame
                self.new.clear()
                await self.new.wait()

    async def _read(self) -> None:
        decoder = tap.Decoder()
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(65536):
                self.frames += decoder.feed(data)
                self.new.set()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
        await self._task


def decode(path: Path) -> dict[str, Any]:
    """Decode a file to its end: frames, first and last instants per kind, loudness per 100 ms of sound."""
    out: dict[str, Any] = {"video": [], "audio": [], "loud": []}
    with av.open(str(path)) as source:
        out["duration"] = (source.duration or 0) / av.time_base
        for frame in source.decode():
            if isinstance(frame, av.VideoFrame):
                assert not frame.is_corrupt
                out["video"].append((frame.time, frame.width, frame.height))
            else:
                samples = memoryview(bytes(frame.planes[0])[: frame.samples * 4]).cast("f")
                out["audio"].append((frame.time, frame.samples / frame.sample_rate))
                out["loud"].append((frame.time, max(map(abs, samples), default=0.0)))
    return out
