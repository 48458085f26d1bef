"""A made-up lesson: real H.264 or VP8 and Opus, encoded once, packetized as a browser would, with times of its own."""

from __future__ import annotations

import functools
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import VpxPayloadDescriptor

S = 1_000_000_000
FPS = 25
PACKET = 1100
Timed = tuple[int, bytes]
"""Arrival (ns) and RTP packet."""


@functools.cache
def video_frames(codec: str, seconds: int, width: int = 320, height: int = 180, gop: int = 50) -> tuple[bytes, ...]:
    """Encoded frames (H.264 as Annex B), a keyframe each ``gop``; looping them is legal at a multiple of it."""
    name, options = {
        "H264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "sc_threshold": "0"}),
        "VP8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    }[codec]
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, FPS), Fraction(FPS)
    context.bit_rate, context.gop_size = 300_000, gop
    context.options = options
    noise = random.Random(1).randbytes(width * height)
    out = []
    for number in range(seconds * FPS):
        frame: Any = av.VideoFrame(width, height, "yuv420p")
        for index, plane in enumerate(frame.planes):
            size = plane.buffer_size
            plane.update((noise[number:] + noise)[:size] if index == 0 else bytes([(number * 2) % 256]) * size)
        frame.pts = number
        out += [bytes(packet) for packet in context.encode(frame)]
    return tuple(out)


@functools.cache
def audio_frames(seconds: int) -> tuple[bytes, ...]:
    """Opus, 20 ms each, of a 440 Hz tone."""
    context: Any = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = 48000, "mono", "s16"
    context.bit_rate = 32000
    out = []
    for number in range(seconds * 50):
        frame: Any = av.AudioFrame(format="s16", layout="mono", samples=960)
        tone = (round(8000 * math.sin(2 * math.pi * 440 * (number * 960 + i) / 48000)) for i in range(960))
        frame.planes[0].update(struct.pack("<960h", *tone))
        frame.sample_rate, frame.pts = 48000, number * 960
        out += [bytes(packet) for packet in context.encode(frame)]
    return tuple(out[: seconds * 50])


def split_nal_units(frame: bytes) -> list[bytes]:
    return list(H264Encoder._split_bitstream(frame))


def payloads(codec: str, frame: bytes, picture: int = 0) -> list[bytes]:
    """One access unit as RTP payloads."""
    if codec == "opus":
        return [frame]
    if codec == "H264":
        return list(H264Encoder._packetize(split_nal_units(frame)))
    pieces = [frame[i : i + PACKET] for i in range(0, len(frame), PACKET)]
    return [
        bytes(VpxPayloadDescriptor(partition_start=int(not i), partition_id=0, picture_id=picture & 0x7FFF)) + piece
        for i, piece in enumerate(pieces)
    ]


@dataclass
class Source:
    """One track that goes on for ever by looping its frames. ``at``: seconds since ``begin_ns``."""

    codec: str
    frames: tuple[bytes, ...]
    begin_ns: int = 1_700_000_000 * S
    sequence: int = 65_500  # wraps soon
    timestamp: int = 2**32 - 90_000 * 3  # likewise
    number: int = 0
    delay_ns: int = 0

    @property
    def clock(self) -> int:
        return 48_000 if self.codec == "opus" else 90_000

    @property
    def interval(self) -> Fraction:
        return Fraction(1, 50 if self.codec == "opus" else FPS)

    @property
    def at(self) -> float:
        return float(self.number * self.interval)

    def rtp_time(self, number: int) -> int:
        return (self.timestamp + int(number * self.interval * self.clock)) % 2**32

    def until(self, seconds: float) -> Iterator[Timed]:
        """The packets from where it was up to ``seconds``."""
        while self.at < seconds:
            frame = self.frames[self.number % len(self.frames)]
            arrival = self.begin_ns + int(self.number * self.interval * S) + self.delay_ns
            stamp = self.rtp_time(self.number)
            parts = payloads(self.codec, frame, self.number)
            for index, payload in enumerate(parts):
                marker = 0x80 if self.codec != "opus" and index == len(parts) - 1 else 0
                yield arrival, struct.pack(">BBHII", 0x80, marker | 96, self.sequence & 0xFFFF, stamp, 1) + payload
                self.sequence += 1
            self.number += 1

    def skip_to(self, seconds: float, lost: bool = True) -> None:
        """Go on at ``seconds`` with a keyframe: what lay between was sent and lost, or (``lost=False``) never sent."""
        while self.at < seconds or (self.codec != "opus" and self.number % 50):
            if lost:
                self.sequence += len(payloads(self.codec, self.frames[self.number % len(self.frames)]))
            self.number += 1


def video(codec: str, **options: Any) -> Source:
    """Frames of four seconds (a keyframe each two), looped."""
    size = {key: options.pop(key) for key in ("width", "height") if key in options}
    return Source(codec, video_frames(codec, 4, **size), **options)


def audio(**options: Any) -> Source:
    return Source("opus", audio_frames(4), **options)


def merged(*sources: Source, until: float) -> Iterator[tuple[int, list[Timed]]]:
    """Packets of several sources in order of arrival, as (index of the source, packets) in steps of 20 ms."""
    start = min(source.at for source in sources)
    steps = round((until - start) * 50)
    for step in range(1, steps + 1):
        for index, source in enumerate(sources):
            packets = list(source.until(start + step / 50))
            if packets:
                yield index, packets
