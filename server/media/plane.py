"""The plane contract: what a media plane is told (commands), what it says (events), what it counts (stats).

The single invariant: *Python decides, the plane moves.* Commands go down in batches and never block, events come
up in batches; between the two the plane needs nobody. This file imports nothing of ours, so that both twins and
everything above may depend on it.

Identifiers (``transport``, ``source``, ``sink``, ``tap``) are positive integers chosen by the caller, never reused
within one plane. Times named ``*_ns`` are ``time.time_ns()`` (wall) unless named ``mono``. Bit rates are bit/s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

Kind = Literal["audio", "video"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec both sides agreed on. ``name`` is the canonical key that source and sink are matched by."""

    name: str  # "opus", "VP8", "H264"  (H264 always means packetization-mode=1)
    payload_type: int
    clock_rate: int
    channels: int = 1
    rtx_payload_type: int | None = None  # RFC 4588
    fmtp: str = ""


class Extension(StrEnum):
    """RTP header extensions (RFC 8285) that the plane reads or writes; values are their URIs."""

    MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
    RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
    REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
    ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
    ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
    AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"


# --- commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenTransport:
    """Be ready for one peer: ICE-lite, DTLS server (passive), SRTP. The peer sends first (RFC 8445, RFC 5763)."""

    transport: int
    local_ufrag: str
    local_pwd: str
    remote_ufrag: str
    remote_pwd: str
    remote_fingerprints: tuple[tuple[str, str], ...]  # (("sha-256", "AB:CD:..."),): one must match


@dataclass(frozen=True, slots=True)
class RestartIce:
    """New credentials; keys, sources and sinks stay. Old credentials hold until the new ones are first used."""

    transport: int
    local_ufrag: str
    local_pwd: str
    remote_ufrag: str
    remote_pwd: str


@dataclass(frozen=True, slots=True)
class CloseTransport:
    """Send DTLS close_notify, forget the peer and all its sources and sinks. No TransportLost follows."""

    transport: int


@dataclass(frozen=True, slots=True)
class AddSource:
    """One incoming track of a transport (one sending m-line), with one RTP stream per layer."""

    source: int
    transport: int
    kind: Kind
    mid: str
    codecs: tuple[Codec, ...]
    extensions: Mapping[Extension, int]  # id on the wire, 1..14 (or up to 255 two-byte)
    rids: tuple[str, ...] = ()  # simulcast, as signalled; empty for a single stream
    ssrcs: tuple[tuple[int, int | None], ...] = ()  # (media, rtx) as declared by a=ssrc; may be empty


@dataclass(frozen=True, slots=True)
class RemoveSource:
    source: int


@dataclass(frozen=True, slots=True)
class AddSink:
    """One outgoing track to a transport. It may wait without a source; what it sends is one continuous RTP stream."""

    sink: int
    transport: int
    kind: Kind
    mid: str
    ssrc: int
    rtx_ssrc: int | None
    codecs: tuple[Codec, ...]
    extensions: Mapping[Extension, int]
    cname: str
    source: int | None = None


@dataclass(frozen=True, slots=True)
class AddTap:
    """A subscription of this machine's own (the recorder): like a sink, but clear RTP to ``Plane.on_tap``, always the
    best layer that is alive, exempt from congestion control. Losses stay visible as holes in the sequence numbers."""

    tap: int
    source: int | None
    codecs: tuple[Codec, ...]  # payload types the tap wants to see
    ssrc: int = 1


@dataclass(frozen=True, slots=True)
class BindSink:
    """Let a sink or tap follow another source (a teacher who came back), or none. Numbers and time go on."""

    sink: int
    source: int | None


@dataclass(frozen=True, slots=True)
class SetLayer:
    """Ask a video sink for a layer by rid ("" for a single stream), or ``None`` to send nothing (voice only). The
    switch happens at the next keyframe of that layer, which the plane asks for."""

    sink: int
    rid: str | None


@dataclass(frozen=True, slots=True)
class RemoveSink:
    """Also removes a tap."""

    sink: int


@dataclass(frozen=True, slots=True)
class RequestKeyframe:
    """Ask the source for a keyframe on all its layers; coalesced with all other reasons to one per 500 ms."""

    source: int


Command = (
    OpenTransport
    | RestartIce
    | CloseTransport
    | AddSource
    | RemoveSource
    | AddSink
    | AddTap
    | BindSink
    | SetLayer
    | RemoveSink
    | RequestKeyframe
)

# --- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TransportReady:
    """ICE validated a path, DTLS is done, the fingerprint matched."""

    transport: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class TransportLost:
    """The peer is gone; the plane has already forgotten it with its sources and sinks."""

    transport: int
    reason: Literal["consent", "handshake", "fingerprint", "closed"]
    at_ns: int


@dataclass(frozen=True, slots=True)
class Layer:
    rid: str  # "" for a single stream
    bitrate: int  # measured over the last second
    width: int = 0  # from keyframes, 0 while unknown
    height: int = 0
    frames: float = 0.0  # frames per second


