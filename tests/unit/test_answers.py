"""What an offer gets: tracks, inactive and rejected m-lines, one transport, codecs, simulcast; and clear refusals."""

from __future__ import annotations

import pytest

from server.media.plane import Extension, OpenTransport
from server.negotiation.errors import NegotiationError
from server.negotiation.sdp import Credentials, MediaSection, parse
from server.negotiation.trickle import build_fragment, parse_fragment
from tests.support.offers import LOCAL, THEIRS, TRANSPORT, audio, offer, publish, video, watch

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
H264 = "a=rtpmap:102 H264/90000"


def refused(text: str, role: str = "publish") -> NegotiationError:
    with pytest.raises(NegotiationError) as caught:
        (publish if role == "publish" else watch)(text)
    return caught.value


def answered(text: str) -> list[MediaSection]:
    return parse(publish(text).sdp).media


def h264(*fmtps: str) -> list[str]:
    """A video section that offers H.264 only, one payload type from 102 for each fmtp."""
    types = range(102, 102 + len(fmtps))
    lines = [f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, types))}", "a=mid:1", "a=sendonly", *TRANSPORT]
    for pt, fmtp in zip(types, fmtps, strict=True):
        lines += [f"a=rtpmap:{pt} H264/90000", *([f"a=fmtp:{pt} {fmtp}"] if fmtp else [])]
    return lines


def test_we_are_ice_lite_passive_and_one_transport() -> None:
    answer = publish(offer(audio("sendonly"), video("sendonly")))
    description = parse(answer.sdp)
    assert description.session.has("ice-lite")
    assert description.bundle == ("0", "1")
    assert [section.attribute("setup") for section in description.media] == ["passive", "passive"]
    assert [section.direction for section in description.media] == ["recvonly", "recvonly"]
    assert all(section.has("rtcp-mux") for section in description.media)
    assert answer.open == OpenTransport(1, LOCAL.ufrag, LOCAL.pwd, "theirs", "theirpwd" * 4, (("sha-256", THEIRS),))
    first, second = description.media
    assert list(first.attributes("candidate")) == [
        "1 1 udp 2130706431 192.0.2.1 5004 typ host",
        "2 1 udp 2130706175 2001:db8::1 5004 typ host",
    ]
    assert first.has("end-of-candidates")
    assert not second.has("candidate")


@pytest.mark.parametrize("setup", ["actpass", "active"])
def test_offers_that_may_be_the_dtls_client_are_taken(setup: str) -> None:
    text = offer(audio("sendonly"), video("sendonly")).replace("setup:actpass", f"setup:{setup}")
    assert len(publish(text).sources) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("a=setup:actpass", "a=setup:passive", "DTLS server"),
        ("a=rtcp-mux", "a=x", "rtcp-mux"),
        ("a=ice-ufrag:theirs", "a=ice-ufrag:x", "ice-ufrag"),
        ("sha-256", "sha-1", "SHA-256"),
        ("a=group:BUNDLE 0 1", "a=x", "bundled"),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 0", "bundled"),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1\r\na=ice-lite", "ICE-lite"),
        ("a=mid:1", "a=mid:0", "same mid"),
        ("a=sendonly", "a=recvonly", "to publish"),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "to publish"),
        ("m=audio 9", "m=text 9", "to publish"),
    ],
)
def test_what_cannot_work_is_refused_in_words(old: str, new: str, words: str) -> None:
    text = offer(audio("sendonly"), video("sendonly")).replace(old, new)
    if words == "to publish" and "text" in new:
        text = text.replace("m=video 9", "m=image 9")
    error = refused(text)
    assert error.code == "unsupported-sdp"
    assert words in error.detail


def test_fingerprint_and_setup_may_stand_at_session_level() -> None:
    text = offer(audio("sendonly"), video("sendonly"))
    for line in (f"a=fingerprint:sha-256 {THEIRS}", "a=setup:actpass"):
        text = text.replace(line + "\r\n", "").replace("t=0 0\r\n", f"t=0 0\r\n{line}\r\n")
    assert publish(text).open.remote_fingerprints == (("sha-256", THEIRS),)
    assert refused(text.replace("setup:actpass", "setup:passive")).code == "unsupported-sdp"


