"""A lesson's end: one file that decodes to its end and seeks in a browser, a poster, a checksum; parts where the codec
changed."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import av
import pytest
from PIL import Image

from recorder.finish import finish, listed_gaps, publish
from recorder.finishing import Finisher
from recorder.lease import Lease
from recorder.library.catalog import Catalog
from recorder.manifest import GapLine
from tests.support.lesson_media import S, Source, audio, merged, video
from tests.support.recorder_bench import Bench, decode, read_manifest
from tests.support.waiting import until


def lesson(folder: Path, codec: str, seconds: float) -> Bench:
    bench = Bench(folder)
    picture, sound = video(codec), audio()
    bench.track("v", picture)
    bench.track("a", sound)
    for index, packets in merged(picture, sound, until=seconds):
        bench.feed("va"[index], packets)
    return bench


def boxes(data: bytes) -> list[bytes]:
    """The top-level boxes of an MP4 file."""
    out, position = [], 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        out.append(kind)
        position += size
    return out


@pytest.mark.parametrize(("codec", "kind"), [("H264", "video/mp4"), ("VP8", "video/webm")])
def test_one_file_of_several_segments(tmp_path: Path, codec: str, kind: str) -> None:
    bench = lesson(tmp_path / "abc", codec, 130)
    known = bench.finish()
    assert len(known.segments) == 3
    assert known.finished is not None
    [part] = known.finished.parts
    file = tmp_path / "abc" / part.file
    assert (part.media_type, part.width, part.height) == (kind, 320, 180)
    assert part.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert part.size == file.stat().st_size
    assert part.duration == 130 * S
    found = decode(file)
    assert (len(found["video"]), len(found["audio"])) == (130 * 25, 130 * 50)
    assert found["duration"] == pytest.approx(130, abs=0.05)
    assert found["video"][-1][0] == pytest.approx(129.96, abs=0.01)
    with Image.open(tmp_path / "abc" / part.poster) as poster:
        assert (poster.format, poster.size) == ("JPEG", (320, 180))


def test_the_index_of_an_mp4_comes_first(tmp_path: Path) -> None:
    lesson(tmp_path / "abc", "H264", 5).finish()
    order = boxes((tmp_path / "abc" / "lesson.mp4").read_bytes())
    assert order.index(b"moov") < order.index(b"mdat")
    assert b"moof" not in order


def test_the_cues_of_a_webm_come_first(tmp_path: Path) -> None:
    lesson(tmp_path / "abc", "VP8", 5).finish()
    data = (tmp_path / "abc" / "lesson.webm").read_bytes()
    cues = data.find(bytes.fromhex("1c53bb6b"), data.find(bytes.fromhex("1654ae6b")))
    assert 0 < cues < data.find(bytes.fromhex("1f43b675"), cues)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_segments_end_at_keyframes_and_stand_for_themselves(tmp_path: Path, codec: str) -> None:
    bench = lesson(tmp_path / "abc", codec, 130)
    bench.close()
    assert not list((tmp_path / "abc").glob("*.part"))
    frames = 0
    for segment in read_manifest(tmp_path / "abc").segments:
        found = decode(tmp_path / "abc" / segment.line.file)
        frames += len(found["video"])
        assert found["video"][-1][0] - found["video"][0][0] < 61
        for fragment in segment.fragments:
            assert fragment.end - fragment.start <= 1.1 * S
    assert frames == 130 * 25


def test_a_keyframe_is_asked_for_when_a_segment_is_full(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "abc")
    picture = video("VP8")
    picture.frames = picture.frames[:1] + picture.frames[1:50] * 100  # no keyframe but the first
    bench.track("v", picture)
    for step in range(62 * 25):
        bench.feed("v", picture.until((step + 1) / 25))
    assert bench.keyframes and set(bench.keyframes) == {"v"}
    assert len(bench.keyframes) <= 4
    bench.close()


def test_finishing_may_be_interrupted_and_repeated(tmp_path: Path) -> None:
    bench = lesson(tmp_path / "abc", "H264", 5)
    bench.close()
    (tmp_path / "abc" / "lesson.mp4.part").write_bytes(b"half of it")
    (tmp_path / "abc" / "poster.jpg.part").write_bytes(b"")
    first = finish(tmp_path / "abc")
    assert finish(tmp_path / "abc").finished == first.finished
    assert not list((tmp_path / "abc").glob("*.part"))


def test_segments_stay_until_the_lesson_is_listed(tmp_path: Path) -> None:
    known = lesson(tmp_path / "abc", "VP8", 5).finish()
    assert (tmp_path / "abc" / "000001.webm").exists()
    catalog = Catalog(tmp_path / "library.db")
    assert publish(catalog, tmp_path / "abc", known)
    assert not publish(catalog, tmp_path / "abc", known)
    assert sorted(each.name for each in (tmp_path / "abc").iterdir()) == [
        "lesson.webm",
        "lock",
        "manifest.jsonl",
        "poster.jpg",
    ]
    [found] = catalog.of_lesson("lesson-1")
    assert (found.title, found.published, found.file) == ("测试课", False, "abc/lesson.webm")
    catalog.close()


def test_another_codec_in_mid_lesson_makes_parts(tmp_path: Path) -> None:
    bench = lesson(tmp_path / "abc", "H264", 4)
    again, sound = video("VP8", sequence=3000), audio(sequence=9000)
    again.skip_to(4, lost=False)
    sound.skip_to(again.at, lost=False)
    bench.track("v2", again)
    bench.track("a2", sound)
    for index, packets in merged(again, sound, until=again.at + 4):
        bench.feed(("v2", "a2")[index], packets)
    known = bench.finish()
    assert known.finished is not None
    assert [part.media_type for part in known.finished.parts] == ["video/mp4", "video/webm"]
    assert sum(part.duration for part in known.finished.parts) == pytest.approx(8 * S, abs=S // 10)
    for part in known.finished.parts:
        assert decode(tmp_path / "abc" / part.file)["duration"] == pytest.approx(part.duration / S, abs=0.1)
    catalog = Catalog(tmp_path / "library.db")
    publish(catalog, tmp_path / "abc", known)
    assert [each.title for each in catalog.of_lesson("lesson-1")] == ["测试课（1/2）", "测试课（2/2）"]
    catalog.close()


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_another_size_in_mid_lesson_is_a_new_segment_of_one_file(tmp_path: Path, codec: str) -> None:
    bench = lesson(tmp_path / "abc", codec, 4)
    larger: Source = video(codec, width=640, height=360, sequence=3000)
    larger.skip_to(4, lost=False)
    bench.track("v2", larger)
    for step in range(100):
        bench.feed("v2", larger.until(4 + (step + 1) / 25))
    known = bench.finish()
    assert len(known.segments) == 2
    assert known.finished is not None
    [part] = known.finished.parts
    assert (part.width, part.height) == (640, 360)
    sizes = [size for _, *size in decode(tmp_path / "abc" / part.file)["video"]]
    assert sizes == [[320, 180]] * 100 + [[640, 360]] * 100


def test_neighbouring_gaps_are_one_in_the_library() -> None:
    found = listed_gaps(
        [
            GapLine("a", 0, S, "loss"),
            GapLine("v", S, 2 * S, "loss"),
            GapLine("a", S, 2 * S, "silent"),
            GapLine("a", 9 * S, 10 * S, "loss"),
        ],
        S // 2,
        9 * S,
    )
    assert [(gap.track, gap.start, gap.end) for gap in found] == [("a", 0, 3 * S // 2), ("v", S // 2, 3 * S // 2)]


def test_a_screen_beside_the_camera_is_a_third_track(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "abc")
    camera, sound, screen = video("H264"), audio(), video("H264", width=640, height=360)
    bench.track("c", camera)
    bench.track("a", sound)
    for index, packets in merged(camera, sound, until=4):
        bench.feed("ca"[index], packets)
    screen.skip_to(4, lost=False)
    bench.track("s", screen, "screen")
    for index, packets in merged(camera, sound, screen, until=8):
        bench.feed("cas"[index], packets)
    known = bench.finish()
    assert known.finished is not None
    [part] = known.finished.parts
    assert (part.width, part.height) == (320, 180)  # what a player shows is the camera
    with av.open(str(tmp_path / "abc" / part.file)) as source:
        assert [(stream.type, getattr(stream, "width", 0)) for stream in source.streams] == [
            ("video", 320),
            ("video", 640),
            ("audio", 0),
        ]
        counts = [0, 0, 0]
        for packet in source.demux():
            counts[packet.stream.index] += packet.dts is not None
    assert counts == [200, 100, 400]


def test_a_ninth_track_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "abc")
    for number in range(8):
        bench.track(str(number), audio(), f"return-{number}")
    with pytest.raises(ValueError, match="too many"):
        bench.track("8", audio(), "return-8")


async def test_a_recording_that_cannot_be_finished_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # one place
    for name in ("bad", "good"):
        lesson(tmp_path / name, "VP8", 3).close()
    (tmp_path / "bad" / "lesson.webm").mkdir()
    catalog = Catalog(tmp_path / "library.db")
    finisher = Finisher(catalog)
    finisher.add(tmp_path / "bad", Lease(tmp_path / "bad"))
    finisher.add(tmp_path / "good", Lease(tmp_path / "good"))
    await until(lambda: finisher.finished == 1)
    assert finisher.failures >= 1
    assert [each.file for each in catalog.of_lesson("lesson-1")] == ["good/lesson.webm"]
    await finisher.stop()
    catalog.close()
