"""TapLink: the stream to one recorder. Connects, answers the challenge, sends what waits, hears, and begins again.

The single invariant: media never waits for a recorder. Everything goes through a bounded queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from recorder import tap
from server.node import limits
from server.node.tap_queue import TapQueue

log = logging.getLogger("kongzhong.tap")
_READ = 64 * 1024


@dataclass(slots=True)
class TappedLesson:
    """What is said again after a reconnection."""

    title: str
    started_ns: int
    tracks: dict[int, bytes] = field(default_factory=dict)  # the encoded ``track`` frames
    ended: bool = False
    seconds: float = 0.0
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class HeardState:
    """The recorder's ``state``, or ours in its place while there is no recorder (``buffering``)."""

    lesson: str
    state: str
    lag_ms: float
    seconds: float
    gaps: int
    detail: str


class TapLink:
    """One recorder's address, any number of lessons."""

    def __init__(
        self,
        address: str,
        *,
        secret: bytes,
        clock: Callable[[], float],
        on_keyframe: Callable[[int], None],
        on_state: Callable[[HeardState], None],
    ) -> None:
        self.address = address
        self.connected = False
        self.connections = 0
        self.stats: dict[str, float] = {}
        self.queue = TapQueue()
        self.lessons: dict[str, TappedLesson] = {}
        self._secret = secret
        self._clock = clock
        self._on_keyframe = on_keyframe
        self._on_state = on_state
        self._news = asyncio.Event()
        self._sent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsent: bytes | None = None  # taken from the queue, not yet in the kernel's hands

    # --- orders -----------------------------------------------------------------------------------------------

    def open(self, lesson: str, title: str, started_ns: int) -> None:
        """The lesson's first packet is here; connects when nothing did before."""
        self._forget_oldest_ended()
        self.lessons[lesson] = TappedLesson(title, started_ns)
        if self.connected:
            self.queue.add_order(tap.encode("open", lesson, title, started_ns), "open", lesson, self._clock())
        self._wake()

    def track(self, lesson: str, track: int, frame: bytes) -> None:
        tracks = self.lessons[lesson].tracks
        tracks[track] = frame
        if len(tracks) > limits.TRACKS_PER_LESSON:
            del tracks[next(iter(tracks))]
        if self.connected:
            self.queue.add_order(frame, "track", lesson, self._clock())
        self._wake()

    def media(self, frame: bytes, *, track: int, packets: int) -> None:
        self.queue.add_media(frame, track=track, packets=packets, now=self._clock())
        self._wake()

    def end(self, lesson: str) -> None:
        """Also for a lesson that was never opened here: what a relay before us left is then not waited for."""
        if lesson in self.lessons:
            self.lessons[lesson].ended = True
        self.queue.add_order(tap.encode("end", lesson), "end", lesson, self._clock())
        self._wake()

    async def close(self) -> None:
        """Send what waits, for a second at most, and stop. The recorder finishes what it has by itself."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.TAP_FAREWELL):
                while self.connected and (self.queue or self._unsent):
                    await self._sent.wait()
                    self._sent.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _forget_oldest_ended(self) -> None:
        ended = [lesson for lesson, state in self.lessons.items() if state.ended]
        if len(ended) >= limits.TAP_ENDING:
            del self.lessons[ended[0]]

    def _wake(self) -> None:
        self._news.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"tap {self.address}")

    # --- the stream ---------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        attempt = 0
        reporting = asyncio.create_task(self._report_while_away())
        try:
            while True:
                before = self.connections
                try:
                    await self._connection()
                except (OSError, EOFError, TimeoutError, tap.TapError) as error:
                    level = logging.DEBUG if attempt else logging.WARNING
                    log.log(level, "recorder %s: %s", self.address, error or type(error).__name__)
                attempt = 0 if self.connections > before else attempt + 1
                await asyncio.sleep(limits.TAP_BACK_OFF[min(attempt, len(limits.TAP_BACK_OFF) - 1)])
        finally:
            reporting.cancel()

    async def _connection(self) -> None:
        """One connection from beginning to end; always ends with an exception."""
        async with asyncio.timeout(limits.TAP_HANDSHAKE):
            reader, writer = await _connect(self.address)
        # drain() then waits for the kernel to take all, so that a broken stream loses no batch on our side of it.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            frames = _Frames(reader)
            async with asyncio.timeout(limits.TAP_HANDSHAKE):
                await self._say_hello(frames, writer)
            self._say_again(writer)
            self.connected = True
            self.connections += 1
            log.info("recorder %s: connected", self.address)
            await _first_failure(self._hear(frames), self._send(writer))
        finally:
            self.connected = False
            writer.close()

    async def _say_hello(self, frames: _Frames, writer: asyncio.StreamWriter) -> None:
        challenge = await frames.next()
        if len(challenge) < 2 or challenge[0] != "challenge" or not isinstance(challenge[1], bytes):
            raise tap.TapError("a recorder begins with a challenge")
        nonce = challenge[1]
        if nonce and not self._secret:
            raise tap.TapError("the recorder asks for a proof and there is no shared secret")
        writer.write(tap.encode("hello", tap.VERSION, tap.answer(self._secret, nonce) if nonce else b""))
        if (await frames.next())[0] != "ready":
            raise tap.TapError("the recorder does not accept our proof")

    def _say_again(self, writer: asyncio.StreamWriter) -> None:
        """All we know, whether it was said before or still waits, and what a recorder that died may not have written:
        it goes on with the same recordings."""
        self._unsent = None  # an order is said again below, media is sent again
        self.queue.rewind(self._clock())
        self.queue.withdraw("open")
        self.queue.withdraw("track")
        for lesson, state in self.lessons.items():
            writer.write(tap.encode("open", lesson, state.title, state.started_ns))
            for frame in state.tracks.values():
                writer.write(frame)
            if state.ended:
                self.queue.withdraw("end", lesson)
                self.queue.add_order(tap.encode("end", lesson), "end", lesson, self._clock())

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            if self._unsent is None:
                self._unsent = self.queue.take(self._clock())
            if self._unsent is None:
                self._news.clear()
                await self._news.wait()
                continue
            writer.write(self._unsent)
            await writer.drain()
            self._unsent = None
            self._sent.set()

    async def _hear(self, frames: _Frames) -> None:
        while True:
            async with asyncio.timeout(limits.TAP_SILENCE):
                frame = await frames.next()
            try:
                self._take(frame)
            except (TypeError, ValueError, IndexError, AttributeError) as error:
                raise tap.TapError(f"a recorder's {frame[0][:16]} frame is malformed") from error

    def _take(self, frame: list[Any]) -> None:
        name, *arguments = frame
        if name == "keyframe":
            self._on_keyframe(int(arguments[0]))
        elif name == "state":
            lesson, state, lag, seconds, gaps, detail = arguments
            known = self.lessons.get(lesson)
            if known is not None:
                known.seconds, known.gaps = float(seconds), int(gaps)
                self._on_state(HeardState(lesson, str(state), float(lag), float(seconds), int(gaps), str(detail)))
        elif name == "stats":
            figures = {str(key)[:64]: float(value) for key, value in arguments[0].items()}
            self.stats = {key: value for key, value in list(figures.items())[:64] if math.isfinite(value)}
        elif name == "done":
            known = self.lessons.get(arguments[0])
            if known is not None and known.ended:
                del self.lessons[arguments[0]]

    async def _report_while_away(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.connected:
                continue
            lag = 1000.0 * self.queue.age(self._clock())
            for lesson, state in list(self.lessons.items()):
                if not state.ended:
                    self._on_state(HeardState(lesson, "buffering", lag, state.seconds, state.gaps, "no recorder"))


class _Frames:
    """The frames of a stream, one at a time."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._decoder = tap.Decoder()
        self._ready: list[list[Any]] = []

    async def next(self) -> list[Any]:
        """:raises EOFError: the recorder has closed. :raises TapError: it speaks something else."""
        while not self._ready:
            data = await self._reader.read(_READ)
            if not data:
                raise EOFError("the recorder has closed the tap")
            self._ready.extend(self._decoder.feed(data))
        return self._ready.pop(0)


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    scheme, _, rest = address.partition(":")
    if scheme == "unix":
        return await asyncio.open_unix_connection(rest)
    host, _, port = rest.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def _first_failure(*coroutines: Any) -> None:
    """Run all until one ends; end the others; raise what it raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
