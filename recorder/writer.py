"""The thread that puts one recording on disk: mux, write, manifest line, fdatasync of both. Never blocks the loop.

Whatever is queued when the thread gets to it is written together and forced to disk once, so that a slow disk costs
latency and not throughput. After a failure the files are cut back to what was good and the segment is closed; the
recording decides when to try again, with a new segment.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av.error

from recorder import limits, manifest, mux
from recorder.disk import Disk
from recorder.lease import Busy, Lease
from recorder.recording import Fragment, SegmentSpec
from recorder.segments import PART, Growing
from recorder.track import Sample

log = logging.getLogger(__name__)


Cause = Literal["disk-full", "disk-error"]
"""A code, which the pages have words for; what the system said goes to the log."""


def cause_of(error: Exception) -> Cause:
    return "disk-full" if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) else "disk-error"


@dataclass(frozen=True, slots=True)
class Written:
    fragments: list[Fragment]


@dataclass(frozen=True, slots=True)
class Failed:
    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Closed:
    """All is on disk; the lease is still held."""

    cause: Cause | None = None


Outcome = Written | Failed | Closed


@dataclass(frozen=True, slots=True)
class Close:
    """Close the segment; ``ended_ns`` (wall clock) if the lesson is over, ``None`` if it may go on."""

    ended_ns: int | None
    end: int  # ns since the epoch


class Writer:
    """``notify`` is called from the thread."""

    def __init__(
        self, folder: Path, lesson: str, title: str, disk: Disk, notify: Callable[[Outcome], None], lease: Lease | None
    ) -> None:
        self.folder = folder
        self.lease = lease
        self._lesson = lesson
        self._title = title
        self._disk = disk
        self._notify = notify
        self._queue: queue.SimpleQueue[Fragment | Close] = queue.SimpleQueue()
        self._queued_bytes = 0
        self._lock = threading.Lock()
        self._manifest: Growing | None = None
        self._segment: Growing | None = None
        self._spec: SegmentSpec | None = None
        self._number = 0
        self._good = 0  # bytes of the segment that are durable and listed
        self._listed = 0  # bytes of the manifest that are durable
        self._refused = -1  # the last generation that failed
        self._thread = threading.Thread(target=self._run, name=f"writer-{folder.name[:8]}", daemon=True)
        self._thread.start()

    def submit(self, fragments: list[Fragment], force: bool = False) -> bool:
        """Queue fragments; ``False`` when the queue is full (then none of them is taken). ``force``: the last ones."""
        size = sum(fragment.size for fragment in fragments)
        with self._lock:
            busy = self._queued_bytes > 0 and not force
            if busy and (
                self._queue.qsize() + len(fragments) > limits.QUEUE_FRAGMENTS
                or self._queued_bytes + size > limits.QUEUE_BYTES
            ):
                return False
            self._queued_bytes += size
        for fragment in fragments:
            self._queue.put(fragment)
        return True

    def close(self, order: Close) -> None:
        """The last order; ``Closed`` follows and the thread ends."""
        self._queue.put(order)

    def join(self) -> None:
        self._thread.join()

    @property
    def queued(self) -> int:
        return self._queue.qsize()

    def _run(self) -> None:
        while True:
            orders = [self._queue.get()]
            with suppress(queue.Empty):
                while True:
                    orders.append(self._queue.get_nowait())
            fragments = [each for each in orders if isinstance(each, Fragment)]
            self._write([each for each in fragments if each.generation > self._refused])
            with self._lock:
                self._queued_bytes -= sum(fragment.size for fragment in fragments)
            if isinstance(orders[-1], Close):
                self._notify(self._close(orders[-1]))
                return

    def _write(self, fragments: list[Fragment]) -> None:
        if not fragments:
            return
        try:
            for fragment in fragments:
                self._append(fragment)
            if self._segment is not None:
                self._segment.sync()
            if self._manifest is not None:
                self._manifest.sync()
        except Exception as error:  # whatever it is, it must become a listed gap and an alert, never a dead thread
            expected = isinstance(error, (OSError, Busy, av.error.FFmpegError, ValueError))
            log.error("recording %s: %s", self.folder.name, error, exc_info=not expected)
            self._refused = fragments[-1].generation
            self._undo()
            self._notify(Failed(self._refused, cause_of(error)))
        else:
            self._good = self._segment.length if self._segment is not None else 0
            self._listed = self._manifest.length if self._manifest is not None else 0
            self._notify(Written(fragments))

    def _undo(self) -> None:
        """Cut both files back to what was durable. Where even that fails, ``recover`` does it: the manifest decides."""
        if self._segment is not None:
            with suppress(OSError):
                if self._good:
                    try:
                        self._segment.cut(self._good)
                    finally:
                        self._segment.complete()
                else:
                    self._segment.close()
                    self._segment.path.unlink()
            self._segment = self._spec = None
        if self._manifest is not None:
            try:
                self._manifest.cut(self._listed)
                self._manifest.sync()
            except OSError:
                # What is behind the good part may be torn: write to it no more before it was cut.
                with suppress(OSError):
                    self._manifest.close()
                self._manifest = None

    def _append(self, fragment: Fragment) -> None:
        journal = self._journal(fragment)
        if fragment.samples:
            if self._spec is not fragment.segment or self._segment is None:
                self._roll(fragment)
            assert self._segment is not None
            self._number += 1
            spec = fragment.segment
            muxed = mux.mux(spec.container, spec.layout, fragment.samples, fragment.epoch, self._number)
            if self._segment.length == 0:
                _, length, crc = self._segment.append(muxed.header)
                layout = tuple(
                    manifest.TrackLayout(key, each.codec, each.width, each.height, each.channels, each.extra)
                    for key, each in spec.layout
                )
                journal.append(manifest.encode(manifest.SegmentLine(spec.name, spec.container, layout, length, crc)))
            journal.append(manifest.encode(_fragment_line(fragment, self._segment.append(muxed.body))))
        for gap in fragment.gaps:
            line = manifest.GapLine(gap.track, gap.start - fragment.epoch, gap.end - fragment.epoch, gap.reason)
            journal.append(manifest.encode(line))

    def _journal(self, fragment: Fragment) -> Growing:
        """The manifest, made with its folder at the first fragment or opened again after a failure or a restart."""
        if self._manifest is None:
            if self.lease is None:
                self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
                self._disk.sync_folder(self.folder.parent)
                self.lease = Lease(self.folder)
            path = self.folder / manifest.NAME
            known = manifest.parse(path.read_bytes()) if path.exists() else None
            if known is not None:
                self._manifest = Growing.reopen(self._disk, path, known.length)
                self._listed = known.length
            else:
                path.unlink(missing_ok=True)
                self._manifest = Growing.create(self._disk, path)
                self._listed = 0
                head = manifest.RecordingLine(1, self.folder.name, self._lesson, self._title, fragment.epoch)
                self._manifest.append(manifest.encode(head))
        return self._manifest

    def _roll(self, fragment: Fragment) -> None:
        if self._segment is not None:
            self._segment.complete()
            self._segment = None
        path = self.folder / (fragment.segment.name + PART)
        self._segment = Growing.create(self._disk, path)
        self._spec = fragment.segment
        self._number = self._good = 0

    def _close(self, order: Close) -> Closed:
        try:
            if self._segment is not None:
                self._segment.complete()
                self._segment = None
            if self._manifest is not None:
                if order.ended_ns is not None:
                    self._manifest.append(manifest.encode(manifest.EndLine(order.end, order.ended_ns)))
                    self._manifest.sync()
                self._manifest.close()
                self._manifest = None
        except OSError as error:
            log.error("recording %s cannot be closed: %s", self.folder.name, error)
            return Closed(cause_of(error))
        return Closed()


def _fragment_line(fragment: Fragment, written: tuple[int, int, int]) -> manifest.FragmentLine:
    epoch = fragment.epoch
    by_track: dict[str, list[Sample]] = {}
    for sample in fragment.samples:
        by_track.setdefault(sample.track, []).append(sample)
    ranges = tuple(_range(key, samples, epoch) for key, samples in by_track.items())
    start = min(each.start for each in ranges)
    end = max(each.end for each in ranges)
    offset, length, crc = written
    return manifest.FragmentLine(
        fragment.segment.name, offset, length, crc, start, end, (epoch + start, epoch + end), ranges
    )


def _range(key: str, samples: list[Sample], epoch: int) -> manifest.TrackRange:
    real = [each for each in samples if each.rtp is not None and each.sequences is not None]
    return manifest.TrackRange(
        key,
        samples[0].start - epoch,
        max(each.start + each.duration for each in samples) - epoch,
        len(samples),
        (real[0].rtp, real[-1].rtp) if real else None,  # type: ignore[arg-type]
        (real[0].sequences[0], real[-1].sequences[1]) if real else None,  # type: ignore[index]
        real[-1].ssrc if real else None,
    )
