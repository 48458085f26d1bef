"""Encoded media of a file, packetized once and ready to be sent in a loop: ``Clip``."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from loadtest.rawclient import payload as formats

SAMPLE = Path(__file__).parent.parent / "sample"
OPUS_FRAME_NS = 20_000_000
MAX_LAYERS = 3
_CODECS = {"h264": "H264", "vp8": "VP8", "opus": "opus"}


class ClipError(ValueError):
    """The file cannot be sent as it is."""


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One frame: its time in the loop and its payloads (VP8: without descriptors)."""

    at_ns: int
    payloads: tuple[bytes, ...]
    key: bool


@dataclass(frozen=True, slots=True)
class ClipTrack:
    """One encoding. ``frames`` are in the order of time."""

    codec: str  # "H264", "VP8", "opus"
    clock: int  # Hz
    frames: tuple[ClipFrame, ...]
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Clip:
    """A loop of ``duration_ns``: the layers of the video, lowest first, and the audio."""

    duration_ns: int
    video: tuple[ClipTrack, ...]
    audio: ClipTrack | None

    def fingerprints(self) -> dict[int, int]:
        """Digest of the first payload of each video frame -> its time in the loop, where that is unambiguous.

        It lets a watcher find the capture time behind a server that strips header extensions and renumbers, in
        whatever process it runs: servers rewrite headers, never payloads (of VP8 only the descriptor).
        """
        found: dict[int, int] = {}
        double: set[int] = set()
        for track in self.video:
            for frame in track.frames:
                digest = zlib.crc32(frame.payloads[0])
                double |= {digest} & found.keys()
                found[digest] = frame.at_ns
        return {digest: at for digest, at in found.items() if digest not in double}


def load(paths: Sequence[Path], bitrate: int = 0) -> Clip:
    """Read the files: the first carries the audio, each one video layer (several: simulcast).

    ``bitrate`` (bit/s), above what the highest layer has by itself, fills each of its frames with filler data up to
    that rate (H.264 only): real packet rates from a small file.

    :raises ClipError: wrong codec, B frames, or no video.
    :raises OSError: unreadable.
    """
    audio: ClipTrack | None = None
    layers: list[ClipTrack] = []
    for index, path in enumerate(paths):
        tracks = list(_tracks(path))
        layers += [track for track in tracks if track.codec != "opus"][:1]
        if index == 0:
            audio = next((track for track in tracks if track.codec == "opus"), None)
    if not layers:
        raise ClipError(f"no H.264 or VP8 video in {', '.join(path.name for path in paths)}")
    if len(layers) > MAX_LAYERS:
        raise ClipError(f"{len(layers)} layers; simulcast has at most {MAX_LAYERS}")
    layers.sort(key=lambda track: track.width * track.height)
    duration = min(_duration(track) for track in layers)
    duration -= duration % OPUS_FRAME_NS
    layers = [_cut(track, duration) for track in layers]
    layers[-1] = _filled(layers[-1], duration, bitrate)
    return Clip(duration, tuple(layers), None if audio is None else _cut(audio, duration))


@cache
def sample(bitrate: int = 0, codec: str = "H264", simulcast: bool = False) -> Clip:
    """The bundled lesson, read and packetized once per process."""
    if codec == "VP8":
        clip = load([SAMPLE / "sample-vp8.webm"])
        return Clip(clip.duration_ns, clip.video, sample().audio)
    names = ("sample.mp4", "sample-m.mp4", "sample-l.mp4") if simulcast else ("sample.mp4",)
    return load([SAMPLE / name for name in names], bitrate)


def _tracks(path: Path) -> Iterator[ClipTrack]:
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if _codec(s)]
        frames: dict[int, list[ClipFrame]] = {stream.index: [] for stream in streams}
        filters = {s.index: av.BitStreamFilterContext("h264_mp4toannexb", s) for s in streams if _codec(s) == "H264"}
        for packet in container.demux(streams):
            if packet.size == 0 or packet.pts is None:
                continue
            if packet.dts is not None and packet.dts > packet.pts:
                raise ClipError(f"{path.name} has no usable times")
            index = packet.stream.index
            for part in filters[index].filter(packet) if index in filters else [packet]:
                frames[index].append(_frame(_codec(part.stream or packet.stream), part, frames[index]))
        for stream in streams:
            if frames[stream.index]:
                yield _track(path, stream, frames[stream.index])


def _codec(stream: Any) -> str:
    return _CODECS.get(stream.codec_context.codec.canonical_name if stream.codec_context else "", "")


def _frame(codec: str, packet: Any, before: list[ClipFrame]) -> ClipFrame:
    at = int(packet.pts * packet.time_base * 1_000_000_000)
    data = bytes(packet)
    if codec == "opus":
        return ClipFrame(len(before) * OPUS_FRAME_NS, (data,), True)
    parts = formats.packetize_vp8(data) if codec == "VP8" else formats.packetize_h264(data)
    return ClipFrame(at, tuple(parts), bool(packet.is_keyframe))


def _track(path: Path, stream: Any, frames: list[ClipFrame]) -> ClipTrack:
    codec = _codec(stream)
    if codec == "opus":
        return ClipTrack(codec, 48_000, tuple(frames))
    if any(later.at_ns <= earlier.at_ns for earlier, later in pairwise(frames)):
        raise ClipError(f"{path.name} has B frames; real-time video has none")
    first = frames[0].at_ns
    moved = tuple(ClipFrame(frame.at_ns - first, frame.payloads, frame.key) for frame in frames)
    return ClipTrack(codec, 90_000, moved, stream.codec_context.width, stream.codec_context.height)


def _duration(track: ClipTrack) -> int:
    """Length of a video track, its last frame shown for as long as the mean of the others."""
    last = track.frames[-1].at_ns
    length = last + Fraction(last, max(1, len(track.frames) - 1))
    return round(length / 1_000_000) * 1_000_000


def _cut(track: ClipTrack, duration_ns: int) -> ClipTrack:
    frames = tuple(frame for frame in track.frames if frame.at_ns < duration_ns)
    return ClipTrack(track.codec, track.clock, frames, track.width, track.height)


def _filled(track: ClipTrack, duration_ns: int, bitrate: int) -> ClipTrack:
    if bitrate <= 0 or track.codec != "H264":
        return track
    target = bitrate * duration_ns // 8_000_000_000 // len(track.frames)
    frames = []
    for frame in track.frames:
        short = target - sum(map(len, frame.payloads))
        frames.append(ClipFrame(frame.at_ns, (*frame.payloads, *formats.filler_h264(short)), frame.key))
    return ClipTrack(track.codec, track.clock, tuple(frames), track.width, track.height)
