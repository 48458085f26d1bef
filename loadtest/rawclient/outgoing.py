"""What a publisher sends: its offer from a clip, the streams that the answer accepts, and their counters."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from loadtest.rawclient import rtp, sdp
from loadtest.rawclient.media import Clip, ClipTrack

RIDS = ("l", "m", "h")
EXTENSIONS = ((1, rtp.MID), (2, rtp.RID), (3, rtp.REPAIRED_RID), (4, rtp.ABS_CAPTURE_TIME))
_H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"


@dataclass(slots=True)
class PublisherStats:
    """Counters since the start."""

    frames: int = 0
    keyframes: int = 0
    packets: int = 0
    bytes: int = 0
    retransmitted: int = 0
    nacked: int = 0  # sequence numbers asked for
    not_in_history: int = 0
    keyframe_requests: int = 0  # PLI and FIR, all streams
    keyframe_jumps: int = 0
    skipped_frames: int = 0  # late beyond LATE_PUBLISHER_NS
    remb: int | None = None  # bit/s, the last one
    remote_loss: float = 0.0  # 0..1, worst of the last receiver reports
    rtt_ms: float | None = None


@dataclass(slots=True)
class Outgoing:
    """One RTP stream with the place its clip is at. ``time`` of the next frame is since ``epoch``, loops included."""

    track: ClipTrack
    mid: str
    payload_type: int
    ssrc: int
    rtx: tuple[int, int] | None  # ssrc, payload type
    extensions: dict[str, int]  # URI -> id on the wire
    rid: str = ""
    index: int = 0
    loop: int = 0
    sequence: int = field(default_factory=lambda: secrets.randbelow(1 << 15))
    rtx_sequence: int = field(default_factory=lambda: secrets.randbelow(1 << 15))
    first_timestamp: int = field(default_factory=lambda: secrets.randbelow(1 << 31))
    picture: int = 0
    packets: int = 0
    octets: int = 0
    # sequence % HISTORY -> what a retransmission needs: the clear packet's parts, or the sealed one without RTX.
    history: dict[int, tuple[int, int, bool, bytes]] = field(default_factory=dict)

    def next_time(self, duration_ns: int) -> int:
        return self.loop * duration_ns + self.track.frames[self.index].at_ns

    def advance(self) -> None:
        self.index += 1
        if self.index == len(self.track.frames):
            self.index, self.loop = 0, self.loop + 1


def _new_ssrc() -> int:
    return secrets.randbelow((1 << 32) - 1) + 1


def offered_media(clip: Clip) -> list[sdp.Media]:
    """What to offer. One video m-line carries every layer."""
    media = []
    if clip.audio is not None:
        opus = sdp.Codec("opus", 111, 48_000, 2, "minptime=10;useinbandfec=1")
        extensions = tuple(e for e in EXTENSIONS if e[1] in (rtp.MID, rtp.ABS_CAPTURE_TIME))
        ssrc = _new_ssrc()
        media.append(sdp.Media("audio", "sendonly", (opus,), extensions, ((ssrc, None),)))
    codec = clip.video[0].codec
    video = sdp.Codec(
        codec,
        96,
        90_000,
        fmtp=_H264 if codec == "H264" else "",
        feedback=("nack", "nack pli", "ccm fir", "goog-remb"),
        rtx=97,
    )
    if len(clip.video) == 1:
        extensions = tuple(e for e in EXTENSIONS if e[1] in (rtp.MID, rtp.ABS_CAPTURE_TIME))
        pair = (_new_ssrc(), _new_ssrc())
        media.append(sdp.Media("video", "sendonly", (video,), extensions, (pair,)))
    else:
        rids = RIDS[-len(clip.video) :]
        media.append(sdp.Media("video", "sendonly", (video,), EXTENSIONS, rids=rids))
    return media


def accepted_streams(clip: Clip, media: list[sdp.Media], answer: sdp.Answer) -> list[Outgoing]:
    """The streams that the answer lets us send.

    :raises sdp.SdpError: no video among them.
    """
    streams: list[Outgoing] = []
    for mid, (offered, section) in enumerate(zip(media, answer.sections, strict=False)):
        wanted = offered.codecs[0].name.lower()
        codec = next((codec for codec in section.codecs if codec.name.lower() == wanted), None)
        if not section.accepted or codec is None:
            continue
        extensions = {uri: number for number, uri in section.extensions if 0 < number < 15}
        if offered.kind == "audio":
            assert clip.audio is not None
            streams.append(Outgoing(clip.audio, str(mid), codec.payload_type, offered.ssrcs[0][0], None, extensions))
        elif offered.rids:
            streams += _layers(clip, offered, section, codec, str(mid), extensions)
        else:
            ssrc, repair = offered.ssrcs[0]
            rtx = (repair, codec.rtx) if repair is not None and codec.rtx is not None else None
            streams.append(Outgoing(clip.video[0], str(mid), codec.payload_type, ssrc, rtx, extensions))
    if not any(stream.track.codec != "opus" for stream in streams):
        raise sdp.SdpError("the server accepted no video")
    return streams


def _layers(
    clip: Clip, offered: sdp.Media, section: sdp.AnswerSection, codec: sdp.Codec, mid: str, extensions: dict[str, int]
) -> list[Outgoing]:
    """One stream per accepted rid; a server without simulcast gets the highest layer."""
    accepted = [rid for rid in offered.rids if rid in section.rids] or [offered.rids[-1]]
    return [
        Outgoing(
            track,
            mid,
            codec.payload_type,
            _new_ssrc(),
            None if codec.rtx is None else (_new_ssrc(), codec.rtx),
            extensions,
            rid if rid in section.rids else "",
        )
        for rid, track in zip(offered.rids, clip.video, strict=True)
        if rid in accepted
    ]
