"""The SDP model keeps every line, forgives what is legal but odd, and refuses the rest with one error."""

from __future__ import annotations

import pytest

from server.negotiation import limits
from server.negotiation.errors import NegotiationError
from server.negotiation.sdp import Credentials, parse
from tests.support.offers import audio, offer, video


def code_of(text: str) -> str:
    with pytest.raises(NegotiationError) as caught:
        parse(text)
    return caught.value.code


@pytest.mark.parametrize(
    "text",
    ["", "hello", "{}", "v=1\r\n", "\r\n", "o=- 1 1 IN IP4 0.0.0.0\r\nv=0\r\n", "v=0\r\nnonsense\r\n", "v=0\r\n=x\r\n"],
)
def test_what_is_no_description_is_refused(text: str) -> None:
    assert code_of(text) == "not-sdp"


@pytest.mark.parametrize("line", ["m=audio", "m=audio x RTP/SAVPF 0", "m=audio 70000 RTP/SAVPF 0", "m=video 9 a<b 96"])
def test_a_malformed_m_line_is_refused(line: str) -> None:
    assert code_of(f"v=0\r\n{line}\r\n") == "not-sdp"


@pytest.mark.parametrize("evil", ["\x00", "\x1b", "\x0b", "\x85", "\u2028", "\ud800"])
def test_control_characters_never_reach_an_answer(evil: str) -> None:
    assert code_of(f"v=0\r\na=mid:a{evil}b\r\n") == "not-sdp"


def test_size_lines_and_sections_are_bounded() -> None:
    assert code_of("v=0\n" + "a=x\n" * limits.MAX_LINES) == "not-sdp"
    assert code_of("v=0\na=" + "x" * limits.MAX_BYTES) == "not-sdp"
    assert code_of("v=0\na=" + "中" * (limits.MAX_BYTES // 2)) == "not-sdp"
    section = "m=video 9 UDP/TLS/RTP/SAVPF 96\n"
    assert len(parse("v=0\n" + section * limits.MAX_SECTIONS).media) == limits.MAX_SECTIONS
    assert code_of("v=0\n" + section * (limits.MAX_SECTIONS + 1)) == "too-many-sections"
    assert code_of("v=0\n" + section * 400) == "too-many-sections"
    assert code_of("v=0\nm=video 9 RTP/SAVPF " + "96 " * (limits.MAX_FORMATS + 1)) == "not-sdp"


def test_every_line_is_kept_in_its_place() -> None:
    text = offer(audio("sendonly", "a=x-unknown:1", "b=AS:64"), video("sendonly", "b=TIAS:900000", "k=clear:x"))
    assert str(parse(text)) == text


@pytest.mark.parametrize("change", ["lf", "cr", "trailing", "blank", "no-final"])
def test_line_ends_and_white_space_are_forgiven(change: str) -> None:
    text = offer(audio("sendonly"), video("sendonly"))
    odd = {
        "lf": text.replace("\r\n", "\n"),
        "cr": text.replace("\r\n", "\r"),
        "trailing": text.replace("\r\n", " \t\r\n"),
        "blank": text.replace("\r\n", "\r\n\r\n") + "\r\n\r\n",
        "no-final": text.removesuffix("\r\n"),
    }[change]
    assert str(parse(odd)) == text


def test_accessors_read_what_they_should() -> None:
    lines = [
        "a=rid:h send pt=96,97;max-width=1280",
        "a=rid:m send",
        "a=rid:bad/id send",
        "a=rid:l wrong",
        "a=simulcast:send h,~m;~l recv x",
        "a=rtcp-fb:* nack",
        "a=rtcp-fb:96  nack   pli ",
        "a=rtcp-fb:98 nack",
        "a=extmap:3/sendonly urn:a",
        "a=extmap:0 urn:b",
        "a=extmap:4/odd urn:c",
        "a=ssrc-group:FID 5 6",
        "a=ssrc:5 cname:x",
        "a=ssrc:6 cname:x",
        "a=ssrc:99999999999 cname:x",
    ]
    section = parse(offer(video("sendonly", *lines))).media[0]
    assert section.rids["h"].formats == (96, 97)
    assert section.rids["h"].restrictions == "max-width=1280"
    assert set(section.rids) == {"h", "m"}
    assert section.simulcast("send") == (("h", "m"), ("l",))
    assert section.simulcast("recv") == (("x",),)
    assert section.feedback == {96: ("nack", "nack pli"), 97: ("nack",)}
    assert [(e.id, e.direction, e.uri) for e in section.extmaps] == [(3, "sendonly", "urn:a")]
    assert section.ssrcs == (5, 6)
    assert section.ssrc_groups == (("FID", (5, 6)),)
    assert section.credentials == Credentials("theirs", "theirpwd" * 4)
    assert section.direction == "sendonly"


@pytest.mark.parametrize(
    "line",
    ["a=rtpmap:x VP8/90000", "a=rtpmap:300 VP8/90000", "a=rtpmap:98", "a=rtpmap:98 VP8", "a=rtpmap:٩٨ VP8/90000"],
)
def test_what_an_accessor_cannot_read_is_absent(line: str) -> None:
    assert set(parse(offer(video("sendonly", line))).media[0].rtpmaps) == {96, 97}


def test_payload_types_of_the_rtcp_range_are_not_used() -> None:
    section = parse("v=0\nm=video 9 UDP/TLS/RTP/SAVPF 64 95 96 96 127 128 webrtc\n").media[0]
    assert section.payload_types == (96, 127)


@pytest.mark.parametrize(
    ("ufrag", "pwd"), [("abc", "p" * 22), ("abcd", "p" * 21), ("ab:d", "p" * 22), ("abcd", "p" * 300), ("", "")]
)
def test_malformed_credentials_are_none(ufrag: str, pwd: str) -> None:
    assert parse(f"v=0\na=ice-ufrag:{ufrag}\na=ice-pwd:{pwd}\n").session.credentials is None


def test_sha_256_fingerprints_only() -> None:
    digest = ":".join(["0a"] * 32)
    text = f"v=0\na=fingerprint:sha-1 {'AA:' * 19}AA\na=fingerprint:SHA-256 {digest}\na=fingerprint:sha-256 AA:BB\n"
    assert parse(text).session.fingerprints == (("sha-256", digest.upper()),)
