"""A late joiner sees the picture at once, from the cache, and neither the teacher nor the others notice."""

from __future__ import annotations

from server.media.plane import RemoveSink, SinkLive
from server.media.reference.forwarding import rtcp
from server.media.reference.limits import BURST_SLICE
from tests.support.routing import H264, Bench, Camera, forward_in_time, gapless, packet, picture_of


def lesson(frames: int = 100) -> tuple[Bench, Camera]:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    bench.sink(2, bench.peer(2), 1)
    camera = Camera(bench, publisher, 500, picture=0)
    camera.frame(key=True)
    camera.run(frames)
    return bench, camera


def test_it_gets_the_keyframe_and_all_since_without_a_request() -> None:
    bench, camera = lesson()
    requests = len(bench.far[1].wanted(rtcp.KeyframeWanted))
    ssrc = bench.sink(3, bench.peer(3), 1)
    bench.pass_time(10)
    assert bench.far[3].media(ssrc)[0].payload[5] & 1 == 0
    assert [event.sink for event in bench.events_of(SinkLive)] == [2, 3]
    bench.pass_time(300)
    camera.run(10)
    packets = bench.far[3].media(ssrc)
    assert len(packets) == 2 * (1 + 100 + 10)
    assert gapless(packets)
    assert forward_in_time(packets)
    assert [picture_of(heard) for heard in packets[::2]] == list(range(111))
    assert len(bench.far[1].wanted(rtcp.KeyframeWanted)) == requests


def test_live_packets_follow_the_backlog_in_order() -> None:
    bench, camera = lesson(200)
    ssrc = bench.sink(3, bench.peer(3), 1)
    camera.run(60, interval_ms=5)
    packets = bench.far[3].media(ssrc)
    assert len(packets) == 2 * 261
    assert gapless(packets)
    assert forward_in_time(packets)


def test_the_backlog_runs_by_in_a_fraction_of_its_time_and_ends_at_the_live_picture() -> None:
    bench, camera = lesson(100)
    ssrc = bench.sink(3, bench.peer(3), 1)
    bench.pass_time(300)
    camera.run(3)
    packets = bench.far[3].media(ssrc)
    live = bench.far[2].media(20)
    assert packets[-1].timestamp - packets[-3].timestamp & 0xFFFFFFFF == 3600
    backlog = packets[2 * 100].timestamp - packets[0].timestamp & 0xFFFFFFFF
    assert backlog <= 90 * 4000 / 30
    assert len({heard.timestamp for heard in packets}) == 103  # the first two frames share their time
    assert packets[-1].timestamp == live[-1].timestamp


def test_a_hundred_joiners_are_served_in_turn_and_the_live_sink_first() -> None:
    bench, camera = lesson(100)
    requests = len(bench.far[1].wanted(rtcp.KeyframeWanted))
    for number in range(3, 103):
        bench.sink(number, bench.peer(number), 1)
    assert not bench.router.busy
    watched = len(bench.far[2].rtp)
    joined = bench.stats.counters["rtp_out"]
    camera.frame(count=1)
    assert len(bench.far[2].rtp) == watched + 1
    assert bench.stats.counters["rtp_out"] - joined <= BURST_SLICE + 1
    assert bench.router.busy
    for _ in range(20_000):
        bench.router.tick(bench.now, bench.wall)
        if not bench.router.busy:
            break
    bench.collect()
    begun = [len(bench.far[number].rtp) for number in range(3, 103)]
    assert min(begun) > 0
    assert max(begun) - min(begun) <= 8
    for _ in range(60):
        camera.frame(count=1)
        for _ in range(400):
            bench.pass_time(0.1, step_ms=0.1)
    for number in range(3, 103):
        packets = bench.far[number].media(10 * number)
        assert gapless(packets)
        assert len(packets) == 2 * 101 + 61
    assert len(bench.far[1].wanted(rtcp.KeyframeWanted)) == requests


def test_a_joiner_is_paced() -> None:
    bench, _ = lesson(200)
    ssrc = bench.sink(3, bench.peer(3), 1)
    for _ in range(100):
        bench.router.tick(bench.now, bench.wall)
    bench.collect()
    assert len(bench.far[3].media(ssrc)) == 48
    bench.pass_time(50)
    assert 120 <= len(bench.far[3].media(ssrc)) <= 150


