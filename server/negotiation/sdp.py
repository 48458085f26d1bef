"""A line-preserving model of SDP (RFC 8866): sections of lines, with typed accessors for what we need of them.

Nothing is dropped or reordered: ``str(parse(text))`` is the same description with CRLF line ends. Accessors never
raise on odd values; what they cannot read is as if it were absent. ``parse`` raises ``NegotiationError`` only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from server.negotiation import limits
from server.negotiation.errors import NegotiationError

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: tuple[Direction, ...] = ("sendrecv", "sendonly", "recvonly", "inactive")

TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,256}")
"""RFC 8866, section 9: what a mid, a rid or an attribute's name is made of."""
_LINE = re.compile(r"([a-zA-Z])=(.*)")
_BREAK = re.compile(r"\r\n|\r|\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_ICE_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_ICE_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_SHA256 = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){31}")


class Line(NamedTuple):
    """``type=value``, without trailing white space."""

    type: str
    value: str


class RtpMap(NamedTuple):
    name: str
    clock_rate: int
    channels: int


class ExtMap(NamedTuple):
    id: int
    direction: Direction
    uri: str


class Group(NamedTuple):
    semantics: str
    members: tuple[str, ...]


class Rid(NamedTuple):
    """RFC 8851. ``formats`` are the payload types of ``pt=``, empty for all; ``restrictions`` is the rest, verbatim."""

    id: str
    direction: str
    formats: tuple[int, ...]
    restrictions: str


class Credentials(NamedTuple):
    """ICE (RFC 8839, 5.4)."""

    ufrag: str
    pwd: str


@dataclass(slots=True)
class Section:
    """Lines that belong together: those before the first m-line, or an m-line and what follows it."""

    lines: list[Line] = field(default_factory=list)
    _index: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _indexed: int = field(default=0, init=False, repr=False, compare=False)

    def attributes(self, name: str) -> Iterator[str]:
        """The values of all ``a=name:value`` lines, and ``""`` for each bare ``a=name``."""
        for kind, value in self.lines[self._indexed :]:  # an offer is asked a hundred times
            if kind == "a":
                key, _, rest = value.partition(":")
                self._index.setdefault(key, []).append(rest.strip())
        self._indexed = len(self.lines)
        return iter(self._index.get(name, ()))

    def attribute(self, name: str) -> str | None:
        """The first such value."""
        return next(self.attributes(name), None)

    def has(self, name: str) -> bool:
        return self.attribute(name) is not None

    @property
    def credentials(self) -> Credentials | None:
        """``ice-ufrag`` and ``ice-pwd`` when both are there and well-formed."""
        ufrag, pwd = self.attribute("ice-ufrag") or "", self.attribute("ice-pwd") or ""
        return Credentials(ufrag, pwd) if _ICE_UFRAG.fullmatch(ufrag) and _ICE_PWD.fullmatch(pwd) else None

    @property
    def fingerprints(self) -> tuple[tuple[str, str], ...]:
        """The SHA-256 ones (RFC 8122), upper case; others are not trusted or not known to the plane."""
        found = []
        for value in self.attributes("fingerprint"):
            algorithm, _, digest = value.partition(" ")
            digest = digest.strip().upper()
            if algorithm.lower() == "sha-256" and _SHA256.fullmatch(digest):
                found.append(("sha-256", digest))
        return tuple(dict.fromkeys(found))

    @property
    def direction(self) -> Direction | None:
        """RFC 8866, 6.7; ``None`` when the section does not say."""
        for kind, value in self.lines:
            if kind == "a":
                for direction in DIRECTIONS:
                    if value == direction:
                        return direction
        return None


