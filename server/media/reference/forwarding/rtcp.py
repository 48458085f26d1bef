"""RTCP: a reader that takes what it understands and passes over the rest, and builders for what we send.

Read: SR, RR (RFC 3550, 6.4), BYE (6.6), generic NACK (RFC 4585, 6.2.1), PLI (6.3.1), FIR (RFC 5104, 4.3.1), REMB
(draft-alvestrand-rmcat-remb-03). SDES and everything else is skipped. No input makes ``parse`` raise.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

SR: Final = 200
RR: Final = 201
SDES: Final = 202
BYE: Final = 203
RTPFB: Final = 205
PSFB: Final = 206

_WORD: Final = struct.Struct(">I")
_TWO_WORDS: Final = struct.Struct(">II")
_SENDER: Final = struct.Struct(">IQIII")
_BLOCK: Final = struct.Struct(">IIIIII")
_ITEM: Final = struct.Struct(">HH")
_REMB: Final = b"REMB"

NTP_EPOCH: Final = 2_208_988_800
"""Seconds from 1900 to 1970."""


def ntp_from_ns(wall_ns: int) -> int:
    """Unix nanoseconds as a 64-bit NTP timestamp (32.32)."""
    return ((wall_ns << 32) // 1_000_000_000 + (NTP_EPOCH << 32)) & 0xFFFFFFFFFFFFFFFF


def ns_from_ntp(ntp: int) -> int:
    """A 64-bit NTP timestamp as Unix nanoseconds; negative before 1970."""
    return ((ntp - (NTP_EPOCH << 32)) * 1_000_000_000) >> 32


@dataclass(frozen=True, slots=True)
class ReportBlock:
    ssrc: int
    fraction: int  # lost of 256 since the last report
    lost: int  # cumulative, signed
    highest: int  # extended
    jitter: int  # RTP time units
    lsr: int  # middle 32 bits of the last sender report's NTP time
    dlsr: int  # 1/65536 s


@dataclass(frozen=True, slots=True)
class SenderReport:
    ssrc: int
    ntp: int  # 32.32
    rtp: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class Nack:
    ssrc: int  # of the media
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeyframeWanted:
    """PLI or FIR: to us they mean the same."""

    ssrc: int


@dataclass(frozen=True, slots=True)
class Remb:
    bitrate: int
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bye:
    ssrcs: tuple[int, ...]


Item = SenderReport | ReportBlock | Nack | KeyframeWanted | Remb | Bye


def parse(data: bytes) -> list[Item]:
    """Everything understood in a compound (or reduced-size, RFC 5506) packet, in order. Stops where lengths lie."""
    items: list[Item] = []
    at, end = 0, len(data)
    while at + 4 <= end:
        first, kind = data[at], data[at + 1]
        after = at + 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
        if first >> 6 != 2 or after > end:
            break
        stop = after
        if first & 0x20 and after > at + 4:  # padding stands in the last packet only, and counts itself
            stop -= data[after - 1]
        if stop > at + 4:
            _read(items, kind, first & 0x1F, data[at + 4 : stop])
        at = after
    return items


def _read(items: list[Item], kind: int, count: int, body: bytes) -> None:
    if kind == SR and len(body) >= 24:
        items.append(SenderReport(*_SENDER.unpack_from(body)))
        _read_blocks(items, count, body, 24)
    elif kind == RR:
        _read_blocks(items, count, body, 4)
    elif kind == BYE:
        whole = min(count, len(body) // 4)
        if whole:
            items.append(Bye(struct.unpack_from(f">{whole}I", body)))
    elif kind == RTPFB and count == 1 and len(body) >= 12:
        items.append(Nack(_WORD.unpack_from(body, 4)[0], _sequences(body)))
    elif kind == PSFB and len(body) >= 8:
        _read_payload_feedback(items, count, body)


def _read_blocks(items: list[Item], count: int, body: bytes, at: int) -> None:
    for start in range(at, min(at + 24 * count, len(body) - 23), 24):
        ssrc, lost, highest, jitter, lsr, dlsr = _BLOCK.unpack_from(body, start)
        signed = ((lost & 0xFFFFFF) ^ 0x800000) - 0x800000
        items.append(ReportBlock(ssrc, lost >> 24, signed, highest, jitter, lsr, dlsr))


def _sequences(body: bytes) -> tuple[int, ...]:
    found = []
    for start in range(8, len(body) - 3, 4):
        first, mask = _ITEM.unpack_from(body, start)
        found.append(first)
        while mask:
            low = mask & -mask
            found.append(first + low.bit_length() & 0xFFFF)
            mask ^= low
    return tuple(found)


def _read_payload_feedback(items: list[Item], count: int, body: bytes) -> None:
    if count == 1:
        items.append(KeyframeWanted(_WORD.unpack_from(body, 4)[0]))
    elif count == 4:
        items.extend(KeyframeWanted(_WORD.unpack_from(body, at)[0]) for at in range(8, len(body) - 7, 8))
    elif count == 15 and body[8:12] == _REMB and len(body) >= 16:
        number, exponent, mantissa = body[12], body[13] >> 2, int.from_bytes(body[13:16], "big") & 0x3FFFF
        whole = min(number, (len(body) - 16) // 4)
        items.append(Remb(mantissa << exponent, struct.unpack_from(f">{whole}I", body, 16)))


# --- builders -----------------------------------------------------------------------------------------------------


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def _blocks(blocks: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        _BLOCK.pack(b.ssrc, b.fraction << 24 | b.lost & 0xFFFFFF, b.highest, b.jitter, b.lsr, b.dlsr) for b in blocks
    )


def sender_report(report: SenderReport, blocks: Sequence[ReportBlock] = ()) -> bytes:
    """An SR with at most 31 report blocks."""
    body = _SENDER.pack(report.ssrc, report.ntp, report.rtp, report.packets & 0xFFFFFFFF, report.octets & 0xFFFFFFFF)
    return _packet(SR, len(blocks), body + _blocks(blocks))


def receiver_report(ssrc: int, blocks: Sequence[ReportBlock] = ()) -> bytes:
    """An RR with at most 31 report blocks; without one it is the lawful head of a compound packet."""
    return _packet(RR, len(blocks), _WORD.pack(ssrc) + _blocks(blocks))


def source_description(names: Iterable[tuple[int, str]]) -> bytes:
    """SDES with the CNAME of each SSRC (RFC 3550, 6.5.1)."""
    body, count = b"", 0
    for ssrc, cname in names:
        text = cname.encode()[:255]
        chunk = _WORD.pack(ssrc) + bytes((1, len(text))) + text + b"\0"
        body += chunk + bytes(-len(chunk) % 4)
        count += 1
    return _packet(SDES, count, body)


def goodbye(ssrcs: Sequence[int]) -> bytes:
    """BYE for at most 31 SSRCs."""
    return _packet(BYE, len(ssrcs), b"".join(map(_WORD.pack, ssrcs)))


def nack(sender: int, media: int, sequences: Sequence[int]) -> bytes:
    """Generic NACK; ``sequences`` ascending (modulo 2^16), folded into PID and BLP pairs."""
    body = _TWO_WORDS.pack(sender, media)
    first, mask = -1, 0
    for sequence in sequences:
        ahead = sequence - first & 0xFFFF
        if first >= 0 and 1 <= ahead <= 16:
            mask |= 1 << ahead - 1
            continue
        if first >= 0:
            body += _ITEM.pack(first, mask)
        first, mask = sequence & 0xFFFF, 0
    if first >= 0:
        body += _ITEM.pack(first, mask)
    return _packet(RTPFB, 1, body)


def pli(sender: int, media: int) -> bytes:
    """Picture loss indication."""
    return _packet(PSFB, 1, _TWO_WORDS.pack(sender, media))


def remb(sender: int, bitrate: int, ssrcs: Sequence[int]) -> bytes:
    """Receiver estimated maximum bit rate for at most 255 SSRCs."""
    exponent = max(0, bitrate.bit_length() - 18)
    head = bytes((len(ssrcs),)) + (exponent << 18 | bitrate >> exponent).to_bytes(3, "big")
    body = _TWO_WORDS.pack(sender, 0) + _REMB + head + b"".join(map(_WORD.pack, ssrcs))
    return _packet(PSFB, 15, body)
