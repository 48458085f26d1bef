"""RTP payloads to access units: VP8 (RFC 7741), H.264 (RFC 6184, packetization modes 0 and 1), Opus (RFC 7587).

After a loss a video depacketizer drops everything up to the next keyframe: a frame that refers to a lost one decodes
to garbage, and a listed gap is more honest than garbage. ``needs_keyframe`` says so. Malformed payloads count as lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aiortc.codecs.vpx import VpxPayloadDescriptor

from recorder import h264, limits, opus
from recorder.reorder import Arrived


@dataclass(frozen=True, slots=True)
class Format:
    """What a container must know of a stream before its first sample."""

    codec: str  # "H264", "VP8", "opus"
    width: int = 0
    height: int = 0
    channels: int = 0
    extra: bytes = b""  # avcC, OpusHead; empty for VP8


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One frame of video (H.264: NAL units with 4-byte lengths, parameter sets kept) or one Opus packet."""

    timestamp: int  # 32 bit RTP
    data: bytes
    keyframe: bool
    format: Format
    duration: int  # ns; 0 where the stream does not say (video)
    arrival_ns: int  # of its last packet
    first: int  # extended sequence numbers
    last: int
    ssrc: int


class Depacketizer(Protocol):
    needs_keyframe: bool
    malformed: int

    def push(self, item: Arrived) -> list[AccessUnit]:
        """Take the next packet in order; return the access units that it completed (rarely two)."""

    def lost(self) -> None:
        """A hole is here in the sequence numbers, or the decoder's state was lost otherwise."""

    def resume(self, known: Format) -> None:
        """Before the first packet: it follows the last one that another depacketizer of this stream has seen whole."""


class _Frames:
    """What both video codecs share: packets of one timestamp make a frame, which the marker bit ends."""

    def __init__(self) -> None:
        self.needs_keyframe = True
        self.malformed = 0
        self._items: list[Arrived] = []
        self._size = 0
        self._damaged = True  # the first packet may be in the middle of a frame
        self._format: Format | None = None

    def lost(self) -> None:
        self.needs_keyframe = True
        self._items.clear()
        self._damaged = True

    def resume(self, known: Format) -> None:
        self.needs_keyframe = False
        self._format = known

    def push(self, item: Arrived) -> list[AccessUnit]:
        packet = item.packet
        done: list[AccessUnit] = []
        if self._items and self._items[0].packet.timestamp != packet.timestamp:
            # The marker never came: some encoders set none. In order and without a hole, so the frame is whole.
            done += self._finish()
        self._start(item)
        if packet.marker:
            done += self._finish()
        return done

    def _start(self, item: Arrived) -> None:
        if not self._items:
            self._size = 0
            self._damaged = self._damaged and not self._begins(item.packet.payload)
        self._items.append(item)
        self._size += len(item.packet.payload)
        if self._size > limits.ACCESS_UNIT_BYTES:
            self.malformed += 1
            self.lost()

    def _finish(self) -> list[AccessUnit]:
        items, self._items = self._items, []
        damaged, self._damaged = self._damaged, False
        if damaged or not items:
            return []
        try:
            data, keyframe, shape = self._assemble([item.packet.payload for item in items])
        except ValueError:
            self.malformed += 1
            self.needs_keyframe = True
            return []
        if not data:
            return []
        if keyframe:
            self.needs_keyframe = False
        if self.needs_keyframe or shape is None:
            return []
        last = items[-1]
        first = items[0]
        return [
            AccessUnit(
                first.packet.timestamp,
                data,
                keyframe,
                shape,
                0,
                last.arrival_ns,
                first.sequence,
                last.sequence,
                last.packet.ssrc,
            )
        ]

    def _begins(self, payload: bytes) -> bool:
        raise NotImplementedError

    def _assemble(self, payloads: list[bytes]) -> tuple[bytes, bool, Format | None]:
        raise NotImplementedError


class Vp8(_Frames):
    """RFC 7741. The payload descriptor is aiortc's; the key frame header is RFC 6386, 9.1."""

    def _begins(self, payload: bytes) -> bool:
        return bool(payload) and payload[0] & 0x1F == 0x10  # S=1, PID=0

    def _assemble(self, payloads: list[bytes]) -> tuple[bytes, bool, Format | None]:
        parts: list[bytes] = []
        for payload in payloads:
            descriptor, rest = VpxPayloadDescriptor.parse(payload)
            if not parts and not (descriptor.partition_start and descriptor.partition_id == 0):
                raise ValueError("frame without its beginning")
            parts.append(rest)
        data = b"".join(parts)
        keyframe = bool(data) and not data[0] & 1
        if keyframe:
            if len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
                raise ValueError("key frame without its start code")
            width = int.from_bytes(data[6:8], "little") & 0x3FFF
            height = int.from_bytes(data[8:10], "little") & 0x3FFF
            if not width or not height:
                raise ValueError("key frame without a size")
            self._format = Format("VP8", width, height)
        return data, keyframe, self._format


