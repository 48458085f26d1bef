"""How a watcher is told to behave and what it says of itself: codecs, options, meters, counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from loadtest.percentiles import Histogram
from loadtest.rawclient import payload as formats
from loadtest.rawclient import rtp, sdp

_VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")
CODECS = (
    sdp.Codec("opus", 111, 48_000, 2, "minptime=10;useinbandfec=1"),
    sdp.Codec(
        "H264",
        102,
        90_000,
        fmtp="level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        feedback=_VIDEO_FEEDBACK,
        rtx=103,
    ),
    sdp.Codec("VP8", 96, 90_000, feedback=_VIDEO_FEEDBACK, rtx=97),
)
EXTENSIONS = ((1, rtp.MID), (4, rtp.ABS_CAPTURE_TIME))


@dataclass(frozen=True, slots=True)
class Timeline:
    """When a known clip is being played: what latency is measured by where the server strips abs-capture-time."""

    epoch_ns: int
    duration_ns: int
    fingerprints: dict[int, int]

    def latency_ns(self, digest: int, now_ns: int) -> int | None:
        """Age of the frame whose first payload has ``digest``; right for ages below one loop."""
        at = self.fingerprints.get(digest)
        return None if at is None else (now_ns - self.epoch_ns - at) % self.duration_ns


@dataclass(slots=True)
class Meters:
    """Histograms in microseconds; one object may serve many watchers."""

    video_latency: Histogram = field(default_factory=Histogram)
    audio_latency: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class WatcherOptions:
    """How a watcher behaves. ``open_every``: one packet of that many is decrypted and checked; 1 means all."""

    open_every: int = 64
    feedback: bool = True  # RR, NACK, PLI, REMB
    remb: int = 5_000_000  # bit/s that the line is said to carry; lowered under loss. 0: none
    on_frame: Callable[[formats.Frame], None] | None = None  # every whole frame and Opus packet; implies open_every=1
    timeline: Timeline | None = None


@dataclass(slots=True)
class WatcherStats:
    """Counters since the connection was opened; times in ms since the POST began."""

    connected_ms: float | None = None
    first_packet_ms: float | None = None
    first_keyframe_ms: float | None = None
    packets: int = 0
    bytes: int = 0
    video_packets: int = 0
    frames: int = 0
    lost: int = 0  # gone for good
    missing: int = 0  # being asked for now
    gaps: int = 0
    recovered: int = 0  # by retransmission
    reordered: int = 0
    duplicates: int = 0
    stray: int = 0
    opened: int = 0
    forged: int = 0
    nacks: int = 0
    plis: int = 0
    jitter_ms: float = 0.0
