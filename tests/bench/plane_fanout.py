"""Forwarding cost of the Python plane's way out, against the bare sendmmsg(2) floor of the same run.

Run it: ``python tests/bench/plane_fanout.py [--sinks 100] [--packets 240]``. CPU time of this process, all of it; the
sinks' sockets are drained by another process. The transport half (reading, SRTP opening) is not in it.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from server.media import plane
from server.media.plane import Extension
from server.media.reference.counters import zeroed
from server.media.reference.forwarding.egress import Egress
from server.media.reference.forwarding.router import Router
from server.media.reference.transport.kernel import ffi, libc
from server.media.reference.transport.peer import Credentials, Peer
from server.media.reference.transport.ring import Ring
from server.media.reference.transport.srtp import AEAD_AES_128_GCM, AES128_CM_SHA1_80, Outbound

SIZE = 1150
BATCH = 8
"""Packets of one read burst: a 720p frame."""


def drained(count: int) -> tuple[list[socket.socket], int]:
    """Sockets that a child process empties, and its pid."""
    sockets = []
    for _ in range(count):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("::1", 0))
        sockets.append(sock)
    child = os.fork()
    if child:
        return sockets, child
    poll, by_number, room = select.epoll(), {sock.fileno(): sock for sock in sockets}, bytearray(2048)
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            try:
                while True:
                    by_number[number].recv_into(room)
            except BlockingIOError:
                pass


def sockaddr(address: tuple[Any, ...]) -> bytes:
    port, ip = struct.pack(">H", address[1]), socket.inet_pton(socket.AF_INET6, address[0])
    return struct.pack("=H", socket.AF_INET6) + port + bytes(4) + ip + bytes(4)


def cost(run: Callable[[], int], rounds: int) -> float:
    """CPU microseconds per datagram, the best of five."""
    best = float("inf")
    for _ in range(5):
        begun, sent = time.process_time(), 0
        for _ in range(rounds):
            sent += run()
        best = min(best, (time.process_time() - begun) / sent * 1e6)
        time.sleep(0.05)
    return best


def floor(sender: socket.socket, names: list[bytes], size: int) -> Callable[[], int]:
    """One sendmmsg of equal packets to all."""
    count = len(names)
    messages, iovecs = ffi.new("struct mmsghdr[]", count), ffi.new("struct iovec[]", count)
    keep = [ffi.new("unsigned char[]", name) for name in names]
    data = ffi.new("unsigned char[]", os.urandom(size))
    for index in range(count):
        iovecs[index].iov_base, iovecs[index].iov_len = data, size
        header = messages[index].msg_hdr
        header.msg_name, header.msg_namelen, header.msg_iov, header.msg_iovlen = keep[index], 28, iovecs + index, 1

    def run() -> int:
        sent = 0
        while sent < count:
            sent += libc.sendmmsg(sender.fileno(), messages + sent, count - sent, 0)
        return count

    return run


def resident() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Lesson:
    """A publisher, some sinks, and a router between them."""

    def __init__(self, sender: socket.socket, names: list[bytes], profile: Any) -> None:
        self.stats = zeroed()
        self.ring = Ring(sender.fileno(), self.stats)
        self.router = Router(Egress(self.ring, self.stats), lambda event: None, self.stats, lambda item: None)
        self.publisher = Peer(1, Credentials(b"", b""), 0)
        codec = plane.Codec("VP8", 96, 90000, rtx_payload_type=97)
        self.now = 10**12
        self.router.tick(self.now, self.now)
        self.router.apply(plane.AddSource(1, 1, "video", "0", (codec,), {Extension.MID: 4}), self.publisher, self.now)
        gc.collect()
        before = resident()
        self.peers = []
        for number, name in enumerate(names):
            peer = Peer(number + 2, Credentials(b"", b""), 0)
            peer.outbound = Outbound(profile, os.urandom(profile.key_length + profile.salt_length))
            peer.sockaddr, peer.sockaddr_len, peer.ready = ffi.new("unsigned char[]", name), len(name), True
            self.peers.append(peer)
        ids = {Extension.MID: 1, Extension.ABS_SEND_TIME: 2}
        for number, peer in enumerate(self.peers):
            sink = plane.AddSink(
                number + 2, peer.id, "video", "0", 1000 + 2 * number, 1001 + 2 * number, (codec,), ids, "t", 1
            )
            self.router.apply(sink, peer, self.now)
        self.sequence = 100
        self.buffer = ffi.new("unsigned char[]", 1500)
        self.burst(key=True)  # libsrtp makes a sink's stream with its first packet
        self.memory = (resident() - before) / len(names)

    def burst(self, key: bool = False) -> int:
        """One frame of ``BATCH`` packets in, everything out."""
        self.now += 33_000_000
        before = self.stats.counters["rtp_out"]
        for index in range(BATCH):
            descriptor = b"\x90\xc0\x81\x01\x01" if index == 0 else b"\x80\xc0\x81\x01\x01"
            body = b"\x10\x02\x00\x9d\x01\x2a\x00\x05\xd0\x02" if key and index == 0 else b"\x11" + bytes(9)
            marker = 0x80 if index == BATCH - 1 else 0
            head = struct.pack(">BBHII", 0x90, marker | 96, self.sequence & 0xFFFF, self.now // 11111 & 0xFFFFFFFF, 7)
            head += b"\xbe\xde\x00\x01\x40\x30\x00\x00"
            packet = (head + descriptor + body).ljust(SIZE, b"\5")
            ffi.memmove(self.buffer, packet, SIZE)
            self.router.on_rtp(self.publisher, self.buffer, SIZE, self.now, self.now)
            self.sequence += 1
        self.router.tick(self.now, self.now)
        self.ring.flush()
        return self.stats.counters["rtp_out"] - before


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sinks", type=int, default=100)
    arguments.add_argument("--packets", type=int, default=240)
    chosen = arguments.parse_args()
    sockets, child = drained(chosen.sinks)
    try:
        names = [sockaddr(sock.getsockname()) for sock in sockets]
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        sender.bind(("::1", 0))
        bare = cost(floor(sender, names, SIZE + 16), chosen.packets)
        print(f"floor, {chosen.sinks} sockets, bare sendmmsg of {SIZE + 16} octets: {bare:.2f} µs per packet")
        for profile in (AEAD_AES_128_GCM, AES128_CM_SHA1_80):
            lesson = Lesson(sender, names, profile)
            ours = cost(lesson.burst, max(1, chosen.packets // BATCH))
            print(f"{profile.name.decode()}: {ours:.2f} µs per forwarded packet, {bare / ours:.2f} of the floor")
            print(f"  dropped {lesson.stats.drops}; memory per sink, SRTP key included: {lesson.memory / 1024:.1f} KiB")
    finally:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
