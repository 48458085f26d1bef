"""Payload formats in both directions: H.264 (RFC 6184, packetization-mode 1), VP8 (RFC 7741), Opus (RFC 7587).

Packetizers give payloads without RTP headers. ``describe`` reads of one payload what a counting watcher must know;
``FrameAssembler`` puts whole frames together for decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from loadtest import limits

_STAP_A, _FU_A = 24, 28
_IDR, _SPS, _FILLER = 5, 7, 12


def annexb_units(data: bytes) -> Iterator[bytes]:
    """NAL units of a byte stream with start codes (H.264, annex B)."""
    start = data.find(b"\0\0\1")
    while start >= 0:
        end = data.find(b"\0\0\1", start + 3)
        unit = data[start + 3 : end if end >= 0 else len(data)]
        yield unit.rstrip(b"\0") if end >= 0 else unit
        start = end


def packetize_h264(access_unit: bytes, size: int = limits.MAX_RTP_PAYLOAD) -> list[bytes]:
    """One access unit: small units that follow each other share a STAP-A, large ones are cut into FU-As."""
    payloads: list[bytes] = []
    group: list[bytes] = []
    for unit in annexb_units(access_unit):
        if group and 1 + sum(2 + len(one) for one in (*group, unit)) > size:
            payloads.append(_aggregate(group))
            group = []
        if len(unit) > size:
            payloads += _fragment(unit, size)
        elif unit:
            group.append(unit)
    if group:
        payloads.append(_aggregate(group))
    return payloads


def _aggregate(units: list[bytes]) -> bytes:
    if len(units) == 1:
        return units[0]
    importance = max(unit[0] & 0x60 for unit in units)
    return bytes((importance | _STAP_A,)) + b"".join(struct.pack("!H", len(unit)) + unit for unit in units)


def _fragment(unit: bytes, size: int) -> Iterator[bytes]:
    indicator, kind = unit[0] & 0xE0 | _FU_A, unit[0] & 0x1F
    count = -(-(len(unit) - 1) // (size - 2))
    step = -(-(len(unit) - 1) // count)
    for index in range(count):
        flags = (0x80 if index == 0 else 0) | (0x40 if index == count - 1 else 0)
        yield bytes((indicator, flags | kind)) + unit[1 + index * step : 1 + (index + 1) * step]


def filler_h264(octets: int, size: int = limits.MAX_RTP_PAYLOAD) -> list[bytes]:
    """Filler data NAL units (H.264, 7.3.2.7) of about ``octets`` bytes: load that every decoder ignores."""
    payloads = []
    while octets > 64:
        part = min(octets, size)
        payloads.append(bytes((_FILLER,)) + b"\xff" * (part - 2) + b"\x80")
        octets -= part
    return payloads


def packetize_vp8(frame: bytes, size: int = limits.MAX_RTP_PAYLOAD) -> list[bytes]:
    """One frame, cut without descriptors; :func:`vp8_descriptor` goes before each part."""
    return [frame[at : at + size] for at in range(0, len(frame), size)]


def vp8_descriptor(first: bool, picture_id: int) -> bytes:
    """A descriptor with a 15-bit picture id."""
    return struct.pack("!BBH", 0x90 if first else 0x80, 0x80, 0x8000 | picture_id & 0x7FFF)


def vp8_offset(payload: bytes) -> int:
    """Length of the descriptor of a VP8 payload; past the end for a malformed one."""
    if not payload or not payload[0] & 0x80:
        return 1
    if len(payload) < 3:
        return len(payload) + 1
    flags, at = payload[1], 2
    if flags & 0x80:
        at += 2 if payload[at] & 0x80 else 1
    return at + bool(flags & 0x40) + bool(flags & 0x30)


class Traits(NamedTuple):
    """What one payload says of its frame."""

    starts: bool  # the frame's first packet, as far as the format tells
    key: bool  # of a keyframe that a decoder can start with


def describe(codec: str, payload: bytes) -> Traits:
    """Traits of a clear video payload."""
    if codec == "VP8":
        at = vp8_offset(payload)
        if at >= len(payload):
            return Traits(False, False)
        starts = bool(payload[0] & 0x10) and not payload[0] & 0x0F
        return Traits(starts, starts and not payload[at] & 1)
    kinds = tuple(_kinds(payload))
    return Traits(bool(kinds) and kinds[0] in (1, _IDR, 6, _SPS, 9), _SPS in kinds)


def _kinds(payload: bytes) -> Iterator[int]:
    """NAL unit types that begin in an H.264 payload."""
    kind = payload[0] & 0x1F if payload else 0
    if kind == _FU_A:
        if len(payload) > 1 and payload[1] & 0x80:
            yield payload[1] & 0x1F
    elif kind == _STAP_A:
        at = 1
        while at + 3 <= len(payload):
            yield payload[at + 2] & 0x1F
            at += 2 + int.from_bytes(payload[at : at + 2], "big")
    elif kind:
        yield kind


def dimensions(codec: str, payload: bytes) -> tuple[int, int] | None:
    """Width and height that the first payload of a keyframe names, ``None`` where it does not say."""
    if codec == "VP8":
        at = vp8_offset(payload)
        if payload[at + 3 : at + 6] != b"\x9d\x01\x2a" or len(payload) < at + 10:  # RFC 6386, 9.1
            return None
        width, height = struct.unpack_from("<HH", payload, at + 6)
        return width & 0x3FFF, height & 0x3FFF
    unit = next((u for u in annexb_units(_annexb(payload)) if u and u[0] & 0x1F == _SPS), None)
    try:
        return None if unit is None else _sps_dimensions(unit)
    except IndexError:
        return None


class _Bits:
    """Reads an RBSP: emulation prevention removed, Exp-Golomb (H.264, 9.1)."""

    def __init__(self, unit: bytes) -> None:
        self._bits = "".join(f"{octet:08b}" for octet in unit.replace(b"\0\0\3", b"\0\0")[:64])
        self._at = 0

    def u(self, count: int) -> int:
        self._at += count
        if self._at > len(self._bits):
            raise IndexError
        return int(self._bits[self._at - count : self._at] or "0", 2)

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)


def _sps_dimensions(unit: bytes) -> tuple[int, int] | None:
    """Cropped size of a sequence parameter set (H.264, 7.3.2.1.1) of the profiles that WebRTC uses."""
    bits = _Bits(unit[1:])
    profile = bits.u(8)
    bits.u(16)
    bits.ue()
    if profile not in (66, 77, 88) and (bits.ue() != 1 or bits.ue() or bits.ue() or bits.u(1) or bits.u(1)):
        return None  # not 4:2:0 in 8 bits, or with scaling lists
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        return None
    bits.ue()
    bits.u(1)
    width, height = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)
    frames_only = bits.u(1)
    height *= 2 - frames_only
    if not frames_only:
        bits.u(1)
    bits.u(1)
    if bits.u(1):
        left, right, top, bottom = (bits.ue() for _ in range(4))
        width -= 2 * (left + right)
        height -= 2 * (2 - frames_only) * (top + bottom)
    return width, height


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole encoded frame: H.264 with start codes, a VP8 frame, or an Opus packet."""

    codec: str
    timestamp: int
    data: bytes
    key: bool


