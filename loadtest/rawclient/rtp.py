"""RTP headers, header extensions and the counting of one received stream (RFC 3550, RFC 8285)."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from loadtest import limits

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

HEADER = struct.Struct("!BBHII")
_PROFILE_LENGTH = struct.Struct("!HH")
_U64 = struct.Struct("!Q")
_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970


def ntp(wall_ns: int) -> int:
    """Unix nanoseconds as a 64-bit NTP time (32.32 fixed point)."""
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    return (seconds + _NTP_EPOCH) << 32 | (rest << 32) // 1_000_000_000


def unix_ns(ntp_time: int) -> int:
    """The reverse of :func:`ntp`, to the nanosecond below."""
    return ((ntp_time >> 32) - _NTP_EPOCH) * 1_000_000_000 + ((ntp_time & 0xFFFFFFFF) * 1_000_000_000 >> 32)


def pack_extensions(values: Iterable[tuple[int, bytes]]) -> bytes:
    """The extension block with one-byte headers (RFC 8285, 4.2); ids 1..14, values of 1..16 bytes."""
    body = b"".join(bytes((number << 4 | len(value) - 1,)) + value for number, value in values)
    if not body:
        return b""
    body += bytes(-len(body) % 4)
    return _PROFILE_LENGTH.pack(0xBEDE, len(body) // 4) + body


def pack_header(payload_type: int, sequence: int, timestamp: int, ssrc: int, marker: bool, extensions: bytes) -> bytes:
    """A header with ``extensions`` as :func:`pack_extensions` made them."""
    first = 0x90 if extensions else 0x80
    return HEADER.pack(first, payload_type | (marker << 7), sequence, timestamp, ssrc) + extensions


def payload_offset(packet: bytes) -> int:
    """Where the payload begins; past the end for a malformed packet."""
    offset = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10 and len(packet) >= offset + 4:
        offset += 4 + 4 * int.from_bytes(packet[offset + 2 : offset + 4], "big")
    return offset


def payload(packet: bytes) -> bytes:
    """The payload without padding; empty for a malformed packet."""
    end = len(packet) - (packet[-1] if packet[0] & 0x20 else 0)
    return packet[payload_offset(packet) : end]


def extension(packet: bytes, number: int) -> bytes | None:
    """Value of one header extension, one- or two-byte form. SRTP leaves extensions in the clear (RFC 3711)."""
    if not packet[0] & 0x10:
        return None
    at = 12 + 4 * (packet[0] & 0x0F)
    if len(packet) < at + 4:
        return None
    profile, words = _PROFILE_LENGTH.unpack_from(packet, at)
    end = min(len(packet), at + 4 + 4 * words)
    at += 4
    two = profile & 0xFFF0 == 0x1000
    if not two and profile != 0xBEDE:
        return None
    while at < end:
        octet = packet[at]
        if octet == 0:
            at += 1
            continue
        if two:
            if at + 1 >= end:
                return None
            found, size, at = octet, packet[at + 1], at + 2
        else:
            found, size, at = octet >> 4, (octet & 15) + 1, at + 1
        if found == number:
            return packet[at : at + size] if at + size <= end else None
        at += size
    return None


def pack_capture_time(wall_ns: int) -> bytes:
    """The short form of abs-capture-time: the capture system's NTP time."""
    return _U64.pack(ntp(wall_ns))


def capture_time(packet: bytes, number: int) -> int | None:
    """abs-capture-time of a packet in Unix nanoseconds."""
    value = extension(packet, number)
    return unix_ns(_U64.unpack_from(value)[0]) if value is not None and len(value) >= 8 else None


