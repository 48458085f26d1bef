"""A router on a bench: real SRTP, a clock turned by hand, and a ring whose datagrams a test can read."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pylibsrtp import Policy, Session

from server.media import plane
from server.media.plane import Codec, Extension
from server.media.reference.counters import zeroed
from server.media.reference.forwarding import rtcp, rtp
from server.media.reference.forwarding.egress import Egress
from server.media.reference.forwarding.router import Router
from server.media.reference.transport.kernel import ffi
from server.media.reference.transport.peer import Credentials, Peer
from server.media.reference.transport.ring import Ring
from server.media.reference.transport.srtp import AEAD_AES_128_GCM, Outbound

MS = 1_000_000
SECOND = 1_000_000_000
WALL = 1_790_000_000 * SECOND

VP8 = Codec("VP8", 96, 90000, rtx_payload_type=97)
H264 = Codec("H264", 102, 90000, rtx_payload_type=103)
OPUS = Codec("opus", 111, 48000, channels=2)
RIDS = ("l", "m", "h")
PUBLISHER_IDS = {Extension.MID: 4, Extension.RID: 10, Extension.REPAIRED_RID: 11, Extension.ABS_CAPTURE_TIME: 8}
SUBSCRIBER_IDS = {Extension.MID: 1, Extension.ABS_SEND_TIME: 2}


class RecordingRing(Ring):
    """Hands its batches to a list instead of the kernel; ``refusals`` are errno values to answer with first."""

    def __init__(self, stats: plane.PlaneStats) -> None:
        super().__init__(-1, stats)
        self.datagrams: list[tuple[int, bytes]] = []
        self.batches: list[int] = []
        self.refusals: list[int] = []

    def _transmit(self, first: int, count: int) -> int:
        if self.refusals:
            return -self.refusals.pop(0)
        for slot in range(first, first + count):
            message = self._messages[slot]
            name = bytes(ffi.buffer(ffi.cast("char *", message.msg_hdr.msg_name), message.msg_hdr.msg_namelen))
            data = bytes(ffi.buffer(message.msg_hdr.msg_iov.iov_base, message.msg_hdr.msg_iov.iov_len))
            self.datagrams.append((struct.unpack_from(">H", name, 2)[0], data))
        self.batches.append(count)
        return count

    def _transmit_waiting(self, name: Any, name_len: int, data: bytes) -> int:
        if self.refusals:
            return -self.refusals.pop(0)
        self.datagrams.append((struct.unpack_from(">H", bytes(ffi.buffer(name, name_len)), 2)[0], data))
        return 1


@dataclass
class Heard:
    """One RTP packet as a subscriber opened it."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    extensions: dict[int, bytes]
    payload: bytes
    at: int


@dataclass
class Far:
    """The far end of one transport: its keys, and what it has received."""

    peer: Peer
    inbound: Session
    rtp: list[Heard] = field(default_factory=list)
    rtcp: list[rtcp.Item] = field(default_factory=list)
    compounds: list[bytes] = field(default_factory=list)

    def media(self, ssrc: int) -> list[Heard]:
        return [packet for packet in self.rtp if packet.ssrc == ssrc]

    def wanted(self, kind: type[Any]) -> list[Any]:
        return [item for item in self.rtcp if isinstance(item, kind)]


def vp8_payload(picture: int, tl0: int, *, key: bool, begins: bool = True, size: tuple[int, int] = (640, 360)) -> bytes:
    """A VP8 payload with 15-bit picture id and tl0picidx; 100 octets of body."""
    descriptor = bytes((0x80 | (0x10 if begins else 0), 0xC0, 0x80 | picture >> 8 & 0x7F, picture & 0xFF, tl0 & 0xFF))
    if key and begins:
        return descriptor + b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", *size) + bytes(90)
    return descriptor + b"\x11" + bytes(99)


