"""One incoming RTP stream: a layer of a source, in one incarnation (one SSRC, one run of sequence numbers)."""

from __future__ import annotations

from ...plane import Codec, Kind, Layer
from ..limits import (
    CADENCE_NS,
    CADENCE_OCTETS,
    CADENCE_PACKETS,
    NACK_TRIES,
    NACK_TRIES_AUDIO,
    SECOND_NS,
    SILENT_NS,
)
from .clock import SenderClock
from .codecs import PLAIN, look
from .history import History, Packet
from .keyframes import KeyframeRequests
from .line import Line
from .nack import Missing
from .numbering import Numbering
from .rtcp import ReportBlock
from .rtp import Header, distance32

_JUMP_S = 10
"""Seconds by which RTP time may run away from arrival before it counts as another run of the encoder."""


class Stream:
    """Numbers, store and statistics of one layer. A restarted encoder gets a new ``Stream``."""

    __slots__ = (
        "_frames", "_octets", "_since_ns", "alive", "audio", "bitrate", "clock", "closed", "codec", "frames",
        "history", "line", "missing", "mono_ns", "numbering", "proven", "requests", "rid", "size", "ssrc",
    )  # fmt: skip

    def __init__(self, line: Line, kind: Kind, rid: str, ssrc: int, codec: Codec, sequence: int, mono_ns: int) -> None:
        self.line = line
        self.rid = rid
        self.ssrc = ssrc
        self.codec = codec
        self.audio = kind == "audio"
        self.numbering = Numbering(sequence)
        self.history = History(self.audio)
        self.missing = Missing(NACK_TRIES_AUDIO if self.audio else NACK_TRIES)
        self.requests = KeyframeRequests()
        self.clock: SenderClock | None = None
        self.mono_ns = self._since_ns = mono_ns
        self.alive = True
        self.closed = False
        self.proven = self.audio
        """Whether a keyframe or a second has told enough to rank it among the layers."""
        self.size = (0, 0)
        self.bitrate = 0
        self.frames = 0.0
        self._octets = self._frames = 0

    # --- packets in ---------------------------------------------------------------------------------------------

    def runs_away(self, header: Header, mono_ns: int) -> bool:
        """Whether the timestamp belongs to another run of the encoder than the last packet's."""
        head = self.history.head
        if head is None:
            return False
        expected = (mono_ns - head.mono_ns) * self.codec.clock_rate // 1_000_000_000
        return abs(distance32(header.timestamp, head.timestamp + expected)) > _JUMP_S * self.codec.clock_rate

    def receive(
        self,
        header: Header,
        payload: bytes,
        level: bytes | None,
        capture: bytes | None,
        mono_ns: int,
        wall_ns: int,
    ) -> Packet | None:
        """Take a packet that came on the media SSRC; what is to be forwarded of it, if anything."""
        numbering = self.numbering
        expected = numbering.highest + (1 if numbering.received else 0)
        extended = numbering.place(header.sequence)
        if extended is None:
            return None
        self.mono_ns = mono_ns
        if extended > expected:
            if not self.missing.gap(expected, extended, mono_ns):
                self.requests.want()
        elif extended < expected and len(self.missing):
            self.missing.arrived(extended, mono_ns)
        if not payload:
            if extended == numbering.highest:
                numbering.skip(extended)
            return None
        numbering.time(header.timestamp, mono_ns, self.codec.clock_rate)
        return self._keep(extended, header.timestamp, header.marker, payload, level, capture, mono_ns, wall_ns)

    def recover(self, header: Header, payload: bytes, mono_ns: int, wall_ns: int) -> Packet | None:
        """Take a packet that came as RTX (RFC 4588, 4), ``payload`` with the original sequence number in front."""
        if len(payload) <= 2:
            return None
        extended = self.numbering.extend(payload[0] << 8 | payload[1])
        if not self.missing.arrived(extended, mono_ns):
            return None  # asked for twice, or a probe that repeats what we have
        return self._keep(extended, header.timestamp, header.marker, payload[2:], None, None, mono_ns, wall_ns)

    def _keep(
        self,
        extended: int,
        timestamp: int,
        marker: int,
        payload: bytes,
        level: bytes | None,
        capture: bytes | None,
        mono_ns: int,
        wall_ns: int,
    ) -> Packet | None:
        seen = PLAIN if self.audio else look(self.codec.name, payload)
        packet = Packet(
            self.numbering.compact(extended), timestamp, marker, payload, mono_ns, wall_ns, level, capture,
            seen.keyframe, seen.vp8,
        )  # fmt: skip
        if not self.history.add(packet):
            return None
        if seen.size is not None:
            self.size = seen.size
        if self.history.keyframe is packet:
            self.requests.arrived()
        self._octets += len(payload)
        self._frames += marker >> 7
        return packet

    # --- what others ask ----------------------------------------------------------------------------------------

    def needs_keyframe(self, now: int) -> bool:
        """Whether the cached group is so old or so big that the next joiner had better find a new one."""
        history = self.history
        keyframe, head = history.keyframe, history.head
        if keyframe is None or head is None:
            return True
        return (
            now - keyframe.mono_ns > CADENCE_NS
            or history.group_octets > CADENCE_OCTETS
            or head.sequence - keyframe.sequence > CADENCE_PACKETS
        )

    def check_life(self, now: int) -> bool:
        """Whether it has stopped or come back since the last call."""
        alive = now - self.mono_ns < SILENT_NS
        changed = alive != self.alive
        self.alive = alive
        return changed

    def measure(self, now: int) -> Layer:
        """The layer as ``SourceLayers`` tells it, measured since the last call; too short a time measures nothing."""
        elapsed = now - self._since_ns
        if elapsed >= SECOND_NS // 2:
            self.bitrate = self._octets * 8_000_000_000 // elapsed
            self.proven = True
            self.frames = 0.0 if self.audio else self._frames * 1e9 / elapsed
            self._octets = self._frames = 0
            self._since_ns = now
        return self.layer()

    def layer(self) -> Layer:
        return Layer(self.rid, self.bitrate, *self.size, round(self.frames, 1))

    def report_block(self, now: int) -> ReportBlock:
        """For a receiver report to the publisher (RFC 3550, 6.4.1)."""
        numbering, clock = self.numbering, self.clock
        lsr = dlsr = 0
        if clock is not None:
            lsr, dlsr = clock.ntp >> 16 & 0xFFFFFFFF, (now - clock.mono_ns << 16) // 1_000_000_000
        return ReportBlock(
            self.ssrc, numbering.fraction_lost(), numbering.lost(), numbering.highest & 0xFFFFFFFF, numbering.jitter,
            lsr, min(dlsr, 0xFFFFFFFF),
        )  # fmt: skip

    def close(self) -> None:
        """Forget the packets; spans of sinks may still point here."""
        self.closed = True
        self.alive = False
        self.history.clear()
        self.requests.arrived()