@dataclass(slots=True)
class MediaSection(Section):
    """One m-line: ``media``, ``port``, ``protocol`` and ``formats`` are its parts."""

    media: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()

    @property
    def mid(self) -> str | None:
        """RFC 5888; ``None`` when absent or not a token."""
        value = self.attribute("mid")
        return value if value and TOKEN.fullmatch(value) else None

    @property
    def payload_types(self) -> tuple[int, ...]:
        """In the offerer's order of preference, without repeats and without the range RTCP uses (RFC 5761, 4)."""
        numbers = (number(text, 127) for text in self.formats)
        return tuple(dict.fromkeys(pt for pt in numbers if pt is not None and not 64 <= pt <= 95))

    @property
    def rtpmaps(self) -> dict[int, RtpMap]:
        found: dict[int, RtpMap] = {}
        for pt, text in self._by_payload_type("rtpmap"):
            name, _, rest = text.partition("/")
            rate, _, channels = rest.partition("/")
            clock = number(rate, 1_000_000)
            if name and clock:
                found.setdefault(pt, RtpMap(name, clock, number(channels, 255) or 1))
        return found

    @property
    def fmtps(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for pt, text in self._by_payload_type("fmtp"):
            found.setdefault(pt, text)
        return found

    @property
    def feedback(self) -> dict[int, tuple[str, ...]]:
        """``rtcp-fb`` (RFC 4585, 4.2) by payload type, ``*`` spread over all of them."""
        found: dict[int, dict[str, None]] = {pt: {} for pt in self.payload_types}
        for value in self.attributes("rtcp-fb"):
            target, _, kind = value.partition(" ")
            kind = " ".join(kind.split()).lower()
            if target == "*":
                for kinds in found.values():
                    kinds[kind] = None
            elif (pt := number(target, 127)) in found and pt is not None:
                found[pt][kind] = None
        return {pt: tuple(kinds) for pt, kinds in found.items()}

    @property
    def extmaps(self) -> tuple[ExtMap, ...]:
        """RFC 8285, 8; ids outside 1..255 are skipped."""
        found = []
        for value in self.attributes("extmap"):
            head, _, rest = value.partition(" ")
            identity, _, direction = head.partition("/")
            uri = rest.split(" ", 1)[0]
            id_ = number(identity, 255)
            known = next((d for d in DIRECTIONS if d == (direction or "sendrecv")), None)
            if id_ and known and uri:
                found.append(ExtMap(id_, known, uri))
        return tuple(found)

    @property
    def ssrcs(self) -> tuple[int, ...]:
        """Those named by ``a=ssrc`` (RFC 5576), in order."""
        numbers = (number(value.split(" ", 1)[0], 0xFFFFFFFF) for value in self.attributes("ssrc"))
        return tuple(dict.fromkeys(ssrc for ssrc in numbers if ssrc is not None))

    @property
    def ssrc_groups(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        found = []
        for value in self.attributes("ssrc-group"):
            semantics, *rest = value.split()[:9] or [""]
            members = tuple(ssrc for ssrc in (number(text, 0xFFFFFFFF) for text in rest) if ssrc is not None)
            found.append((semantics, members))
        return tuple(found)

    @property
    def rids(self) -> dict[str, Rid]:
        found: dict[str, Rid] = {}
        for value in self.attributes("rid"):
            parts = value.split(None, 2)
            if len(parts) < 2 or not re.fullmatch(r"[A-Za-z0-9_-]{1,16}", parts[0]) or parts[1] not in ("send", "recv"):
                continue
            formats: list[int] = []
            kept = []
            for parameter in (parts[2] if len(parts) > 2 else "").split(";"):
                name, _, listed = parameter.strip().partition("=")
                if name == "pt":
                    formats += [pt for pt in (number(text, 127) for text in listed.split(",")) if pt is not None]
                elif name:
                    kept.append(parameter.strip())
            found.setdefault(parts[0], Rid(parts[0], parts[1], tuple(formats), ";".join(kept)))
        return found

    def simulcast(self, direction: Literal["send", "recv"]) -> tuple[tuple[str, ...], ...]:
        """RFC 8853, 5.1: streams in order of preference, each a tuple of alternatives; ``~`` (paused) is taken off."""
        words = (self.attribute("simulcast") or "").split()
        for keyword, listed in zip(words[::2], words[1::2], strict=False):
            if keyword == direction:
                streams = (tuple(rid.removeprefix("~") for rid in stream.split(",")) for stream in listed.split(";"))
                return tuple(streams)
        return ()

    def _by_payload_type(self, name: str) -> Iterator[tuple[int, str]]:
        for value in self.attributes(name):
            head, _, rest = value.partition(" ")
            pt = number(head, 127)
            if pt is not None:
                yield pt, rest.strip()


@dataclass(slots=True)
class SessionDescription:
    session: Section
    media: list[MediaSection]

    @property
    def groups(self) -> tuple[Group, ...]:
        words = (value.split() for value in self.session.attributes("group"))
        return tuple(Group(word[0], tuple(word[1:])) for word in words if word)

    @property
    def bundle(self) -> tuple[str, ...] | None:
        """The mids of the first BUNDLE group (RFC 9143), ``None`` without one."""
        return next((group.members for group in self.groups if group.semantics == "BUNDLE"), None)

    def __str__(self) -> str:
        sections: list[Section] = [self.session, *self.media]
        return "".join(f"{kind}={value}\r\n" for section in sections for kind, value in section.lines)


def parse(text: str) -> SessionDescription:
    """Read a whole description.

    Line ends may be CRLF, LF or CR; blank lines and trailing white space are forgiven; unknown lines are kept.

    :raises NegotiationError: ``not-sdp``, or ``too-many-sections``.
    """
    # Every character is one byte at least: what is over the limit in characters need not be encoded to be refused.
    if len(text) > limits.MAX_BYTES or len(text.encode("utf-8", "replace")) > limits.MAX_BYTES:
        raise NegotiationError("not-sdp", f"the description is longer than {limits.MAX_BYTES} bytes")
    lines = read_lines(text, "not-sdp")
    if not lines or lines[0] != Line("v", "0"):
        raise NegotiationError("not-sdp", "a session description begins with v=0")
    return split_sections(lines)


def read_lines(text: str, code: str) -> list[Line]:
    """The lines of a description or fragment; ``code`` names the refusal of what is none."""
    lines: list[Line] = []
    for index, raw in enumerate(_BREAK.split(text), 1):
        if index > limits.MAX_LINES:
            raise NegotiationError(code, f"more than {limits.MAX_LINES} lines")
        stripped = raw.strip()
        if not stripped:
            continue
        match = _LINE.fullmatch(stripped)
        if match is None or _CONTROL.search(stripped):
            raise NegotiationError(code, f"line {index} is not of the form letter=value")
        lines.append(Line(match[1], match[2].strip()))
    return lines


def split_sections(lines: list[Line]) -> SessionDescription:
    """Divide lines at the m-lines.

    :raises NegotiationError: ``too-many-sections``, or ``not-sdp`` for an m-line that is none.
    """
    session = Section()
    media: list[MediaSection] = []
    if sum(line.type == "m" for line in lines) > limits.MAX_SECTIONS:
        raise NegotiationError("too-many-sections", f"more than {limits.MAX_SECTIONS} media sections (m= lines)")
    for line in lines:
        if line.type == "m":
            media.append(_media_section(line))
        (media[-1] if media else session).lines.append(line)
    return SessionDescription(session, media)


def _media_section(line: Line) -> MediaSection:
    media, *rest = line.value.split() or [""]
    if len(rest) < 3 or len(rest) > limits.MAX_FORMATS + 2 or not all(map(TOKEN.fullmatch, (media, *rest[2:]))):
        raise NegotiationError("not-sdp", "an m-line has a media type, a port, a protocol and formats")
    port = number(rest[0].partition("/")[0], 65535)
    if port is None or not re.fullmatch(r"[A-Za-z0-9/_.-]{1,64}", rest[1]):
        raise NegotiationError("not-sdp", "an m-line has a media type, a port, a protocol and formats")
    return MediaSection(media=media, port=port, protocol=rest[1], formats=tuple(rest[2:]))


def number(text: str, highest: int) -> int | None:
    """A decimal from 0 to ``highest``; no sign, no blanks, no other script's digits."""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    value = int(text)
    return value if value <= highest else None
