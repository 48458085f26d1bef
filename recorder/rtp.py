"""The fixed part of an RTP packet (RFC 3550, 5.1): what the recorder needs of it, read without copies but one."""

from __future__ import annotations

from typing import NamedTuple


class RtpPacket(NamedTuple):
    sequence: int  # 16 bit
    timestamp: int  # 32 bit
    marker: bool
    payload: bytes
    ssrc: int = 0


def parse(data: bytes) -> RtpPacket:
    """Read one packet; CSRCs, extension and padding are skipped (a tap sends none of the latter two).

    :raises ValueError: not an RTP packet.
    """
    if len(data) < 12 or data[0] >> 6 != 2:
        raise ValueError("not an RTP packet")
    first = data[0]
    start = 12 + 4 * (first & 0x0F)
    end = len(data)
    if first & 0x10:
        if end < start + 4:
            raise ValueError("RTP extension is truncated")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:
        end -= data[-1]
    if start > end:
        raise ValueError("RTP packet is truncated")
    return RtpPacket(
        int.from_bytes(data[2:4], "big"),
        int.from_bytes(data[4:8], "big"),
        data[1] >= 0x80,
        data[start:end],
        int.from_bytes(data[8:12], "big"),
    )


def extend(value: int, near: int, bits: int) -> int:
    """The number congruent to ``value`` modulo 2^bits that is closest to ``near`` (unwrapping)."""
    span = 1 << bits
    delta = (value - near) & (span - 1)
    return near + (delta - span if delta >= span >> 1 else delta)
