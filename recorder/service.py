"""The recorder process: listens for taps, records every lesson that is opened, finishes what has ended, recovers what
was left behind. A supervisor starts it again when it dies; it then goes on where it was."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import secrets
import signal
import time
from collections import Counter
from pathlib import Path

from recorder import limits
from recorder.adoption import Adoption
from recorder.disk import Disk
from recorder.finishing import Finisher
from recorder.intake import Peer, serve
from recorder.library.catalog import Catalog
from recorder.limits import S
from recorder.live import LiveLesson

log = logging.getLogger(__name__)

COUNTERS = (
    "packets",
    "dropped_by_relay",
    "keyframes_asked",
    "taps_bad",
    "taps_refused",
    "lessons_refused",
    "tracks_refused",
    "recover_failures",
    "fragments",
    "written_bytes",
    "write_failures",
    "overload",
    "gaps",
)


class RecorderService:
    """``address``: ``unix:/path`` (its folder becomes private) or ``tcp:host:port`` (``secret`` is then asked for)."""

    def __init__(self, data: Path, address: str, secret: bytes, disk: Disk | None = None) -> None:
        if address.startswith("tcp:") and not secret:
            raise ValueError("a tap over TCP needs a secret")
        self._archive = data / "archive"
        self._data = data
        self._address = address
        self._secret = secret
        self._disk = disk or Disk()
        self._live: dict[str, LiveLesson] = {}
        self._lessons: dict[tuple[Peer, int], str] = {}  # by track
        self._connections: set[asyncio.Task[None]] = set()
        self._counters: Counter[str] = Counter()
        self._catalog: Catalog
        self._finisher: Finisher
        self._adoption: Adoption
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped: dict[LiveLesson, asyncio.Event] = {}

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """:raises OSError: the data folder cannot be written or the address not be listened on."""
        self._archive.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._catalog = await asyncio.to_thread(Catalog, self._data / "library.db")
        self._finisher = Finisher(self._catalog)
        self._adoption = Adoption(self._archive, self._disk, self._catalog, self._finisher)
        await self._adoption.take_over(time.monotonic_ns())
        self._server = await self._listen()
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._keep())]

    async def stop(self) -> None:
        """Write what there is; lessons that are live stay resumable, lessons being finished get a moment."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for live in list(self._live.values()):
            self._stopped[live] = asyncio.Event()
            live.end(time.monotonic_ns(), ended_wall=None)
        for event in list(self._stopped.values()):
            await event.wait()
        self._adoption.release()
        await self._finisher.stop()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.to_thread(self._catalog.close)

    async def failed(self) -> None:
        """Returns never; raises what ended one of the service's own tasks: a bug, after which a restart goes on."""
        await asyncio.gather(*self._tasks)

    async def _listen(self) -> asyncio.Server:
        scheme, _, rest = self._address.partition(":")
        if scheme == "unix":
            path = Path(rest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o700)
            await _nobody_answers(path)
            path.unlink(missing_ok=True)
            return await asyncio.start_unix_server(lambda r, w: self._connected(r, w, None), path)
        host, _, port = rest.rpartition(":")
        if scheme != "tcp" or not port.isdigit():
            raise OSError(f"tap address {self._address!r} is neither unix:/path nor tcp:host:port")
        secret = self._secret
        return await asyncio.start_server(lambda r, w: self._connected(r, w, secret), host.strip("[]"), int(port))

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: bytes | None
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= limits.TAPS:
            self._counters["taps_refused"] += 1
            writer.close()
            return
        self._connections.add(task)
        try:
            if not await serve(reader, writer, secret, self):
                self._counters["taps_bad"] += 1
        except asyncio.CancelledError:
            writer.close()
        finally:
            self._connections.discard(task)

    # --- what taps say (intake.Handler) -----------------------------------------------------------------------------

    def opened(self, peer: Peer, lesson: str, title: str) -> None:
        live = self._live.get(lesson)
        if live is None:
            if len(self._live) >= limits.LESSONS:
                self._counters["lessons_refused"] += 1
                peer.send("state", lesson, "failing", 0.0, 0.0, 0, "recorder-full")
                return
            live = self._begin(lesson, title)
        live.peers.add(peer)
        live.abandoned = None

    def _begin(self, lesson: str, title: str) -> LiveLesson:
        left = self._adoption.claim(lesson)
        if left is None:
            folder = self._archive / secrets.token_hex(16)
            live = LiveLesson(folder, lesson, title, self._disk, self._closed)
        else:
            live = LiveLesson(left.folder, lesson, title, self._disk, self._closed, (left.known, left.lease))
        self._live[lesson] = live
        return live

    def track(
        self, peer: Peer, lesson: str, track: int, publication: str, kind: str, codec: str, clock: int, channels: int
    ) -> None:
        live = self._live.get(lesson)
        if live is None or live.over:
            return
        try:
            live.recording.open_track(
                (peer, track), publication, "audio" if kind == "audio" else "video", codec, clock, channels
            )
        except ValueError as error:
            self._counters["tracks_refused"] += 1
            log.warning("lesson %s: %s", live.folder.name, error)
            return
        self._lessons[peer, track] = lesson

    def packets(self, peer: Peer, track: int, packets: list[tuple[int, bytes]]) -> None:
        live = self._live.get(self._lessons.get((peer, track), ""))
        if live is None or live.over:
            return
        self._counters["packets"] += len(packets)
        live.recording.push((peer, track), packets, time.monotonic_ns())

    def clock(self, peer: Peer, track: int, rtp: int, ntp_ns: int, arrival_ns: int) -> None:
        live = self._live.get(self._lessons.get((peer, track), ""))
        if live is not None:
            live.recording.report((peer, track), rtp, ntp_ns, arrival_ns)

    def dropped(self, peer: Peer, track: int, packets: int) -> None:
        self._counters["dropped_by_relay"] += max(0, packets)

    def ended(self, peer: Peer, lesson: str) -> None:
        live = self._live.get(lesson)
        if live is None and (left := self._adoption.claim(lesson)) is not None:
            self._finisher.add(left.folder, left.lease, lesson, {peer})
            return
        if live is None:  # nothing of it was ever recorded here
            if not self._finisher.notify(lesson, peer):
                peer.send("done", lesson)
            return
        live.peers.add(peer)
        live.end(time.monotonic_ns(), ended_wall=time.time_ns())

    def lost(self, peer: Peer) -> None:
        now = time.monotonic_ns()
        for key in [each for each in self._lessons if each[0] is peer]:
            live = self._live.get(self._lessons.pop(key))
            if live is not None and not live.over:
                live.recording.close_track(key, now)
        for live in self._live.values():
            if peer in live.peers:
                live.peers.discard(peer)
                if not live.peers:
                    live.abandoned = now

    # --- what time says ---------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        second = 0
        while True:
            await asyncio.sleep(limits.POLL / S)
            now = time.monotonic_ns()
            for live in list(self._live.values()):
                for peer, track in live.poll(now):
                    self._counters["keyframes_asked"] += 1
                    peer.send("keyframe", track)
                if live.abandoned is not None and now - live.abandoned > limits.GRACE:
                    live.end(now, ended_wall=0)
            if now - second >= S:
                second = now
                self._say(now)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self._adoption.poll(time.monotonic_ns())

    def _say(self, now: int) -> None:
        told: set[Peer] = set()
        for live in self._live.values():
            for peer in live.peers:
                peer.send("state", *live.status(now))
                told.add(peer)
        stats = self.stats()
        for peer in told:
            peer.send("stats", stats)

    def _closed(self, live: LiveLesson) -> None:
        """A lesson's files are closed."""
        if self._live.get(live.lesson) is live:
            del self._live[live.lesson]
        for track in [each for each, lesson in self._lessons.items() if lesson == live.lesson]:
            del self._lessons[track]
        for name, value in live.counters.items():
            self._counters[name] += int(value)
        self._counters["gaps"] += live.new_gaps
        stopped = self._stopped.get(live)
        if stopped is not None:
            stopped.set()
            # One whose end came with the stop is finished at the next start.
            if live.lease is not None:
                live.lease.release()
        elif live.lease is None:  # nothing was ever received
            for peer in live.peers:
                peer.send("done", live.lesson)
        else:
            self._finisher.add(live.folder, live.lease, live.lesson, live.peers)

    # --- what others want to know -----------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The TCP port listened on; 0 on a Unix socket."""
        name = self._server.sockets[0].getsockname() if self._server else ""
        return int(name[1]) if isinstance(name, tuple) else 0

    def stats(self) -> dict[str, float]:
        """Counters since the start, and how things are now; names are fixed."""
        now = time.monotonic_ns()
        lives = list(self._live.values())
        tracks = [track for live in lives for track in live.recording.tracks.values()]
        usage = resource.getrusage(resource.RUSAGE_SELF)
        out: dict[str, float] = dict.fromkeys(COUNTERS, 0)
        out.update(self._counters)
        out["recover_failures"] = self._adoption.failures
        for live in lives:
            for name, value in live.counters.items():
                out[name] += value
            out["gaps"] += live.new_gaps
        out |= {
            "lessons": len(lives),
            "failing": sum(live.state == "failing" for live in lives),
            "taps": len(self._connections),
            "lag_ms": max((live.lag_ms(now) for live in lives), default=0.0),
            "recorded_seconds": sum(live.recording.seconds for live in lives),
            "lost_packets": sum(track.lost for track in tracks),
            "late_packets": sum(track.late for track in tracks),
            "malformed_packets": sum(track.bad for track in tracks),
            "finishing": self._finisher.waiting,
            "finished": self._finisher.finished,
            "finish_failures": self._finisher.failures,
            "finish_seconds": self._finisher.last_seconds,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
        }
        return out


async def _nobody_answers(path: Path) -> None:
    """:raises OSError: a living recorder listens here; to unlink its socket would cut it off for good"""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return
    writer.close()
    raise OSError(errno.EADDRINUSE, "another recorder listens", str(path))


async def run(data: Path, address: str, secret: bytes) -> None:
    """The recorder until SIGTERM or SIGINT.

    :raises OSError: it could not start.
    """
    service = RecorderService(data, address, secret)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await service.start()
    log.info("recorder listens on %s", address)
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(service.failed())]
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await service.stop()
    for task in done:
        task.result()
