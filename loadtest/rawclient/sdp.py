"""SDP as a WHIP or WHEP client needs it: build one offer, read any server's answer (RFC 8829, RFC 8843, RFC 9725).

Reading is lenient where servers differ (ICE and DTLS lines at session or media level, missing ``mid``, unknown lines)
and strict where a connection could not work (no credentials, no fingerprint).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from loadtest import limits

Kind = Literal["audio", "video"]
Direction = Literal["sendonly", "recvonly"]
Setup = Literal["active", "passive"]


class SdpError(ValueError):
    """The answer is not SDP, or lacks what a connection needs."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec with the payload types it has in this connection."""

    name: str  # "opus", "VP8", "H264"
    payload_type: int
    clock: int  # Hz
    channels: int = 1
    fmtp: str = ""
    feedback: tuple[str, ...] = ()
    rtx: int | None = None  # payload type of its retransmissions (RFC 4588)


@dataclass(frozen=True, slots=True)
class Media:
    """One m-line of an offer. ``ssrcs`` are (media, rtx) pairs; with ``rids`` those name the streams instead."""

    kind: Kind
    direction: Direction
    codecs: tuple[Codec, ...]
    extensions: tuple[tuple[int, str], ...]
    ssrcs: tuple[tuple[int, int | None], ...] = ()
    rids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One UDP candidate (RFC 8839, 5.1). ``host`` may be a name."""

    host: str
    port: int
    priority: int


@dataclass(frozen=True, slots=True)
class AnswerSection:
    """What the server said to one of our m-lines. ``accepted`` is false for port 0 and for ``inactive``."""

    kind: str
    mid: str
    accepted: bool
    codecs: tuple[Codec, ...]
    extensions: tuple[tuple[int, str], ...]
    ssrcs: tuple[int, ...]
    rids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer, reduced to what an offerer acts on."""

    ufrag: str
    pwd: str
    lite: bool
    fingerprints: tuple[tuple[str, str], ...]
    setup: Setup  # the server's role: "passive" makes us the DTLS client
    candidates: tuple[Candidate, ...]
    sections: tuple[AnswerSection, ...]


@dataclass(frozen=True, slots=True)
class OfferSpec:
    """All that one offer says; ``hosts`` are our (address, port) host candidates."""

    ufrag: str
    pwd: str
    fingerprint: str
    hosts: Sequence[tuple[str, int]]
    media: Sequence[Media]
    cname: str
    session: int = field(default=1)


def build_offer(spec: OfferSpec) -> str:
    """The offer as text with CRLF. Everything is bundled; all candidates are in it, so no trickling follows."""
    mids = " ".join(str(index) for index in range(len(spec.media)))
    lines = [
        "v=0",
        f"o=- {spec.session} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {mids}",
        "a=extmap-allow-mixed",
        f"a=msid-semantic: WMS {spec.cname}",
    ]
    for mid, media in enumerate(spec.media):
        lines += _media_lines(spec, media, mid)
    return "\r\n".join(lines) + "\r\n"


def _media_lines(spec: OfferSpec, media: Media, mid: int) -> Iterator[str]:
    types = [pt for codec in media.codecs for pt in (codec.payload_type, codec.rtx) if pt is not None]
    yield f"m={media.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, types))}"
    yield "c=IN IP4 0.0.0.0"
    yield "a=rtcp:9 IN IP4 0.0.0.0"
    yield f"a=ice-ufrag:{spec.ufrag}"
    yield f"a=ice-pwd:{spec.pwd}"
    yield f"a=fingerprint:sha-256 {spec.fingerprint}"
    yield "a=setup:actpass"
    yield f"a=mid:{mid}"
    yield from (f"a=extmap:{number} {uri}" for number, uri in media.extensions)
    yield f"a={media.direction}"
    yield "a=rtcp-mux"
    yield "a=rtcp-rsize"
    for codec in media.codecs:
        yield from _codec_lines(codec)
    if media.direction == "sendonly":
        yield from _stream_lines(spec, media)
    for index, (address, port) in enumerate(spec.hosts):
        priority = (126 << 24) | ((65_535 - index) << 8) | 255  # RFC 8445, 5.1.2.1: host, component 1
        yield f"a=candidate:{index + 1} 1 udp {priority} {address} {port} typ host"
    yield "a=end-of-candidates"


def _codec_lines(codec: Codec) -> Iterator[str]:
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    yield f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock}{channels}"
    yield from (f"a=rtcp-fb:{codec.payload_type} {feedback}" for feedback in codec.feedback)
    if codec.fmtp:
        yield f"a=fmtp:{codec.payload_type} {codec.fmtp}"
    if codec.rtx is not None:
        yield f"a=rtpmap:{codec.rtx} rtx/{codec.clock}"
        yield f"a=fmtp:{codec.rtx} apt={codec.payload_type}"


def _stream_lines(spec: OfferSpec, media: Media) -> Iterator[str]:
    msid = f"{spec.cname} {media.kind}"
    yield f"a=msid:{msid}"
    if media.rids:
        yield from (f"a=rid:{rid} send" for rid in media.rids)
        yield f"a=simulcast:send {';'.join(media.rids)}"
        return
    for ssrc, rtx in media.ssrcs:
        if rtx is not None:
            yield f"a=ssrc-group:FID {ssrc} {rtx}"
        for number in (ssrc, rtx):
            if number is not None:
                yield f"a=ssrc:{number} cname:{spec.cname}"
                yield f"a=ssrc:{number} msid:{msid}"


# --- reading ----------------------------------------------------------------------------------------------------------


