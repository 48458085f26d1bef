"""Answers: the SDP text, and the plane commands that make it true, from one judged offer.

We are ICE-lite and the DTLS server (``a=setup:passive``), on one UDP port for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from server.media.plane import AddSink, AddSource, Codec, Extension, OpenTransport
from server.negotiation import codecs, extensions, limits
from server.negotiation.offer import JudgedLine, JudgedOffer, judge
from server.negotiation.sdp import MediaSection

_HOST_PREFERENCE = 126  # RFC 8445, 5.1.2.2


@dataclass(frozen=True, slots=True)
class Local:
    """Our side of one transport. ``candidates`` are (IP address, UDP port), best first."""

    ufrag: str
    pwd: str
    fingerprint: str
    candidates: tuple[tuple[str, int], ...]
    description_id: int  # the number in the o-line, below 2**63 (RFC 9429, 5.2.1)


@dataclass(frozen=True, slots=True)
class PublisherAnswer:
    sdp: str
    open: OpenTransport
    sources: tuple[AddSource, ...]
    tag: tuple[str, ...]  # group, m-line and mid for the fragment of an ICE restart


@dataclass(frozen=True, slots=True)
class WatcherAnswer:
    sdp: str
    open: OpenTransport
    sinks: tuple[AddSink, ...]
    tag: tuple[str, ...]


def answer_publisher(sdp: str, local: Local, *, transport: int, new_id: Callable[[], int]) -> PublisherAnswer:
    """Answer a WHIP offer: one source for its first audio and its first video m-line, all common codecs.

    Which of them comes is the sender's choice, the first as a rule (RFC 3264, 7); an encoder with one codec at hand
    and many in its offer, as pion's, would have nothing to send were we to pick.

    :param new_id: the next free identifier for a source.
    :raises NegotiationError: see ``offer.judge``.
    """
    offer = judge(sdp, "publisher")
    sources = {id(line.section): _source(offer, line, new_id(), transport) for line in offer.tracks}
    lines = _session_lines(offer, local)
    for line in offer.lines:
        source = sources.get(id(line.section))
        lines += _media_lines(offer, line, local, "recvonly", source.extensions if source else {})
        if source:
            lines += _simulcast_lines(line.section, source.rids)
    opening = _open(offer, local, transport)
    return PublisherAnswer(_text(lines), opening, tuple(sources.values()), _tag_lines(offer))


def answer_watcher(
    sdp: str,
    local: Local,
    *,
    transport: int,
    new_id: Callable[[], int],
    new_ssrc: Callable[[], int],
    cname: str,
) -> WatcherAnswer:
    """Answer a WHEP offer: one unbound sink for its first audio and its first video m-line, all common codecs.

    :param cname: RTCP's canonical name (RFC 3550, 6.5.1) and the name of the media stream; one for both tracks, so
        that the player keeps them in time.
    :raises NegotiationError: see ``offer.judge``.
    """
    offer = judge(sdp, "watcher")
    sinks: dict[int, AddSink] = {}
    for line in offer.tracks:
        has_rtx = any(codec.rtx_payload_type is not None for codec in line.codecs)
        sinks[id(line.section)] = AddSink(
            sink=new_id(),
            transport=transport,
            kind=line.kind,
            mid=line.section.mid or "",
            ssrc=new_ssrc(),
            rtx_ssrc=new_ssrc() if has_rtx else None,
            codecs=line.codecs,
            # One-byte ids only: one two-byte id would change the form of every packet to this watcher.
            extensions=extensions.common(line.section, they_send=False, mixed=False),
            cname=cname,
        )
    lines = _session_lines(offer, local)
    for line in offer.lines:
        sink = sinks.get(id(line.section))
        lines += _media_lines(offer, line, local, "sendonly", sink.extensions if sink else {})
        if sink:
            lines += _ssrc_lines(sink)
    opening = _open(offer, local, transport)
    return WatcherAnswer(_text(lines), opening, tuple(sinks.values()), _tag_lines(offer))


def candidate_lines(candidates: Sequence[tuple[str, int]]) -> list[str]:
    """Host candidates (RFC 8839, 5.1), UDP only, in falling priority, and the word that there are no more."""
    lines = []
    for index, (address, port) in enumerate(candidates[: limits.MAX_CANDIDATES]):
        priority = (_HOST_PREFERENCE << 24) | ((65535 - index) << 8) | (256 - 1)
        lines.append(f"a=candidate:{index + 1} 1 udp {priority} {address} {port} typ host")
    return [*lines, "a=end-of-candidates"]


def _open(offer: JudgedOffer, local: Local, transport: int) -> OpenTransport:
    ufrag, pwd = offer.credentials
    return OpenTransport(transport, local.ufrag, local.pwd, ufrag, pwd, offer.fingerprints)


def _mixed(offer: JudgedOffer, section: MediaSection) -> bool:
    return offer.description.session.has("extmap-allow-mixed") or section.has("extmap-allow-mixed")


def _source(offer: JudgedOffer, line: JudgedLine, source: int, transport: int) -> AddSource:
    section = line.section
    kept = extensions.common(section, they_send=True, mixed=_mixed(offer, section))
    rids = _rids(section, line.codecs) if Extension.RID in kept else ()
    return AddSource(
        source=source,
        transport=transport,
        kind=line.kind,
        mid=section.mid or "",
        codecs=line.codecs,
        extensions=kept,
        rids=rids,
        # Layers are told apart by rid; their SSRCs, where an offer names some, are in no order we could rely on.
        ssrcs=() if rids else _ssrcs(section, line.codecs),
    )


def _rids(section: MediaSection, common: Sequence[Codec]) -> tuple[str, ...]:
    """One rid for each simulcast stream: its first alternative that may carry a common codec (RFC 8853, 5.3.2)."""
    rids = section.rids
    payload_types = {codec.payload_type for codec in common}
    chosen: dict[str, None] = {}
    for alternatives in section.simulcast("send"):
        for rid in alternatives:
            known = rids.get(rid)
            if known and known.direction == "send" and (not known.formats or payload_types.intersection(known.formats)):
                chosen[rid] = None
                break
    return tuple(chosen)[: limits.MAX_RIDS]


def _ssrcs(section: MediaSection, chosen: Sequence[Codec]) -> tuple[tuple[int, int | None], ...]:
    """The one (media, RTX) pair of a single stream. Of old-style simulcast (SIM) the first layer alone is taken."""
    repair = {members[0]: members[1] for name, members in section.ssrc_groups if name == "FID" and len(members) == 2}
    media = [ssrc for ssrc in section.ssrcs if ssrc not in repair.values()]
    if not media:
        return ()
    has_rtx = any(codec.rtx_payload_type is not None for codec in chosen)
    return ((media[0], repair.get(media[0]) if has_rtx else None),)


def _session_lines(offer: JudgedOffer, local: Local) -> list[str]:
    lines = [
        "v=0",
        f"o=- {local.description_id} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-lite",
    ]
    if offer.bundle:
        lines.append("a=group:BUNDLE " + " ".join(offer.bundle))
    if offer.description.session.has("extmap-allow-mixed"):
        lines.append("a=extmap-allow-mixed")
    return lines


def _media_lines(
    offer: JudgedOffer,
    line: JudgedLine,
    local: Local,
    direction: Literal["sendonly", "recvonly"],
    kept: Mapping[Extension, int],
) -> list[str]:
    section = line.section
    mid = [f"a=mid:{section.mid}"] if section.mid is not None else []
    if line.use == "rejected":
        formats = " ".join(section.formats)
        return [f"m={section.media} 0 {section.protocol} {formats}", "c=IN IP4 0.0.0.0", "a=inactive", *mid]
    lines = [
        f"m={section.media} 9 {section.protocol} " + " ".join(map(str, _payload_types(line.codecs))),
        "c=IN IP4 0.0.0.0",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.pwd}",
        f"a=fingerprint:sha-256 {local.fingerprint}",
        "a=setup:passive",
        *mid,
        f"a={direction if line.use == 'track' else 'inactive'}",
        "a=rtcp-mux",
    ]
    lines += [f"a={name}" for name in ("rtcp-rsize", "extmap-allow-mixed") if section.has(name)]
    lines += [f"a=extmap:{id_} {extension.value}" for extension, id_ in kept.items()]
    lines += _codec_lines(section, line.codecs)
    if section is offer.transport_section:
        lines += candidate_lines(local.candidates)
    return lines


def _payload_types(chosen: Sequence[Codec]) -> list[int]:
    found: dict[int, None] = {}
    for codec in chosen:
        found[codec.payload_type] = None
        if codec.rtx_payload_type is not None:
            found[codec.rtx_payload_type] = None
    return list(found)


def _codec_lines(section: MediaSection, chosen: Sequence[Codec]) -> list[str]:
    feedback = section.feedback
    lines = []
    for codec in chosen:
        pt = codec.payload_type
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        lines.append(f"a=rtpmap:{pt} {codec.name}/{codec.clock_rate}{channels}")
        offered = feedback.get(pt, ())
        lines += [f"a=rtcp-fb:{pt} {kind}" for kind in codecs.FEEDBACK if kind in offered]
        fmtp = codecs.answer_fmtp(codec)
        if fmtp:
            lines.append(f"a=fmtp:{pt} {fmtp}")
        if codec.rtx_payload_type is not None:
            lines.append(f"a=rtpmap:{codec.rtx_payload_type} rtx/{codec.clock_rate}")
            lines.append(f"a=fmtp:{codec.rtx_payload_type} apt={pt}")
    return lines


def _simulcast_lines(section: MediaSection, rids: tuple[str, ...]) -> list[str]:
    """What of the offered simulcast we receive; restrictions go back as they came (RFC 8851, 6.3)."""
    if not rids:
        return []
    known = section.rids
    lines = [f"a=rid:{rid} recv {known[rid].restrictions}".rstrip() for rid in rids]
    return [*lines, "a=simulcast:recv " + ";".join(rids)]


def _ssrc_lines(sink: AddSink) -> list[str]:
    lines = [f"a=msid:{sink.cname} {sink.cname}-{sink.kind}"]
    if sink.rtx_ssrc is not None:
        lines.append(f"a=ssrc-group:FID {sink.ssrc} {sink.rtx_ssrc}")
    lines.append(f"a=ssrc:{sink.ssrc} cname:{sink.cname}")
    if sink.rtx_ssrc is not None:
        lines.append(f"a=ssrc:{sink.rtx_ssrc} cname:{sink.cname}")
    return lines


def _tag_lines(offer: JudgedOffer) -> tuple[str, ...]:
    section = offer.transport_section
    group = ("a=group:BUNDLE " + " ".join(offer.bundle),) if offer.bundle else ()
    mid = (f"a=mid:{section.mid}",) if section.mid is not None else ()
    return (*group, f"m={section.media} 9 {section.protocol} {section.formats[0]}", *mid)


def _text(lines: Sequence[str]) -> str:
    return "".join(line + "\r\n" for line in lines)
