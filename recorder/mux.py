"""Samples to container bytes, by PyAV, without transcoding and without state.

Each fragment is made by a muxer of its own that writes to memory and is closed again (0.2 ms): the bytes are whole, the
range is known, nothing hides in a muxer's buffers when the process dies, and a restart needs no state. The first
fragment of a segment keeps the header; of the others only the ``moof``+``mdat`` (MP4) or ``Cluster`` (WebM) is kept.

PyAV takes codec parameters only from another container, so :func:`_template` writes the smallest Matroska file that
states them.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import av
import av.container

from recorder.depacketize import Format
from recorder.limits import S
from recorder.track import Sample

Container = Literal["mp4", "webm", "mkv"]
Layout = tuple[tuple[str, Format], ...]
"""The tracks of a segment in file order: key and format."""

MEDIA_TYPE: dict[Container, str] = {"mp4": "video/mp4", "webm": "video/webm", "mkv": "video/x-matroska"}
FFMPEG_NAME: dict[Container, str] = {"mp4": "mp4", "webm": "webm", "mkv": "matroska"}
TIME_BASE = {"H264": Fraction(1, 90_000), "VP8": Fraction(1, 1_000), "opus": Fraction(1, 48_000)}

# frag_discont keeps the absolute decode time in tfdt; without a disabled shift FFmpeg would move it to zero.
_MP4 = {
    "movflags": "+empty_moov+default_base_moof+frag_custom+skip_trailer+frag_discont",
    "use_editlist": "0",
    "avoid_negative_ts": "disabled",
}
_MATROSKA = {"live": "1", "cluster_time_limit": "30000", "write_crc32": "0", "avoid_negative_ts": "disabled"}


class Muxed(NamedTuple):
    header: bytes
    body: bytes


class _Sink:
    """A file object that cannot seek, so that a muxer does not try to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(data)
        return len(data)


def container_for(codecs: Iterable[str]) -> Container:
    """H.264 → MP4, VP8 → WebM (each refuses the other), both at once → Matroska; Opus alone → MP4, which plays
    everywhere and suits the H.264 that usually follows."""
    names = set(codecs)
    if {"H264", "VP8"} <= names:
        return "mkv"
    return "webm" if "VP8" in names else "mp4"


def mux(container: Container, layout: Layout, samples: Iterable[Sample], epoch: int, number: int) -> Muxed:
    """One fragment: ``samples`` in order of time; ``epoch`` is the wall clock of the recording's zero, ``number`` the
    fragment's place in its segment (from 1).

    :raises av.error.FFmpegError: the muxer refuses a sample.
    """
    sink = _Sink()
    options = dict(_MP4, fragment_index=str(number)) if container == "mp4" else _MATROSKA
    output = av.open(sink, "w", format=FFMPEG_NAME[container], container_options=options)
    try:
        streams = add_streams(output, layout)
        for sample in samples:
            stream = streams[sample.track]
            base = TIME_BASE[sample.format.codec]
            packet = av.Packet(sample.data)
            packet.stream = stream
            packet.time_base = base
            packet.pts = packet.dts = ticks(sample.start - epoch, base)
            packet.duration = ticks(sample.duration, base)
            packet.is_keyframe = sample.keyframe
            output.mux_one(packet)
    finally:
        output.close()
    data = b"".join(sink.parts)
    cut = _first_moof(data) if container == "mp4" else _first_cluster(data)
    return Muxed(data[:cut], data[cut:])


def add_streams(output: av.container.OutputContainer, layout: Layout) -> dict[str, Any]:
    """Give a new container the streams of a layout; returns them by key."""
    streams = {}
    for (key, form), template in zip(layout, _template(layout).streams, strict=True):
        stream: Any = output.add_stream_from_template(template, opaque=True)
        stream.time_base = TIME_BASE[form.codec]
        streams[key] = stream
    return streams


def ticks(ns: int, base: Fraction) -> int:
    """Nanoseconds in units of a time base, rounded to the nearest."""
    rate = base.denominator
    return (ns * rate + S // 2) // S


def _first_moof(data: bytes) -> int:
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"moof":
            return position
        position += max(size, 8)
    raise ValueError("the muxer wrote no fragment")


def _first_cluster(data: bytes) -> int:
    """Offset of the first Cluster: walk the elements inside the Segment (RFC 8794, 4 and 5)."""
    position = 0
    while position < len(data):
        identifier, body = _vint(data, position, keep_marker=True)
        if identifier == 0x1F43B675:
            return position
        size, body = _vint(data, body, keep_marker=False)
        # The Segment is entered, everything else is stepped over.
        position = body if identifier == 0x18538067 else body + size
    raise ValueError("the muxer wrote no cluster")


def _vint(data: bytes, position: int, keep_marker: bool) -> tuple[int, int]:
    """A variable-size integer and the position after it."""
    if position >= len(data) or not data[position]:
        raise ValueError("not EBML")
    width = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + width], "big")
    return value if keep_marker else value & ((1 << 7 * width) - 1), position + width


@functools.lru_cache(maxsize=32)
def _template(layout: Layout) -> av.container.InputContainer:
    """An open container whose streams state the layout's codec parameters."""
    entries = b"".join(_track_entry(number, form) for number, (_, form) in enumerate(layout, 1))
    header = _element(0x1A45DFA3, _element(0x4282, b"matroska") + _element(0x4287, b"\x04") + _element(0x4285, b"\x02"))
    info = _element(0x1549A966, _element(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    cluster = _element(0x1F43B675, _element(0xE7, b"\x00"))  # without one FFmpeg finds no end of the header
    segment = _element(0x18538067, info + _element(0x1654AE6B, entries) + cluster)
    return av.open(io.BytesIO(header + segment), "r", format="matroska")


def _track_entry(number: int, form: Format) -> bytes:
    index = bytes((number,))
    entry = _element(0xD7, index) + _element(0x73C5, index)
    if form.codec == "opus":
        rate = struct.pack(">d", 48_000.0)
        entry += _element(0x83, b"\x02") + _element(0x86, b"A_OPUS")
        entry += _element(0xE1, _element(0xB5, rate) + _element(0x9F, bytes((form.channels,))))
    else:
        name = b"V_VP8" if form.codec == "VP8" else b"V_MPEG4/ISO/AVC"
        size = _element(0xB0, form.width.to_bytes(2, "big")) + _element(0xBA, form.height.to_bytes(2, "big"))
        entry += _element(0x83, b"\x01") + _element(0x86, name) + _element(0xE0, size)
    if form.extra:
        entry += _element(0x63A2, form.extra)
    return _element(0xAE, entry)


def _element(identifier: int, body: bytes) -> bytes:
    """One EBML element with an 8-byte length."""
    return (
        identifier.to_bytes((identifier.bit_length() + 7) // 8, "big") + (len(body) | 1 << 56).to_bytes(8, "big") + body
    )
