"""Judging an offer: which m-lines become tracks, which stay inactive, which are rejected, and over which transport.

The single invariant: an answer has exactly one transport. So everything that is used lies in one BUNDLE group, or is
the only thing that is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from server.media.plane import Codec, Kind
from server.negotiation import codecs
from server.negotiation.errors import NegotiationError
from server.negotiation.sdp import Credentials, Direction, MediaSection, Section, SessionDescription, parse

Role = Literal["publisher", "watcher"]
_WANTED: dict[Role, tuple[Direction, ...]] = {
    "publisher": ("sendonly", "sendrecv"),
    "watcher": ("recvonly", "sendrecv"),
}
_KINDS: tuple[Kind, ...] = ("audio", "video")
_PROTOCOLS = frozenset({"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF"})  # RFC 9429, 5.1.2


@dataclass(frozen=True, slots=True)
class JudgedLine:
    """One m-line and what becomes of it. ``codecs`` are those in common; none for a rejected line."""

    section: MediaSection
    use: Literal["track", "inactive", "rejected"]
    kind: Kind = "audio"
    codecs: tuple[Codec, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedOffer:
    """An offer we can answer."""

    description: SessionDescription
    role: Role
    lines: tuple[JudgedLine, ...]  # one for each m-line, in order
    bundle: tuple[str, ...]  # mids of the answer's group, its tag first; empty without a group
    credentials: Credentials
    fingerprints: tuple[tuple[str, str], ...]

    @property
    def tracks(self) -> tuple[JudgedLine, ...]:
        return tuple(line for line in self.lines if line.use == "track")

    @property
    def transport_section(self) -> MediaSection:
        """The m-line whose ICE and DTLS attributes hold for all: the answerer-tagged one (RFC 9143, 7.3.3)."""
        used = [line.section for line in self.lines if line.use != "rejected"]
        return next((section for section in used if self.bundle and section.mid == self.bundle[0]), used[0])


def judge(text: str, role: Role) -> JudgedOffer:
    """Read an offer of a WHIP client (``publisher``) or a WHEP client (``watcher``).

    :raises NegotiationError: ``not-sdp``, ``too-many-sections``, ``unsupported-sdp``, ``no-common-codec``.
    """
    description = parse(text)
    _refuse_repeated_mids(description)
    members = _one_transport(description, role)
    chosen = [_choose(members, kind, role) for kind in _KINDS]
    tracks = [line for line in chosen if line is not None]
    by_section = {id(line.section): line for line in tracks}
    bundled = set(description.bundle or ()) if len(members) > 1 or _is_bundled(description, members[0]) else set()
    lines = tuple(by_section.get(id(section)) or _unused(section, bundled) for section in description.media)
    used = {line.section.mid: line.section for line in lines if line.use != "rejected"}
    bundle = tuple(mid for mid in dict.fromkeys(description.bundle or ()) if mid in used) if bundled else ()
    tag = used[bundle[0]] if bundle else tracks[0].section
    for section in used.values():
        _refuse_unusable(description, section)
    return JudgedOffer(description, role, lines, bundle, *_transport(description.session, _carrier(description, tag)))


def inherited(session: Section, section: Section, name: str) -> str | None:
    """An attribute of a media section, or of the description where the section does not say."""
    value = section.attribute(name)
    return session.attribute(name) if value is None else value


def _refuse_repeated_mids(description: SessionDescription) -> None:
    mids = [mid for mid in (section.mid for section in description.media) if mid is not None]
    if len(mids) != len(set(mids)):
        raise NegotiationError("unsupported-sdp", "two media sections have the same mid")


def _alive(section: MediaSection) -> bool:
    """Audio or video over DTLS-SRTP that is not switched off; port 0 with bundle-only is on (RFC 9143, 6)."""
    kind_fits = section.media in _KINDS and section.protocol.upper() in _PROTOCOLS
    return kind_fits and (section.port != 0 or section.has("bundle-only"))


def _direction(session: Section, section: MediaSection) -> Direction:
    return section.direction or session.direction or "sendrecv"


def _is_bundled(description: SessionDescription, section: MediaSection) -> bool:
    return section.mid is not None and section.mid in (description.bundle or ())


def _one_transport(description: SessionDescription, role: Role) -> list[MediaSection]:
    """The m-lines that fit the role and can share one transport; at least one."""
    wanted = [
        section
        for section in description.media
        if _alive(section) and _direction(description.session, section) in _WANTED[role]
    ]
    if not wanted:
        act, how = ("publish", "sendonly") if role == "publisher" else ("watch", "recvonly")
        raise NegotiationError("unsupported-sdp", f"the offer has no audio or video to {act} ({how} or sendrecv)")
    if len(wanted) == 1:
        return wanted
    bundled = [section for section in wanted if _is_bundled(description, section)]
    kinds = {section.media for section in wanted}
    if not bundled or {section.media for section in bundled} != kinds:
        raise NegotiationError("unsupported-sdp", "audio and video must be bundled (a=group:BUNDLE, RFC 9143)")
    return bundled


def _choose(members: Sequence[MediaSection], kind: Kind, role: Role) -> JudgedLine | None:
    """The first m-line of a kind with a codec in common: one track of a kind for each connection (RFC 9725, 4.2)."""
    candidates = [section for section in members if section.media == kind]
    for section in candidates:
        found = codecs.common(section, kind, they_send=role == "publisher")
        if found:
            return JudgedLine(section, "track", kind, found)
    if not candidates:
        return None
    raise NegotiationError(
        "no-common-codec",
        f"none of the {kind} codecs offered is accepted",
        offered=dict.fromkeys(name for section in candidates for name in codecs.offered_names(section)),
        accepted=codecs.ACCEPTED[kind],
    )


def _unused(section: MediaSection, bundled: set[str]) -> JudgedLine:
    """Inactive where the line could be answered but goes the wrong way or is one too many; otherwise rejected."""
    if _alive(section) and section.mid in bundled:
        kind: Kind = "audio" if section.media == "audio" else "video"
        found = codecs.common(section, kind, they_send=False)
        if found and _multiplexes(section):
            return JudgedLine(section, "inactive", kind, found[:1])
    return JudgedLine(section, "rejected")


def _carrier(description: SessionDescription, section: MediaSection) -> MediaSection:
    """Where its ICE and DTLS attributes stand: a bundle-only line leaves them to the group's first (RFC 9143, 7.2)."""
    if not section.has("bundle-only") or section.has("ice-ufrag"):
        return section
    first = (description.bundle or ("",))[0]
    return next((other for other in description.media if other.mid == first), section)