def test_the_transport_is_that_of_the_first_member_of_the_group() -> None:
    text = offer(audio("sendonly"), video("sendonly"), session=("a=group:BUNDLE 1 0",))
    head, _, tail = text.partition("m=video")
    text = head + "m=video" + tail.replace("ice-ufrag:theirs", "ice-ufrag:tagged")
    answer = publish(text)
    assert answer.open.remote_ufrag == "tagged"
    description = parse(answer.sdp)
    assert description.bundle == ("1", "0")
    assert [section.has("candidate") for section in description.media] == [False, True]


def test_a_single_line_needs_no_bundle_and_no_mid() -> None:
    text = offer(video("sendonly"), session=()).replace("a=mid:1\r\n", "")
    answer = publish(text)
    assert answer.sources[0].mid == ""
    assert parse(answer.sdp).bundle is None
    assert parse(answer.sdp).media[0].mid is None


def test_lines_we_cannot_use_are_rejected_in_place() -> None:
    data = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:2", *TRANSPORT, "a=sctp-port:5000"]
    off = [line.replace("m=video 9", "m=video 0") for line in video("sendonly", mid="3")]
    text = offer(data, audio("sendonly"), off, video("sendonly"), session=("a=group:BUNDLE 2 0 3 1",))
    answer = publish(text)
    description = parse(answer.sdp)
    assert [(s.media, s.port, s.mid) for s in description.media] == [
        ("application", 0, "2"),
        ("audio", 9, "0"),
        ("video", 0, "3"),
        ("video", 9, "1"),
    ]
    assert description.bundle == ("0", "1")
    assert [source.mid for source in answer.sources] == ["0", "1"]
    assert description.media[0].formats == ("webrtc-datachannel",)


def test_port_zero_with_bundle_only_is_on() -> None:
    second = [line.replace("m=video 9", "m=video 0") for line in video("sendonly", "a=bundle-only")]
    assert [source.kind for source in publish(offer(audio("sendonly"), second)).sources] == ["audio", "video"]


def test_lines_of_the_wrong_direction_and_surplus_ones_are_inactive() -> None:
    text = offer(
        audio("sendonly"),
        video("recvonly", mid="1"),
        video("sendonly", mid="2"),
        video("sendonly", mid="3"),
        session=("a=group:BUNDLE 0 1 2 3",),
    )
    answer = publish(text)
    assert [s.direction for s in parse(answer.sdp).media] == ["recvonly", "inactive", "recvonly", "inactive"]
    assert [source.mid for source in answer.sources] == ["0", "2"]
    watched = watch(offer(audio("recvonly"), video("sendonly")))
    assert [s.direction for s in parse(watched.sdp).media] == ["sendonly", "inactive"]
    assert [sink.kind for sink in watched.sinks] == ["audio"]


def test_sendrecv_serves_both_roles_and_is_the_default() -> None:
    text = offer(audio("sendrecv"), video("x-none"))
    assert [s.direction for s in parse(publish(text).sdp).media] == ["recvonly", "recvonly"]
    assert [s.direction for s in parse(watch(text).sdp).media] == ["sendonly", "sendonly"]


def test_all_of_a_publishers_codecs_are_answered_for_it_to_choose() -> None:
    both = [
        "m=video 9 UDP/TLS/RTP/SAVPF 98 102 103 96 97",
        "a=mid:1",
        "a=sendonly",
        *TRANSPORT,
        "a=rtpmap:98 VP9/90000",
        H264,
        "a=fmtp:102 packetization-mode=1;profile-level-id=42e01f;sprop-parameter-sets=Z0LAFg==",
        "a=rtpmap:103 rtx/90000",
        "a=fmtp:103 apt=102",
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
    ]
    answer = publish(offer(audio("sendonly"), both))
    codec = answer.sources[1].codecs[0]
    assert (codec.name, codec.payload_type, codec.rtx_payload_type) == ("H264", 102, 103)
    section = parse(answer.sdp).media[1]
    assert section.formats == ("102", "103", "96", "97")
    assert [codec.name for codec in answer.sources[1].codecs] == ["H264", "VP8"]
    assert section.fmtps == {102: "packetization-mode=1;profile-level-id=42e01f", 103: "apt=102", 97: "apt=96"}


