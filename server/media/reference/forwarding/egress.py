"""Sealing: from a prepared RTP packet to slots of the ring, for one sink or for many at once.

A fan-out to many sinks costs no Python per sink. The prepared packet is copied over the slots by doubling; sequence
numbers, timestamps and SSRCs are added for all sinks at once in the lanes of one big integer and written through
strided views; ``map`` runs ``srtp_protect`` over prepared lists of pointers, with the iovec's own length field as its
length argument, so that the sealed length needs no copying either.
"""

from __future__ import annotations

from typing import Any, Final

from pylibsrtp._binding import ffi as srtp_ffi
from pylibsrtp._binding import lib as srtp_lib

from ...plane import PlaneStats
from ..limits import SLOT
from ..transport.ring import Ring
from .lanes import Lanes
from .vp8 import Descriptor

SEAL: Final = 16
"""Octets that SRTP adds at most (RFC 7714: a 16-octet tag; AES-CM with SHA-1: 10)."""


class Egress:
    """Writes RTP into a ring, sealed. It leaves when the ring is full or flushed."""

    def __init__(self, ring: Ring, stats: PlaneStats) -> None:
        self.ring = ring
        self._counters = stats.counters
        self._drops = stats.drops
        self._halves = ring.octets.cast("H")
        self._words = ring.octets.cast("I")

    def packet(
        self, sockaddr: Any, sockaddr_len: int, session: Any, head: bytes, payload: bytes, audio: bool
    ) -> bool:  # fmt: skip
        """Seal one RTP packet (header with extensions, payload) and queue it; ``False`` when libsrtp refuses it."""
        ring, size = self.ring, len(head)
        length = size + len(payload)
        if length + SEAL > SLOT:
            ring.dropped(1)
            return False
        slot = ring.room()
        at = slot * SLOT
        octets = ring.octets
        octets[at : at + size] = head
        octets[at + size : at + length] = payload
        ring.address(slot, sockaddr, sockaddr_len, length, audio)
        if srtp_lib.srtp_protect(session, ring.pointers[slot], ring.lengths[slot]):
            self._drops["history"] += 1
            return False
        ring.used = slot + 1
        self._counters["rtp_out"] += 1
        self._counters["rtp_out_bytes"] += length
        return True

    def fan_out(
        self,
        lanes: Lanes,
        packet: bytes,
        sequence: int,
        timestamp: int,
        audio: bool,
        vp8: Descriptor | None = None,
        payload_at: int = 0,
    ) -> None:
        """Queue one prepared packet for every lane, each with its own numbers, sealed with its own key.

        ``vp8`` and ``payload_at`` (octets before the payload) are given when picture ids differ from the source's.
        """
        ring, count, length = self.ring, lanes.count, len(packet)
        if length + SEAL > SLOT:
            ring.dropped(count)
            return
        first = ring.room(count)
        end = first + count
        self._copy(packet, first, count)
        self._number(lanes, first, end, sequence, timestamp)
        if vp8 is not None:
            self._number_pictures(lanes, first, end, vp8, payload_at)
        ring.address_all(first, lanes.addresses, lanes.address_lengths, length, audio, lanes)
        ring.used = end
        results = list(map(srtp_lib.srtp_protect, lanes.sessions, ring.pointers[first:end], ring.lengths[first:end]))
        counters = self._counters
        counters["rtp_out"] += count
        counters["rtp_out_bytes"] += count * length
        if any(results):
            self._take_out([first + index for index, status in enumerate(results) if status], length)

    def _copy(self, packet: bytes, first: int, count: int) -> None:
        """Doubling: seven copies for a hundred sinks instead of a hundred calls."""
        pointers, length = self.ring.pointers, len(packet)
        start = pointers[first]
        memmove = srtp_ffi.memmove
        memmove(start, packet, length)
        done = 1
        while done < count:
            more = min(done, count - done)
            memmove(pointers[first + done], start, (more - 1) * SLOT + length)
            done += more

    def _number(self, lanes: Lanes, first: int, end: int, sequence: int, timestamp: int) -> None:
        count = lanes.count
        sequences = (sequence & 0xFFFF) * lanes.ones32 + lanes.sequences
        timestamps = (timestamp & 0xFFFFFFFF) * lanes.ones64 + lanes.timestamps
        low = memoryview(sequences.to_bytes(4 * count, "big")).cast("H")
        self._halves[first * (SLOT // 2) + 1 : end * (SLOT // 2) + 1 : SLOT // 2] = low[1::2]
        step = SLOT // 4
        words = self._words
        low = memoryview(timestamps.to_bytes(8 * count, "big")).cast("I")
        words[first * step + 1 : end * step + 1 : step] = low[1::2]
        words[first * step + 2 : end * step + 2 : step] = lanes.ssrcs

    def _number_pictures(self, lanes: Lanes, first: int, end: int, vp8: Descriptor, payload_at: int) -> None:
        ones, octets = lanes.ones32, self.ring.octets
        start, stop = first * SLOT + payload_at, (end - 1) * SLOT + payload_at + 1
        if vp8.picture_at and lanes.pictures:
            at = vp8.picture_at
            moved = vp8.picture * ones + lanes.pictures
            moved = (moved & ones * 0x7FFF | ones * 0x8000) if vp8.wide else moved & ones * 0x7F
            raw = memoryview(moved.to_bytes(4 * lanes.count, "big"))
            if vp8.wide:
                octets[start + at : stop + at : SLOT] = raw[2::4]
                at += 1
            octets[start + at : stop + at : SLOT] = raw[3::4]
        if vp8.tl0_at and lanes.tl0s:
            raw = memoryview((vp8.tl0 * ones + lanes.tl0s).to_bytes(4 * lanes.count, "big"))
            octets[start + vp8.tl0_at : stop + vp8.tl0_at : SLOT] = raw[3::4]

    def _take_out(self, refused: list[int], length: int) -> None:
        """libsrtp refused some lanes: their numbers are older than its window."""
        self._drops["history"] += len(refused)
        self._counters["rtp_out"] -= len(refused)
        self._counters["rtp_out_bytes"] -= len(refused) * length
        self.ring.take_out(refused)
