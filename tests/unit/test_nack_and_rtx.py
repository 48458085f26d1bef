"""Losses on both sides are absorbed here: asked for upstream, answered downstream as RTX, within bounds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from server.media.plane import BindSink, Codec
from server.media.reference.forwarding import rtcp
from server.media.reference.forwarding.nack import Missing
from tests.support.routing import (
    MS,
    OPUS,
    VP8,
    Bench,
    Camera,
    Far,
    Heard,
    gapless,
    packet,
    picture_of,
)  # fmt: skip

RTX_SSRC = 990


def lesson(codec: Codec = VP8) -> tuple[Bench, Camera, int]:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, ssrcs=((500, RTX_SSRC),))
    ssrc = bench.sink(1, bench.peer(2), 1, codec)
    return bench, Camera(bench, publisher, 500), ssrc


def as_rtx(original: bytes, sequence: int) -> bytes:
    """A publisher's answer (RFC 4588): the 8-octet extension block of the camera's packets is left out."""
    payload = original[24:]
    number, timestamp = original[2:4], int.from_bytes(original[4:8], "big")
    marker = bool(original[1] & 0x80)
    return packet(RTX_SSRC, sequence, timestamp, number + payload, payload_type=97, marker=marker)


def asked(far: Far) -> list[int]:
    return [number for item in far.wanted(rtcp.Nack) for number in item.sequences]


def resent(far: Far, ssrc: int) -> list[tuple[int, Heard]]:
    """Original number and packet of every retransmission."""
    return [(int.from_bytes(heard.payload[:2], "big"), heard) for heard in far.media(ssrc + 1)]


# --- towards the publisher ------------------------------------------------------------------------------------------


def test_a_hole_is_asked_for_after_a_moment_and_filled_by_rtx() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    (lost,) = camera.frame(drop=(0,))
    camera.frame()
    assert asked(bench.far[1]) == []
    bench.pass_time(20)
    number = int.from_bytes(lost[2:4], "big")
    assert asked(bench.far[1]) == [number]
    bench.rtp(camera.peer, as_rtx(lost, 7))
    packets = sorted(bench.far[2].media(ssrc), key=lambda heard: heard.sequence)
    assert len(packets) == 6
    assert gapless(packets)
    assert [picture_of(heard) - 32700 for heard in packets] == [0, 0, 1, 1, 2, 2]
    assert packets[2].payload == lost[24:]
    bench.pass_time(3000)
    assert asked(bench.far[1]) == [number]


def test_what_is_only_reordered_is_not_asked_for() -> None:
    bench, camera, _ = lesson()
    camera.frame(key=True)
    first, second = camera.packets()
    bench.rtp(camera.peer, second)
    bench.pass_time(5, step_ms=5)
    bench.rtp(camera.peer, first)
    bench.pass_time(1000)
    assert asked(bench.far[1]) == []


def test_a_hole_that_never_fills_is_given_up_and_a_keyframe_asked_for() -> None:
    bench, camera, _ = lesson()
    camera.frame(key=True)
    camera.frame(drop=(0,))
    bench.pass_time(4000)
    assert 4 <= len(asked(bench.far[1])) <= 8
    assert bench.stats.counters["lost_in"] == 1
    assert bench.far[1].wanted(rtcp.KeyframeWanted)


def test_a_long_outage_asks_for_a_keyframe_and_not_for_a_thousand_packets() -> None:
    bench, camera, _ = lesson()
    camera.frame(key=True)
    camera.sequence += 1500
    camera.frame()
    bench.pass_time(600)
    assert asked(bench.far[1]) == []
    assert bench.far[1].wanted(rtcp.KeyframeWanted)


def test_rtx_that_nobody_asked_for_changes_nothing() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    made = camera.packets()
    for data in made:
        bench.rtp(camera.peer, data)
    for sequence in range(5):
        bench.rtp(camera.peer, as_rtx(made[0], sequence))
    bench.rtp(camera.peer, packet(RTX_SSRC, 9, 1, b"", payload_type=97, padding=255))
    bench.rtp(camera.peer, packet(RTX_SSRC, 10, 1, b"\x01", payload_type=97))
    assert len(bench.far[2].media(ssrc)) == 4


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 600)), max_size=40))
def test_the_list_of_holes_is_bounded(gaps: list[tuple[int, int]]) -> None:
    missing, at = Missing(), 0
    for step, (start, length) in enumerate(gaps):
        missing.gap(at + start, at + start + length, step * MS)
        at += start + length
        assert len(missing) <= 512
    missing.due(10**12)
    missing.due(2 * 10**12)
    assert len(missing) == 0


def test_retries_follow_the_measured_round_trip() -> None:
    missing = Missing()
    missing.gap(5, 6, 0)
    assert missing.due(5 * MS) == ([], 0)
    assert missing.due(10 * MS) == ([5], 0)
    missing.arrived(5, 310 * MS)
    assert missing.rtt_ns == 300 * MS
    missing.gap(8, 9, 400 * MS)
    assert missing.due(410 * MS)[0] == [8]
    assert missing.due(700 * MS)[0] == []
    assert missing.due(790 * MS)[0] == [8]


# --- from subscribers -------------------------------------------------------------------------------------------------


def test_a_nack_is_answered_as_rtx_with_numbers_of_its_own() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    camera.run(30)
    sent = bench.far[2].media(ssrc)
    wanted = [sent[-5], sent[-3]]
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, ssrc, [heard.sequence for heard in wanted]))
    answers = resent(bench.far[2], ssrc)
    assert [number for number, _ in answers] == [heard.sequence for heard in wanted]
    for (_, again), heard in zip(answers, wanted, strict=True):
        assert again.payload[2:] == heard.payload
        assert again.timestamp == heard.timestamp
        assert again.marker == heard.marker
        assert again.payload_type == 97
    assert gapless([heard for _, heard in answers])
    assert bench.stats.counters["rtx_out"] == 2


def test_the_same_packet_is_sent_again_once_per_round_trip() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    camera.run(30)
    number = bench.far[2].media(ssrc)[-1].sequence
    for _ in range(10):
        bench.rtcp(bench.far[2].peer, rtcp.nack(1, ssrc, [number]))
    assert len(resent(bench.far[2], ssrc)) == 1
    bench.pass_time(120)
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, ssrc, [number]))
    assert len(resent(bench.far[2], ssrc)) == 2
    assert bench.stats.counters["rtx_refused"] == 9


def test_what_was_never_sent_is_not_sent_again() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    camera.run(30)
    last = bench.far[2].media(ssrc)[-1].sequence
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, ssrc, [last + 1 & 0xFFFF, last + 9 & 0xFFFF]))
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, 4711, [last]))
    assert resent(bench.far[2], ssrc) == []


def test_a_sink_without_rtx_gets_nothing_again() -> None:
    bench, camera, ssrc = lesson(Codec("VP8", 96, 90000))
    camera.frame(key=True)
    camera.run(30)
    sent = len(bench.far[2].rtp)
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, ssrc, [bench.far[2].rtp[-1].sequence]))
    assert len(bench.far[2].rtp) == sent
    assert not bench.stats.drops.get("history")


def test_packets_from_before_a_switch_are_found_as_well() -> None:
    bench, camera, ssrc = lesson()
    second = bench.peer(5)
    bench.source(2, second)
    camera.frame(key=True)
    camera.run(30)
    bench.apply(BindSink(1, 2))
    Camera(bench, second, 600, sequence=9, picture=3).frame(key=True)
    sent = bench.far[2].media(ssrc)
    wanted = sent[-4]
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, ssrc, [wanted.sequence, sent[-1].sequence]))
    answers = resent(bench.far[2], ssrc)
    assert [answer.payload[2:] for _, answer in answers] == [wanted.payload, sent[-1].payload]
    assert [answer.timestamp for _, answer in answers] == [wanted.timestamp, sent[-1].timestamp]


def test_voice_is_sent_again_where_rtx_was_agreed() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    opus = Codec("opus", 111, 48000, 2, rtx_payload_type=112)
    bench.source(1, publisher, OPUS, extensions={})
    ssrc = bench.sink(1, bench.peer(2), 1, opus)
    for index in range(200):
        bench.rtp(publisher, packet(7, index, 960 * index, bytes(80), payload_type=111))
        bench.pass_time(20)
    number = bench.far[2].media(ssrc)[-2].sequence
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, ssrc, [number]))
    assert [original for original, _ in resent(bench.far[2], ssrc)] == [number]