@pytest.mark.parametrize(
    ("fmtp", "taken"),
    [
        ("packetization-mode=1;profile-level-id=42e01f", True),
        ("packetization-mode=1;profile-level-id=42001f", True),
        ("packetization-mode=1; profile-level-id=4D0032", True),
        ("profile-level-id=640c1f;packetization-mode=1", True),
        ("packetization-mode=1", True),
        ("packetization-mode=0;profile-level-id=42e01f", True),
        ("packetization-mode=2;profile-level-id=42e01f", False),
        ("profile-level-id=42e01f", True),
        ("", True),
        ("packetization-mode=1;profile-level-id=f4001f", False),
        ("packetization-mode=1;profile-level-id=zzzzzz", False),
        ("packetization-mode=1;profile-level-id=4", False),
    ],
)
def test_h264_profiles(fmtp: str, taken: bool) -> None:
    text = offer(audio("sendonly"), h264(fmtp))
    if taken:
        assert publish(text).sources[1].codecs[0].name == "H264"
    else:
        assert refused(text).code == "no-common-codec"


@pytest.mark.parametrize(
    ("fmtp", "taken"),
    [("", True), ("profile-level-id=42e01f", True), ("packetization-mode=0;profile-level-id=42e01f", False)],
)
def test_a_watcher_without_a_packetization_mode_gets_h264_but_not_one_of_mode_0(fmtp: str, taken: bool) -> None:
    text = offer(audio("recvonly"), h264(fmtp)).replace("a=sendonly", "a=recvonly")
    if taken:
        assert [codec.name for codec in watch(text).sinks[1].codecs] == ["H264"]
    else:
        assert refused(text, "watch").code == "no-common-codec"


def test_mode_0_is_passed_over_where_mode_1_is_offered() -> None:
    both = h264("packetization-mode=0;profile-level-id=42e01f", "packetization-mode=1;profile-level-id=42e01f")
    answer = publish(offer(audio("sendonly"), both))
    assert [codec.payload_type for codec in answer.sources[1].codecs] == [103]


@pytest.mark.parametrize("data_first", [False, True])
def test_bundle_only_lines_leave_their_transport_to_the_first_of_the_group(data_first: bool) -> None:
    """RFC 9429, 5.2.1: they carry neither ICE nor DTLS attributes, nor rtcp-mux."""
    data = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:2", *TRANSPORT[:-1], "a=sctp-port:5000"]

    def bare(section: list[str]) -> list[str]:
        head = section[0].replace(" 9 ", " 0 ")
        return [head, "a=bundle-only", *(line for line in section[1:] if line not in TRANSPORT)]

    if data_first:
        text = offer(data, bare(audio("sendonly")), bare(video("sendonly")), session=("a=group:BUNDLE 2 0 1",))
    else:
        text = offer(audio("sendonly"), bare(video("sendonly")))
    answer = publish(text)
    assert [source.kind for source in answer.sources] == ["audio", "video"]
    assert answer.open.remote_ufrag == "theirs"
    assert answer.open.remote_fingerprints == (("sha-256", THEIRS),)
    assert parse(answer.sdp).bundle == ("0", "1")


def test_no_common_codec_names_both_sides() -> None:
    lines = [
        "m=video 9 UDP/TLS/RTP/SAVPF 98 99 45 102",
        "a=mid:1",
        "a=sendonly",
        *TRANSPORT,
        "a=rtpmap:98 VP9/90000",
        "a=rtpmap:99 rtx/90000",
        "a=rtpmap:45 AV1/90000",
        H264,
        "a=fmtp:102 packetization-mode=1;profile-level-id=f4001f",
    ]
    error = refused(offer(audio("sendonly"), lines))
    assert error.code == "no-common-codec"
    assert error.extra == {
        "offered": ["VP9", "AV1", "H264 (packetization-mode or profile not accepted)"],
        "accepted": ["VP8", "H264"],
    }
    pcm = ["m=audio 9 UDP/TLS/RTP/SAVPF 0 8", "a=mid:0", "a=sendonly", *TRANSPORT]
    error = refused(offer(pcm, video("sendonly")))
    assert error.extra == {"offered": ["PCMU", "PCMA"], "accepted": ["opus"]}


def test_only_offered_feedback_that_the_plane_knows_is_answered() -> None:
    feedback = [f"a=rtcp-fb:96 {kind}" for kind in ("goog-remb", "transport-cc", "nack", "ccm fir", "nack rpsi")]
    section = answered(offer(audio("sendonly"), video("sendonly", *feedback)))[1]
    assert set(section.feedback[96]) == {"nack", "ccm fir", "goog-remb"}


def test_opus_wishes_are_kept_and_silence_stays_a_stream() -> None:
    text = offer(audio("sendonly"), video("sendonly")).replace(
        "minptime=10;useinbandfec=1", "useinbandfec=1;stereo=1;usedtx=1;x=1"
    )
    assert answered(text)[0].fmtps == {111: "stereo=1;useinbandfec=1"}