class FrameAssembler:
    """Clear packets of one video stream, in order or nearly so, into whole frames. Broken frames are dropped, and with
    them everything up to the next keyframe, since it could not be decoded cleanly."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self.dropped = 0
        self._packets: dict[int, tuple[int, bool, bytes]] = {}  # extended sequence -> timestamp, marker, payload
        self._next: int | None = None

    def push(self, sequence: int, timestamp: int, marker: bool, payload: bytes) -> Iterator[Frame]:
        """Take a packet by its extended sequence number; yields the frames that became whole."""
        if self._next is None:
            traits = describe(self.codec, payload)
            if not (traits.starts and traits.key):
                return
            self._next = sequence
        if sequence < self._next:
            return
        self._packets[sequence] = (timestamp, marker, payload)
        if len(self._packets) > limits.MAX_FRAME_PACKETS:
            self.dropped += 1
            self._packets.clear()
            self._next = None
            return
        while (frame := self._take()) is not None:
            yield frame

    def lost(self) -> None:
        """A packet will never come: start again at the next keyframe."""
        self.dropped += 1
        self._packets.clear()
        self._next = None

    def _take(self) -> Frame | None:
        assert self._next is not None
        end = self._next
        while end in self._packets:
            timestamp, marker, _ = self._packets[end]
            end += 1
            if marker:
                payloads = [self._packets.pop(sequence)[2] for sequence in range(self._next, end)]
                self._next = end
                return self._join(payloads, timestamp)
        return None

    def _join(self, payloads: list[bytes], timestamp: int) -> Frame:
        key = describe(self.codec, payloads[0]).key
        if self.codec == "VP8":
            return Frame("VP8", timestamp, b"".join(p[vp8_offset(p) :] for p in payloads), key)
        return Frame("H264", timestamp, b"".join(_annexb(p) for p in payloads), key)


def _annexb(payload: bytes) -> bytes:
    kind = payload[0] & 0x1F if payload else 0
    if kind == _FU_A and len(payload) > 2:
        if payload[1] & 0x80:
            return b"\0\0\0\1" + bytes((payload[0] & 0xE0 | payload[1] & 0x1F,)) + payload[2:]
        return payload[2:]
    if kind == _STAP_A:
        out, at = b"", 1
        while at + 2 <= len(payload):
            size = int.from_bytes(payload[at : at + 2], "big")
            out += b"\0\0\0\1" + payload[at + 2 : at + 2 + size]
            at += 2 + size
        return out
    return b"\0\0\0\1" + payload