def test_a_joiner_that_lags_jumps_to_a_newer_keyframe() -> None:
    bench, camera = lesson(200)
    ssrc = bench.sink(3, bench.peer(3), 1)
    bench.pass_time(10)
    camera.frame(key=True)
    camera.run(10)
    packets = bench.far[3].media(ssrc)
    assert gapless(packets)
    assert forward_in_time(packets)
    assert packets[-1].timestamp == bench.far[2].media(20)[-1].timestamp
    assert len(packets) < 2 * 100
    assert bench.stats.drops["burst"] > 200


def test_what_is_recovered_during_the_backlog_is_not_lost() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    camera = Camera(bench, publisher, 500)
    camera.frame(key=True)
    (late,) = camera.frame(drop=(1,))
    camera.run(10)
    ssrc = bench.sink(3, bench.peer(3), 1)
    bench.router.tick(bench.now, bench.wall)
    bench.rtp(publisher, late)
    bench.pass_time(100)
    camera.run(3)
    packets = sorted(bench.far[3].media(ssrc), key=lambda heard: heard.sequence)
    assert len(packets) == 2 * 15
    assert gapless(packets)


def test_recovered_packets_from_before_the_join_are_not_sent_under_wrong_numbers() -> None:
    bench, camera = lesson(5)
    (late,) = camera.frame(drop=(1,))
    bench.pass_time(5, step_ms=5)
    camera.frame(key=True)
    ssrc = bench.sink(3, bench.peer(3), 1)
    bench.pass_time(20)
    camera.run(2)
    bench.rtp(camera.peer, late)
    camera.run(2)
    assert gapless(bench.far[3].media(ssrc))
    assert len(bench.far[3].media(ssrc)) == 10
    before = bench.far[2].media(20)
    assert len({heard.sequence for heard in before}) == len(before) == 12 + 2 + 2 + 8


def test_the_cache_is_bounded() -> None:
    bench, camera = lesson(0)
    for _ in range(4000):
        camera.frame(count=2)
        bench.pass_time(1)
    stream = bench.router.wiring.sources[1].streams[""]
    assert len(stream.history) <= 2000
    assert stream.history.octets <= 2 << 20
    assert stream.history.keyframe is None
    bench.pass_time(20_000)
    camera.frame()
    assert len(stream.history) == 2


def test_without_a_cached_keyframe_it_waits_for_one_and_asks() -> None:
    bench, camera = lesson(0)
    camera.run(1100, interval_ms=1)
    before = len(bench.far[1].wanted(rtcp.KeyframeWanted))
    ssrc = bench.sink(3, bench.peer(3), 1)
    bench.pass_time(600)
    assert not bench.far[3].rtp
    assert len(bench.far[1].wanted(rtcp.KeyframeWanted)) > before
    camera.frame(key=True)
    assert len(bench.far[3].media(ssrc)) == 2


def test_h264_starts_at_the_parameter_sets() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, H264)
    bench.sink(2, bench.peer(2), 1, H264)
    units = [
        b"\x09\xf0",
        b"\x67\x42\xc0\x1e\xda\x02\x80\xbf\xe5\xc0\x44",
        b"\x68\xce\x3c\x80",
        b"\x7c\x85i",
        b"\x7c\x45i",
    ]
    for index, unit in enumerate([b"\x61early", *units, b"\x61later"]):
        stamp = 3000 * (index > 0) + 3000 * (index > len(units))
        bench.rtp(publisher, packet(500, index, stamp, unit, payload_type=102, marker=index in (0, 5, 6)))
    ssrc = bench.sink(3, bench.peer(3), 1, H264)
    bench.pass_time(20)
    for heard in (bench.far[2].media(20), bench.far[3].media(ssrc)):
        assert [packet.payload for packet in heard] == [*units[1:], b"\x61later"]
        assert {packet.payload_type for packet in heard} == {102}
        assert gapless(heard)


def test_a_removed_joiner_leaves_nothing_behind() -> None:
    bench, camera = lesson(100)
    bench.sink(3, bench.peer(3), 1)
    bench.pass_time(10)
    bench.apply(RemoveSink(3))
    sent = len(bench.far[3].rtp)
    bench.pass_time(100)
    camera.run(2)
    assert len(bench.far[3].rtp) == sent
    assert not bench.router.busy
    assert bench.stats.sinks == 1