@dataclass(frozen=True, slots=True)
class SourceLayers:
    """A source's living layers, lowest bit rate first: at the first packet, when one starts or stops (no packet for
    2 s), and otherwise once a second."""

    source: int
    codec: str
    layers: tuple[Layer, ...]
    at_ns: int


@dataclass(frozen=True, slots=True)
class SourceSilent:
    """No packet of any layer for 2 s."""

    source: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class SinkLive:
    """The sink's first packet has left (for video: of a keyframe)."""

    sink: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class SinkLayer:
    """The layer now sent, after a switch at a keyframe; ``None`` when paused."""

    sink: int
    rid: str | None
    at_ns: int


@dataclass(frozen=True, slots=True)
class LineReport:
    """What a peer's feedback says of its line, at most once a second per transport."""

    transport: int
    remb: int | None  # bit/s, the last one, None if never sent
    loss: float  # 0..1, of the worst video sink's receiver reports of the last second (audio where there is no video)
    rtt_ms: float | None
    sent: int  # bit/s that we sent to it over the last second
    at_ns: int


Event = TransportReady | TransportLost | SourceLayers | SourceSilent | SinkLive | SinkLayer | LineReport

# --- taps ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TapPacket:
    """One clear RTP packet: header without padding and extensions, ``ssrc`` and payload type as the tap asked."""

    tap: int
    arrival_ns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TapClock:
    """A sender report's mapping (RFC 3550, 6.4.1), translated to the tap's RTP time."""

    tap: int
    rtp: int
    ntp_ns: int  # publisher's wall clock, Unix nanoseconds
    arrival_ns: int


TapItem = TapPacket | TapClock

# --- stats --------------------------------------------------------------------------------------------------------

TRANSIT_BUCKETS_MS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 50.0, 100.0, 250.0)
CAPTURE_BUCKETS_MS = (5.0, 10.0, 20.0, 50.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0, 3000.0)


@dataclass(slots=True)
class HistogramCounts:
    """Cumulative-free bucket counts (last one is +Inf) and the sum, as prometheus wants them after accumulation."""

    bounds_ms: tuple[float, ...]
    counts: list[int]
    sum_ms: float = 0.0


@dataclass(slots=True)
class PlaneStats:
    """Counters since the start; the names are bounded and fixed, so that they may become metric labels."""

    counters: dict[str, int] = field(default_factory=dict)
    """``rtp_in``, ``rtp_in_bytes``, ``rtp_out``, ``rtp_out_bytes``, ``rtcp_in``, ``rtcp_out``, ``lost_in``,
    ``nack_in``, ``nack_out``, ``rtx_in``, ``rtx_out``, ``rtx_refused``, ``keyframe_in`` (asked of us), ``keyframe_out``
    (asked of publishers), ``srtp_forged``, ``srtp_replayed``, ``stun_in``, ``stun_bad``, ``stun_unknown``,
    ``dtls_failed``, ``junk``, ``unvalidated``, ``handshakes``, ``consent_lost``, ``icmp_errors`` (left on the
    socket by an unreachable peer), ``commands_ignored`` (an id that is unknown, or used
    before: a few are normal, since a peer may have gone while a command for it was on its way)."""
    drops: dict[str, int] = field(default_factory=dict)
    """Packets dropped, by the queue that was full: ``socket``, ``burst``, ``tap``, ``history``."""
    transit: HistogramCounts = field(
        default_factory=lambda: HistogramCounts(TRANSIT_BUCKETS_MS, [0] * (len(TRANSIT_BUCKETS_MS) + 1))
    )
    """Socket read to socket write, sampled."""
    capture: HistogramCounts = field(
        default_factory=lambda: HistogramCounts(CAPTURE_BUCKETS_MS, [0] * (len(CAPTURE_BUCKETS_MS) + 1))
    )
    """abs-capture-time to our socket, where the client sends it and its clock agrees with ours within a minute."""
    socket_buffers: dict[str, int] = field(default_factory=dict)
    """Octets that the kernel granted the UDP socket, by direction (``in``, ``out``); empty where nobody knows."""
    transports: int = 0
    sources: int = 0
    sinks: int = 0


# --- the plane ----------------------------------------------------------------------------------------------------


class Plane(Protocol):
    """One UDP port (IPv4 and IPv6) and everything that flows through it."""

    on_events: Callable[[Sequence[Event]], None]
    """Called in the loop's thread, never from within ``submit``."""
    on_tap: Callable[[Sequence[TapItem]], None]
    """Called in the loop's thread with what the taps received since the last call."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of our DTLS certificate, ``AB:CD:...``."""

    @property
    def port(self) -> int: ...

    @property
    def families(self) -> frozenset[Literal["ipv4", "ipv6"]]: ...

    def submit(self, commands: Sequence[Command]) -> None:
        """Take a batch, in order. An unknown id is ignored and counted (its peer may just have gone)."""

    def stats(self) -> PlaneStats: ...

    async def close(self) -> None:
        """Say goodbye to every peer (close_notify) and release the port."""
