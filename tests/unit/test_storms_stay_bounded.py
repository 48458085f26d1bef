"""Storms of feedback and of packets: they cost the one who sends them, nobody else."""

from __future__ import annotations

import random

from server.media.plane import RemoveSource
from server.media.reference.forwarding import rtcp
from tests.support.routing import RIDS, Bench, Camera, gapless, packet, vp8_payload


def lesson() -> tuple[Bench, Camera]:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    for number in (2, 3):
        bench.sink(number, bench.peer(number), 1)
    return bench, Camera(bench, publisher, 500)


def octets(packets: list) -> int:
    return sum(12 + 20 + len(heard.payload) for heard in packets)


def test_a_nack_storm_costs_at_most_fifteen_percent() -> None:
    bench, camera = lesson()
    camera.frame(key=True)
    storms = 0
    for _ in range(25 * 10):
        camera.frame(count=8)
        for _ in range(4):
            bench.pass_time(10)
            newest = bench.far[2].media(20)[-1].sequence
            for _ in range(5):
                everything = [newest - back & 0xFFFF for back in range(300, -1, -1)]
                bench.rtcp(bench.far[2].peer, rtcp.nack(1, 20, everything))
                storms += 1
    media, again = octets(bench.far[2].media(20)), octets(bench.far[2].media(21))
    assert 0 < again <= 0.15 * media
    assert bench.stats.counters["rtx_refused"] > 100_000
    assert len(bench.far[3].media(30)) == len(bench.far[2].media(20))
    assert bench.far[3].media(31) == []
    assert storms == 5000


def test_a_nack_storm_before_any_media_gets_nothing() -> None:
    bench, _ = lesson()
    for _ in range(100):
        bench.rtcp(bench.far[2].peer, rtcp.nack(1, 20, list(range(500))))
    assert not bench.far[2].rtp


def test_a_keyframe_storm_reaches_the_teacher_twice_a_second() -> None:
    bench, camera = lesson()
    camera.frame(key=True)
    camera.run(50)
    before = len(bench.far[1].wanted(rtcp.KeyframeWanted))
    for _ in range(25 * 4):
        camera.frame()
        for _ in range(40):
            bench.rtcp(bench.far[2].peer, rtcp.pli(1, 20) + rtcp.pli(1, 20))
        bench.pass_time(40)
    assert len(bench.far[1].wanted(rtcp.KeyframeWanted)) - before <= 8
    assert bench.stats.counters["keyframe_in"] == 8000


def test_feedback_about_strangers_does_nothing() -> None:
    bench, camera = lesson()
    camera.frame(key=True)
    camera.run(50)
    before = len(bench.far[1].rtcp)
    for ssrc in range(1000):
        compound = rtcp.pli(1, 100_000 + ssrc) + rtcp.nack(1, 100_000 + ssrc, [1, 2, 3])
        bench.router.on_rtcp(bench.far[2].peer, compound, bench.now, bench.wall)
    bench.pass_time(30)
    assert not [item for item in bench.far[1].rtcp[before:] if isinstance(item, rtcp.KeyframeWanted)]


def test_a_subscriber_cannot_ask_about_another_ones_sink() -> None:
    bench, camera = lesson()
    camera.frame(key=True)
    camera.run(50)
    newest = bench.far[3].media(30)[-1].sequence
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, 30, [newest]))
    assert bench.far[3].media(31) == []


def test_packets_in_any_order_with_any_numbers_never_raise() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, rids=RIDS)
    bench.source(2, publisher, mid="other")
    bench.sink(2, bench.peer(2), 1)
    rng = random.Random(7)
    for _ in range(4000):
        elements = rng.choice([None, [(4, b"video"), (10, rng.choice([b"l", b"h", b"x"]))], [(11, b"l")]])
        payload = rng.choice([b"", rng.randbytes(rng.randrange(40)), vp8_payload(rng.randrange(9), 1, key=True)])
        data = packet(
            rng.randrange(40), rng.randrange(1 << 16), rng.randrange(1 << 32), payload,
            payload_type=rng.choice([96, 97, 111, 0]), elements=elements, padding=rng.choice([0, 0, 9]),
        )  # fmt: skip
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data))]
        bench.rtp(publisher, data)
        bench.pass_time(rng.choice([0, 1, 30]))
    assert bench.stats.counters["rtp_in"] == 4000


def test_a_sink_survives_the_end_of_its_source() -> None:
    bench, camera = lesson()
    camera.frame(key=True)
    camera.run(3)
    bench.apply(RemoveSource(1))
    for _ in range(3):
        camera.frame()
    bench.pass_time(2500)
    bench.rtcp(bench.far[2].peer, rtcp.nack(1, 20, list(range(200))) + rtcp.pli(1, 20))
    assert gapless(bench.far[2].media(20))
    assert len(bench.far[2].media(20)) == 8
    assert bench.stats.sources == 0
    assert bench.stats.counters["junk"] == 6


def test_everybody_gone_means_nothing_kept() -> None:
    bench, camera = lesson()
    camera.frame(key=True)
    for number in (1, 2, 3):
        bench.router.forget(bench.far[number].peer)
    router = bench.router
    assert not (router.wiring.ports or router.wiring.sources or router.wiring.sinks)
    assert (bench.stats.sources, bench.stats.sinks) == (0, 0)
    bench.rtp(camera.peer, camera.packets()[0])
    assert bench.stats.counters["junk"] == 1
