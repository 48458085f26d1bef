"""RTP headers (RFC 3550, 5.1) and header extensions (RFC 8285): read from the wire, and built again for it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ...plane import Extension

HEADER: Final = 12
"""Octets of the fixed header; we never send CSRCs."""

ONE_BYTE: Final = 0xBEDE
TWO_BYTE: Final = 0x1000
_TWO_BYTE_MASK: Final = 0xFFF0  # the low four bits are application bits (RFC 8285, 4.3)

FIXED: Final = struct.Struct(">BBHII")
_PROFILE: Final = struct.Struct(">HH")


class Header(NamedTuple):
    """What one packet's header says. ``start`` and ``end`` bound the payload, padding already taken off."""

    payload_type: int
    marker: int  # 0x80 or 0, as it goes into the second octet
    sequence: int
    timestamp: int
    ssrc: int
    start: int
    end: int
    profile: int  # of the extension block; 0 without one
    extensions_at: int
    extensions_end: int


def parse(data: Any, length: int) -> Header | None:
    """Read a packet from a buffer, or ``None`` when its lengths contradict each other. Never raises."""
    if length < HEADER:
        return None
    first, second, sequence, timestamp, ssrc = FIXED.unpack_from(data)
    if first >> 6 != 2:
        return None
    start = HEADER + 4 * (first & 0x0F)
    profile = at = end_of_extensions = 0
    if first & 0x10:
        if start + 4 > length:
            return None
        profile, words = _PROFILE.unpack_from(data, start)
        at = start + 4
        start = end_of_extensions = at + 4 * words
    end = length
    if first & 0x20:
        if start >= length:
            return None
        padding = data[length - 1]
        if isinstance(padding, bytes):  # cffi buffers index to bytes
            padding = padding[0]
        if padding == 0:
            return None
        end -= padding
    if start > end:
        return None
    return Header(
        second & 0x7F, second & 0x80, sequence, timestamp, ssrc, start, end, profile, at, end_of_extensions
    )  # fmt: skip


def read_extensions(data: bytes, profile: int) -> dict[int, bytes]:
    """The elements of an extension block (without its 4-octet head) by id. Stops at the first that makes no sense."""
    elements: dict[int, bytes] = {}
    at, end = 0, len(data)
    if profile == ONE_BYTE:
        while at < end:
            head = data[at]
            at += 1
            if head == 0:  # padding
                continue
            number, size = head >> 4, (head & 0x0F) + 1
            if number == 15 or at + size > end:  # 15: stop here (RFC 8285, 4.2)
                break
            if number:
                elements[number] = data[at : at + size]
            at += size
    elif profile & _TWO_BYTE_MASK == TWO_BYTE:
        while at < end:
            number = data[at]
            at += 1
            if number == 0:
                continue
            if at >= end:
                break
            size = data[at]
            at += 1
            if at + size > end:
                break
            elements[number] = data[at : at + size]
            at += size
    return elements


def build_extensions(elements: list[tuple[int, bytes]]) -> bytes:
    """A whole extension block, head included, in the one-byte form wherever it can hold the elements; b"" for none."""
    if not elements:
        return b""
    if all(number < 15 and 0 < len(value) <= 16 for number, value in elements):
        profile = ONE_BYTE
        body = b"".join(bytes((number << 4 | len(value) - 1,)) + value for number, value in elements)
    else:
        profile = TWO_BYTE
        body = b"".join(bytes((number, len(value))) + value for number, value in elements)
    words = (len(body) + 3) // 4
    return _PROFILE.pack(profile, words) + body.ljust(4 * words, b"\0")


def abs_send_time(wall_ns: int) -> bytes:
    """24 bits of seconds in 6.18 fixed point, as the abs-send-time extension wants them."""
    return ((wall_ns << 18) // 1_000_000_000 & 0xFFFFFF).to_bytes(3, "big")


def distance(later: int, earlier: int) -> int:
    """Signed way from one 16-bit sequence number to another, around the wrap."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def distance32(later: int, earlier: int) -> int:
    """Signed way from one 32-bit timestamp to another, around the wrap."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Shape:
    """How the packets of some sinks look alike: payload types, extension ids and MID. Sinks that share a shape share
    one prepared packet, of which only sequence number, timestamp, SSRC (and VP8 picture numbers) differ."""

    __slots__ = ("_block", "_capture", "_key", "_level", "_mid", "_send_time", "payload_type", "rtx_payload_type")

    def __init__(
        self, payload_type: int, rtx_payload_type: int | None, mid: str, extensions: Mapping[Extension, int]
    ) -> None:
        self.payload_type = payload_type
        self.rtx_payload_type = rtx_payload_type
        mid_id = extensions.get(Extension.MID)
        self._mid = [(mid_id, mid.encode())] if mid_id and mid else []
        self._send_time = extensions.get(Extension.ABS_SEND_TIME)
        self._level = extensions.get(Extension.AUDIO_LEVEL)
        self._capture = extensions.get(Extension.ABS_CAPTURE_TIME)
        self._key: tuple[bytes, bytes | None, bytes | None] | None = None
        self._block = b""

    def extensions(self, send_time: bytes, level: bytes | None, capture: bytes | None) -> bytes:
        """The extension block of a packet sent at ``send_time`` (see ``abs_send_time``), what the publisher said of
        audio level and capture time passed on. The last answer is kept: a burst asks the same many times."""
        key = (send_time, level, capture)
        if key == self._key:
            return self._block
        elements = list(self._mid)
        if self._send_time:
            elements.append((self._send_time, send_time))
        if level is not None and self._level:
            elements.append((self._level, level))
        if capture is not None and self._capture:
            elements.append((self._capture, capture))
        self._key = key
        self._block = build_extensions(elements)
        return self._block
