"""The raw client's offers can be read by others, and it reads the answers of servers that differ."""

from __future__ import annotations

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from loadtest.rawclient import rtp, sdp

OPUS = sdp.Codec("opus", 111, 48_000, 2, "minptime=10;useinbandfec=1")
H264 = sdp.Codec("H264", 96, 90_000, fmtp="packetization-mode=1", feedback=("nack", "nack pli"), rtx=97)


def offer(*media: sdp.Media) -> str:
    return sdp.build_offer(sdp.OfferSpec("uf", "p" * 24, "AB:CD", [("192.0.2.1", 5000)], media, "cname"))


def test_another_library_reads_our_offer() -> None:
    text = offer(
        sdp.Media("audio", "sendonly", (OPUS,), ((1, rtp.MID),), ((11, None),)),
        sdp.Media("video", "sendonly", (H264,), ((1, rtp.MID), (4, rtp.ABS_CAPTURE_TIME)), ((12, 13),)),
    )
    audio, video = SessionDescription.parse(text).media
    assert (audio.kind, audio.direction, audio.rtp.muxId) == ("audio", "sendonly", "0")
    assert [codec.mimeType for codec in video.rtp.codecs] == ["video/H264", "video/rtx"]
    assert video.rtp.codecs[1].parameters == {"apt": 96}
    assert [(c.ip, c.port, c.type) for c in video.ice_candidates] == [("192.0.2.1", 5000, "host")]
    assert video.ssrc_group[0].items == [12, 13]
    assert video.ice.usernameFragment == "uf"
    assert all(line.endswith("\r") for line in text.split("\n")[:-1])


def test_layers_are_offered_by_rid_and_without_ssrc() -> None:
    text = offer(sdp.Media("video", "sendonly", (H264,), ((2, rtp.RID),), rids=("l", "m", "h")))
    assert "a=rid:l send\r\n" in text
    assert "a=simulcast:send l;m;h\r\n" in text
    assert "a=ssrc" not in text


LITE = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=ice-lite
a=group:BUNDLE 0 1
a=fingerprint:sha-256 aa:bb
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:secretsecretsecretsecret
a=setup:passive
a=mid:0
a=recvonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=candidate:1 1 udp 2130706431 192.0.2.9 8080 typ host
m=video 9 UDP/TLS/RTP/SAVPF 102 103
a=ice-ufrag:abcd
a=ice-pwd:secretsecretsecretsecret
a=mid:1
a=recvonly
a=rtpmap:102 H264/90000
a=rtcp-fb:102 nack
a=rtcp-fb:* transport-cc
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=extmap:4/sendonly http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time
a=rid:h recv
a=rid:m recv
a=simulcast:recv m;~h
a=ssrc:77 cname:x
a=candidate:1 1 udp 2130706431 192.0.2.9 8080 typ host
a=candidate:2 1 UDP 99 server.example 8081 typ srflx raddr 0.0.0.0 rport 0
a=candidate:3 1 tcp 99 192.0.2.9 8080 typ host tcptype passive
a=candidate:4 2 udp 99 192.0.2.9 8082 typ host
a=candidate:broken
"""


def test_an_ice_lite_answer_is_read_whole() -> None:
    answer = sdp.parse_answer(LITE)
    assert (answer.ufrag, answer.lite, answer.setup) == ("abcd", True, "passive")
    assert answer.fingerprints == (("sha-256", "AA:BB"),)
    assert [(c.host, c.port) for c in answer.candidates] == [("192.0.2.9", 8080), ("server.example", 8081)]
    audio, video = answer.sections
    assert audio.codecs[0].channels == 2
    assert video.codecs == (sdp.Codec("H264", 102, 90_000, 1, "", ("nack", "transport-cc"), 103),)
    assert video.extensions == ((4, rtp.ABS_CAPTURE_TIME),)
    assert video.rids == ("m", "h")
    assert video.ssrcs == (77,)


def test_a_refused_first_section_does_not_hide_the_transport_of_the_second() -> None:
    text = LITE.replace("m=audio 9", "m=audio 0").replace("a=setup:passive\n", "", 1)
    text = text.replace("a=mid:1", "a=mid:1\na=setup:active")
    answer = sdp.parse_answer(text)
    assert [section.accepted for section in answer.sections] == [False, True]
    assert answer.setup == "active"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("v=0", "{}", "not SDP"),
        ("a=ice-pwd:secretsecretsecretsecret\n", "", "ice-pwd"),
        ("a=fingerprint:sha-256 aa:bb\n", "", "fingerprint"),
        ("m=", "x=", "no m-line"),
        ("m=video 9", "m=video nine", "port"),
        ("m=video 9 UDP/TLS/RTP/SAVPF 102 103", "m=video", "fields"),
    ],
)
def test_an_answer_that_cannot_work_is_refused_with_the_reason(old: str, new: str, words: str) -> None:
    with pytest.raises(sdp.SdpError, match=words):
        sdp.parse_answer(LITE.replace(old, new))


def test_an_endless_answer_is_refused() -> None:
    with pytest.raises(sdp.SdpError):
        sdp.parse_answer(LITE + "a=x\n" * 20_000)
    with pytest.raises(sdp.SdpError, match="m-lines"):
        sdp.parse_answer(LITE + "m=audio 9 UDP/TLS/RTP/SAVPF 0\n" * 40)


@given(st.integers(0, len(LITE) - 1), st.text(max_size=6))
def test_a_damaged_answer_is_read_or_refused_never_a_crash(at: int, junk: str) -> None:
    try:
        sdp.parse_answer(LITE[:at] + junk + LITE[at + len(junk) :])
    except sdp.SdpError as error:
        assert str(error)