class Stream:
    """What arrived of one SSRC. ``take`` is called for each packet; it stays cheap while all is in order."""

    __slots__ = (
        "base",
        "bytes",
        "clock",
        "duplicates",
        "early",
        "frames",
        "gaps",
        "highest",
        "is_video",
        "jitter",
        "last_sr",
        "last_sr_at",
        "last_transit",
        "lost",
        "missing",
        "next",
        "payload_type",
        "received",
        "recovered",
        "reordered",
        "reported_expected",
        "reported_received",
        "ssrc",
        "timestamp",
    )

    def __init__(self, ssrc: int, payload_type: int, sequence: int, clock: int, is_video: bool) -> None:
        self.ssrc, self.payload_type, self.clock, self.is_video = ssrc, payload_type, clock, is_video
        self.base = self.highest = sequence - 1  # extended sequence numbers
        self.next = sequence  # the 16-bit number that is in order
        self.received = self.bytes = self.frames = 0
        self.gaps = self.duplicates = self.reordered = self.recovered = self.early = 0
        self.lost = 0  # given up for good
        # Extended sequence number -> [requests sent, monotonic time of the next request].
        self.missing: OrderedDict[int, list[float]] = OrderedDict()
        self.timestamp = -1
        self.jitter = 0.0  # in clock units (RFC 3550, 6.4.1)
        self.last_transit: float | None = None
        self.last_sr, self.last_sr_at = 0, 0.0
        self.reported_expected = self.reported_received = 0

    @property
    def expected(self) -> int:
        """Packets from the first to the highest."""
        return self.highest - self.base

    def jump(self, sequence: int) -> bool:
        """Take a packet out of order (the caller handles the one that equals ``next``). ``True``: a new packet."""
        delta = (sequence - self.next) & 0xFFFF
        if delta < 0x8000:
            self._skip(delta)
            self.highest += delta + 1
            self.next = (sequence + 1) & 0xFFFF
            self.received += 1
            return True
        extended = self.highest + 1 - (0x10000 - delta)
        if extended <= self.base:
            self.early += 1
            return False
        if self.missing.pop(extended, None) is None:
            self.duplicates += 1
            return False
        self.reordered += 1
        self.received += 1
        return True

    def _skip(self, count: int) -> None:
        self.gaps += 1
        first = self.highest + 1
        if count > limits.MAX_MISSING:
            self.lost += count - limits.MAX_MISSING
            first += count - limits.MAX_MISSING
            count = limits.MAX_MISSING
        for extended in range(first, first + count):
            self.missing[extended] = [0.0, 0.0]
        while len(self.missing) > limits.MAX_MISSING:
            self.missing.popitem(last=False)
            self.lost += 1

    def recover(self, sequence: int) -> bool:
        """A retransmission brought the 16-bit ``sequence``; ``True`` if it was missing."""
        extended = self.highest - ((self.highest - sequence) & 0xFFFF)
        if self.missing.pop(extended, None) is None:
            self.duplicates += 1
            return False
        self.recovered += 1
        self.received += 1
        return True

    def wanted(self, now: float, every: float) -> Iterator[int]:
        """Sequence numbers to request now; those asked for ``NACK_TRIES`` times are given up."""
        for extended, entry in list(self.missing.items()):
            if entry[1] > now:
                continue
            if entry[0] >= limits.NACK_TRIES:
                del self.missing[extended]
                self.lost += 1
                continue
            entry[0] += 1
            entry[1] = now + every
            yield extended & 0xFFFF

    def time(self, timestamp: int, now: float) -> None:
        """Update the jitter with the first packet of a frame (RFC 3550, A.8), ``now`` in seconds."""
        transit = now * self.clock - timestamp
        if self.last_transit is not None:
            difference = abs(transit - self.last_transit)
            if difference < self.clock * 10:  # a wrapped timestamp or another source is no jitter
                self.jitter += (difference - self.jitter) / 16
        self.last_transit = transit

    def interval_loss(self) -> float:
        """Loss (0..1) since the last call, for a receiver report."""
        expected, received = self.expected - self.reported_expected, self.received - self.reported_received
        self.reported_expected, self.reported_received = self.expected, self.received
        return max(0.0, (expected - received) / expected) if expected > 0 else 0.0
