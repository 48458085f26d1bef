"""Simulcast: one layer out per sink, changed at keyframes only, continuous in numbers and in time."""

from __future__ import annotations

from server.media.plane import SetLayer, SinkLayer, SourceLayers, SourceSilent
from server.media.reference.forwarding import rtcp
from tests.support.routing import (
    OPUS,
    RIDS,
    SECOND,
    Bench,
    Camera,
    forward_in_time,
    gapless,
    packet,
    vp8_payload,
)  # fmt: skip

SIZES = {"l": (320, 180), "m": (640, 360), "h": (1280, 720)}


class Simulcast:
    """A publisher of three layers whose clocks start anywhere, and one sink."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.publisher = self.bench.peer(1)
        self.bench.source(1, self.publisher, rids=RIDS)
        self.ssrc = self.bench.sink(1, self.bench.peer(2), 1)
        self.layers = {
            rid: Camera(self.bench, self.publisher, 500 + index, rid=rid, sequence=100 + 20_000 * index,
                        timestamp=3_000_000_000 * index + 7 & 0xFFFFFFFF, picture=1000 * index, size=SIZES[rid])
            for index, rid in enumerate(RIDS)
        }  # fmt: skip

    def frame(self, *rids: str, key: bool = False) -> None:
        for count, rid in enumerate(RIDS, 1):
            if rid in (rids or RIDS):
                self.layers[rid].frame(key=key, count=count)
        self.bench.pass_time(40)

    def run(self, frames: int, *rids: str) -> None:
        for _ in range(frames):
            self.frame(*rids)

    @property
    def out(self) -> list:
        return self.bench.far[2].media(self.ssrc)

    @property
    def told(self) -> list[str | None]:
        return [event.rid for event in self.bench.events_of(SinkLayer)]

    def keyframes_asked(self, rid: str) -> int:
        return self.bench.far[1].wanted(rtcp.KeyframeWanted).count(rtcp.KeyframeWanted(self.layers[rid].ssrc))


def test_a_switch_waits_for_a_keyframe_of_the_new_layer_and_asks_for_it() -> None:
    lesson = Simulcast()
    lesson.bench.apply(SetLayer(1, "l"))
    lesson.frame(key=True)
    lesson.run(10)
    lesson.bench.apply(SetLayer(1, "h"))
    asked = lesson.keyframes_asked("h")
    lesson.run(5)
    assert lesson.told == ["l"]
    assert lesson.keyframes_asked("h") == asked + 1
    before = len(lesson.out)
    lesson.frame("h", key=True)
    lesson.run(5)
    assert lesson.told == ["l", "h"]
    assert len(lesson.out) == before + 3 + 15
    assert gapless(lesson.out)
    assert forward_in_time(lesson.out)


def test_time_is_aligned_by_sender_reports_to_the_tick() -> None:
    lesson = Simulcast()
    lesson.bench.apply(SetLayer(1, "l"))
    lesson.frame(key=True)
    for camera in lesson.layers.values():
        camera.report(lesson.bench.wall)
    lesson.run(3)
    lesson.bench.apply(SetLayer(1, "h"))
    # The keyframe of the high layer is late by 30 ms: its own clock tells when it was filmed, its arrival does not.
    made = lesson.layers["h"].packets(key=True, count=1)
    lesson.bench.pass_time(30)
    lesson.bench.rtp(lesson.publisher, made[0])
    first, last = lesson.out[0], lesson.out[-1]
    assert lesson.told[-1] == "h"
    elapsed_l = lesson.layers["l"].rtp_time() - lesson.layers["l"].timestamp - 30 * 90
    assert abs((last.timestamp - first.timestamp & 0xFFFFFFFF) - elapsed_l) <= 1


def test_time_is_aligned_by_arrival_before_sender_reports() -> None:
    lesson = Simulcast()
    lesson.bench.apply(SetLayer(1, "l"))
    lesson.frame(key=True)
    lesson.run(3)
    lesson.bench.apply(SetLayer(1, "h"))
    lesson.frame("h", key=True)
    assert lesson.told[-1] == "h"
    first, last = lesson.out[0], lesson.out[-1]
    assert abs((last.timestamp - first.timestamp & 0xFFFFFFFF) - (last.at - first.at) * 9 // 100_000) <= 1


def test_a_sender_report_that_lies_is_not_followed() -> None:
    lesson = Simulcast()
    lesson.bench.apply(SetLayer(1, "l"))
    lesson.frame(key=True)
    lesson.layers["l"].report(lesson.bench.wall)
    lesson.layers["h"].report(lesson.bench.wall + 3600 * SECOND)
    lesson.run(3)
    lesson.bench.apply(SetLayer(1, "h"))
    lesson.frame("h", key=True)
    assert lesson.told[-1] == "h"
    assert gapless(lesson.out)
    assert lesson.out[-1].timestamp - lesson.out[0].timestamp & 0xFFFFFFFF < 90_000


def test_until_asked_the_lowest_layer_is_sent() -> None:
    lesson = Simulcast()
    lesson.frame("l", key=True)
    lesson.run(30)
    lesson.frame("m", "h", key=True)
    lesson.run(30)
    assert lesson.told == ["l"]


def test_a_layer_that_does_not_live_is_replaced_by_the_next_lower_and_taken_when_it_comes() -> None:
    lesson = Simulcast()
    lesson.bench.apply(SetLayer(1, "h"))
    lesson.frame("l", "m", key=True)
    lesson.run(3, "l", "m")
    assert lesson.told == ["l"]
    lesson.frame(key=True)
    lesson.run(3)
    assert lesson.told == ["l", "h"]
    lesson.run(60, "l", "m")  # the high layer stops
    lesson.frame("m", key=True)
    lesson.run(3, "l", "m")
    assert lesson.told == ["l", "h", "m"]
    assert gapless(lesson.out)
    assert forward_in_time(lesson.out)


def test_layers_are_told_at_the_first_packet_when_they_stop_and_each_second() -> None:
    lesson = Simulcast()
    lesson.frame("l", key=True)
    told = lesson.bench.events_of(SourceLayers)
    assert [layer.rid for layer in told[0].layers] == ["l"]
    assert told[0].codec == "VP8"
    lesson.frame(key=True)
    lesson.run(50)
    last = lesson.bench.events_of(SourceLayers)[-1]
    assert [layer.rid for layer in last.layers] == ["l", "m", "h"]
    assert [(layer.width, layer.height) for layer in last.layers] == [(320, 180), (640, 360), (1280, 720)]
    assert all(20 <= layer.frames <= 27 for layer in last.layers)
    assert [layer.bitrate for layer in last.layers] == sorted(layer.bitrate for layer in last.layers)
    lesson.run(60, "l")
    assert [layer.rid for layer in lesson.bench.events_of(SourceLayers)[-1].layers] == ["l"]
    assert not lesson.bench.events_of(SourceSilent)
    lesson.bench.pass_time(2500)
    assert len(lesson.bench.events_of(SourceSilent)) == 1
    before = len(lesson.bench.events_of(SourceLayers))
    lesson.frame("l")
    assert len(lesson.bench.events_of(SourceLayers)) > before


def test_paused_sinks_say_so_and_start_again_from_the_cache() -> None:
    lesson = Simulcast()
    lesson.bench.apply(SetLayer(1, "m"))
    lesson.frame(key=True)
    lesson.run(5)
    lesson.bench.apply(SetLayer(1, None))
    sent = len(lesson.out)
    lesson.run(50)
    assert lesson.told[-1] is None
    assert len(lesson.out) == sent
    asked = lesson.keyframes_asked("m")
    lesson.bench.apply(SetLayer(1, "m"))
    lesson.run(20)
    assert lesson.told[-1] == "m"
    assert lesson.keyframes_asked("m") == asked
    assert gapless(lesson.out)
    assert forward_in_time(lesson.out)


def test_a_switch_taken_back_before_its_keyframe_changes_nothing() -> None:
    lesson = Simulcast()
    lesson.bench.apply(SetLayer(1, "l"))
    lesson.frame(key=True)
    lesson.bench.apply(SetLayer(1, "h"))
    lesson.run(2)
    lesson.bench.apply(SetLayer(1, "l"))
    lesson.frame(key=True)
    lesson.run(2)
    assert lesson.told == ["l"]
    assert gapless(lesson.out)


def test_ssrcs_are_learned_once_and_extensions_not_needed_afterwards() -> None:
    lesson = Simulcast()
    lesson.bench.apply(SetLayer(1, "m"))
    lesson.frame("m", key=True)
    for _ in range(3):
        camera = lesson.layers["m"]
        payload = vp8_payload(camera.picture, camera.tl0, key=False)
        lesson.bench.rtp(lesson.publisher, packet(camera.ssrc, camera.sequence, camera.rtp_time(), payload))
        camera.sequence += 1
        camera.picture += 1
    assert len(lesson.out) == 5
    assert gapless(lesson.out)


def test_unknown_rids_are_refused() -> None:
    lesson = Simulcast()
    elements = [(4, b"video"), (10, b"zz")]
    lesson.bench.rtp(lesson.publisher, packet(9, 1, 1, vp8_payload(1, 1, key=True), elements=elements))
    assert lesson.bench.stats.counters["junk"] == 1


def test_voice_does_not_take_part() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher, OPUS, extensions={})
    bench.sink(1, bench.peer(2), 1, OPUS)
    for index in range(5):
        bench.rtp(publisher, packet(7, index, 960 * index, b"voice", payload_type=111))
    assert len(bench.far[2].rtp) == 5
    assert not bench.events_of(SinkLayer)