def _multiplexes(section: MediaSection) -> bool:
    """Bundle-only lines cannot but share a port, and leave the attribute out as well (RFC 9429, 5.2.1)."""
    return any(section.has(name) for name in ("rtcp-mux", "rtcp-mux-only", "bundle-only"))


def _refuse_unusable(description: SessionDescription, section: MediaSection) -> None:
    setup = (inherited(description.session, _carrier(description, section), "setup") or "actpass").lower()
    if setup not in ("actpass", "active"):
        raise NegotiationError(
            "unsupported-sdp", "the offer must be a=setup:actpass or active: we are always the DTLS server (RFC 8842)"
        )
    if not _multiplexes(section):
        raise NegotiationError("unsupported-sdp", "RTP and RTCP must share a port (a=rtcp-mux, RFC 5761)")


def _transport(session: Section, tag: MediaSection) -> tuple[Credentials, tuple[tuple[str, str], ...]]:
    if session.has("ice-lite"):
        raise NegotiationError("unsupported-sdp", "the offer is ICE-lite, and so are we: nobody would begin (RFC 8445)")
    credentials = tag.credentials or session.credentials
    if credentials is None:
        raise NegotiationError("unsupported-sdp", "a=ice-ufrag and a=ice-pwd are missing or malformed (RFC 8839)")
    fingerprints = tag.fingerprints or session.fingerprints
    if not fingerprints:
        raise NegotiationError("unsupported-sdp", "a SHA-256 certificate fingerprint is needed (a=fingerprint:sha-256)")
    return credentials, fingerprints
