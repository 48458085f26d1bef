"""Keyframe requests: all reasons together, one per source stream and 500 ms, repeated until served."""

from __future__ import annotations

from itertools import pairwise

from server.media.plane import RequestKeyframe
from server.media.reference.forwarding import rtcp
from server.media.reference.forwarding.keyframes import KeyframeRequests
from tests.support.routing import MS, RIDS, Bench, Camera


def asked(bench: Bench) -> int:
    return len(bench.far[1].wanted(rtcp.KeyframeWanted))


def lesson(sinks: int = 1) -> tuple[Bench, Camera]:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    for number in range(sinks):
        bench.sink(2 + number, bench.peer(2 + number), 1)
    return bench, Camera(bench, publisher, 500)


def pli(bench: Bench, number: int) -> None:
    bench.rtcp(bench.far[number].peer, rtcp.pli(1, 10 * number))


def test_a_hundred_wishes_become_one_request() -> None:
    bench, camera = lesson(100)
    camera.frame(key=True)
    camera.run(50)
    before = asked(bench)
    for number in range(2, 102):
        pli(bench, number)
    camera.run(10)
    assert asked(bench) == before + 1
    assert bench.stats.counters["keyframe_in"] == 100


def test_repeated_until_a_keyframe_comes() -> None:
    bench, camera = lesson()
    camera.run(50)
    assert asked(bench) == 4  # at once, and after 0.5, 1.0 and 1.5 s
    camera.frame(key=True)
    camera.run(50)
    assert asked(bench) == 4


def test_a_publisher_that_never_answers_is_asked_ever_more_slowly() -> None:
    bench, camera = lesson()
    camera.run(50 * 25)
    first = asked(bench)
    assert first <= 14
    camera.run(50 * 25)
    assert first < asked(bench) <= first + 7


def test_wishes_are_at_least_half_a_second_apart() -> None:
    bench, camera = lesson()
    for _ in range(100):
        camera.frame(key=True)
        bench.pass_time(120)
        pli(bench, 2)
        bench.pass_time(10)
    seconds = 13
    assert asked(bench) <= 2 * seconds + 1


def test_a_wish_just_after_a_keyframe_is_answered_by_that_keyframe() -> None:
    bench, camera = lesson()
    camera.frame(key=True)
    camera.run(50)
    camera.frame(key=True)
    before = asked(bench)
    pli(bench, 2)
    bench.pass_time(600)
    assert asked(bench) == before


def test_the_command_asks_all_layers() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, rids=RIDS)
    for index, rid in enumerate(RIDS):
        Camera(bench, publisher, 500 + index, rid=rid).frame(key=True)
    bench.apply(RequestKeyframe(1))
    bench.pass_time(20)
    assert {item.ssrc for item in bench.far[1].wanted(rtcp.KeyframeWanted)} == {500, 501, 502}


def test_a_layer_that_nobody_follows_is_left_alone() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    camera = Camera(bench, publisher, 500)
    camera.run(25 * 15)
    assert asked(bench) == 0


def test_the_cached_group_is_renewed_each_ten_seconds_however_many_watch() -> None:
    bench, camera = lesson(30)
    camera.frame(key=True)
    before = asked(bench)
    requested = []
    for _ in range(25 * 35):
        camera.frame(key=asked(bench) > len(requested) + before)
        if asked(bench) > len(requested) + before:
            requested.append(bench.now)
        bench.pass_time(40)
    assert 3 <= len(requested) <= 4


def test_requests_are_compound_packets() -> None:
    bench, camera = lesson()
    camera.run(2)
    (compound,) = [data for data in bench.far[1].compounds if rtcp.KeyframeWanted(500) in rtcp.parse(data)]
    assert compound[1] == rtcp.RR


def test_the_interval_starts_again_after_success() -> None:
    requests = KeyframeRequests()
    requests.want()
    times = [ms for ms in range(0, 60_000, 10) if requests.due((ms + 1) * MS)]
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps[:5] == [500] * 5
    assert gaps[5:9] == [1000, 2000, 4000, 8000]
    requests.arrived()
    assert not requests.due(100_000 * MS)
    requests.want()
    assert requests.due(100_001 * MS)
    assert not requests.due(100_400 * MS)
    assert requests.due(100_502 * MS)
