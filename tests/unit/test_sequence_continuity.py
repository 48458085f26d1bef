"""One continuous outgoing stream, whatever the publisher's network and encoder do."""

from __future__ import annotations

import errno

import pytest

from server.media.plane import BindSink, SetLayer, SinkLive
from tests.support.routing import (
    H264,
    MS,
    OPUS,
    SECOND,
    Bench,
    Camera,
    forward_in_time,
    gapless,
    packet,
    vp8_payload,
)  # fmt: skip


def lesson(**source: object) -> tuple[Bench, Camera, int]:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, **source)
    ssrc = bench.sink(1, bench.peer(2), 1)
    return bench, Camera(bench, publisher, 500), ssrc


def test_around_the_wrap_nothing_jumps() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    camera.run(600, interval_ms=10)
    packets = bench.far[2].media(ssrc)
    assert len(packets) == 1202
    assert gapless(packets)
    assert forward_in_time(packets)


def test_nothing_is_sent_before_a_keyframe() -> None:
    bench, camera, ssrc = lesson()
    camera.run(5)
    assert not bench.far[2].rtp
    assert not bench.events_of(SinkLive)
    camera.frame(key=True)
    assert bench.far[2].media(ssrc)[0].payload[5] & 1 == 0
    assert [event.sink for event in bench.events_of(SinkLive)] == [1]


def test_padding_leaves_no_hole() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    for _ in range(5):
        bench.rtp(camera.peer, packet(500, camera.sequence, camera.rtp_time(), b"", padding=200))
        camera.sequence += 1
        camera.frame()
    packets = bench.far[2].media(ssrc)
    assert len(packets) == 12
    assert gapless(packets)


def test_a_packet_before_padding_that_comes_late_still_has_its_number() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    (late,) = camera.frame(drop=(1,))
    bench.rtp(camera.peer, packet(500, camera.sequence, camera.rtp_time(), b"", padding=9))
    camera.sequence += 1
    camera.frame()
    bench.rtp(camera.peer, late)
    packets = bench.far[2].media(ssrc)
    assert len(packets) == 6
    assert gapless(sorted(packets, key=lambda heard: heard.sequence))


def test_reordered_packets_keep_their_numbers_and_duplicates_vanish() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    made = camera.packets(count=4)
    for index in (1, 0, 3, 2, 2, 0):
        bench.rtp(camera.peer, made[index])
    packets = bench.far[2].media(ssrc)
    assert len(packets) == 6
    first = packets[0].sequence
    assert [heard.sequence - first for heard in packets] == [0, 1, 3, 2, 5, 4]


def test_another_encoder_run_with_the_same_ssrc_goes_on_at_its_keyframe() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    camera.run(20)
    again = Camera(bench, camera.peer, 500, sequence=20_000, timestamp=99)
    bench.pass_time(3000)
    again.run(3)
    again.frame(key=True)
    again.run(10)
    packets = bench.far[2].media(ssrc)
    assert gapless(packets)
    assert forward_in_time(packets)
    assert len(packets) == 2 + 40 + 2 + 20


def test_another_ssrc_takes_the_source_over_and_stragglers_do_not_take_it_back() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    straggler = camera.packets()
    after = Camera(bench, camera.peer, 501, sequence=1, timestamp=5)
    after.frame(key=True)
    for data in straggler:
        bench.rtp(camera.peer, data)
    after.run(5)
    packets = bench.far[2].media(ssrc)
    assert gapless(packets)
    assert len(packets) == 2 + 2 + 10
    assert bench.stats.counters["junk"] == 2


def test_a_pause_costs_time_but_no_numbers() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    camera.run(10)
    sent = len(bench.far[2].media(ssrc))
    bench.apply(SetLayer(1, None))
    camera.run(50)
    assert len(bench.far[2].media(ssrc)) == sent
    bench.apply(SetLayer(1, ""))
    camera.frame(key=True)
    camera.run(5)
    packets = bench.far[2].media(ssrc)
    assert gapless(packets)
    assert forward_in_time(packets)
    elapsed = packets[-1].timestamp - packets[0].timestamp & 0xFFFFFFFF
    assert elapsed == (packets[-1].at - packets[0].at) * 9 // 100_000


