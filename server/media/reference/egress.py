"""The way out: one ring of datagram slots, sealed in place, and handed to the kernel by one sendmmsg(2) a batch.

The single invariant: *what stands in the ring below ``_used`` is sealed and complete, in the order in which it leaves.*

A fan-out to many sinks costs no Python per sink. The prepared packet is copied over the slots by doubling; sequence
numbers, timestamps and SSRCs are added for all sinks at once in the lanes of one big integer and written through
strided views; ``map`` runs ``srtp_protect`` over prepared lists of pointers, with the iovec's own length field as its
length argument, so that the sealed length needs no copying either. cffi in ABI mode: no compiler is needed.
"""

from __future__ import annotations

import errno
import sys
import time
from array import array
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from cffi import FFI
from pylibsrtp._binding import ffi as srtp_ffi
from pylibsrtp._binding import lib as srtp_lib

from .lanes import Lanes, address_of
from .limits import EGRESS_SLOTS, EGRESS_WAITING, EGRESS_WAITING_VIDEO, SLOT

if TYPE_CHECKING:
    from ..plane import PlaneStats
    from .vp8 import Descriptor

ffi = FFI()
ffi.cdef("""
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr {
        void *msg_name; unsigned int msg_namelen;
        struct iovec *msg_iov; size_t msg_iovlen;
        void *msg_control; size_t msg_controllen; int msg_flags;
    };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);
""")
libc: Any = ffi.dlopen(None)

SEAL: Final = 16
"""Octets that SRTP adds at most (RFC 7714: a 16-octet tag; AES-CM with SHA-1: 10)."""

_WAIT: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)
_FILLS: Final = 512
_HEADER_WORDS: Final = ffi.sizeof("struct mmsghdr") // 4
_HEADER_LONGS: Final = _HEADER_WORDS // 2
_LOW_HALF: Final = 0 if sys.byteorder == "little" else 4  # of a size_t, which srtp_protect sees as an int


