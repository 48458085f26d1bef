"""Trickle fragments (``application/trickle-ice-sdpfrag``, RFC 8840, 9): reading the client's, writing ours."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from server.negotiation import limits
from server.negotiation.answer import candidate_lines
from server.negotiation.errors import NegotiationError
from server.negotiation.sdp import Credentials, Section, number, read_lines, split_sections

_FOUNDATION = re.compile(r"[A-Za-z0-9+/\-]{1,64}")
_TYPES = ("host", "srflx", "prflx", "relay")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A remote candidate (RFC 8839, 5.1). Told for the log only: ICE-lite never sends to an address SDP names."""

    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    type: str


@dataclass(frozen=True, slots=True)
class Fragment:
    credentials: Credentials | None
    candidates: tuple[Candidate, ...]
    complete: bool  # a=end-of-candidates

    def restarts(self, current: Credentials) -> bool:
        """Whether it carries other credentials than those in force (RFC 8839, 4.4.1.1.1)."""
        return self.credentials is not None and self.credentials != current


def parse_fragment(text: str) -> Fragment:
    """Read a fragment.

    :raises NegotiationError: ``bad-fragment``.
    """
    if len(text) > limits.MAX_FRAGMENT_BYTES:
        raise NegotiationError("bad-fragment", f"the fragment is longer than {limits.MAX_FRAGMENT_BYTES} bytes")
    lines = read_lines(text, "bad-fragment")
    if not lines or any(line.type not in "am" for line in lines):
        raise NegotiationError("bad-fragment", "a trickle fragment has attributes and m-lines only (RFC 8840, 9)")
    try:
        description = split_sections(lines)
    except NegotiationError as error:
        raise NegotiationError("bad-fragment", error.detail) from error
    sections: list[Section] = [description.session, *description.media]
    candidates = tuple(_candidate(value) for section in sections for value in section.attributes("candidate"))
    if len(candidates) > limits.MAX_CANDIDATES:
        raise NegotiationError("bad-fragment", f"more than {limits.MAX_CANDIDATES} candidates")
    complete = any(section.has("end-of-candidates") for section in sections)
    credentials = _credentials(sections)
    if credentials is None and not candidates and not complete:
        raise NegotiationError("bad-fragment", "the fragment has no credentials, no candidate and no end-of-candidates")
    return Fragment(credentials, candidates, complete)


def build_fragment(
    credentials: Credentials, candidates: Sequence[tuple[str, int]], tag: Sequence[str] = ("m=audio 9 RTP/AVP 0",)
) -> str:
    """Our answer to an ICE restart (RFC 9725, 4.3.3). ``tag``: the group, m-line and mid of the answer."""
    lines = ["a=ice-lite", *tag, f"a=ice-ufrag:{credentials.ufrag}", f"a=ice-pwd:{credentials.pwd}"]
    return "".join(line + "\r\n" for line in [*lines, *candidate_lines(candidates)])


def _credentials(sections: Sequence[Section]) -> Credentials | None:
    """The only ones the fragment has; both halves or none, and the same in every section."""
    found = {section.credentials for section in sections if section.has("ice-ufrag") or section.has("ice-pwd")}
    if not found:
        return None
    if len(found) > 1 or None in found:
        raise NegotiationError(
            "bad-fragment", "a=ice-ufrag and a=ice-pwd must both be there, well-formed and only once"
        )
    return found.pop()


def _candidate(value: str) -> Candidate:
    words = value.split()
    if len(words) >= 8 and words[6] == "typ":
        component, priority, port = number(words[1], 256), number(words[3], 2**31 - 1), number(words[5], 65535)
        well_formed = _FOUNDATION.fullmatch(words[0]) and words[2].lower() in ("udp", "tcp") and _is_host(words[4])
        if well_formed and words[7] in _TYPES and component and priority and port is not None:
            return Candidate(words[0], component, words[2].lower(), priority, words[4], port, words[7])
    raise NegotiationError("bad-fragment", "an a=candidate line is malformed (RFC 8839, 5.1)")


def _is_host(text: str) -> bool:
    """An IP address, or a name: browsers hide theirs behind ``….local`` (mDNS)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True
