"""A disk that is full or failing: an alert and a listed gap; the recorder goes on when there is room, in right time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder import limits
from recorder.disk import Disk
from recorder.library.catalog import Catalog
from recorder.service import RecorderService
from tests.support.lesson_media import S, audio, merged, video
from tests.support.recorder_bench import Bench, decode
from tests.support.recorder_process import LiveLesson
from tests.support.small_disk import fill, small_disk


class FaultyDisk(Disk):
    """Fails as told; a failing write may have written a part, as the kernel's does."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.failing: set[str] = set()
        self.torn = 0

    def _maybe(self, operation: str) -> None:
        if self.error is not None and operation in self.failing:
            raise OSError(self.error, os.strerror(self.error))

    def write(self, descriptor: int, data: bytes) -> None:
        if self.error is not None and "write" in self.failing and self.torn:
            super().write(descriptor, data[: self.torn])
        self._maybe("write")
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._maybe("sync")
        super().sync(descriptor)

    def create(self, path: Path) -> int:
        self._maybe("create")
        return super().create(path)


@pytest.mark.parametrize(
    ("number", "operations", "torn"),
    [
        (errno.ENOSPC, {"write"}, 0),
        (errno.ENOSPC, {"write"}, 37),
        (errno.EIO, {"sync"}, 0),
        (errno.ENOSPC, {"create", "write"}, 0),
        (errno.EDQUOT, {"create"}, 0),
    ],
)
@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_what_could_not_be_written_is_a_listed_gap(
    tmp_path: Path, codec: str, number: int, operations: set[str], torn: int
) -> None:
    disk = FaultyDisk()
    bench = Bench(tmp_path / "r", disk)
    picture, sound = video(codec), audio()
    bench.track("v", picture)
    bench.track("a", sound)

    def teach(until: float) -> None:
        for index, packets in merged(picture, sound, until=until):
            bench.feed("va"[index], packets)

    teach(3)
    disk.error, disk.failing, disk.torn = number, operations, torn
    # With only ``create`` failing the open segment goes on; a new track needs a new one.
    if operations == {"create"}:
        again = video(codec, width=640, height=360, sequence=5000)
        again.skip_to(picture.at, lost=False)
        sound.skip_to(again.at, lost=False)
        bench.track("v", again)
        picture = again
    teach(picture.at + 2)
    assert bench.failures
    disk.error = None
    teach(picture.at + 5)
    known = bench.finish()

    assert {gap.track for gap in known.gaps if gap.reason == "disk"} == {"camera/video", "camera/audio"}
    assert known.finished is not None
    [part] = known.finished.parts
    found = decode(bench.folder / part.file)
    assert found["duration"] == pytest.approx(picture.at, abs=0.1)
    end = 0.0
    for at, length in found["audio"]:
        assert at == pytest.approx(end, abs=0.03)
        end = at + length


def test_a_disk_that_is_full_from_the_start_costs_the_time_until_it_is_not(tmp_path: Path) -> None:
    disk = FaultyDisk()
    disk.error, disk.failing = errno.ENOSPC, {"create"}
    bench = Bench(tmp_path / "r", disk)
    picture, sound = video("VP8"), audio()
    bench.track("v", picture)
    bench.track("a", sound)
    for index, packets in merged(picture, sound, until=3):
        bench.feed("va"[index], packets)
    disk.error = None
    for index, packets in merged(picture, sound, until=8):
        bench.feed("va"[index], packets)
    known = bench.finish()
    assert known.finished is not None
    assert known.finished.parts[0].duration == pytest.approx(8 * S, abs=S // 10)
    assert {gap.start for gap in known.gaps} == {0}


@pytest.fixture
def four_megabytes(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "4m") as folder:
        yield folder


async def test_a_file_system_that_really_fills_up(
    four_megabytes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DISK_RETRY", S // 2)
    service = RecorderService(four_megabytes, f"unix:{tmp_path}/tap/s", b"")
    await service.start()
    filler = fill(four_megabytes, 160 * 1024)
    lesson = LiveLesson("VP8")
    await lesson.connect(tmp_path / "tap" / "s")
    relay = lesson.relay
    assert relay is not None
    for _ in range(120):
        await lesson.run(0.25)
        if any(frame[0] == "state" and frame[2] == "failing" for frame in relay.frames):
            break
    state = await relay.expect("state", state="failing")
    assert state[6] == "disk-full"
    assert service.stats()["write_failures"] >= 1
    filler.unlink()
    relay.frames.clear()
    for _ in range(120):
        await lesson.run(0.25)
        if any(frame[0] == "state" and frame[2] == "recording" for frame in relay.frames):
            break
    await relay.expect("state", state="recording")
    await lesson.run(1)
    relay.send("end", lesson.name)
    await relay.expect("done")
    taught = (lesson.last_sent - lesson.begin) / S
    await lesson.disconnect()
    await service.stop()
    catalog = Catalog(four_megabytes / "library.db")
    [found] = catalog.of_lesson(lesson.name)
    catalog.close()
    assert found.duration == pytest.approx(taught, abs=0.3)
    assert found.gaps
    assert decode(four_megabytes / "archive" / found.file)["duration"] == pytest.approx(taught, abs=0.3)
