"""Taps: clear RTP, the best layer that lives, losses visible, recovered packets late, the publisher's clock beside."""

from __future__ import annotations

from server.media.plane import AddTap, BindSink, Codec, RemoveSink, TapClock, TapPacket
from server.media.reference.forwarding import rtcp, rtp
from tests.support.routing import (
    OPUS,
    RIDS,
    SECOND,
    Bench,
    Camera,
    Heard,
    forward_in_time,
    gapless,
    packet,
)  # fmt: skip

WANTED = (Codec("VP8", 120, 90000), Codec("opus", 121, 48000, 2))


def taken(bench: Bench, tap: int = 9) -> list[Heard]:
    found = []
    for item in bench.taps:
        if isinstance(item, TapPacket) and item.tap == tap:
            header = rtp.parse(item.data, len(item.data))
            assert header is not None
            assert header.start == 12
            found.append(
                Heard(header.payload_type, bool(header.marker), header.sequence, header.timestamp, header.ssrc, {},
                      item.data[12:], item.arrival_ns)
            )  # fmt: skip
    return found


def lesson(rids: tuple[str, ...] = ()) -> tuple[Bench, dict[str, Camera]]:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, rids=rids)
    bench.apply(AddTap(9, 1, WANTED, ssrc=4242))
    return bench, {
        rid: Camera(bench, publisher, 500 + index, rid=rid, timestamp=1_000_000 * index, sequence=20_000 * index,
                    size=(320 << index, 180 << index), picture=500 * index)
        for index, rid in enumerate(rids or ("",))
    }  # fmt: skip


def test_packets_are_clear_and_numbered_for_the_tap() -> None:
    bench, cameras = lesson()
    camera = cameras[""]
    camera.frame(key=True)
    camera.run(10)
    packets = taken(bench)
    assert len(packets) == 22
    assert gapless(packets)
    assert {(heard.payload_type, heard.ssrc) for heard in packets} == {(120, 4242)}
    assert packets[0].at == bench.wall - 400_000_000


def test_losses_stay_holes_and_recovered_packets_come_late() -> None:
    bench, cameras = lesson()
    camera = cameras[""]
    camera.frame(key=True)
    (late,) = camera.frame(drop=(0,))
    camera.frame(drop=(1,))
    camera.frame()
    bench.rtp(camera.peer, late)
    first = taken(bench)[0].sequence
    assert [heard.sequence - first for heard in taken(bench)] == [0, 1, 3, 4, 6, 7, 2]


def test_the_best_layer_that_lives_is_followed_at_keyframes() -> None:
    bench, cameras = lesson(RIDS)
    cameras["l"].frame(key=True)
    cameras["l"].run(5)
    assert {heard.payload[6:] for heard in taken(bench)}
    cameras["h"].frame()
    bench.pass_time(20)
    assert rtcp.KeyframeWanted(502) in bench.far[1].rtcp
    low = len(taken(bench))
    cameras["h"].frame(key=True)
    for _ in range(60):
        cameras["l"].frame()
        cameras["h"].frame()
        bench.pass_time(40)
    assert len(taken(bench)) - low == 2 + 120
    for _ in range(60):
        cameras["l"].frame()
        bench.pass_time(40)
    cameras["l"].frame(key=True)
    cameras["l"].run(3)
    packets = taken(bench)
    assert gapless(packets)
    assert forward_in_time(packets)
    assert len(packets) == low + 122 + 8


def test_it_starts_from_the_cache_with_true_times() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    camera = Camera(bench, publisher, 500)
    camera.frame(key=True)
    begun = bench.wall
    camera.run(100)
    bench.apply(AddTap(9, 1, WANTED))
    packets = taken(bench)
    assert len(packets) == 202
    assert packets[0].at == begun
    assert packets[2].timestamp - packets[0].timestamp & 0xFFFFFFFF in range(3601)
    assert packets[-1].timestamp - packets[2].timestamp & 0xFFFFFFFF == 99 * 3600
    camera.run(3)
    assert gapless(taken(bench))


def test_clocks_are_told_in_the_taps_time() -> None:
    bench, cameras = lesson()
    camera = cameras[""]
    camera.frame(key=True)
    camera.run(10)
    clock_ns = 1_600_000_000 * SECOND
    camera.report(clock_ns)
    camera.frame()
    (clock,) = [item for item in bench.taps if isinstance(item, TapClock)]
    assert abs(clock.ntp_ns - clock_ns) <= 1
    assert clock.arrival_ns == bench.wall
    assert taken(bench)[-1].timestamp == clock.rtp


def test_a_teacher_who_comes_back_goes_on_in_the_same_tap() -> None:
    bench, cameras = lesson()
    camera = cameras[""]
    camera.frame(key=True)
    camera.run(10)
    bench.router.forget(camera.peer)
    bench.pass_time(5000)
    returned = bench.peer(5)
    bench.source(2, returned)
    bench.apply(BindSink(9, 2))
    again = Camera(bench, returned, 900, timestamp=5, sequence=77)
    again.frame(key=True)
    again.run(10)
    packets = taken(bench)
    assert len(packets) == 44
    assert gapless(packets)
    gap = packets[22].timestamp - packets[21].timestamp & 0xFFFFFFFF
    assert abs(gap - (packets[22].at - packets[21].at) * 9 // 100_000) <= 1


def test_voice_is_taken_from_the_first_packet_on() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, OPUS, extensions={})
    bench.apply(AddTap(9, 1, WANTED))
    for index in range(5):
        bench.rtp(publisher, packet(7, index, 960 * index, b"voice", payload_type=111))
    assert [heard.payload for heard in taken(bench)] == [b"voice"] * 5
    assert taken(bench)[0].payload_type == 121
    bench.apply(RemoveSink(9))
    bench.rtp(publisher, packet(7, 5, 4800, b"voice", payload_type=111))
    assert len(taken(bench)) == 5


def test_a_codec_that_the_tap_cannot_use_is_not_sent() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    bench.apply(AddTap(9, 1, (Codec("opus", 121, 48000),)))
    Camera(bench, publisher, 500).run(3, key=True)
    assert not bench.taps
