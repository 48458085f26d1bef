"""The manifest of a recording: JSON lines, appended, never changed. It says what a recording is; files only hold bytes.

Lines, by ``type``: ``recording`` (first), ``segment`` (a file begins: its tracks and header), ``fragment`` (bytes that
are in it), ``gap``, ``end`` (the lesson is over), ``finished`` (what came of it). Times are ns since ``epoch_ns``, the
wall clock of the recording's zero; a fragment also states its wall clock. CRCs are CRC-32 (zlib) of the byte range.

A line is written right after its bytes and before either is forced to disk: kill -9 then loses neither, and after a
power cut, which may keep the line and lose the bytes, the CRC tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from recorder.depacketize import Format
from recorder.mux import Container

NAME = "manifest.jsonl"


class TrackLayout(msgspec.Struct, frozen=True):
    track: str
    codec: str
    width: int = 0
    height: int = 0
    channels: int = 0
    extra: bytes = b""  # base64 in the file

    @property
    def format(self) -> Format:
        return Format(self.codec, self.width, self.height, self.channels, self.extra)


class TrackRange(msgspec.Struct, frozen=True):
    """What a fragment has of one track. ``rtp`` and ``sequence`` are ``null`` where all of it is made-up silence."""

    track: str
    start: int
    end: int
    samples: int
    rtp: tuple[int, int] | None = None  # first and last timestamp, 32 bit
    sequence: tuple[int, int] | None = None  # first and last, extended
    ssrc: int | None = None  # of the last packet


class RecordingLine(msgspec.Struct, frozen=True, tag="recording"):
    version: int
    id: str
    lesson: str
    title: str
    epoch_ns: int


class SegmentLine(msgspec.Struct, frozen=True, tag="segment"):
    file: str
    container: Container
    layout: tuple[TrackLayout, ...]
    length: int  # of the header, from offset 0
    crc32: int


class FragmentLine(msgspec.Struct, frozen=True, tag="fragment"):
    file: str
    offset: int
    length: int
    crc32: int
    start: int
    end: int
    wall_ns: tuple[int, int]
    tracks: tuple[TrackRange, ...]


class GapLine(msgspec.Struct, frozen=True, tag="gap"):
    track: str
    start: int
    end: int
    reason: str


class EndLine(msgspec.Struct, frozen=True, tag="end"):
    end: int
    ended_ns: int


class Part(msgspec.Struct, frozen=True):
    """One playable file of the lesson. Nearly always the only one; where the codec changed in mid-lesson, one for each
    run of the same codec, since no container that browsers play holds both in one track."""

    file: str
    media_type: str
    size: int
    sha256: str
    recorded_at_ns: int  # wall clock of its zero
    duration: int  # ns
    width: int
    height: int
    poster: str  # file name, "" for sound alone
    gaps: tuple[GapLine, ...]  # relative to its zero


class FinishedLine(msgspec.Struct, frozen=True, tag="finished"):
    """The library can be built again from these lines."""

    parts: tuple[Part, ...]


Line = RecordingLine | SegmentLine | FragmentLine | GapLine | EndLine | FinishedLine

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def encode(line: Line) -> bytes:
    return _encoder.encode(line) + b"\n"


@dataclass(slots=True)
class Segment:
    line: SegmentLine
    fragments: list[FragmentLine] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Bytes of the file that the manifest answers for."""
        last = self.fragments[-1] if self.fragments else None
        return last.offset + last.length if last else self.line.length


@dataclass(slots=True)
class Manifest:
    """What the lines say, read in order."""

    head: RecordingLine
    segments: list[Segment] = field(default_factory=list)
    gaps: list[GapLine] = field(default_factory=list)
    ended: EndLine | None = None
    finished: FinishedLine | None = None
    lines: list[Line] = field(default_factory=list)
    skipped: int = 0
    """Lines that could not be read, or contradicted those before."""
    length: int = 0
    """Bytes up to the end of the last good line; what follows is torn."""

    @property
    def state(self) -> Literal["open", "ended", "finished"]:
        return "finished" if self.finished else "ended" if self.ended else "open"

    @property
    def end(self) -> int:
        """End of the last sample, ns since the epoch."""
        return max((fragment.end for segment in self.segments for fragment in segment.fragments), default=0)

    def track_ends(self) -> dict[str, int]:
        """For each track the end of its last sample."""
        ends: dict[str, int] = {}
        for part in self._ranges():
            ends[part.track] = max(ends.get(part.track, 0), part.end)
        return ends

    def last_packets(self) -> dict[str, tuple[int, int]]:
        """For each track SSRC and extended sequence number of the last packet that is in the recording."""
        return {
            part.track: (part.ssrc, part.sequence[1])
            for part in self._ranges()
            if part.ssrc is not None and part.sequence is not None
        }

    def _ranges(self) -> Iterator[TrackRange]:
        return (part for segment in self.segments for fragment in segment.fragments for part in fragment.tracks)


def parse(data: bytes) -> Manifest | None:
    """Read the lines that make sense. A torn last line ends it (``length`` says where); an unreadable line in between
    is passed over and costs what it said, no more. ``None``: not even a first line."""
    manifest: Manifest | None = None
    position = 0
    while (end := data.find(b"\n", position)) >= 0:
        start, position = position, end + 1
        try:
            line = _decoder.decode(data[start:end])
        except (msgspec.DecodeError, UnicodeDecodeError):
            if manifest is None:
                return None
            manifest.skipped += 1
            continue
        if manifest is None:
            if not isinstance(line, RecordingLine):
                return None
            manifest = Manifest(line)
        elif not _add(manifest, line):
            manifest.skipped += 1
            continue
        manifest.lines.append(line)
        manifest.length = position
    return manifest


def _add(manifest: Manifest, line: Line) -> bool:
    """Take one more line; ``False`` when it contradicts those before it."""
    match line:
        case SegmentLine():
            manifest.segments.append(Segment(line))
        case FragmentLine():
            if not manifest.segments:
                return False
            current = manifest.segments[-1]
            if line.file != current.line.file or line.offset < current.length:
                return False
            current.fragments.append(line)
        case GapLine():
            manifest.gaps.append(line)
        case EndLine():
            manifest.ended = line
        case FinishedLine():
            manifest.finished = line
        case RecordingLine():
            return False
    return True