class Bench:
    """Router, clock and far ends."""

    def __init__(self, now: int = 1000 * SECOND) -> None:
        self.now = now
        self.stats = zeroed()
        self.events: list[plane.Event] = []
        self.taps: list[plane.TapItem] = []
        self.ring = RecordingRing(self.stats)
        self.router = Router(Egress(self.ring, self.stats), self.events.append, self.stats, self.taps.append)
        self.far: dict[int, Far] = {}
        self._ports: dict[int, Far] = {}
        self.router.tick(self.now, self.wall)

    @property
    def wall(self) -> int:
        return WALL + self.now

    def peer(self, number: int, *, ready: bool = True) -> Peer:
        """A transport with keys of its own."""
        key = os.urandom(28)
        peer = Peer(number, Credentials(b"ufrag", b"password"), self.now)
        peer.outbound = Outbound(AEAD_AES_128_GCM, key)
        address = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", number, socket.inet_aton("192.0.2.1"))
        peer.sockaddr = ffi.new("unsigned char[]", address)
        peer.sockaddr_len = len(address)
        peer.ready = ready
        policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=AEAD_AES_128_GCM.libsrtp)
        policy.window_size = 1024
        self.far[number] = self._ports[number] = Far(peer, Session(policy))
        return peer

    # --- commands -------------------------------------------------------------------------------------------------

    def apply(self, command: plane.Command, peer: Peer | None = None) -> None:
        self.router.apply(command, peer, self.now)
        self.collect()

    def source(self, number: int, peer: Peer, codec: Codec = VP8, **more: Any) -> None:
        more.setdefault("extensions", PUBLISHER_IDS)
        kind: plane.Kind = "audio" if codec.name == "opus" else "video"
        more.setdefault("mid", kind)
        self.apply(plane.AddSource(number, peer.id, kind, codecs=(codec,), **more), peer)

    def sink(self, number: int, peer: Peer, source: int | None, codec: Codec = VP8, **more: Any) -> int:
        """Add a sink; its SSRC is ``10 * number``, that of its RTX one more."""
        more.setdefault("extensions", SUBSCRIBER_IDS)
        kind: plane.Kind = "audio" if codec.name == "opus" else "video"
        rtx = 10 * number + 1 if codec.rtx_payload_type else None
        self.apply(
            plane.AddSink(
                number, peer.id, kind, more.pop("mid", kind), 10 * number, rtx, (codec,), more["extensions"], "teacher",
                source,
            ),
            peer,
        )  # fmt: skip
        return 10 * number

    # --- time and packets -------------------------------------------------------------------------------------------

    def pass_time(self, ms: float, step_ms: float = 10) -> None:
        """Turn the clock, with a tick each step."""
        end = self.now + round(ms * MS)
        while self.now < end:
            self.now = min(end, self.now + round(step_ms * MS))
            self.router.tick(self.now, self.wall)
            self.collect()

    def rtp(self, peer: Peer, packet: bytes, *, tick: bool = True) -> None:
        buffer = ffi.new("unsigned char[]", max(len(packet), 1))
        ffi.memmove(buffer, packet, len(packet))
        self.router.on_rtp(peer, buffer, len(packet), self.now, self.wall)
        if tick:
            self.router.tick(self.now, self.wall)
        self.collect()

    def rtcp(self, peer: Peer, compound: bytes) -> None:
        self.router.on_rtcp(peer, compound, self.now, self.wall)
        self.router.tick(self.now, self.wall)
        self.collect()

    def collect(self) -> None:
        self.ring.flush()
        datagrams, self.ring.datagrams = self.ring.datagrams, []
        for port, data in datagrams:
            far = self._ports[port]
            if 192 <= data[1] <= 223:
                clear = far.inbound.unprotect_rtcp(data)
                far.compounds.append(clear)
                far.rtcp.extend(rtcp.parse(clear))
            else:
                far.rtp.append(self._heard(far.inbound.unprotect(data)))

    def _heard(self, clear: bytes) -> Heard:
        header = rtp.parse(clear, len(clear))
        assert header is not None
        block = clear[header.extensions_at : header.extensions_end]
        elements = rtp.read_extensions(block, header.profile) if header.profile else {}
        return Heard(
            header.payload_type, bool(header.marker), header.sequence, header.timestamp, header.ssrc, elements,
            clear[header.start : header.end], self.now,
        )  # fmt: skip

    def events_of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def packet(
    ssrc: int,
    sequence: int,
    timestamp: int,
    payload: bytes,
    *,
    payload_type: int = 96,
    marker: bool = True,
    elements: list[tuple[int, bytes]] | None = None,
    padding: int = 0,
) -> bytes:
    """An RTP packet as a publisher sends it."""
    block = rtp.build_extensions(elements or [])
    first = 0x80 | (0x10 if block else 0) | (0x20 if padding else 0)
    second = (0x80 if marker else 0) | payload_type
    tail = bytes(padding - 1) + bytes((padding,)) if padding else b""
    header = struct.pack(">BBHII", first, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return header + block + payload + tail


class Camera:
    """A VP8 encoder of one layer: ``frame()`` sends one frame of some packets."""

    def __init__(self, bench: Bench, peer: Peer, ssrc: int, *, rid: str = "", sequence: int = 65000,
                 timestamp: int = 4_000_000_000, picture: int = 32700, tl0: int = 250,
                 size: tuple[int, int] = (640, 360), mid: str = "video") -> None:  # fmt: skip
        self.bench = bench
        self.peer = peer
        self.ssrc = ssrc
        self.rid = rid
        self.mid = mid
        self.sequence = sequence
        self.timestamp = timestamp
        self.started = bench.now
        self.picture = picture
        self.tl0 = tl0
        self.size = size

    @property
    def elements(self) -> list[tuple[int, bytes]]:
        return [(4, self.mid.encode()), (10, self.rid.encode())] if self.rid else [(4, self.mid.encode())]

    def rtp_time(self) -> int:
        """The RTP time of this moment."""
        return self.timestamp + (self.bench.now - self.started) * 9 // 100_000 & 0xFFFFFFFF

    def packets(self, *, key: bool = False, count: int = 2) -> list[bytes]:
        """The packets of the next frame, not sent."""
        made = []
        for index in range(count):
            payload = vp8_payload(self.picture, self.tl0, key=key, begins=index == 0, size=self.size)
            last = index == count - 1
            made.append(
                packet(self.ssrc, self.sequence, self.rtp_time(), payload, marker=last, elements=self.elements)
            )  # fmt: skip
            self.sequence += 1
        self.picture = self.picture + 1 & 0x7FFF
        self.tl0 = self.tl0 + 1 & 0xFF
        return made

    def frame(self, *, key: bool = False, count: int = 2, drop: tuple[int, ...] = ()) -> list[bytes]:
        """Send the next frame but for the packets at the places in ``drop``, which are returned."""
        made = self.packets(key=key, count=count)
        for index, data in enumerate(made):
            if index not in drop:
                self.bench.rtp(self.peer, data)
        return [made[index] for index in drop]

    def run(self, frames: int, interval_ms: float = 40, **how: Any) -> None:
        for _ in range(frames):
            self.frame(**how)
            self.bench.pass_time(interval_ms)

    def report(self, ntp_ns: int) -> None:
        """A sender report that maps this moment to ``ntp_ns``."""
        report = rtcp.SenderReport(self.ssrc, rtcp.ntp_from_ns(ntp_ns), self.rtp_time(), 0, 0)
        self.bench.rtcp(self.peer, rtcp.sender_report(report))


def gapless(packets: list[Heard]) -> bool:
    """Whether sequence numbers go on by one each, in order."""
    return all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairwise(packets))


def forward_in_time(packets: list[Heard]) -> bool:
    """Whether timestamps never go backwards."""
    return all(rtp.distance32(b.timestamp, a.timestamp) >= 0 for a, b in pairwise(packets))


def picture_of(heard: Heard) -> int:
    return (heard.payload[2] & 0x7F) << 8 | heard.payload[3]


def tl0_of(heard: Heard) -> int:
    return heard.payload[4]
