"""Which codecs we carry, and how to read them out of an m-line: Opus, VP8, H.264, and RTX (RFC 4588) for each."""

from __future__ import annotations

from server.media.plane import Codec, Kind
from server.negotiation.sdp import MediaSection, RtpMap, number

ACCEPTED: dict[Kind, tuple[str, ...]] = {"audio": ("opus",), "video": ("VP8", "H264")}
"""Canonical names, as in ``plane.Codec``; an answer's order is the offerer's, not this one."""

_CANONICAL = {
    ("opus", 48000, 2): "opus",  # RFC 7587, 7: always /48000/2
    ("vp8", 90000, 1): "VP8",
    ("h264", 90000, 1): "H264",
}
_H264_PROFILES = {0x42: "baseline", 0x4D: "main", 0x64: "high"}
_HELPERS = frozenset({"rtx", "red", "ulpfec", "flexfec", "flexfec-03", "telephone-event", "cn"})
_STATIC = {0: "PCMU", 3: "GSM", 8: "PCMA", 9: "G722"}  # RFC 3551, 6
_OPUS_KEPT = ("minptime", "stereo", "sprop-stereo", "useinbandfec", "maxplaybackrate", "maxaveragebitrate")
FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")
"""The kinds of ``rtcp-fb`` that the plane acts on. Not transport-cc: its sender must do what the feedback says."""


def parameters(fmtp: str) -> dict[str, str]:
    """``name=value;…`` as a mapping with lower-case names; bare words get an empty value."""
    found: dict[str, str] = {}
    for part in fmtp.split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def common(section: MediaSection, kind: Kind, *, they_send: bool) -> tuple[Codec, ...]:
    """The codecs of an m-line that we carry, in the offerer's order of preference.

    H.264 is packetization-mode 1. Only where an m-line has none of that, other H.264 will do: mode 0 from those who
    send it, since single NAL units are part of mode 1 too; an unsaid mode (GStreamer's receivers) also from those who
    take it. Mode 0 by name is refused to a receiver: it said that it cannot put fragments together.
    """
    found = _readable(section, kind)
    modes = {"1"}
    if all(_mode(codec.fmtp) != "1" for codec in found if codec.name == "H264"):
        modes = {"0", ""} if they_send else {""}
    return tuple(codec for codec in found if codec.name != "H264" or _mode(codec.fmtp) in modes)


def offered_names(section: MediaSection) -> list[str]:
    """What an m-line offers, in words for a person: codec names, helpers (RTX, RED, FEC, DTMF, CN) left out."""
    rtpmaps, fmtps = section.rtpmaps, section.fmtps
    names: dict[str, None] = {}
    for pt in section.payload_types:
        mapping = rtpmaps.get(pt)
        name = mapping.name[:32] if mapping else _STATIC.get(pt, "")
        if not name.isprintable() or not name or name.lower() in _HELPERS:
            continue
        if name.lower() == "h264" and not (_known_profile(fmtps.get(pt, "")) and _mode(fmtps.get(pt, "")) == "1"):
            name = "H264 (packetization-mode or profile not accepted)"
        names[name] = None
    return list(names)[:16]


def answer_fmtp(codec: Codec) -> str:
    """What we answer for a codec's ``fmtp``.

    H.264 goes back as offered (RFC 6184, 8.2.2: profile and packetization mode are symmetric) without the offerer's
    own parameter sets. Opus keeps the wishes that concern the listener; never ``usedtx``: silence must stay a stream,
    so that a recording and a loss report can tell it from a hole.
    """
    if codec.name == "H264":
        return ";".join(part for part in codec.fmtp.split(";") if not part.strip().lower().startswith("sprop-"))
    if codec.name == "opus":
        given = parameters(codec.fmtp)
        return ";".join(f"{name}={given[name]}" for name in _OPUS_KEPT if given.get(name, "").isdigit())
    return ""


def h264_profile(codec: Codec) -> int:
    """``profile_idc`` of an H.264 codec (RFC 6184, 8.1); baseline where it is not said."""
    text = parameters(codec.fmtp).get("profile-level-id", "42000a")
    try:
        return int(text[:2], 16)
    except ValueError:
        return 0


def prefer(codecs: tuple[Codec, ...], sent: Codec) -> tuple[Codec, ...]:
    """A watcher's codecs with those first that match what the publisher sends, in name and (H.264) in profile."""

    def distance(codec: Codec) -> int:
        if codec.name != sent.name:
            return 2
        return int(codec.name == "H264" and h264_profile(codec) != h264_profile(sent))

    return tuple(sorted(codecs, key=distance))


def _readable(section: MediaSection, kind: Kind) -> list[Codec]:
    """Those of our codecs, whatever the packetization mode."""
    rtpmaps, fmtps = section.rtpmaps, section.fmtps
    rtx = _rtx(section.payload_types, rtpmaps, fmtps)
    found = []
    for pt in section.payload_types:
        mapping = rtpmaps.get(pt)
        fmtp = fmtps.get(pt, "")
        name = _CANONICAL.get((mapping.name.lower(), mapping.clock_rate, mapping.channels)) if mapping else None
        if mapping and name in ACCEPTED[kind] and (name != "H264" or _known_profile(fmtp)):
            found.append(Codec(name, pt, mapping.clock_rate, mapping.channels, rtx.get((pt, mapping.clock_rate)), fmtp))
    return found


def _mode(fmtp: str) -> str:
    """H.264's packetization mode, empty where it is not said (RFC 6184, 8.1: then it is 0)."""
    return parameters(fmtp).get("packetization-mode", "")


def _known_profile(fmtp: str) -> bool:
    level_id = parameters(fmtp).get("profile-level-id", "42000a")  # RFC 6184, 8.1: baseline, level 1, when absent
    try:
        return len(level_id) == 6 and int(level_id, 16) >> 16 in _H264_PROFILES
    except ValueError:
        return False


def _rtx(
    payload_types: tuple[int, ...], rtpmaps: dict[int, RtpMap], fmtps: dict[int, str]
) -> dict[tuple[int, int], int]:
    """(payload type, clock rate) → the RTX payload type whose ``apt`` names it (RFC 4588, 8.1)."""
    found: dict[tuple[int, int], int] = {}
    for pt in payload_types:
        mapping = rtpmaps.get(pt)
        if mapping and mapping.name.lower() == "rtx":
            associated = number(parameters(fmtps.get(pt, "")).get("apt", ""), 127)
            if associated is not None:
                found.setdefault((associated, mapping.clock_rate), pt)
    return found
