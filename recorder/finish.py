"""A lesson's end: its segments become one playable file, by stream copy, with a poster, a checksum and a library entry.

MP4 with the index first, or WebM with its cues first, so that a browser may seek at once. Where the video codec
changed in mid-lesson the lesson becomes several parts, one per run of a codec (``split``). Segments stay until the
finished file was read again and found complete.

``python -m recorder.finish FOLDER`` does the work in a process of its own at low priority: copying 200,000 packets
holds the interpreter lock that a live recording needs, and a file that crashes FFmpeg must not take lessons along.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.container
import av.error

from recorder import limits, manifest, mux
from recorder.depacketize import Format
from recorder.disk import Disk
from recorder.limits import S
from recorder.manifest import FinishedLine, GapLine, Manifest, Part, Segment
from recorder.recording import rank
from recorder.repair import repair
from recorder.segments import PART, Growing

if TYPE_CHECKING:  # a child that finishes a lesson does without the database: a third of a second of imports
    from recorder.library.catalog import Catalog

log = logging.getLogger(__name__)

_OPTIONS: dict[mux.Container, dict[str, str]] = {
    "mp4": {"movflags": "+faststart"},
    "webm": {"cues_to_front": "1"},
    "mkv": {"cues_to_front": "1"},
}
POSTER_SIZE = (1280, 720)
TOLERANCE = 100_000_000  # ns that a container's stated duration may differ (rounding, one frame)


class Unfinished(ValueError):
    """The file that was made is not what the manifest promises; the segments are kept."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive segments that go into one file; times in ns since the recording's epoch."""

    segments: tuple[Segment, ...]
    start: int
    end: int

    @property
    def layout(self) -> mux.Layout:
        """All tracks of all segments; each with the format that it had first."""
        formats: dict[str, Format] = {}
        for segment in self.segments:
            for part in segment.line.layout:
                formats.setdefault(part.track, part.format)
        return tuple(sorted(formats.items(), key=lambda item: rank(item[0])))

    @property
    def size(self) -> tuple[int, int]:
        """The largest picture of the main track."""
        video = [key for key, form in self.layout if form.codec != "opus"][:1]
        sizes = [(p.width, p.height) for s in self.segments for p in s.line.layout if p.track in video]
        return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def split(known: Manifest) -> list[Run]:
    """The runs of segments in which every track keeps its codec. Segments without a picture belong to any."""
    runs: list[list[Segment]] = []
    codecs: dict[str, str] = {}
    for segment in known.segments:
        if not segment.fragments:
            continue
        here = {part.track: part.codec for part in segment.line.layout}
        if not runs or any(codecs.get(key, codec) != codec for key, codec in here.items()):
            runs.append([])
            codecs = {}
        codecs.update(here)
        runs[-1].append(segment)
    starts = [0, *(run[0].fragments[0].start for run in runs[1:])]
    end = max(known.ended.end if known.ended else 0, known.end)
    return [Run(tuple(run), starts[i], [*starts, end][i + 1]) for i, run in enumerate(runs)]


def finish(folder: Path, disk: Disk | None = None) -> Manifest:
    """Make the playable files of one recording, whose lease the caller holds. May be interrupted and repeated.

    :raises Unfinished: nothing could be made of it. :raises OSError: the disk refuses.
    """
    disk = disk or Disk()
    known = repair(folder, disk)
    if known is None:
        raise Unfinished("nothing was recorded")
    if known.finished is not None:
        return known
    if known.ended is None:
        _append(disk, folder, known, manifest.EndLine(known.end, known.head.epoch_ns + known.end))
        known = _read(folder)
    runs = split(known)
    parts = []
    for number, run in enumerate(runs, 1):
        suffix = f"-{number}" if len(runs) > 1 else ""
        parts.append(_make_part(disk, folder, known, run, suffix))
    _append(disk, folder, known, FinishedLine(tuple(parts)))
    return _read(folder)


def publish(catalog: Catalog, folder: Path, done: Manifest) -> bool:
    """List a finished recording in the library, then let its segments go. Idempotent; ``True`` if it was new."""
    new = catalog.add(done)
    for segment in done.segments:
        (folder / segment.line.file).unlink(missing_ok=True)
        (folder / (segment.line.file + PART)).unlink(missing_ok=True)
    return new


def _read(folder: Path) -> Manifest:
    known = manifest.parse((folder / manifest.NAME).read_bytes())
    if known is None:
        raise Unfinished("the manifest cannot be read")
    return known


def _append(disk: Disk, folder: Path, known: Manifest, line: manifest.Line) -> None:
    journal = Growing.reopen(disk, folder / manifest.NAME, known.length)
    try:
        journal.append(manifest.encode(line))
        journal.sync()
    finally:
        journal.close()


def _make_part(disk: Disk, folder: Path, known: Manifest, run: Run, suffix: str) -> Part:
    container = mux.container_for(form.codec for _, form in run.layout)
    target = folder / f"lesson{suffix}.{container}"
    work = target.with_name(target.name + PART)
    try:
        counts = _copy(folder, run, container, work)
        _verify(work, run, counts)
    except av.error.FFmpegError as error:
        raise Unfinished(f"{target.name}: {error}") from error
    poster = _poster(disk, folder, run, suffix)
    with work.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    size = work.stat().st_size
    disk.rename(work, target)
    width, height = run.size
    return Part(
        target.name,
        mux.MEDIA_TYPE[container],
        size,
        digest,
        known.head.epoch_ns + run.start,
        run.end - run.start,
        width,
        height,
        poster,
        listed_gaps(known.gaps, run.start, run.end),
    )


