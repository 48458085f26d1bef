"""kill -9 at random instants: at most a second is lost, what is left is consistent and plays, the lesson goes on."""

from __future__ import annotations

import random
import shutil
import zlib
from pathlib import Path

import pytest

from recorder.finish import finish
from recorder.library.catalog import Catalog
from recorder.recover import recover
from tests.support.lesson_media import S
from tests.support.recorder_bench import decode, read_manifest
from tests.support.recorder_process import LiveLesson, RecorderProcess


def only(archive: Path) -> Path:
    [folder] = archive.iterdir()
    return folder


def check_consistent(folder: Path) -> None:
    """Every byte that the manifest answers for is there and right."""
    for segment in read_manifest(folder).segments:
        path = folder / segment.line.file
        data = (path if path.exists() else path.with_name(path.name + ".part")).read_bytes()
        for piece in segment.fragments:
            assert zlib.crc32(data[piece.offset : piece.offset + piece.length]) == piece.crc32


@pytest.mark.parametrize("codec", ["H264", "VP8"])
@pytest.mark.slow
async def test_a_lesson_survives_its_recorder(tmp_path: Path, codec: str) -> None:
    rng = random.Random()
    lesson = LiveLesson(codec)
    with RecorderProcess(tmp_path) as recorder:
        await lesson.connect(recorder.socket)
        outages = []
        for _ in range(3):
            await lesson.run(rng.uniform(1.2, 2.8))
            recorder.kill()
            await lesson.disconnect()
            folder = only(tmp_path / "archive")
            check_consistent(folder)
            known = read_manifest(folder)
            kept = known.head.epoch_ns + known.end
            assert lesson.last_sent - kept <= 1 * S, "more than a second was lost"
            recorder.start()
            await lesson.run(0.5)  # sent to nobody
            await lesson.connect(recorder.socket)
            outages.append((kept, lesson.last_sent))
        await lesson.run(4.2)  # a keyframe comes each two seconds
        assert lesson.relay is not None
        lesson.relay.send("end", lesson.name)
        await lesson.relay.expect("done")
        taught = (lesson.last_sent - lesson.begin) / S
        await lesson.disconnect()
        assert await recorder.stop() == 0

    known = read_manifest(only(tmp_path / "archive"))
    restarts = [gap for gap in known.gaps if gap.reason == "restart"]
    assert {gap.track for gap in restarts} == {"camera/audio", "camera/video"}
    assert len([gap for gap in restarts if gap.track == "camera/audio"]) == 3
    catalog = Catalog(tmp_path / "library.db")
    [found] = catalog.of_lesson(lesson.name)
    catalog.close()
    assert found.duration == pytest.approx(taught, abs=0.3)
    played = decode(tmp_path / "archive" / found.file)
    assert played["duration"] == pytest.approx(taught, abs=0.3)
    end = 0.0
    for at, length in played["audio"]:
        assert at == pytest.approx(end, abs=0.03)
        end = at + length
    listed = {(gap["track"], gap["start"]) for gap in found.gaps}
    assert len(listed) >= 2


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_what_was_left_behind_is_finished_and_listed(tmp_path: Path, codec: str) -> None:
    lesson = LiveLesson(codec)
    with RecorderProcess(tmp_path) as recorder:
        await lesson.connect(recorder.socket)
        await lesson.run(2.5)
        recorder.kill()
    await lesson.disconnect()
    report = recover(tmp_path)
    folder = only(tmp_path / "archive")
    assert report.finished == [folder.name]
    catalog = Catalog(tmp_path / "library.db")
    [found] = catalog.of_lesson(lesson.name)
    catalog.close()
    assert found.duration >= (lesson.last_sent - lesson.begin) / S - 1
    assert decode(tmp_path / "archive" / found.file)["duration"] == pytest.approx(found.duration, abs=0.1)
    again = recover(tmp_path)
    assert (again.finished, again.listed, again.failed) == ([], [], {})
    (tmp_path / "library.db").unlink()
    assert recover(tmp_path).listed == [folder.name]  # the library can be built again from the archive


async def test_recover_keeps_off_a_recording_that_a_process_holds(tmp_path: Path) -> None:
    lesson = LiveLesson("VP8")
    with RecorderProcess(tmp_path) as recorder:
        await lesson.connect(recorder.socket)
        await lesson.run(1.5)
        report = recover(tmp_path)
        assert report.busy == [only(tmp_path / "archive").name]
        assert report.finished == []
        await lesson.run(0.5)
        assert lesson.relay is not None
        lesson.relay.send("end", lesson.name)
        await lesson.relay.expect("done")
        await lesson.disconnect()
        assert await recorder.stop() == 0


async def test_a_stopped_recorder_leaves_a_lesson_that_can_go_on(tmp_path: Path) -> None:
    lesson = LiveLesson("H264")
    with RecorderProcess(tmp_path) as recorder:
        await lesson.connect(recorder.socket)
        await lesson.run(1.5)
        assert await recorder.stop() == 0
        await lesson.disconnect()
        known = read_manifest(only(tmp_path / "archive"))
        assert known.state == "open"
        assert not list(only(tmp_path / "archive").glob("*.part"))
        recorder.start()
        await lesson.connect(recorder.socket)
        await lesson.run(4.2)
        assert lesson.relay is not None
        lesson.relay.send("end", lesson.name)
        await lesson.relay.expect("done")
        await lesson.disconnect()
        await recorder.stop()
    assert only(tmp_path / "archive").name == known.head.id


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_power_cut_may_keep_any_part_of_the_last_bytes(tmp_path: Path, codec: str) -> None:
    """Cut and garble the tails of both files as a disk would that lost its cache; everything before must play."""
    lesson = LiveLesson(codec)
    with RecorderProcess(tmp_path / "first") as recorder:
        await lesson.connect(recorder.socket)
        await lesson.run(2.5)
        recorder.kill()
    await lesson.disconnect()
    source = only(tmp_path / "first" / "archive")
    whole = read_manifest(source)
    rng = random.Random(5)
    for attempt in range(12):
        folder = tmp_path / str(attempt) / source.name
        shutil.copytree(source, folder)
        segment = next(folder.glob("00*.part"))
        last = whole.segments[-1].fragments[-1]
        data = segment.read_bytes()
        cut = rng.randrange(last.offset, len(data) + 1)
        segment.write_bytes(data[:cut] + bytes(rng.choice((0, len(data) - cut))))
        journal = folder / "manifest.jsonl"
        text = journal.read_bytes()
        journal.write_bytes(text[: rng.randrange(len(text) - 300, len(text) + 1)] + bytes(rng.choice((0, 512))))
        done = finish(folder)
        assert done.finished is not None
        [part] = done.finished.parts
        assert decode(folder / part.file)["duration"] == pytest.approx(part.duration / S, abs=0.1)
        assert whole.end - part.duration <= 1.5 * S
