"""What was not received is listed and takes its time: the file lasts as long as the lesson did, with silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recorder.manifest import GapLine, Manifest
from tests.support.lesson_media import S, Source, Timed, audio, merged, video
from tests.support.recorder_bench import Bench, decode, read_manifest

CODECS = pytest.mark.parametrize("codec", ["H264", "VP8"])


def both(bench: Bench, codec: str) -> tuple[Source, Source]:
    picture, sound = video(codec), audio()
    bench.track("v", picture)
    bench.track("a", sound)
    return picture, sound


def feed(bench: Bench, picture: Source, sound: Source, until: float) -> None:
    for index, packets in merged(picture, sound, until=until):
        bench.feed("va"[index], packets)


def playable(bench: Bench, known: Manifest) -> dict[str, Any]:
    assert known.finished is not None
    [part] = known.finished.parts
    return decode(bench.folder / part.file)


def sound_is_whole(found: dict[str, Any], seconds: float) -> None:
    """No hole between decoded sound, from 0 to the end."""
    end = 0.0
    for start, length in found["audio"]:
        assert start == pytest.approx(end, abs=0.015)
        end = start + length
    assert end == pytest.approx(seconds, abs=0.1)


def loudness(found: dict[str, Any], start: float, end: float) -> float:
    """Peak between two instants."""
    return max((peak for at, peak in found["loud"] if start <= at < end - 0.02), default=0.0)


def gaps(known: Manifest) -> list[tuple[str, float, float, str]]:
    return [(g.track, round(g.start / S, 2), round(g.end / S, 2), g.reason) for g in known.gaps]


@CODECS
def test_a_lesson_without_loss_has_no_gap(tmp_path: Path, codec: str) -> None:
    bench = Bench(tmp_path / "r")
    feed(bench, *both(bench, codec), until=5)
    known = bench.finish()
    found = playable(bench, known)
    assert known.gaps == []
    assert found["duration"] == pytest.approx(5, abs=0.05)
    assert (len(found["video"]), len(found["audio"])) == (125, 250)


@CODECS
def test_an_outage_becomes_silence_of_the_same_length(tmp_path: Path, codec: str) -> None:
    bench = Bench(tmp_path / "r")
    picture, sound = both(bench, codec)
    feed(bench, picture, sound, until=4)
    picture.skip_to(14)
    sound.skip_to(14)
    feed(bench, picture, sound, until=18)
    known = bench.finish()
    found = playable(bench, known)
    assert gaps(known) == [("camera/video", 4.0, 14.0, "silent"), ("camera/audio", 4.0, 14.0, "silent")] or gaps(
        known
    ) == [("camera/audio", 4.0, 14.0, "silent"), ("camera/video", 4.0, 14.0, "silent")]
    assert found["duration"] == pytest.approx(18, abs=0.1)
    sound_is_whole(found, 18)
    assert loudness(found, 1, 3.9) > 0.1
    assert loudness(found, 4.2, 13.9) < 0.01
    assert loudness(found, 14.2, 17.9) > 0.1
    assert not [at for at, *_ in found["video"] if 4.0 < at < 13.9]


def test_a_few_lost_packets_of_sound_are_silence_and_listed(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    picture, sound = both(bench, "VP8")
    feed(bench, picture, sound, until=2)
    sound.skip_to(2.2)
    feed(bench, picture, sound, until=2.22)
    feed(bench, picture, sound, until=5)
    known = bench.finish()
    assert gaps(known) == [("camera/audio", 2.0, 2.2, "loss")]
    sound_is_whole(playable(bench, known), 5)


@CODECS
def test_a_lost_packet_of_picture_costs_up_to_the_next_keyframe_which_is_asked_for(tmp_path: Path, codec: str) -> None:
    bench = Bench(tmp_path / "r")
    picture, sound = both(bench, codec)
    feed(bench, picture, sound, until=1)
    list(picture.until(1.04))  # a frame that nobody receives
    feed(bench, picture, sound, until=4)
    known = bench.finish()
    assert gaps(known) == [("camera/video", 1.0, 2.0, "loss")]
    assert "v" in bench.keyframes
    found = playable(bench, known)
    assert len(found["video"]) == 75
    assert found["duration"] == pytest.approx(4, abs=0.05)


def test_a_camera_that_is_switched_off_is_no_gap(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    picture, sound = both(bench, "H264")
    feed(bench, picture, sound, until=2)
    for step in range(100, 400):
        bench.feed("a", sound.until(step / 50 + 0.02))
    picture.skip_to(8, lost=False)
    feed(bench, picture, sound, until=10)
    known = bench.finish()
    assert known.gaps == []
    found = playable(bench, known)
    assert found["duration"] == pytest.approx(10, abs=0.05)
    sound_is_whole(found, 10)


def test_sound_may_begin_before_the_picture(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    sound, picture = audio(), video("VP8")
    bench.track("a", sound)
    for step in range(150):
        bench.feed("a", sound.until(step / 50 + 0.02))
    picture.skip_to(3, lost=False)
    begins = picture.at
    bench.track("v", picture)
    for index, packets in merged(sound, picture, until=8):
        bench.feed("av"[index], packets)
    known = bench.finish()
    assert [each.line.container for each in known.segments] == ["mp4", "webm"]
    found = playable(bench, known)
    assert known.finished is not None
    assert known.finished.parts[0].media_type == "video/webm"
    sound_is_whole(found, 8)
    assert found["video"][0][0] == pytest.approx(begins, abs=0.05)


def test_a_lesson_of_sound_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    sound = audio()
    bench.track("a", sound)
    for step in range(250):
        bench.feed("a", sound.until(step / 50 + 0.02))
    known = bench.finish()
    found = playable(bench, known)
    sound_is_whole(found, 5)
    assert known.finished is not None
    assert (known.finished.parts[0].poster, known.finished.parts[0].width) == ("", 0)


def test_a_lost_packet_that_comes_again_in_time_is_no_gap(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    picture, sound = both(bench, "H264")
    feed(bench, picture, sound, until=1)
    late: list[Timed] = list(picture.until(1.04))
    feed(bench, picture, sound, until=1.3)
    bench.feed("v", [(bench.now, data) for _, data in late])
    feed(bench, picture, sound, until=3)
    known = bench.finish()
    assert known.gaps == []
    assert len(playable(bench, known)["video"]) == 75


def test_the_bell_shortly_after_the_last_packet_is_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    feed(bench, *both(bench, "VP8"), until=3)
    known = bench.finish(ended_after=7)
    found = playable(bench, known)
    assert found["duration"] == pytest.approx(10, abs=0.1)
    assert {gap.track for gap in known.gaps} == {"camera/audio", "camera/video"}
    sound_is_whole(found, 10)


def test_nobody_wants_an_hour_of_silence_after_a_teacher_who_forgot_to_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    feed(bench, *both(bench, "VP8"), until=3)
    known = bench.finish(ended_after=3600)
    assert playable(bench, known)["duration"] == pytest.approx(3, abs=0.1)


def test_sound_that_stops_alone_is_filled_while_the_picture_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    picture, sound = both(bench, "H264")
    feed(bench, picture, sound, until=2)
    for step in range(50, 300):
        bench.feed("v", picture.until(step / 25 + 0.04))
    bench.close()
    known = read_manifest(bench.folder)
    filled = [g for g in known.gaps if g.track == "camera/audio"]
    assert filled[0].start == 2 * S
    assert known.track_ends()["camera/audio"] == pytest.approx(12 * S, abs=S // 10)
    assert all(isinstance(each, GapLine) and each.reason == "silent" for each in filled)


def test_discontinuous_transmission_is_silence_but_no_gap(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "r")
    sound = audio()
    bench.track("a", sound)
    for step in range(200):
        bench.feed("a", sound.until(step / 50 + 0.02))
        if step % 50 == 25:
            sound.skip_to(sound.at + 0.4, lost=False)
    known = bench.finish()
    assert known.gaps == []
    sound_is_whole(playable(bench, known), sound.at)
