"""The RTCP that a sender and a watcher speak: SR, RR, SDES, BYE (RFC 3550), NACK, PLI, FIR (RFC 4585, 5104), REMB.

Reading yields small named tuples and passes over what it does not know or what is malformed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

SR, RR, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206
_NACK, _PLI, _FIR, _AFB = 1, 1, 4, 15


class SenderReport(NamedTuple):
    ssrc: int
    ntp: int  # 32.32 fixed point
    rtp: int
    packets: int
    octets: int


class ReportBlock(NamedTuple):
    """One receiver's view of ``ssrc``; ``reporter`` says whose."""

    reporter: int
    ssrc: int
    fraction: float  # 0..1
    lost: int
    highest: int
    jitter: int
    last_sr: int
    delay: int  # 1/65536 s


class Nack(NamedTuple):
    ssrc: int
    sequences: tuple[int, ...]


class KeyframeRequest(NamedTuple):
    ssrc: int
    full: bool  # FIR, else PLI


class Remb(NamedTuple):
    bitrate: int  # bit/s


class Bye(NamedTuple):
    ssrcs: tuple[int, ...]


Item = SenderReport | ReportBlock | Nack | KeyframeRequest | Remb | Bye


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def sender_report(report: SenderReport) -> bytes:
    """An SR without report blocks."""
    return _packet(
        SR,
        0,
        struct.pack(
            "!IQIII", report.ssrc, report.ntp, report.rtp, report.packets & 0xFFFFFFFF, report.octets & 0xFFFFFFFF
        ),
    )


def receiver_report(ssrc: int, blocks: Sequence[ReportBlock]) -> bytes:
    """An RR with at most 31 blocks."""
    body = struct.pack("!I", ssrc)
    for block in blocks[:31]:
        fraction = min(255, int(block.fraction * 256))
        lost = max(-(1 << 23), min(block.lost, (1 << 23) - 1)) & 0xFFFFFF
        body += struct.pack(
            "!IIIIII",
            block.ssrc,
            fraction << 24 | lost,
            block.highest & 0xFFFFFFFF,
            block.jitter & 0xFFFFFFFF,
            block.last_sr,
            block.delay & 0xFFFFFFFF,
        )
    return _packet(RR, min(31, len(blocks)), body)


def sdes(ssrc: int, cname: str) -> bytes:
    """An SDES with the CNAME."""
    name = cname.encode()[:255]
    body = struct.pack("!IBB", ssrc, 1, len(name)) + name + b"\0"
    return _packet(SDES, 1, body + bytes(-len(body) % 4))


def bye(ssrcs: Sequence[int]) -> bytes:
    """A BYE for at most 31 streams."""
    return _packet(BYE, len(ssrcs[:31]), b"".join(struct.pack("!I", ssrc) for ssrc in ssrcs[:31]))


def nack(sender: int, ssrc: int, sequences: Iterable[int]) -> bytes:
    """A generic NACK; neighbours share an entry."""
    entries: list[list[int]] = []
    for sequence in sequences:
        distance = (sequence - entries[-1][0] - 1) & 0xFFFF if entries else 16
        if distance < 16:
            entries[-1][1] |= 1 << distance
        else:
            entries.append([sequence, 0])
    body = struct.pack("!II", sender, ssrc) + b"".join(struct.pack("!HH", *entry) for entry in entries)
    return _packet(RTPFB, _NACK, body)


def pli(sender: int, ssrc: int) -> bytes:
    """A picture loss indication."""
    return _packet(PSFB, _PLI, struct.pack("!II", sender, ssrc))


def remb(sender: int, bitrate: int, ssrcs: Sequence[int]) -> bytes:
    """A receiver-estimated maximum bit rate (draft-alvestrand-rmcat-remb)."""
    exponent = max(0, bitrate.bit_length() - 18)
    mantissa = bitrate >> exponent
    body = struct.pack("!II4sBBH", sender, 0, b"REMB", len(ssrcs), exponent << 2 | mantissa >> 16, mantissa & 0xFFFF)
    return _packet(PSFB, _AFB, body + b"".join(struct.pack("!I", ssrc) for ssrc in ssrcs))


def parse(data: bytes) -> Iterator[Item]:
    """What a compound packet says, in order."""
    at = 0
    while at + 4 <= len(data):
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            return
        try:
            yield from _items(kind, first & 31, data[at + 4 : end])
        except struct.error:
            return
        at = end


def _items(kind: int, count: int, body: bytes) -> Iterator[Item]:
    if kind == SR:
        yield SenderReport(*struct.unpack_from("!IQIII", body))
        yield from _blocks(body, 24, count)
    elif kind == RR:
        yield from _blocks(body, 4, count)
    elif kind == BYE:
        yield Bye(struct.unpack_from(f"!{count}I", body))
    elif kind == RTPFB and count == _NACK:
        yield Nack(struct.unpack_from("!I", body, 4)[0], tuple(_sequences(body)))
    elif kind == PSFB and count == _PLI:
        yield KeyframeRequest(struct.unpack_from("!I", body, 4)[0], full=False)
    elif kind == PSFB and count == _FIR:
        for at in range(8, len(body) - 7, 8):
            yield KeyframeRequest(struct.unpack_from("!I", body, at)[0], full=True)
    elif kind == PSFB and count == _AFB and body[8:12] == b"REMB":
        _, high, low = struct.unpack_from("!BBH", body, 12)
        yield Remb(((high & 3) << 16 | low) << (high >> 2))


def _blocks(body: bytes, at: int, count: int) -> Iterator[ReportBlock]:
    (reporter,) = struct.unpack_from("!I", body)
    for index in range(count):
        ssrc, loss, highest, jitter, last_sr, delay = struct.unpack_from("!IIIIII", body, at + 24 * index)
        lost = loss & 0xFFFFFF
        lost -= (lost & 0x800000) << 1
        yield ReportBlock(reporter, ssrc, (loss >> 24) / 256, lost, highest, jitter, last_sr, delay)


def _sequences(body: bytes) -> Iterator[int]:
    for at in range(8, len(body) - 3, 4):
        first, mask = struct.unpack_from("!HH", body, at)
        yield first
        yield from ((first + bit + 1) & 0xFFFF for bit in range(16) if mask >> bit & 1)
