"""What the recorder knows of Opus: how long a packet lasts (RFC 6716, 3.1), its header (RFC 7845), and silence."""

from __future__ import annotations

import struct
from collections.abc import Iterator

RATE = 48_000
NS_PER_SAMPLE = 1_000_000_000 / RATE
FRAME = 20_000_000  # ns
# Configuration 31 (CELT, full band, 20 ms), mono: a decoder makes digital silence of the frame FF FE.
SILENCE_20 = b"\xf8\xff\xfe"
# The same frame six times in one packet (code 3, constant size): 120 ms, the longest that RFC 6716 allows.
SILENCE_120 = b"\xfb\x06" + b"\xff\xfe" * 6

_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)


def duration(packet: bytes) -> int:
    """Length of a packet in ns.

    :raises ValueError: not an Opus packet.
    """
    if not packet:
        raise ValueError("empty Opus packet")
    config = packet[0] >> 3
    if config < 12:
        samples = _SILK[config & 3]
    elif config < 16:
        samples = _HYBRID[config & 1]
    else:
        samples = _CELT[config & 3]
    code = packet[0] & 3
    if code == 3:
        if len(packet) < 2:
            raise ValueError("Opus packet without its frame count")
        samples *= packet[1] & 0x3F
    elif code:
        samples *= 2
    if not 0 < samples <= 5760:
        raise ValueError("Opus packet longer than 120 ms")
    return samples * 1_000_000_000 // RATE


def head(channels: int) -> bytes:
    """The identification header (RFC 7845, 5.1) that MP4 and Matroska carry as codec data. No pre-skip: the packets
    of a live stream begin in the middle of it."""
    return b"OpusHead" + struct.pack("<BBHIHB", 1, channels, 0, RATE, 0, 0)


def silence(start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Packets of silence ``(start, duration, data)`` that cover ``start`` to ``end`` (ns) to the nearest 20 ms."""
    frames = (end - start + FRAME // 2) // FRAME
    while frames > 0:
        count, data = (6, SILENCE_120) if frames >= 6 else (1, SILENCE_20)
        yield start, count * FRAME, data
        start += count * FRAME
        frames -= count
