"""Offers of real clients get answers that their senders can use; whatever a mutation makes of them, one error at most.

Taken from Chromium, pion 4.2, str0m 0.25, werift 0.24, node-datachannel 0.33 and GStreamer 1.22; OBS, FFmpeg and
Firefox are modelled on what these send.
"""

from __future__ import annotations

import contextlib
import random

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.sdp import SessionDescription as AiortcDescription
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.media.plane import Extension
from server.negotiation.codecs import h264_profile, prefer
from server.negotiation.errors import NegotiationError
from server.negotiation.sdp import parse
from server.negotiation.trickle import parse_fragment
from tests.support.offers import load, names, publish, watch

PUBLISHERS = {
    # name: (audio codec and type, video codec, type and rtx, rids, bundle)
    "chromium-publish-default": ("opus", 111, "VP8", 96, 97, (), ("0", "1")),
    "chromium-publish-simulcast-vp8": ("opus", 111, "VP8", 96, 97, ("l", "m", "h"), ("0", "1")),
    "chromium-publish-simulcast-h264-vp8": ("opus", 111, "H264", 102, 103, ("l", "m", "h"), ("0", "1")),
    "chromium-sendrecv-datachannel": ("opus", 111, "VP8", 96, 97, (), ("0", "1")),
    "obs-publish": ("opus", 111, "H264", 96, None, (), ("0", "1")),
    "obs-publish-simulcast": ("opus", 111, "H264", 96, None, ("0", "1", "2"), ("0", "1")),
    "gstreamer-publish": ("opus", 97, "H264", 96, None, (), ("video0", "audio1")),
    "libdatachannel-publish": ("opus", 111, "H264", 96, None, (), ("audio", "video")),
    "pion-publish": ("opus", 111, "VP8", 96, 97, (), ("0", "1")),
    "str0m-publish": ("opus", 111, "VP8", 96, 97, (), ("8S3", "bpl")),
    "werift-publish": ("opus", 96, "VP8", 97, None, (), ("0", "1")),
    "ffmpeg-publish": ("opus", 111, "H264", 106, None, (), ("0", "1")),
}
WITHOUT_RTX = ("gstreamer-watch", "libdatachannel-watch-datachannel", "werift-watch")
WATCHERS = {
    # name: video payload types in order
    "gstreamer-watch": [101, 102],
    "libdatachannel-watch-datachannel": [96],
    "str0m-watch-datachannel": [96, 127, 108, 123, 114],
    "werift-watch": [97],
    "chromium-watch": [96, 102, 108, 116],
    "chromium-watch-max-bundle": [96, 102, 108, 116],
    "chromium-sendrecv-datachannel": [96, 102, 108, 116],
    "firefox-watch": [120, 126],
    "pion-watch": [96, 102, 106, 127, 112],
}


@pytest.mark.parametrize("name", names())
def test_every_line_survives(name: str) -> None:
    text = load(name)
    kept = "".join(line.rstrip() + "\r\n" for line in text.splitlines())
    assert str(parse(text)) == kept


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_publisher_is_answered(name: str) -> None:
    audio_name, audio_pt, video_name, video_pt, rtx, rids, bundle = PUBLISHERS[name]
    answer = publish(load(name))
    by_kind = {source.kind: source for source in answer.sources}
    audio, video = by_kind["audio"], by_kind["video"]
    assert (audio.codecs[0].name, audio.codecs[0].payload_type, audio.codecs[0].channels) == (audio_name, audio_pt, 2)
    assert (video.codecs[0].name, video.codecs[0].payload_type, video.codecs[0].rtx_payload_type) == (
        video_name,
        video_pt,
        rtx,
    )
    assert video.rids == rids
    assert bool(video.ssrcs) != bool(rids)
    description = parse(answer.sdp)
    assert description.bundle == bundle
    assert [section.media for section in description.media] == [section.media for section in parse(load(name)).media]
    assert "transport-cc" not in answer.sdp


@pytest.mark.parametrize("name", WATCHERS)
def test_a_watcher_is_answered(name: str) -> None:
    answer = watch(load(name))
    sinks = {sink.kind: sink for sink in answer.sinks}
    assert [codec.payload_type for codec in sinks["video"].codecs] == WATCHERS[name]
    assert all((codec.rtx_payload_type is None) == (name in WITHOUT_RTX) for codec in sinks["video"].codecs)
    assert [codec.name for codec in sinks["audio"].codecs] == ["opus"]
    assert Extension.RID not in sinks["video"].extensions


@pytest.mark.parametrize("name", ["pion-publish", "str0m-publish"])
def test_an_encoder_of_h264_finds_it_in_the_answer_to_its_long_list(name: str) -> None:
    answer = publish(load(name))
    assert {codec.name for codec in answer.sources[-1].codecs} | {codec.name for codec in answer.sources[0].codecs} == {
        "H264",
        "VP8",
        "opus",
    }
    for section in parse(answer.sdp).media:
        if section.media == "video":
            assert all(
                "packetization-mode=1" in section.fmtps[pt] for pt, m in section.rtpmaps.items() if m.name == "H264"
            )


def test_a_screen_without_sound_is_answered() -> None:
    answer = publish(load("chromium-publish-screen"))
    assert [source.kind for source in answer.sources] == ["video"]


