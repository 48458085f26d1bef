"""The way out: a ring of datagram slots, filled in place and handed to the kernel by one sendmmsg(2) a batch.

The single invariant: *what stands in the ring below ``used`` is sealed and complete, in the order in which it leaves.*

cffi's field access costs as much as a system call does; the same memory seen as numbers does not. So the slots, iovecs
and message headers are open to whoever fills them as views: many slots at once, by strides.
"""

from __future__ import annotations

import errno
import sys
import time
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from pylibsrtp._binding import ffi as srtp_ffi

from ...plane import PlaneStats
from ..limits import RING_SLOTS, RING_WAITING, RING_WAITING_VIDEO, SLOT
from .kernel import address_of, ffi, libc

_WAIT: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)
_FILLS: Final = 512
_HEADER_WORDS: Final = ffi.sizeof("struct mmsghdr") // 4
_HEADER_LONGS: Final = _HEADER_WORDS // 2
_LOW_HALF: Final = 0 if sys.byteorder == "little" else 4  # of a size_t, which srtp_protect sees as an int


class Ring:
    """Everything that leaves through one UDP socket. Never blocks, never raises for what the network does."""

    def __init__(self, sock_fd: int, stats: PlaneStats) -> None:
        self._fd = sock_fd
        self._transit = stats.transit
        self._drops = stats.drops
        self.used = 0
        self._vital = [False] * RING_SLOTS
        """Audio and control: what is dropped last."""
        self._waiting: deque[tuple[Any, int, bytes]] = deque()
        self._held: list[Any] = []  # owners of the addresses that the message headers point at
        self.read_mono_ns = 0
        """When the oldest datagram of this batch was read; 0 when nothing was read since the last flush."""
        self._fills: dict[tuple[int, int], memoryview] = {}
        self._make()

    def _make(self) -> None:
        self._slots = ffi.new("unsigned char[]", RING_SLOTS * SLOT)
        self._iovecs = ffi.new("struct iovec[]", RING_SLOTS)
        self._messages = ffi.new("struct mmsghdr[]", RING_SLOTS)
        for slot in range(RING_SLOTS):
            self._iovecs[slot].iov_base = self._slots + slot * SLOT
            header = self._messages[slot].msg_hdr
            header.msg_iov = self._iovecs + slot
            header.msg_iovlen = 1
        start, lengths = address_of(self._slots), address_of(self._iovecs) + 8 + _LOW_HALF
        self.pointers = [srtp_ffi.cast("void *", start + slot * SLOT) for slot in range(RING_SLOTS)]
        """Each slot as libsrtp wants it."""
        self.lengths = [srtp_ffi.cast("int *", lengths + slot * 16) for slot in range(RING_SLOTS)]
        """Each slot's length, in place in its iovec."""
        self.octets = memoryview(ffi.buffer(self._slots)).cast("B")
        self._iov_longs = memoryview(ffi.buffer(self._iovecs)).cast("B").cast("Q")
        headers = memoryview(ffi.buffer(self._messages)).cast("B")
        self._name_longs = headers.cast("Q")
        self._name_words = headers.cast("I")

    # --- filling ------------------------------------------------------------------------------------------------

    def room(self, count: int = 1) -> int:
        """The first of ``count`` free slots in a row (at most ``RING_SLOTS``); what is queued leaves if need be."""
        if self.used + count > RING_SLOTS:
            self._send()
        return self.used

    def address(self, slot: int, sockaddr: Any, sockaddr_len: int, length: int, vital: bool) -> None:
        """Say where one slot goes, and how long it is so far."""
        self._iov_longs[2 * slot + 1] = length
        self._held.append(sockaddr)  # the header keeps a bare address, and the peer may be forgotten before the flush
        self._name_longs[_HEADER_LONGS * slot] = address_of(sockaddr)
        self._name_words[_HEADER_WORDS * slot + 2] = sockaddr_len
        self._vital[slot] = vital

    def address_all(
        self, first: int, addresses: memoryview, address_lengths: memoryview, length: int, vital: bool, owner: object
    ) -> None:
        """The same for many slots of one length; ``owner`` keeps the addresses alive."""
        count = len(addresses)
        end = first + count
        fill = self._fills.get((length, count))
        if fill is None:
            if len(self._fills) >= _FILLS:
                self._fills.clear()
            fill = self._fills[length, count] = memoryview(array("Q", [length]) * count)
        self._iov_longs[2 * first + 1 : 2 * end + 1 : 2] = fill
        self._name_longs[_HEADER_LONGS * first : _HEADER_LONGS * end : _HEADER_LONGS] = addresses
        self._name_words[_HEADER_WORDS * first + 2 : _HEADER_WORDS * end + 2 : _HEADER_WORDS] = address_lengths
        self._vital[first:end] = [vital] * count
        self._held.append(owner)

    def take_out(self, slots: Sequence[int]) -> None:
        """Leave out slots (ascending) that could not be sealed: others from the end of the batch fill their places."""
        for slot in reversed(slots):
            last = self.used - 1
            if slot != last:
                ffi.memmove(self.pointers[slot], self.pointers[last], SLOT)
                self._iov_longs[2 * slot + 1] = self._iov_longs[2 * last + 1]
                self._name_longs[_HEADER_LONGS * slot] = self._name_longs[_HEADER_LONGS * last]
                self._name_words[_HEADER_WORDS * slot + 2] = self._name_words[_HEADER_WORDS * last + 2]
                self._vital[slot] = self._vital[last]
            self.used = last

    def datagram(self, sockaddr: Any, sockaddr_len: int, data: bytes) -> None:
        """Queue what is sealed already (STUN, DTLS, SRTCP). Longer than a slot is dropped and counted."""
        length = len(data)
        if length > SLOT:
            self.dropped(1)
            return
        slot = self.room()
        ffi.memmove(self.pointers[slot], data, length)
        self.address(slot, sockaddr, sockaddr_len, length, True)
        self.used = slot + 1

    # --- to the kernel ------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand over what is queued. What the kernel does not take now waits, bounded, for the next flush."""
        if self.used or self._waiting:
            self._send()
            if self.read_mono_ns:
                self._sample_transit((time.monotonic_ns() - self.read_mono_ns) / 1e6)
        self.read_mono_ns = 0

    def _sample_transit(self, elapsed_ms: float) -> None:
        transit = self._transit
        transit.counts[bisect_left(transit.bounds_ms, elapsed_ms)] += 1
        transit.sum_ms += elapsed_ms

    def _send(self) -> None:
        if self._waiting:
            self._send_waiting()
        used, self.used = self.used, 0
        if self._waiting:
            self._keep(0, used)
        else:
            self._send_slots(used)
        self._held.clear()

    def _send_slots(self, used: int) -> None:
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
                self.dropped(1)
                sent += 1

    def _transmit(self, first: int, count: int) -> int:
        """sendmmsg(2): how many went, or minus errno."""
        done: int = libc.sendmmsg(self._fd, self._messages + first, count, 0)
        return done if done >= 0 else -ffi.errno

    def _keep(self, first: int, end: int) -> None:
        """Copy what the socket did not take; video finds the queue full before audio and control do."""
        waiting = self._waiting
        for slot in range(first, end):
            if len(waiting) >= (RING_WAITING if self._vital[slot] else RING_WAITING_VIDEO):
                self.dropped(1)
                continue
            at = slot * SLOT
            name_len = self._name_words[_HEADER_WORDS * slot + 2]
            name = ffi.new("unsigned char[]", name_len)
            ffi.memmove(name, ffi.cast("void *", self._name_longs[_HEADER_LONGS * slot]), name_len)
            data = bytes(self.octets[at : at + self._iov_longs[2 * slot + 1]])
            waiting.append((name, name_len, data))

    def _send_waiting(self) -> None:
        waiting = self._waiting
        while waiting:
            done = self._transmit_waiting(*waiting[0])
            if -done in _WAIT:
                return
            if done < 0:
                self.dropped(1)
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

    def dropped(self, packets: int) -> None:
        """Count what will not leave, because the socket is full or a slot too short."""
        self._drops["socket"] += packets
