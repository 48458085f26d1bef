"""The floor under any relay: equal datagrams to many sockets by bare sendmmsg(2), no crypto, no Python per packet.

Run as a process of its own (``python -m server.app.bench.floor SINKS SIZE``) so that its CPU time is the floor's alone;
another process drains the sockets. Prints CPU microseconds per datagram twice: at the pace of a lesson (240 batches a
second, as the relay under measurement sends) and flat out, where caches stay warm and receivers never fall asleep.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import struct
import sys
import time

from server.media.reference.transport.kernel import ffi, libc

ROUNDS = 240
"""Batches of one datagram per sink in each measurement: a second of a lesson at 240 packets/s."""
REPEATS = 5
BUFFER = 1 << 20


async def measure(sinks: int, size: int) -> tuple[float, float]:
    """CPU microseconds per datagram of ``size`` octets to ``sinks`` sockets, paced and flat out; medians."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.app.bench.floor", str(sinks), str(size)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise OSError(f"the floor could not be measured: exit code {process.returncode}")
    paced, flat = output.split()
    return float(paced), float(flat)


def main(sinks: int, size: int) -> None:
    receivers = [_receiver() for _ in range(sinks)]
    child = os.fork()
    if not child:
        _drain(receivers)
    try:
        ports = [receiver.getsockname()[1] for receiver in receivers]
        print(_cost(ports, size, 1 / ROUNDS), _cost(ports, size, 0.0))
    finally:
        os.kill(child, signal.SIGKILL)


def _receiver() -> socket.socket:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    receiver.bind(("127.0.0.1", 0))
    return receiver


def _drain(receivers: list[socket.socket]) -> None:
    poll, by_number, room = select.epoll(), {each.fileno(): each for each in receivers}, bytearray(2048)
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            try:
                while True:
                    by_number[number].recv_into(room)
            except BlockingIOError:
                continue


def _cost(ports: list[int], size: int, every: float) -> float:
    """The sender is dual-stack, as the plane's socket is: both pay for the same address handling."""
    sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sender.bind(("::", 0))
    mapped = bytes(10) + b"\xff\xff\x7f\0\0\1"
    names = [
        ffi.new("unsigned char[]", struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + mapped + bytes(4))
        for port in ports
    ]
    count, payload = len(ports), ffi.new("unsigned char[]", os.urandom(size))
    iovecs, messages = ffi.new("struct iovec[]", count), ffi.new("struct mmsghdr[]", count)
    for index, name in enumerate(names):
        iovecs[index].iov_base, iovecs[index].iov_len = payload, size
        header = messages[index].msg_hdr
        header.msg_name, header.msg_namelen, header.msg_iov, header.msg_iovlen = name, 28, iovecs + index, 1
    costs = []
    for _ in range(REPEATS):
        begun, due = time.process_time(), time.monotonic()
        for _ in range(ROUNDS):
            if every:
                due += every
                time.sleep(max(0.0, due - time.monotonic()))
            sent = 0
            while sent < count:
                sent += max(0, libc.sendmmsg(sender.fileno(), messages + sent, count - sent, 0))
        costs.append((time.process_time() - begun) / (ROUNDS * count) * 1e6)
    return sorted(costs)[REPEATS // 2]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