class H264(_Frames):
    """RFC 6184: single NAL units, STAP-A, FU-A. Not aiortc's descriptor: it makes Annex B, and containers want
    lengths, so that each NAL unit would be found and copied a second time."""

    def __init__(self) -> None:
        super().__init__()
        self._sps: bytes | None = None
        self._pps: bytes | None = None

    def resume(self, known: Format) -> None:
        super().resume(known)
        self._sps, self._pps = h264.parameter_sets(known.extra)

    def _begins(self, payload: bytes) -> bool:
        if len(payload) < 2:
            return False
        return payload[0] & 0x1F != h264.FU_A or payload[1] & 0x80 != 0

    def _assemble(self, payloads: list[bytes]) -> tuple[bytes, bool, Format | None]:
        units = [unit for unit in _units(payloads) if unit[0] & 0x1F != h264.AUD]
        keyframe = False
        for unit in units:
            kind = unit[0] & 0x1F
            if kind in (h264.SPS, h264.PPS) and not (3 if kind == h264.SPS else 1) < len(unit) <= h264.SET_BYTES:
                continue
            if kind == h264.SPS:
                self._sps = unit
            elif kind == h264.PPS:
                self._pps = unit
            elif kind == h264.IDR:
                keyframe = True
        if keyframe:
            if self._sps is None or self._pps is None:
                raise ValueError("IDR picture without parameter sets")
            extra = h264.avcc(self._sps, self._pps)
            if self._format is None or self._format.extra != extra:
                width, height = h264.picture_size(self._sps)
                self._format = Format("H264", width, height, extra=extra)
        slices = [unit for unit in units if 1 <= unit[0] & 0x1F <= h264.IDR]
        if not slices:
            return b"", False, None  # parameter sets that travel alone: remembered, nothing to show
        if (
            len(slices[0]) < 2 or not slices[0][1] & 0x80
        ):  # first_mb_in_slice is not 0 (7.3.3): the picture's first slice was lost
            raise ValueError("picture without its first slice")
        return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units), keyframe, self._format


def _units(payloads: list[bytes]) -> list[bytes]:
    """The NAL units of one access unit's payloads."""
    units: list[bytes] = []
    parts: list[bytes] = []
    for payload in payloads:
        if len(payload) < 2:
            raise ValueError("NAL unit is too short")
        kind = payload[0] & 0x1F
        if kind == h264.FU_A:
            start, end = payload[1] & 0x80, payload[1] & 0x40
            if bool(start) == bool(parts):
                raise ValueError("FU-A out of order")
            parts.append(bytes((payload[0] & 0xE0 | payload[1] & 0x1F,)) + payload[2:] if start else payload[2:])
            if end:
                units.append(b"".join(parts))
                parts = []
            continue
        if parts:
            raise ValueError("FU-A without its end")
        if kind == h264.STAP_A:
            units += _aggregated(payload)
        elif 1 <= kind <= 23:
            units.append(payload)
        else:
            raise ValueError(f"NAL unit type {kind} needs interleaved mode")
    if parts:
        raise ValueError("FU-A without its end")
    return units


def _aggregated(payload: bytes) -> list[bytes]:
    units = []
    position = 1
    while position < len(payload):
        end = position + 2 + int.from_bytes(payload[position : position + 2], "big")
        if end > len(payload) or end - position < 3:
            raise ValueError("STAP-A is truncated")
        units.append(payload[position + 2 : end])
        position = end
    return units


class Opus:
    """RFC 7587: one packet is one access unit, every one of them a point to start from."""

    needs_keyframe = False

    def __init__(self, channels: int) -> None:
        self.malformed = 0
        channels = 2 if channels != 1 else 1
        self._format = Format("opus", channels=channels, extra=opus.head(channels))

    def lost(self) -> None:
        """Opus needs nothing before it."""

    def resume(self, known: Format) -> None:
        """Nor does it matter what was."""

    def push(self, item: Arrived) -> list[AccessUnit]:
        packet = item.packet
        try:
            length = opus.duration(packet.payload)
        except ValueError:
            self.malformed += 1
            return []
        sequence = item.sequence
        return [
            AccessUnit(
                packet.timestamp,
                packet.payload,
                True,
                self._format,
                length,
                item.arrival_ns,
                sequence,
                sequence,
                packet.ssrc,
            )
        ]


def for_codec(codec: str, channels: int) -> Depacketizer:
    """:raises ValueError: a codec that is not recorded."""
    match codec.lower():
        case "vp8":
            return Vp8()
        case "h264":
            return H264()
        case "opus":
            return Opus(channels)
    raise ValueError(f"codec {codec!r} is not recorded")
