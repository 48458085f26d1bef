"""After a tap or a recorder has died, the relay sends the last seconds again: nothing is lost, nothing is twice."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from recorder.finish import _from_keyframe
from recorder.repair import repair
from tests.support.lesson_media import S, Source, Timed, audio, merged, video
from tests.support.recorder_bench import Bench, decode, read_manifest


class Lesson:
    """Two sources that remember what they have sent."""

    def __init__(self, codec: str) -> None:
        self.sources: dict[str, Source] = {"v": video(codec), "a": audio()}
        self.sent: list[tuple[str, list[Timed]]] = []

    def teach(self, bench: Bench | None, until: float) -> None:
        for index, packets in merged(*self.sources.values(), until=until):
            self.sent.append(("va"[index], packets))
            if bench is not None:
                bench.feed(*self.sent[-1])

    def again(self, bench: Bench, since: float) -> None:
        begin = self.sources["v"].begin_ns + int(since * S)
        for handle, packets in list(self.sent):
            bench.feed(handle, [packet for packet in packets if packet[0] >= begin])

    def open(self, bench: Bench) -> None:
        for handle, source in self.sources.items():
            bench.track(handle, source)


def check_whole(bench: Bench, seconds: float) -> None:
    known = bench.finish()
    assert known.gaps == []
    assert known.finished is not None
    [part] = known.finished.parts
    found = decode(bench.folder / part.file)
    assert len(found["video"]) == round(seconds * 25)
    steps = [b[0] - a[0] for a, b in zip(found["video"], found["video"][1:], strict=False)]
    assert max(steps) < 0.06 and min(steps) > 0.02
    end = 0.0
    for at, length in found["audio"]:
        assert at == pytest.approx(end, abs=0.03)
        end = at + length
    assert end == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
@pytest.mark.parametrize("killed", [2.3, 3.0, 3.98])
def test_a_new_process_goes_on_in_the_middle_of_a_picture_group(tmp_path: Path, codec: str, killed: float) -> None:
    lesson, first = Lesson(codec), Bench(tmp_path / "r")
    lesson.open(first)
    lesson.teach(first, killed)
    first.die()
    lesson.teach(None, killed + 1.5)  # while there is no recorder
    known = repair(tmp_path / "r", thorough=False)
    assert known is not None
    assert known.end < killed * S  # something was in memory only
    second = Bench(tmp_path / "r", resumed=known)
    lesson.open(second)
    lesson.again(second, killed - 1.7)
    lesson.teach(second, 7)
    assert second.keyframes == []
    check_whole(second, 7)
    after = read_manifest(second.folder).segments[1]
    with av.open(str(second.folder / after.line.file)) as source:
        assert not next(source.demux(source.streams.video[0])).is_keyframe
    with av.open(str(second.folder / after.line.file)) as source:  # as for a poster
        assert next(_from_keyframe(source, 0)).width == 320


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_the_same_process_takes_nothing_twice(tmp_path: Path, codec: str) -> None:
    lesson, bench = Lesson(codec), Bench(tmp_path / "r")
    lesson.open(bench)
    lesson.teach(bench, 3.5)
    for handle in lesson.sources:
        bench.recording.close_track(handle, bench.now)
    lesson.open(bench)
    lesson.again(bench, 1)
    lesson.teach(bench, 6)
    check_whole(bench, 6)


def test_what_comes_too_late_for_that_is_a_gap_up_to_the_next_keyframe(tmp_path: Path) -> None:
    lesson, first = Lesson("H264"), Bench(tmp_path / "r")
    lesson.open(first)
    lesson.teach(first, 3)
    first.die()
    lesson.teach(None, 5)
    known = repair(tmp_path / "r", thorough=False)
    second = Bench(tmp_path / "r", resumed=known)
    lesson.open(second)
    lesson.teach(second, 8)
    done = second.finish()
    assert {(gap.track, gap.reason) for gap in done.gaps} == {("camera/video", "restart"), ("camera/audio", "restart")}
    [picture] = [gap for gap in done.gaps if gap.track == "camera/video"]
    assert picture.end == pytest.approx(6 * S, abs=S // 10)
    assert done.finished is not None
    assert decode(second.folder / done.finished.parts[0].file)["duration"] == pytest.approx(8, abs=0.1)


def test_another_stream_under_the_same_name_begins_at_its_own_keyframe(tmp_path: Path) -> None:
    """A relay that was started anew: other SSRCs, and numbers that happen to follow."""
    lesson, first = Lesson("H264"), Bench(tmp_path / "r")
    lesson.open(first)
    lesson.teach(first, 3)
    first.die()
    known = repair(tmp_path / "r", thorough=False)
    second = Bench(tmp_path / "r", resumed=known)
    lesson.open(second)
    lesson.teach(None, 3.5)
    for handle, packets in merged(*lesson.sources.values(), until=6):
        other = [(at, data[:8] + b"\x00\x00\x00\x02" + data[12:]) for at, data in packets]
        second.feed("va"[handle], other)
    done = second.finish()
    assert {gap.reason for gap in done.gaps} == {"restart"}
    [picture] = [gap for gap in done.gaps if gap.track == "camera/video"]
    assert picture.end == pytest.approx(4 * S, abs=S // 10)