def test_rsize_and_mixed_are_echoed_only_when_offered() -> None:
    plain = publish(offer(audio("sendonly"), video("sendonly"))).sdp
    assert "rtcp-rsize" not in plain and "extmap-allow-mixed" not in plain
    rich = publish(offer(audio("sendonly", "a=rtcp-rsize"), video("sendonly", "a=extmap-allow-mixed")))
    first, second = parse(rich.sdp).media
    assert first.has("rtcp-rsize") and not second.has("rtcp-rsize")
    assert second.has("extmap-allow-mixed") and not first.has("extmap-allow-mixed")


def test_extensions_the_plane_knows_keep_their_ids() -> None:
    lines = [f"a=extmap:7 {MID}", f"a=extmap:3 {RID}", "a=extmap:5 urn:3gpp:video-orientation", f"a=extmap:9 {MID}"]
    assert publish(offer(audio("sendonly"), video("sendonly", *lines))).sources[1].extensions == {
        Extension.MID: 7,
        Extension.RID: 3,
    }
    watched = watch(offer(audio("recvonly"), video("recvonly", *lines)))
    assert watched.sinks[1].extensions == {Extension.MID: 7}
    assert [e.id for e in parse(watched.sdp).media[1].extmaps] == [7]


@pytest.mark.parametrize(("mixed", "expected"), [(True, {Extension.MID: 20}), (False, {})])
def test_two_byte_extension_ids_need_extmap_allow_mixed(mixed: bool, expected: dict[Extension, int]) -> None:
    lines = [f"a=extmap:20 {MID}", *(["a=extmap-allow-mixed"] if mixed else [])]
    assert publish(offer(audio("sendonly"), video("sendonly", *lines))).sources[1].extensions == expected


@pytest.mark.parametrize("direction", ["recvonly", "inactive"])
def test_extensions_of_the_other_direction_are_left_out(direction: str) -> None:
    text = offer(audio("sendonly"), video("sendonly", f"a=extmap:7/{direction} {MID}"))
    assert publish(text).sources[1].extensions == {}


@pytest.mark.parametrize(
    ("lines", "rids"),
    [
        (["a=rid:h send", "a=rid:m send", "a=rid:l send", "a=simulcast:send h;m;l"], ("h", "m", "l")),
        (["a=rid:h send", "a=rid:l send", "a=simulcast:send ~h;l"], ("h", "l")),
        (["a=rid:h send pt=102", "a=rid:g send pt=96", "a=rid:l send", "a=simulcast:send h,g;l"], ("g", "l")),
        (["a=rid:a send", "a=rid:b send", "a=rid:c send", "a=rid:d send", "a=simulcast:send a;b;c;d"], ("a", "b", "c")),
        (["a=rid:h send", "a=simulcast:send h;gone"], ("h",)),
        (["a=rid:h recv", "a=simulcast:send h"], ()),
        (["a=rid:h send"], ()),
    ],
)
def test_simulcast(lines: list[str], rids: tuple[str, ...]) -> None:
    answer = publish(offer(audio("sendonly"), video("sendonly", f"a=extmap:3 {RID}", *lines)))
    assert answer.sources[1].rids == rids
    section = parse(answer.sdp).media[1]
    assert section.simulcast("recv") == tuple((rid,) for rid in rids)
    assert tuple(section.rids) == rids
    assert all(rid.direction == "recv" for rid in section.rids.values())


def test_simulcast_restrictions_go_back_and_need_the_rid_extension() -> None:
    lines = ["a=rid:h send max-width=1280;max-fps=30", "a=simulcast:send h"]
    answer = publish(offer(audio("sendonly"), video("sendonly", f"a=extmap:3 {RID}", *lines)))
    assert "a=rid:h recv max-width=1280;max-fps=30\r\n" in answer.sdp
    without = publish(offer(audio("sendonly"), video("sendonly", *lines)))
    assert without.sources[1].rids == () and "simulcast" not in without.sdp


def test_declared_ssrcs_of_a_single_stream() -> None:
    lines = ["a=ssrc-group:SIM 1 2 3", "a=ssrc-group:FID 1 11", *[f"a=ssrc:{n} cname:x" for n in (1, 11, 2, 3)]]
    assert publish(offer(audio("sendonly"), video("sendonly", *lines))).sources[1].ssrcs == ((1, 11),)
    text = offer(audio("sendonly"), video("sendonly", *lines)).replace("a=rtpmap:97 rtx/90000\r\n", "")
    assert publish(text).sources[1].ssrcs == ((1, None),)