class Egress:
    """Everything that leaves through one UDP socket. Never blocks, never raises for what the network does."""

    def __init__(self, sock_fd: int, stats: PlaneStats) -> None:
        self._fd = sock_fd
        self._stats = stats
        self._counters = stats.counters
        self._used = 0
        self._audio: list[bool] = [False] * EGRESS_SLOTS
        self._waiting: deque[tuple[Any, int, bytes]] = deque()
        self._held: list[Any] = []  # owners of the addresses that the message headers point at
        self.read_mono_ns = 0
        """When the oldest datagram of this batch was read; 0 when nothing was read since the last flush."""
        self._fills: dict[tuple[int, int], memoryview] = {}
        self._make_ring()

    def _make_ring(self) -> None:
        self._slots = ffi.new("unsigned char[]", EGRESS_SLOTS * SLOT)
        self._iovecs = ffi.new("struct iovec[]", EGRESS_SLOTS)
        self._messages = ffi.new("struct mmsghdr[]", EGRESS_SLOTS)
        for slot in range(EGRESS_SLOTS):
            self._iovecs[slot].iov_base = self._slots + slot * SLOT
            header = self._messages[slot].msg_hdr
            header.msg_iov = self._iovecs + slot
            header.msg_iovlen = 1
        start, lengths = address_of(self._slots), address_of(self._iovecs) + 8 + _LOW_HALF
        self._pointers = [srtp_ffi.cast("void *", start + slot * SLOT) for slot in range(EGRESS_SLOTS)]
        self._lengths = [srtp_ffi.cast("int *", lengths + slot * 16) for slot in range(EGRESS_SLOTS)]
        self._octets = memoryview(ffi.buffer(self._slots)).cast("B")
        self._halves = self._octets.cast("H")
        self._words = self._octets.cast("I")
        self._iov_longs = memoryview(ffi.buffer(self._iovecs)).cast("B").cast("Q")
        headers = memoryview(ffi.buffer(self._messages)).cast("B")
        self._name_longs = headers.cast("Q")
        self._name_words = headers.cast("I")

    # --- single datagrams ---------------------------------------------------------------------------------------

    def queue_datagram(self, sockaddr: Any, sockaddr_len: int, data: bytes) -> None:
        """Send what is sealed already (STUN, DTLS, SRTCP). Longer than a slot is dropped and counted."""
        length = len(data)
        if length > SLOT:
            self._dropped(1)
            return
        slot = self._slot()
        ffi.memmove(self._pointers[slot], data, length)
        self._address_slot(slot, sockaddr, sockaddr_len, length)
        self._audio[slot] = True
        self._used = slot + 1

    def send_packet(
        self, sockaddr: Any, sockaddr_len: int, session: Any, head: bytes, payload: bytes, audio: bool
    ) -> bool:
        """Seal one RTP packet (header with extensions, payload) and queue it; ``False`` when libsrtp refuses it."""
        size = len(head)
        length = size + len(payload)
        if length + SEAL > SLOT:
            self._dropped(1)
            return False
        slot = self._slot()
        pointer = self._pointers[slot]
        at = slot * SLOT
        octets = self._octets
        octets[at : at + size] = head
        octets[at + size : at + length] = payload
        self._address_slot(slot, sockaddr, sockaddr_len, length)
        if srtp_lib.srtp_protect(session, pointer, self._lengths[slot]):
            self._late(1)
            return False
        self._audio[slot] = audio
        self._used = slot + 1
        self._counters["rtp_out"] += 1
        self._counters["rtp_out_bytes"] += length
        return True

    def _slot(self) -> int:
        if self._used >= EGRESS_SLOTS:
            self._send()
        return self._used

    def _address_slot(self, slot: int, sockaddr: Any, sockaddr_len: int, length: int) -> None:
        self._iov_longs[2 * slot + 1] = length
        self._held.append(sockaddr)  # the header keeps a bare address, and the peer may be forgotten before the flush
        self._name_longs[_HEADER_LONGS * slot] = address_of(sockaddr)
        self._name_words[_HEADER_WORDS * slot + 2] = sockaddr_len

    # --- fan-out ------------------------------------------------------------------------------------------------

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
        count, length = lanes.count, len(packet)
        if length + SEAL > SLOT:
            self._dropped(count)
            return
        if self._used + count > EGRESS_SLOTS:
            self._send()
        first = self._used
        end = first + count
        self._copy(packet, first, count)
        self._number(lanes, first, end, sequence, timestamp)
        if vp8 is not None:
            self._number_pictures(lanes, first, end, vp8, payload_at)
        key = (length, count)
        fill = self._fills.get(key)
        if fill is None:
            fill = self._fills[key] = memoryview(array("Q", [length]) * count)
            if len(self._fills) > _FILLS:
                self._fills.clear()
        self._iov_longs[2 * first + 1 : 2 * end + 1 : 2] = fill
        self._name_longs[_HEADER_LONGS * first : _HEADER_LONGS * end : _HEADER_LONGS] = lanes.addresses
        self._name_words[_HEADER_WORDS * first + 2 : _HEADER_WORDS * end + 2 : _HEADER_WORDS] = lanes.address_lengths
        self._audio[first:end] = [audio] * count
        self._held.append(lanes)
        self._used = end
        results = list(map(srtp_lib.srtp_protect, lanes.sessions, self._pointers[first:end], self._lengths[first:end]))
        counters = self._counters
        counters["rtp_out"] += count
        counters["rtp_out_bytes"] += count * length
        if any(results):
            self._take_out(first, results, length)

    def _copy(self, packet: bytes, first: int, count: int) -> None:
        """Doubling: seven copies for a hundred sinks instead of a hundred calls."""
        pointers, length = self._pointers, len(packet)
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
        ones, octets = lanes.ones32, self._octets
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

    def _take_out(self, first: int, results: list[int], length: int) -> None:
        """libsrtp refused some lanes: fill their slots from the end of the batch."""
        refused = [first + index for index, status in enumerate(results) if status]
        self._late(len(refused))
        self._counters["rtp_out"] -= len(refused)
        self._counters["rtp_out_bytes"] -= len(refused) * length
        for slot in reversed(refused):
            last = self._used - 1
            if slot != last:
                ffi.memmove(self._pointers[slot], self._pointers[last], SLOT)
                self._iov_longs[2 * slot + 1] = self._iov_longs[2 * last + 1]
                self._name_longs[_HEADER_LONGS * slot] = self._name_longs[_HEADER_LONGS * last]
                self._name_words[_HEADER_WORDS * slot + 2] = self._name_words[_HEADER_WORDS * last + 2]
            self._used = last

    # --- to the kernel ------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand over what is queued. What the kernel does not take now waits, bounded, for the next flush."""
        if self._used or self._waiting:
            self._send()
            if self.read_mono_ns:
                self._sample_transit((time.monotonic_ns() - self.read_mono_ns) / 1e6)
        self.read_mono_ns = 0

    def _sample_transit(self, elapsed_ms: float) -> None:
        transit = self._stats.transit
        transit.counts[bisect_left(transit.bounds_ms, elapsed_ms)] += 1
        transit.sum_ms += elapsed_ms

    def _send(self) -> None:
        if self._waiting:
            self._send_waiting()
        used = self._used
        self._used = 0
        if self._waiting:
            self._keep(0, used)
        else:
            self._send_ring(used)
        self._held.clear()

    def _send_ring(self, used: int) -> None:
        sent = 0
        while sent < used:
            done = self._transmit(sent, used - sent)
            if done > 0:
                sent += done
            elif done in (0, -errno.EINTR):
                continue
            elif -done in _WAIT:
                self._keep(sent, used)
                return
            else:  # this one destination cannot be reached; the others can
                self._dropped(1)
                sent += 1

    def _transmit(self, first: int, count: int) -> int:
        """sendmmsg(2): how many went, or minus errno."""
        done: int = libc.sendmmsg(self._fd, self._messages + first, count, 0)
        return done if done >= 0 else -ffi.errno

    def _keep(self, first: int, end: int) -> None:
        """Copy what the socket did not take; video finds the queue full before audio and control do."""
        waiting = self._waiting
        for slot in range(first, end):
            if len(waiting) >= (EGRESS_WAITING if self._audio[slot] else EGRESS_WAITING_VIDEO):
                self._dropped(1)
                continue
            at = slot * SLOT
            name_len = self._name_words[_HEADER_WORDS * slot + 2]
            name = ffi.new("unsigned char[]", name_len)
            ffi.memmove(name, ffi.cast("void *", self._name_longs[_HEADER_LONGS * slot]), name_len)
            data = bytes(self._octets[at : at + self._iov_longs[2 * slot + 1]])
            waiting.append((name, name_len, data))

    def _send_waiting(self) -> None:
        waiting = self._waiting
        while waiting:
            done = self._transmit_waiting(*waiting[0])
            if -done in _WAIT:
                return
            if done < 0:
                self._dropped(1)
            waiting.popleft()

    def _transmit_waiting(self, name: Any, name_len: int, data: bytes) -> int:
        """One datagram through a header of its own (the ring is in use): 1, or minus errno."""
        iovec: Any = ffi.new("struct iovec *")
        message: Any = ffi.new("struct mmsghdr *")
        iovec.iov_base, iovec.iov_len = ffi.from_buffer(data), len(data)
        header = message.msg_hdr
        header.msg_name, header.msg_namelen, header.msg_iov, header.msg_iovlen = name, name_len, iovec, 1
        done: int = libc.sendmmsg(self._fd, message, 1, 0)
        return done if done >= 0 else -ffi.errno

    # --- counting -----------------------------------------------------------------------------------------------

    def _dropped(self, packets: int) -> None:
        self._stats.drops["socket"] = self._stats.drops.get("socket", 0) + packets

    def _late(self, packets: int) -> None:
        self._stats.drops["history"] = self._stats.drops.get("history", 0) + packets
