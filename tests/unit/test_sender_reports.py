"""Reports: the publisher's clock reaches every sink, so that lips and voice agree; loss and round trips are told."""

from __future__ import annotations

from itertools import pairwise

import pytest

from server.media.plane import LineReport
from server.media.reference.forwarding import rtcp
from tests.support.routing import MS, OPUS, SECOND, Bench, Camera, packet

CLOCK = 1_000_000_000 * SECOND
"""The publisher's clock is years behind ours."""


class Classroom:
    """A publisher with voice and picture, and one classroom that takes both."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.publisher = self.bench.peer(1)
        self.bench.source(1, self.publisher)
        self.bench.source(2, self.publisher, OPUS, extensions={})
        subscriber = self.bench.peer(2)
        self.video = self.bench.sink(1, subscriber, 1)
        self.audio = self.bench.sink(2, subscriber, 2, OPUS)
        self.camera = Camera(self.bench, self.publisher, 500)
        self.begun = self.bench.now
        self.words = 0

    def voice_time(self) -> int:
        return 123_456 + (self.bench.now - self.begun) * 48 // 1_000_000 & 0xFFFFFFFF

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 25)):
            self.camera.frame(key=self.words == 0)
            for _ in range(2):
                data = packet(77, self.words, self.voice_time(), b"voice", payload_type=111)
                self.bench.rtp(self.publisher, data)
                self.words += 1
                self.bench.pass_time(20)

    def publisher_ns(self) -> int:
        return CLOCK + self.bench.now

    def report(self, *, voice: bool = True, picture: bool = True) -> None:
        if picture:
            self.camera.report(self.publisher_ns())
        if voice:
            report = rtcp.SenderReport(77, rtcp.ntp_from_ns(self.publisher_ns()), self.voice_time(), 0, 0)
            self.bench.rtcp(self.publisher, rtcp.sender_report(report))

    def reports(self, ssrc: int) -> list[rtcp.SenderReport]:
        return [item for item in self.bench.far[2].wanted(rtcp.SenderReport) if item.ssrc == ssrc]

    def filmed_ns(self, ssrc: int, timestamp: int, rate: int) -> float:
        """What a player computes: the publisher's clock at an RTP time it received."""
        report = self.reports(ssrc)[-1]
        behind = (report.rtp - timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        return rtcp.ns_from_ntp(report.ntp) - behind * 1e9 / rate


def test_a_player_finds_the_publishers_clock_behind_every_packet() -> None:
    room = Classroom()
    room.run(1)
    room.report()
    room.run(2)
    far = room.bench.far[2]
    for ssrc, rate in ((room.video, 90000), (room.audio, 48000)):
        heard = far.media(ssrc)[-1]
        assert abs(room.filmed_ns(ssrc, heard.timestamp, rate) - (CLOCK + heard.at)) < 1 * MS


def test_voice_and_picture_agree_when_only_one_has_reported() -> None:
    room = Classroom()
    room.run(1)
    room.report(picture=False)
    room.run(2)
    picture, voice = room.bench.far[2].media(room.video)[-1], room.bench.far[2].media(room.audio)[-1]
    picture_ns = room.filmed_ns(room.video, picture.timestamp, 90000) - picture.at
    voice_ns = room.filmed_ns(room.audio, voice.timestamp, 48000) - voice.at
    assert abs(picture_ns - voice_ns) < 2 * MS


def test_before_any_report_the_arrival_stands_in() -> None:
    room = Classroom()
    room.run(2)
    heard = room.bench.far[2].media(room.video)[-1]
    wall = room.bench.wall - room.bench.now
    assert abs(room.filmed_ns(room.video, heard.timestamp, 90000) - (wall + heard.at)) < 1 * MS


def test_reports_count_what_was_sent_and_name_the_sender() -> None:
    room = Classroom()
    room.run(5)
    report = room.reports(room.video)[-1]
    heard = room.bench.far[2].media(room.video)
    assert 0 <= len(heard) - report.packets <= 60
    assert report.octets == 105 * report.packets
    assert 4 <= len(room.reports(room.audio)) <= 6
    compound = room.bench.far[2].compounds[-1]
    assert compound[1] == rtcp.SR
    assert b"\x01\x07teacher" in compound


def test_reports_go_on_at_the_new_offset_after_a_joiners_backlog() -> None:
    room = Classroom()
    room.run(4)
    room.report()
    late = room.bench.sink(5, room.bench.peer(5), 1)
    room.run(3)
    heard = room.bench.far[5].media(late)[-1]
    report = [item for item in room.bench.far[5].wanted(rtcp.SenderReport) if item.ssrc == late][-1]
    behind = (report.rtp - heard.timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
    assert abs(rtcp.ns_from_ntp(report.ntp) - behind * 1e9 / 90000 - (CLOCK + heard.at)) < 1 * MS


def test_publishers_get_loss_and_the_echo_of_their_reports() -> None:
    room = Classroom()
    room.run(1)
    room.report()
    reported = rtcp.ntp_from_ns(room.publisher_ns()) >> 16 & 0xFFFFFFFF
    room.bench.far[1].rtcp.clear()
    for _ in range(30):
        room.camera.frame(drop=(1,))
        room.bench.pass_time(40)
    block = next(item for item in reversed(room.bench.far[1].wanted(rtcp.ReportBlock)) if item.ssrc == 500)
    assert 110 <= block.fraction <= 140
    assert block.lost >= 20
    assert block.highest & 0xFFFF <= room.camera.sequence & 0xFFFF
    assert block.lsr == reported
    assert 0 < block.dlsr < 3 * 65536


def test_remb_is_generous_and_falls_with_loss() -> None:
    room = Classroom()
    room.run(2)
    assert {item.bitrate for item in room.bench.far[1].wanted(rtcp.Remb)} == {8_000_000}
    for _ in range(150):
        room.camera.frame(drop=(1,))
        room.bench.pass_time(40)
    assert 250_000 <= room.bench.far[1].wanted(rtcp.Remb)[-1].bitrate < 1_000_000
    room.run(45)
    assert room.bench.far[1].wanted(rtcp.Remb)[-1].bitrate > 4_000_000


def test_jitter_is_measured_in_rtp_units() -> None:
    room = Classroom()
    for index in range(200):
        made = room.camera.packets(key=index == 0, count=1)
        room.bench.pass_time(10 if index % 2 else 0)
        room.bench.rtp(room.publisher, made[0])
        room.bench.pass_time(30 if index % 2 else 40)
    block = next(item for item in reversed(room.bench.far[1].wanted(rtcp.ReportBlock)) if item.ssrc == 500)
    assert 800 <= block.jitter <= 1000  # 10 ms forth and back at 90 kHz


@pytest.mark.parametrize("rtt_ms", [0.5, 40, 600])
def test_the_line_report_tells_loss_round_trip_and_estimate(rtt_ms: float) -> None:
    room = Classroom()
    room.run(2)
    report = room.reports(room.video)[-1]
    left = next(at for lsr, at in room.bench.router.wiring.sinks[1].last_report if lsr == report.ntp >> 16 & 0xFFFFFFFF)
    hold = 700 * MS - round(rtt_ms * MS)
    room.bench.now = left + 700 * MS
    blocks = [
        rtcp.ReportBlock(room.video, 64, 5, 0, 0, report.ntp >> 16 & 0xFFFFFFFF, (hold << 16) // SECOND),
        rtcp.ReportBlock(room.audio, 200, 5, 0, 0, 0, 0),
    ]
    compound = rtcp.receiver_report(9, blocks) + rtcp.remb(9, 1_500_000, [room.video])
    room.bench.rtcp(room.bench.far[2].peer, compound)
    room.bench.pass_time(1000)
    line = room.bench.events_of(LineReport)[-1]
    assert line.transport == 2
    assert line.loss == 64 / 256  # the video sink's, although voice lost more
    assert abs(line.remb - 1_500_000) < 10
    assert abs(line.rtt_ms - rtt_ms) < 0.1


def test_the_first_report_after_an_outage_says_nothing_of_what_the_line_carries() -> None:
    room = Classroom()
    room.run(2)

    def lost(fraction: int) -> float:
        room.bench.rtcp(room.bench.far[2].peer, rtcp.receiver_report(9, [block(fraction)]))
        room.run(1)
        return float(room.bench.events_of(LineReport)[-1].loss)

    def block(fraction: int) -> rtcp.ReportBlock:
        return rtcp.ReportBlock(room.video, fraction, 5, 0, 0, 0, 0)

    assert lost(0) == 0
    assert lost(128) == 0.5
    room.run(10)
    assert lost(250) == 0
    assert lost(128) == 0.5


def test_line_reports_come_once_a_second_with_the_rate_sent() -> None:
    room = Classroom()
    room.run(10)
    lines = room.bench.events_of(LineReport)
    assert 8 <= len(lines) <= 10
    assert all(b.at_ns - a.at_ns >= SECOND for a, b in pairwise(lines))
    assert 45_000 <= lines[-1].sent <= 80_000
    assert lines[-1].rtt_ms is None
    assert lines[-1].remb is None


def test_a_report_without_a_clock_is_ignored() -> None:
    room = Classroom()
    room.run(1)
    report = rtcp.SenderReport(500, 0, room.camera.rtp_time(), 0, 0)
    room.bench.rtcp(room.publisher, rtcp.sender_report(report))
    room.run(2)
    heard = room.bench.far[2].media(room.video)[-1]
    wall = room.bench.wall - room.bench.now
    assert abs(room.filmed_ns(room.video, heard.timestamp, 90000) - (wall + heard.at)) < 1 * MS