def test_a_teacher_who_came_back_from_another_address() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    camera.run(10)
    bench.router.forget(camera.peer)
    bench.pass_time(4000)
    returned = bench.peer(5)
    bench.source(2, returned)
    bench.apply(BindSink(1, 2))
    after = Camera(bench, returned, 900, sequence=3, timestamp=1)
    after.frame(key=True)
    after.run(10)
    packets = bench.far[2].media(ssrc)
    assert len(packets) == 44
    assert gapless(packets)
    gap = packets[22].timestamp - packets[21].timestamp & 0xFFFFFFFF
    assert abs(gap - (packets[22].at - packets[21].at) * 9 // 100_000) <= 1


def test_voice_goes_on_across_publishers() -> None:
    bench = Bench()
    first, second = bench.peer(1), bench.peer(2)
    bench.source(1, first, OPUS, extensions={})
    bench.source(2, second, OPUS, extensions={})
    ssrc = bench.sink(1, bench.peer(3), 1, OPUS)

    def talk(peer_number: int, sequence: int, timestamp: int) -> None:
        for index in range(20):
            data = packet(7, sequence + index, timestamp + 960 * index, b"voice", payload_type=111)
            bench.rtp(bench.far[peer_number].peer, data)
            bench.pass_time(20)

    talk(1, 65530, 0xFFFFFF00)
    bench.apply(BindSink(1, 2))
    bench.pass_time(500)
    talk(2, 10, 40)
    packets = bench.far[3].media(ssrc)
    assert len(packets) == 40
    assert gapless(packets)
    assert packets[20].timestamp - packets[19].timestamp & 0xFFFFFFFF == 48 * 520


def test_a_sink_without_the_codec_gets_nothing() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    bench.sink(1, bench.peer(2), 1, H264)
    camera = Camera(bench, publisher, 500)
    camera.run(5, key=True)
    assert not bench.far[2].rtp


def test_a_sink_whose_peer_becomes_ready_later() -> None:
    bench = Bench()
    publisher, subscriber = bench.peer(1), bench.peer(2, ready=False)
    bench.source(1, publisher)
    ssrc = bench.sink(1, subscriber, 1)
    camera = Camera(bench, publisher, 500)
    camera.frame(key=True)
    assert not bench.far[2].rtp
    subscriber.ready = True
    bench.router.peer_ready(subscriber, bench.now)
    bench.pass_time(10)
    camera.frame()
    assert gapless(bench.far[2].media(ssrc))
    assert len(bench.far[2].media(ssrc)) == 4


@pytest.mark.parametrize("how", ["ssrc", "mid", "payload type"])
def test_single_streams_are_recognised(how: str) -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, OPUS, mid="0", ssrcs=((71, None),) if how == "ssrc" else ())
    bench.source(2, publisher, mid="1", ssrcs=((72, 73),) if how == "ssrc" else ())
    ssrc = bench.sink(1, bench.peer(2), 2)
    elements = [(4, b"1")] if how == "mid" else None
    bench.rtp(publisher, packet(72, 1, 1, vp8_payload(1, 1, key=True), elements=elements))
    assert len(bench.far[2].media(ssrc)) == 1


def test_a_payload_type_that_two_sources_could_mean_is_not_guessed() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, mid="0")
    bench.source(2, publisher, mid="1")
    bench.rtp(publisher, packet(72, 1, 1, vp8_payload(1, 1, key=True)))
    bench.rtp(publisher, packet(73, 1, 1, vp8_payload(1, 1, key=True), elements=[(4, b"nobody")]))
    assert bench.stats.counters["junk"] == 2


def test_ssrcs_of_a_source_are_bounded() -> None:
    bench, camera, ssrc = lesson()
    for number in range(200):
        bench.rtp(camera.peer, packet(10_000 + number, 1, 1, vp8_payload(1, 1, key=True), elements=camera.elements))
    assert bench.stats.counters["junk"] == 200 - 32
    assert gapless(bench.far[2].media(ssrc))


def test_addresses_that_change_are_followed() -> None:
    bench, camera, _ = lesson()
    camera.frame(key=True)
    subscriber = bench.far[2].peer
    other = bench.peer(77)
    subscriber.sockaddr = other.sockaddr
    bench.far[77] = bench._ports[77] = bench.far[2]
    bench.router.peer_ready(subscriber, bench.now)
    del bench._ports[2]
    camera.run(3)
    assert len(bench.far[2].rtp) == 8


def test_what_the_socket_does_not_take_leaves_later_in_order() -> None:
    bench, camera, ssrc = lesson()
    camera.frame(key=True)
    bench.ring.refusals = [errno.EAGAIN, errno.EAGAIN]
    camera.frame(count=1)
    assert len(bench.far[2].media(ssrc)) == 2
    camera.frame(count=1)
    camera.frame(count=1)
    packets = bench.far[2].media(ssrc)
    assert len(packets) == 5
    assert gapless(packets)
    assert not bench.stats.drops.get("socket")


def test_a_socket_that_takes_nothing_for_long_drops_video_before_anything_else() -> None:
    bench, camera, _ = lesson()
    camera.frame(key=True)
    bench.ring.refusals = [errno.EAGAIN] * 5000
    camera.run(500, interval_ms=0.1)
    waiting = bench.ring._waiting
    assert len(waiting) == 768
    assert bench.stats.drops["socket"] == 1000 - 768
    bench.pass_time(1500)
    assert len(waiting) > 768
    assert all(192 <= data[1] <= 223 for _, _, data in list(waiting)[768:])
    assert bench.stats.drops["socket"] == 1000 - 768


def test_one_unreachable_destination_does_not_hold_the_others() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    ssrcs = [bench.sink(2 + number, bench.peer(2 + number), 1) for number in range(3)]
    bench.ring.refusals = [errno.ENETUNREACH]  # the first
    camera = Camera(bench, publisher, 500)
    camera.frame(key=True, count=1)
    assert [len(bench.far[2 + number].media(ssrc)) for number, ssrc in enumerate(ssrcs)] == [0, 1, 1]
    assert bench.stats.drops["socket"] == 1


def test_more_sinks_than_the_ring_has_slots() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    ssrcs = [bench.sink(2 + number, bench.peer(2 + number), 1) for number in range(150)]
    camera = Camera(bench, publisher, 500)
    camera.frame(key=True)
    camera.run(5)
    for number, ssrc in enumerate(ssrcs):
        packets = bench.far[2 + number].media(ssrc)
        assert len(packets) == 12
        assert gapless(packets)
        assert {heard.payload_type for heard in packets} == {96}
    assert bench.now > 1000 * SECOND + 100 * MS