def listed_gaps(gaps: list[GapLine], start: int, end: int) -> tuple[GapLine, ...]:
    """The gaps within a run, relative to it, neighbours merged; the longest if there are too many."""
    merged: list[GapLine] = []
    for gap in sorted(gaps, key=lambda each: (each.track, each.start)):
        first, last = max(gap.start, start) - start, min(gap.end, end) - start
        if last <= first:
            continue
        if merged and merged[-1].track == gap.track and first - merged[-1].end < limits.MERGE_GAPS:
            before = merged.pop()
            first, last = before.start, max(before.end, last)
            gap = before
        merged.append(GapLine(gap.track, first, last, gap.reason))
    merged.sort(key=lambda each: each.start - each.end)
    return tuple(sorted(merged[: limits.GAPS_LISTED], key=lambda each: (each.start, each.track)))


def _copy(folder: Path, run: Run, container: mux.Container, work: Path) -> dict[str, int]:
    """Stream copy of all segments; returns packets by track. Timestamps count from the run's start."""
    counts = {key: 0 for key, _ in run.layout}
    output = av.open(str(work), "w", format=mux.FFMPEG_NAME[container], container_options=dict(_OPTIONS[container]))
    with output:
        streams = mux.add_streams(output, run.layout)
        last: dict[str, Any] = {}
        for key, packet in _packets(folder, run):
            base = packet.time_base
            packet.pts = packet.dts = packet.dts - mux.ticks(run.start, base)
            packet.stream = streams[key]
            packet.time_base = base
            counts[key] += 1
            # One packet is held back per track: the last one must last until the end of the recording.
            held, last[key] = last.get(key), packet
            if held is not None:
                output.mux_one(held)
        for packet in sorted(last.values(), key=lambda each: each.dts * each.time_base):
            rest = mux.ticks(run.end - run.start, packet.time_base) - packet.dts
            packet.duration = max(packet.duration or 0, rest)
            output.mux_one(packet)
    return counts


def _packets(folder: Path, run: Run) -> Iterator[tuple[str, Any]]:
    for segment in run.segments:
        keys = [part.track for part in segment.line.layout]
        with av.open(str(folder / segment.line.file), format=mux.FFMPEG_NAME[segment.line.container]) as source:
            for packet in source.demux():
                if packet.dts is not None:
                    yield keys[packet.stream.index], packet


def _verify(work: Path, run: Run, counts: dict[str, int]) -> None:
    """Read the file from front to back: every packet is there, and it lasts as long as the lesson did."""
    keys = [key for key, _ in run.layout]
    found = dict.fromkeys(keys, 0)
    with av.open(str(work)) as source:
        seconds = (source.duration or 0) / av.time_base
        for packet in source.demux():
            if packet.dts is not None:
                found[keys[packet.stream.index]] += 1
    if found != counts:
        raise Unfinished(f"{work.name} has {found} packets instead of {counts}")
    if abs(seconds * S - (run.end - run.start)) > TOLERANCE:
        raise Unfinished(f"{work.name} lasts {seconds:.3f} s instead of {(run.end - run.start) / S:.3f} s")


def _poster(disk: Disk, folder: Path, run: Run, suffix: str) -> str:
    """A JPEG of one keyframe from a tenth into the run (a first picture is often black); "" where there is none."""
    video = next((key for key, form in run.layout if form.codec != "opus"), None)
    usable = [s for s in run.segments if any(part.track == video for part in s.line.layout)]
    if video is None or not usable:
        return ""
    segment = usable[len(usable) // 10]
    index = [part.track for part in segment.line.layout].index(video)
    name = f"poster{suffix}.jpg"
    work = folder / (name + PART)
    try:
        with av.open(str(folder / segment.line.file)) as source:
            image = next(_from_keyframe(source, index)).to_image()
    except (av.error.FFmpegError, StopIteration) as error:
        log.warning("no poster of %s: %s", segment.line.file, error)
        return ""
    image.thumbnail(POSTER_SIZE)
    with work.open("wb") as file:
        image.save(file, "JPEG", quality=82, progressive=True)
        file.flush()
        os.fsync(file.fileno())
    disk.rename(work, folder / name)
    return name


def _from_keyframe(source: av.container.InputContainer, index: int) -> Iterator[Any]:
    """Pictures from the first keyframe on: a segment that a restarted recorder began may lead in with others."""
    found = False
    for packet in source.demux(source.streams[index]):
        found = found or packet.is_keyframe
        if found:
            yield from packet.decode()


def main() -> int:
    parser = argparse.ArgumentParser(prog="recorder.finish", description="Make the playable file of one recording.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    with contextlib.suppress(OSError, AttributeError):
        # PR_SET_PDEATHSIG: without the recorder that holds the lease nobody would list the result.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.nice(10)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        finish(folder)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
