"""Opus from RTP (RFC 7587), its durations (RFC 6716), and the silence that stands for what was not received."""

from __future__ import annotations

import io

import av
import pytest

from recorder import mux, opus
from recorder.depacketize import Format, Opus, for_codec
from recorder.limits import MS, S
from recorder.reorder import Arrived
from recorder.rtp import RtpPacket
from recorder.track import Sample
from tests.support.lesson_media import audio_frames


@pytest.mark.parametrize(
    ("packet", "milliseconds"),
    [
        (b"\xf8\xff\xfe", 20),
        (opus.SILENCE_120, 120),
        (bytes((0 << 3,)), 10),
        (bytes((3 << 3,)), 60),
        (bytes((12 << 3 | 1,)), 20),
        (bytes((16 << 3,)), 2.5),
        (bytes((19 << 3 | 3, 3)), 60),
    ],
)
def test_durations(packet: bytes, milliseconds: float) -> None:
    assert opus.duration(packet) == milliseconds * MS


@pytest.mark.parametrize("packet", [b"", b"\xfb", b"\xfb\x00", b"\xfb\x3f"])
def test_what_is_no_packet(packet: bytes) -> None:
    with pytest.raises(ValueError):
        opus.duration(packet)


def test_a_packet_is_an_access_unit() -> None:
    [unit] = Opus(2).push(Arrived(5, RtpPacket(5, 960, False, audio_frames(4)[10]), 3))
    assert (unit.duration, unit.keyframe, unit.timestamp, unit.first, unit.arrival_ns) == (20 * MS, True, 960, 5, 3)
    depacketizer = Opus(2)
    assert depacketizer.push(Arrived(5, RtpPacket(5, 960, False, b""), 3)) == []
    assert depacketizer.malformed == 1


@pytest.mark.parametrize("length", [0, 9 * MS, 20 * MS, 130 * MS, 1 * S, 7 * S + 7 * MS])
def test_silence_covers_what_is_asked_for(length: int) -> None:
    pieces = list(opus.silence(1000, 1000 + length))
    end = 1000
    for start, duration, data in pieces:
        assert start == end
        assert opus.duration(data) == duration
        end += duration
    assert abs(end - 1000 - length) <= 10 * MS


def test_silence_decodes_to_silence() -> None:
    form = Format("opus", channels=2, extra=opus.head(2))
    samples = [Sample("a", start, length, data, True, form, 0) for start, length, data in opus.silence(0, 500 * MS)]
    file = io.BytesIO(b"".join(mux.mux("mp4", (("a", form),), samples, 0, 1)))
    seconds = 0.0
    with av.open(file) as source:
        for frame in source.decode(audio=0):
            assert not any(bytes(frame.planes[0]))
            seconds += frame.samples / frame.sample_rate
    assert seconds == pytest.approx(0.5)


def test_a_codec_that_is_not_recorded() -> None:
    with pytest.raises(ValueError, match="not recorded"):
        for_codec("H265", 0)