def test_the_data_channel_is_rejected_and_the_rest_goes_on() -> None:
    sections = parse(publish(load("chromium-sendrecv-datachannel")).sdp).media
    assert [(section.media, section.port) for section in sections] == [("audio", 9), ("video", 9), ("application", 0)]


def test_a_watcher_of_other_codecs_is_told_so() -> None:
    with pytest.raises(NegotiationError) as caught:
        watch(load("chromium-watch-av1-vp9-only"))
    assert caught.value.extra == {"offered": ["AV1", "VP9"], "accepted": ["VP8", "H264"]}


def test_a_watchers_h264_follows_the_publishers_profile() -> None:
    sinks = {sink.kind: sink for sink in watch(load("chromium-watch")).sinks}
    sent = publish(load("ffmpeg-publish")).sources[1].codecs[0]
    assert h264_profile(sent) == 0x64
    pion = {sink.kind: sink for sink in watch(load("pion-watch")).sinks}
    assert prefer(pion["video"].codecs, sent)[0].payload_type == 112
    assert [codec.payload_type for codec in prefer(sinks["video"].codecs, sent)] == [102, 108, 116, 96]


@pytest.mark.parametrize("preferred", ["VP8", "H264"])
async def test_aiortc_understands_our_answer(preferred: str) -> None:
    publisher = RTCPeerConnection()
    publisher.addTrack(AudioStreamTrack())
    publisher.addTrack(VideoStreamTrack())
    await publisher.setLocalDescription(await publisher.createOffer())
    text = publisher.localDescription.sdp
    if preferred == "H264":
        head, _, video = text.partition("m=video")
        text = head + "m=video" + video.replace(" 97 98 99 100 101 102", " 99 100 101 102 97 98", 1)
    answer = publish(text)
    assert [source.codecs[0].name for source in answer.sources] == ["opus", preferred]
    assert answer.sources[1].ssrcs[0][1] is not None
    await publisher.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    await publisher.close()


async def test_aiortc_as_a_watcher_understands_our_answer() -> None:
    watcher = RTCPeerConnection()
    watcher.addTransceiver("audio", "recvonly")
    watcher.addTransceiver("video", "recvonly")
    await watcher.setLocalDescription(await watcher.createOffer())
    answer = watch(watcher.localDescription.sdp)
    await watcher.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    assert {t.currentDirection for t in watcher.getTransceivers()} == {"recvonly"}
    seen = AiortcDescription.parse(answer.sdp)
    assert [entry.ssrc for entry in seen.media[1].ssrc] == [7002, 7003]
    await watcher.close()


# --- mutations ------------------------------------------------------------------------------------------------------

OFFERS = {name: load(name) for name in names()}
FRAGMENTS = [
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 2130706431 192.0.2.9 5000 typ host\r\na=end-of-candidates\r\n"
]
WORDS = [
    "",
    "0",
    "-1",
    "65536",
    "99999999999999",
    "sendonly",
    "*",
    ";",
    ";;",
    ",",
    "~",
    "/",
    ":",
    "\u0663",
    "é",
    "\x00",
]


def mutate(text: str, rng: random.Random) -> str:
    """One to eight changes of lines, words or characters."""
    for _ in range(rng.randint(1, 8)):
        lines = text.split("\r\n")
        at = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case 2:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                words = lines[at].split(" ")
                words[rng.randrange(len(words))] = rng.choice(WORDS)
                lines[at] = " ".join(words)
            case 4:
                cut = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + rng.choice(WORDS) + lines[at][cut:]
            case 5:
                lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
            case 6:
                lines[at] = lines[at].replace(rng.choice("0123456789:=/;, "), rng.choice(WORDS))
            case _:
                lines[at] = lines[at] * rng.randint(2, 40)
        text = "\r\n".join(lines)
    return text


def check_answer(sdp: str, offered: str) -> None:
    """An answer is SDP of ours, whatever the offer was: as many m-lines, and no line that we did not mean."""
    ours, theirs = parse(sdp), parse(offered)
    assert len(ours.media) == len(theirs.media)
    assert sdp.count("\r\n") == sdp.count("\n") == sdp.count("\r")
    for section in ours.media:
        if section.port:
            assert section.attribute("setup") == "passive"
            assert section.payload_types and set(map(int, section.formats)) == set(section.rtpmaps)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(OFFERS)), seed=st.integers(0, 2**32))
def test_mutated_offers_raise_the_one_error_or_are_answered(name: str, seed: int) -> None:
    text = mutate(OFFERS[name], random.Random(seed))
    for answer in (publish, watch):
        try:
            result = answer(text)
        except NegotiationError as error:
            assert error.code in ("not-sdp", "too-many-sections", "unsupported-sdp", "no-common-codec")
        else:
            check_answer(result.sdp, text)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(OFFERS["chromium-watch"].split("\r\n"))).map("\n".join)))
def test_any_text_raises_the_one_error_or_is_answered(text: str) -> None:
    for candidate in (text, "v=0\n" + text):
        for answer in (publish, watch):
            with contextlib.suppress(NegotiationError):
                check_answer(answer(candidate).sdp, candidate)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), text=st.text())
def test_fragments_raise_the_one_error_or_are_read(seed: int, text: str) -> None:
    for candidate in (mutate(FRAGMENTS[0], random.Random(seed)), text):
        try:
            parse_fragment(candidate)
        except NegotiationError as error:
            assert error.code == "bad-fragment"