def parse_answer(text: str) -> Answer:
    """Read an answer.

    :raises SdpError: says which line is missing or wrong.
    """
    if len(text) > limits.MAX_SDP:
        raise SdpError(f"an answer of {len(text)} characters")
    session, sections = _split(text)
    if len(sections) > limits.MAX_SECTIONS:
        raise SdpError(f"{len(sections)} m-lines")
    if not sections:
        raise SdpError("no m-line")
    accepted = [section for section in sections if _port(section[0]) != 0] or sections
    transport = [*accepted[0], *session]
    ufrag, pwd = _first(transport, "ice-ufrag"), _first(transport, "ice-pwd")
    if not ufrag or not pwd:
        raise SdpError("no a=ice-ufrag and a=ice-pwd")
    fingerprints = tuple(_fingerprints([*accepted[0], *session]))
    if not fingerprints:
        raise SdpError("no a=fingerprint")
    lines = [line for section in sections for line in section] + session
    return Answer(
        ufrag=ufrag,
        pwd=pwd,
        lite="a=ice-lite" in lines,
        fingerprints=fingerprints,
        setup="active" if _first(transport, "setup") == "active" else "passive",
        candidates=tuple(_candidates(lines)),
        sections=tuple(_section(section, index) for index, section in enumerate(sections)),
    )


def _split(text: str) -> tuple[list[str], list[list[str]]]:
    session: list[str] = []
    sections: list[list[str]] = []
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("m="):
            sections.append([line])
        elif line:
            (sections[-1] if sections else session).append(line)
    if not session or not session[0].startswith("v="):
        raise SdpError("not SDP: no v= line first")
    return session, sections


def _port(media_line: str) -> int:
    fields = media_line.split()
    if len(fields) < 4:
        raise SdpError(f"m-line with {len(fields)} fields")
    return _number(fields[1].partition("/")[0], "port")


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise SdpError(f"{what} {text[:20]!r} is not a number")
    return int(text)


def _values(lines: Sequence[str], name: str) -> Iterator[str]:
    prefix = f"a={name}:"
    return (line[len(prefix) :].strip() for line in lines if line.startswith(prefix))


def _first(lines: Sequence[str], name: str) -> str:
    return next(_values(lines, name), "")


def _fingerprints(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for value in _values(lines, "fingerprint"):
        algorithm, _, digest = value.partition(" ")
        if digest:
            yield algorithm.lower(), digest.strip().upper()


def _candidates(lines: Sequence[str]) -> Iterator[Candidate]:
    """Distinct UDP candidates of component 1, best first. TCP ones and malformed lines are passed over."""
    found: dict[tuple[str, int], Candidate] = {}
    for value in _values(lines, "candidate"):
        fields = value.split()
        if len(fields) < 8 or fields[1] != "1" or fields[2].lower() != "udp":
            continue
        if not (fields[3].isdigit() and fields[5].isdigit() and 0 < int(fields[5]) < 65_536):
            continue
        candidate = Candidate(fields[4], int(fields[5]), int(fields[3]) & 0xFFFFFFFF)
        found.setdefault((candidate.host, candidate.port), candidate)
    yield from sorted(found.values(), key=lambda candidate: -candidate.priority)[: limits.MAX_CANDIDATES]


def _section(lines: Sequence[str], index: int) -> AnswerSection:
    fields = lines[0][2:].split()
    inactive = "a=inactive" in lines
    return AnswerSection(
        kind=fields[0],
        mid=_first(lines, "mid") or str(index),
        accepted=_port(lines[0]) != 0 and not inactive,
        codecs=tuple(_codecs(lines, fields[3:])),
        extensions=tuple(_extensions(lines)),
        ssrcs=tuple(dict.fromkeys(_ssrcs(lines))),
        rids=tuple(
            rid.lstrip("~")
            for value in _values(lines, "simulcast")
            for group in value.removeprefix("recv").strip().split(" ")[0].split(";")
            for rid in group.split(",")
            if rid and value.startswith("recv")
        ),
    )


def _codecs(lines: Sequence[str], types: Sequence[str]) -> Iterator[Codec]:
    maps = {number: rest for value in _values(lines, "rtpmap") for number, _, rest in [value.partition(" ")]}
    formats = {number: rest for value in _values(lines, "fmtp") for number, _, rest in [value.partition(" ")]}
    repairs = {
        formats[number].partition("apt=")[2].partition(";")[0].strip(): number
        for number, name in maps.items()
        if name.lower().startswith("rtx/") and "apt=" in formats.get(number, "")
    }
    for number in types:
        name, _, rest = maps.get(number, "").partition("/")
        clock, _, channels = rest.partition("/")
        if not clock.isdigit() or name.lower() == "rtx":
            continue
        repair = repairs.get(number)
        yield Codec(
            name=name,
            payload_type=_number(number, "payload type"),
            clock=int(clock),
            channels=int(channels) if channels.isdigit() else 1,
            fmtp=formats.get(number, ""),
            feedback=tuple(v.partition(" ")[2] for v in _values(lines, "rtcp-fb") if v.split(" ")[0] in (number, "*")),
            rtx=None if repair is None else _number(repair, "payload type"),
        )


def _extensions(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    for value in _values(lines, "extmap"):
        number, _, uri = value.partition(" ")
        number = number.partition("/")[0]
        if number.isdigit() and uri:
            yield int(number), uri.split(" ")[0]


def _ssrcs(lines: Sequence[str]) -> Iterator[int]:
    for value in _values(lines, "ssrc"):
        number = value.partition(" ")[0]
        if number.isdigit():
            yield int(number) & 0xFFFFFFFF