def test_a_watcher_is_told_ssrcs_cname_and_stream() -> None:
    answer = watch(offer(audio("recvonly"), video("recvonly")))
    first, second = parse(answer.sdp).media
    assert [(s.kind, s.ssrc, s.rtx_ssrc) for s in answer.sinks] == [("audio", 7001, None), ("video", 7002, 7003)]
    assert list(first.attributes("ssrc")) == ["7001 cname:lesson"]
    assert second.ssrc_groups == (("FID", (7002, 7003)),)
    assert list(second.attributes("ssrc")) == ["7002 cname:lesson", "7003 cname:lesson"]
    assert {s.attribute("msid").split()[0] for s in (first, second)} == {"lesson"}  # type: ignore[union-attr]
    assert all(sink.source is None for sink in answer.sinks)


def test_odd_mids_do_not_reach_an_answer() -> None:
    text = offer(video("sendonly"), session=()).replace("a=mid:1", "a=mid:one two")
    assert "one two" not in publish(text).sdp


# --- trickle fragments ----------------------------------------------------------------------------------------------

CANDIDATE = "a=candidate:1 1 udp 2130706431 192.0.2.9 5000 typ host"
CREDENTIALS = Credentials("freshufrag", "f" * 24)


def fragment_refused(text: str) -> None:
    with pytest.raises(NegotiationError) as caught:
        parse_fragment(text)
    assert caught.value.code == "bad-fragment"


def test_a_fragment_is_read_at_session_and_media_level() -> None:
    text = f"a=ice-ufrag:freshufrag\r\na=ice-pwd:{'f' * 24}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n{CANDIDATE}\r\n"
    parsed = parse_fragment(text)
    assert parsed.credentials == CREDENTIALS
    assert parsed.candidates[0].address == "192.0.2.9"
    assert not parsed.complete
    assert parsed.restarts(Credentials("other", "x" * 22)) and not parsed.restarts(CREDENTIALS)
    assert parse_fragment("a=end-of-candidates").complete


@pytest.mark.parametrize(
    "candidate",
    [
        "a=candidate:1 1 UDP 2130706431 2001:db8::9 5000 typ host generation 0 network-id 1",
        "a=candidate:1 1 tcp 1518214911 192.0.2.2 9 typ host tcptype active",
        "a=candidate:1 1 udp 2113937151 3f1b0b6c-6b1c-4a0e-8f0a-0b6c6b1c4a0e.local 61764 typ host",
        "a=candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.2 rport 46154",
    ],
)
def test_all_kinds_of_candidates_pass(candidate: str) -> None:
    assert len(parse_fragment(candidate).candidates) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "v=0",
        "a=x",
        "a=candidate:1",
        "a=candidate:1 1 sctp 1 192.0.2.1 5 typ host",
        "a=candidate:1 1 udp 1 192.0.2.1 99999 typ host",
        "a=candidate:1 1 udp 1 300.1.2.3_x 5 typ host",
        "a=candidate:1 1 udp 1 192.0.2.1 5 typ odd",
        "a=candidate:1 1 udp x 192.0.2.1 5 typ host",
        "a=ice-ufrag:onlyufrag",
        "a=ice-ufrag:abcd\r\na=ice-pwd:short",
        f"a=ice-ufrag:abcd\r\na=ice-pwd:{'f' * 24}\r\nm=audio 9 RTP/AVP 0\r\na=ice-ufrag:efgh\r\na=ice-pwd:{'g' * 24}",
        f"{CANDIDATE}\r\n" * 65,
        "m=audio 9 RTP/AVP 0\r\n" * 17 + CANDIDATE,
        "a=" + "x" * 20000,
    ],
)
def test_wrong_fragments_are_refused(text: str) -> None:
    fragment_refused(text)


def test_our_fragment_is_one_we_would_read() -> None:
    text = build_fragment(CREDENTIALS, LOCAL.candidates, publish(offer(audio("sendonly"), video("sendonly"))).tag)
    parsed = parse_fragment(text)
    assert parsed.credentials == CREDENTIALS
    assert len(parsed.candidates) == 2 and parsed.complete
    assert text.startswith("a=ice-lite\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n")
