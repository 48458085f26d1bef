"""One lesson while it is recorded: the sans-IO recording, its writer thread, and what is said of it each second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from recorder import limits
from recorder.disk import Disk
from recorder.intake import Peer
from recorder.lease import Lease
from recorder.limits import MS
from recorder.manifest import Manifest
from recorder.recording import Fragment, Recording
from recorder.track import Reason
from recorder.writer import Close, Closed, Failed, Outcome, Writer, Written

log = logging.getLogger(__name__)

State = Literal["recording", "failing", "finishing"]


class LiveLesson:
    """``on_closed`` is called in the loop once all is on disk."""

    def __init__(
        self,
        folder: Path,
        lesson: str,
        title: str,
        disk: Disk,
        on_closed: Callable[[LiveLesson], None],
        resumed: tuple[Manifest, Lease] | None = None,
    ) -> None:
        self.folder = folder
        self.lesson = lesson
        self.peers: set[Peer] = set()
        self.state: State = "recording"
        self.detail = ""
        self.abandoned: int | None = None  # since when no tap speaks of it
        self.over = False  # the lesson has ended
        self.counters: dict[str, float] = dict.fromkeys(("fragments", "written_bytes", "write_failures", "overload"), 0)
        self.recording = Recording(lesson, resumed[0].head.title if resumed else title, resumed[0] if resumed else None)
        self._gaps_before = self.recording.gap_count  # listed by whoever recorded the lesson before us
        self._loop = asyncio.get_running_loop()
        self._on_closed = on_closed
        self._retry_at = 0
        self._failure: Reason | None = None
        self._unwritten: deque[int] = deque()  # when the oldest sample of each queued fragment arrived
        self._writer = Writer(
            folder, lesson, self.recording.title, disk, self._from_thread, resumed[1] if resumed else None
        )

    @property
    def new_gaps(self) -> int:
        """Gaps found since this process records the lesson."""
        return self.recording.gap_count - self._gaps_before

    @property
    def lease(self) -> Lease | None:
        return self._writer.lease

    def poll(self, now: int) -> list[Any]:
        """Every POLL: hand due fragments to the writer; returns the tracks that need a keyframe."""
        if self.over:
            return []
        if self._failure is not None:
            self.recording.drop()
            if now < self._retry_at or self._unwritten:
                return []
            self._go_on(self._failure)
        self._submit(self.recording.poll(now))
        return self.recording.keyframes(now)

    def end(self, now: int, ended_wall: int | None) -> None:
        """Write what there is and close; ``ended_wall`` as for ``Recording.finish``."""
        if self.over:
            return
        self.over = True
        self.state = "finishing"
        if self._failure is not None:
            self._go_on(self._failure)
        self._submit(self.recording.finish(now, ended_wall), force=True)
        epoch = self.recording.epoch or 0
        self._writer.close(Close(None if ended_wall is None else time.time_ns(), max(0, self.recording.end - epoch)))

    def lag_ms(self, now: int) -> float:
        """Age of the oldest sample that is not yet on disk."""
        queued = now - self._unwritten[0] if self._unwritten else 0
        return max(queued, self.recording.lag(now)) / MS

    def status(self, now: int) -> tuple[str, str, float, float, int, str]:
        """The arguments of the ``state`` frame."""
        recording = self.recording
        return (
            self.lesson,
            self.state,
            round(self.lag_ms(now), 1),
            round(recording.seconds, 3),
            recording.gap_count,
            self.detail,
        )

    def _submit(self, fragments: list[Fragment], force: bool = False) -> None:
        if not fragments:
            return
        if self._writer.submit(fragments, force):
            self._unwritten += [min((s.received for s in each.samples), default=0) for each in fragments]
            return
        self.counters["overload"] += 1
        self._fail("overload", "too-slow")

    def _go_on(self, failure: Reason) -> None:
        """Try again, from what is on disk by now; the time since becomes a gap."""
        self._failure = None
        self.recording.failed(failure)

    def _fail(self, reason: Reason, detail: str) -> None:
        self._failure = reason
        if not self.over:
            self.state = "failing"
        self.detail = detail
        self._retry_at = time.monotonic_ns() + limits.DISK_RETRY

    def _from_thread(self, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(self._outcome, outcome)

    def _outcome(self, outcome: Outcome) -> None:
        match outcome:
            case Written(fragments):
                for fragment in fragments:
                    self.recording.written(fragment)
                    if self._unwritten:  # a failure of what came before has cleared it
                        self._unwritten.popleft()
                    self.counters["fragments"] += 1
                    self.counters["written_bytes"] += fragment.size
                if self.state == "failing" and fragments[-1].generation == self.recording.generation:
                    self.state, self.detail = "recording", ""
            case Failed(generation, cause):
                self._unwritten.clear()
                self.counters["write_failures"] += 1
                if generation == self.recording.generation:
                    self._fail("disk", cause)
            case Closed(cause):
                self._unwritten.clear()
                self.detail = cause or ""
                self._on_closed(self)
