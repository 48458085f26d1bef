"""VP8 payload descriptor and keyframe header (RFC 7741, 4.2 and 4.3)."""

from __future__ import annotations

from typing import Final, NamedTuple

_START_CODE: Final = b"\x9d\x01\x2a"


class Descriptor(NamedTuple):
    """Where the numbers that a switch must keep continuous stand in a payload; an offset of 0 means absent."""

    size: int  # octets of the descriptor
    begins: bool  # first packet of a frame (S = 1, PID = 0)
    picture_at: int
    picture: int
    wide: bool  # 15-bit picture id
    tl0_at: int
    tl0: int
    temporal: int  # temporal layer index, 0 without one


def parse(payload: bytes) -> Descriptor | None:
    """Read the descriptor, or ``None`` when the payload ends before it does."""
    end = len(payload)
    if end < 1:
        return None
    first = payload[0]
    begins = first & 0x17 == 0x10
    if not first & 0x80:
        return Descriptor(1, begins, 0, 0, False, 0, 0, 0) if end > 1 else None
    if end < 2:
        return None
    flags = payload[1]
    at = 2
    picture_at = picture = tl0_at = tl0 = temporal = 0
    wide = False
    if flags & 0x80:
        if at >= end:
            return None
        picture_at, picture = at, payload[at]
        at += 1
        if picture & 0x80:
            if at >= end:
                return None
            wide = True
            picture = (picture & 0x7F) << 8 | payload[at]
            at += 1
    if flags & 0x40:
        if at >= end:
            return None
        tl0_at, tl0 = at, payload[at]
        at += 1
    if flags & 0x30:
        if at >= end:
            return None
        temporal = payload[at] >> 6 if flags & 0x20 else 0
        at += 1
    if at >= end:
        return None
    return Descriptor(at, begins, picture_at, picture, wide, tl0_at, tl0, temporal)


def keyframe_size(payload: bytes, descriptor: Descriptor) -> tuple[int, int] | None:
    """Width and height when this packet begins a keyframe, else ``None`` (RFC 6386, 9.1)."""
    at = descriptor.size
    if not descriptor.begins or payload[at] & 1 or payload[at + 3 : at + 6] != _START_CODE or len(payload) < at + 10:
        return None
    width = int.from_bytes(payload[at + 6 : at + 8], "little") & 0x3FFF
    height = int.from_bytes(payload[at + 8 : at + 10], "little") & 0x3FFF
    return width, height


def renumber(payload: bytes, descriptor: Descriptor, picture_offset: int, tl0_offset: int) -> bytes:
    """The payload with both numbers moved on; each keeps its width."""
    changed = bytearray(payload)
    if descriptor.picture_at:
        at = descriptor.picture_at
        moved = descriptor.picture + picture_offset
        if descriptor.wide:
            changed[at] = 0x80 | moved >> 8 & 0x7F
            changed[at + 1] = moved & 0xFF
        else:
            changed[at] = moved & 0x7F
    if descriptor.tl0_at:
        changed[descriptor.tl0_at] = descriptor.tl0 + tl0_offset & 0xFF
    return bytes(changed)
