"""Relays that come, go, lie or flood: each lesson's recording goes on by itself and nobody else is disturbed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from recorder import limits, tap
from recorder.disk import Disk
from recorder.library.catalog import Catalog, Resource
from recorder.service import RecorderService
from tests.support.lesson_media import S
from tests.support.recorder_bench import Relay, read_manifest
from tests.support.recorder_process import LiveLesson
from tests.support.waiting import until


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RecorderService]:
    service = RecorderService(tmp_path / "data", f"unix:{tmp_path}/tap/s", b"")
    await service.start()
    yield service
    await service.stop()


def listed(tmp_path: Path, lesson: str) -> list[Resource]:
    catalog = Catalog(tmp_path / "data" / "library.db")
    found = catalog.of_lesson(lesson)
    catalog.close()
    return found


async def test_two_relays_two_lessons(tmp_path: Path, service: RecorderService) -> None:
    lessons = [LiveLesson("H264", "one"), LiveLesson("VP8", "two")]
    for lesson in lessons:
        await lesson.connect(tmp_path / "tap" / "s")
    await asyncio.gather(*(lesson.run(2) for lesson in lessons))
    stats = service.stats()
    assert (stats["lessons"], stats["taps"]) == (2, 2)
    assert stats["packets"] > 100
    for lesson in lessons:
        assert lesson.relay is not None
        state = await lesson.relay.expect("state", state="recording")
        assert state[1] == lesson.name
        lesson.relay.send("end", lesson.name)
    for lesson in lessons:
        assert lesson.relay is not None
        assert (await lesson.relay.expect("done"))[1] == lesson.name
        await lesson.disconnect()
        assert len(listed(tmp_path, lesson.name)) == 1


async def test_gaps_are_counted_once_and_the_bell_does_not_take_them_back(
    tmp_path: Path, service: RecorderService
) -> None:
    lesson = LiveLesson("VP8")
    await lesson.connect(tmp_path / "tap" / "s")
    await lesson.run(1)
    assert service.stats()["gaps"] == 0
    await lesson.disconnect()
    await lesson.run(1.5)
    await lesson.connect(tmp_path / "tap" / "s")
    await lesson.run(2)
    found = service.stats()["gaps"]
    assert found > 0
    assert lesson.relay is not None
    lesson.relay.send("end", lesson.name)
    await lesson.relay.expect("done")
    assert service.stats()["lessons"] == 0
    assert service.stats()["gaps"] >= found
    await lesson.disconnect()
    [resource] = listed(tmp_path, lesson.name)
    known = read_manifest(tmp_path / "data" / "archive" / resource.recording)
    assert service.stats()["gaps"] == len(known.gaps)


async def test_a_relay_that_comes_back_goes_on_in_the_same_recording(tmp_path: Path, service: RecorderService) -> None:
    lesson = LiveLesson("VP8")
    await lesson.connect(tmp_path / "tap" / "s")
    await lesson.run(1.5)
    await lesson.disconnect()
    await lesson.run(1.5)
    await lesson.connect(tmp_path / "tap" / "s")
    await lesson.run(3)
    assert lesson.relay is not None
    lesson.relay.send("end", lesson.name)
    await lesson.relay.expect("done")
    await lesson.disconnect()
    [found] = listed(tmp_path, lesson.name)
    assert found.duration == pytest.approx((lesson.last_sent - lesson.begin) / S, abs=0.3)
    known = read_manifest(tmp_path / "data" / "archive" / found.recording)
    assert {(gap.track, gap.reason) for gap in known.gaps} == {("camera/audio", "relay"), ("camera/video", "relay")}


async def test_a_relay_that_never_comes_back_ends_the_lesson(
    tmp_path: Path, service: RecorderService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GRACE", S // 2)
    lesson = LiveLesson("H264")
    await lesson.connect(tmp_path / "tap" / "s")
    await lesson.run(1.5)
    await lesson.disconnect()
    await until(lambda: listed(tmp_path, lesson.name), "the lesson is listed")


async def test_an_empty_lesson_is_done_at_once_and_leaves_nothing(tmp_path: Path, service: RecorderService) -> None:
    relay = await Relay.connect(tmp_path / "tap" / "s")
    relay.send("open", "empty", "空课", 0)
    relay.send("end", "empty")
    await relay.expect("done")
    relay.send("end", "never heard of")
    await relay.expect("done")
    await relay.close()
    assert list((tmp_path / "data" / "archive").iterdir()) == []


async def test_a_keyframe_is_asked_for_when_a_start_has_none(tmp_path: Path, service: RecorderService) -> None:
    lesson = LiveLesson("VP8")
    lesson.picture.number = 1  # the keyframe was sent before the recorder was there
    await lesson.connect(tmp_path / "tap" / "s")
    await lesson.run(0.5)
    assert lesson.relay is not None
    assert (await lesson.relay.expect("keyframe"))[1] == 1
    await lesson.disconnect()


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x00",
        tap.encode("hello", 99, b""),
        tap.encode("open", "x", "y", 0),
        tap.encode("hello", tap.VERSION, b"") + tap.encode("rtp", 1, [["x", 5]]),
        tap.encode("hello", tap.VERSION, b"") + tap.encode("track", "x", 1, "p" * 999, "audio", "opus", 48000, 2),
        tap.encode("hello", tap.VERSION, b"") + tap.encode("open", 5),
        tap.encode("hello", tap.VERSION, b"") + tap.encode("open", "l", "t", 0) + tap.encode("clock", 1, "x", 1, 1),
    ],
)
async def test_what_is_no_tap_is_closed_and_others_go_on(tmp_path: Path, service: RecorderService, junk: bytes) -> None:
    lesson = LiveLesson("H264")
    await lesson.connect(tmp_path / "tap" / "s")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "tap" / "s")
    writer.write(junk)
    await asyncio.wait_for(reader.read(), 20)  # to its end: closed by the recorder
    writer.close()
    await until(lambda: service.stats()["taps_bad"] == 1)
    await lesson.run(0.8)
    assert service.stats()["packets"] > 20
    await lesson.disconnect()


async def test_packets_that_are_none_and_codecs_that_are_none_disturb_nobody(
    tmp_path: Path, service: RecorderService
) -> None:
    lesson = LiveLesson("VP8")
    await lesson.connect(tmp_path / "tap" / "s")
    assert lesson.relay is not None
    lesson.relay.send("track", lesson.name, 9, "screen", "video", "H265", 90000, 1)
    lesson.relay.send("track", "no such lesson", 10, "screen", "video", "VP8", 90000, 1)
    lesson.relay.send("rtp", 1, [[0, b""], [0, b"\x00" * 12], [0, bytes(range(200))]])
    lesson.relay.send("rtp", 77, [[0, b"x"]])
    lesson.relay.send("from the future", 1, 2, 3)
    await lesson.run(1.5)
    lesson.relay.send("end", lesson.name)
    await lesson.relay.expect("done")
    assert service.stats()["tracks_refused"] == 1
    await lesson.disconnect()
    assert len(listed(tmp_path, lesson.name)) == 1


async def test_over_tcp_the_secret_must_be_known(tmp_path: Path) -> None:
    service = RecorderService(tmp_path / "data", "tcp:127.0.0.1:0", b"the secret")
    await service.start()
    assert service.port > 0

    async def knock(secret: bytes) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        decoder = tap.Decoder()
        frames: list[list[object]] = []
        while not frames:
            frames += decoder.feed(await asyncio.wait_for(reader.read(1000), 20))
        name, nonce = frames[0]
        assert name == "challenge" and isinstance(nonce, bytes) and len(nonce) == 32
        writer.write(tap.encode("hello", tap.VERSION, tap.answer(secret, nonce)))
        answer = list(decoder.feed(await asyncio.wait_for(reader.read(1000), 20)))
        writer.close()
        return answer == [["ready"]]

    assert await knock(b"the secret")
    assert not await knock(b"another")
    assert not await knock(b"")
    await service.stop()


def test_a_tap_over_tcp_without_a_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="secret"):
        RecorderService(tmp_path, "tcp:127.0.0.1:0", b"")


class SlowDisk(Disk):
    """Every fdatasync takes long, until told otherwise."""

    def __init__(self) -> None:
        import threading

        self.go = threading.Event()
        self.go.set()

    def sync(self, descriptor: int) -> None:
        self.go.wait(60)
        super().sync(descriptor)


async def test_a_disk_that_is_too_slow_costs_a_listed_gap_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUE_FRAGMENTS", 4)
    monkeypatch.setattr(limits, "DISK_RETRY", S // 10)
    disk = SlowDisk()
    service = RecorderService(tmp_path / "data", f"unix:{tmp_path}/tap/s", b"", disk)
    await service.start()
    lesson = LiveLesson("VP8")
    await lesson.connect(tmp_path / "tap" / "s")
    relay = lesson.relay
    assert relay is not None
    await lesson.run(1)
    disk.go.clear()
    for _ in range(100):
        await lesson.run(0.2)
        if service.stats()["overload"]:
            break
    assert service.stats()["overload"] == 1
    disk.go.set()
    for _ in range(100):
        relay.frames.clear()
        await lesson.run(0.3)
        if any(frame[0] == "state" and frame[2] == "recording" for frame in relay.frames):
            break
    await lesson.run(2.2)
    relay.send("end", lesson.name)
    await relay.expect("done")
    await lesson.disconnect()
    await service.stop()
    [found] = listed(tmp_path, lesson.name)
    known = read_manifest(tmp_path / "data" / "archive" / found.recording)
    assert {gap.track for gap in known.gaps if gap.reason == "overload"} == {"camera/audio", "camera/video"}
    assert found.duration == pytest.approx((lesson.last_sent - lesson.begin) / S, abs=0.3)


async def test_the_end_may_come_first_after_a_restart(tmp_path: Path) -> None:
    lesson = LiveLesson("VP8")
    first = RecorderService(tmp_path / "data", f"unix:{tmp_path}/tap/s", b"")
    await first.start()
    await lesson.connect(tmp_path / "tap" / "s")
    await lesson.run(1.2)
    await first.stop()
    await lesson.disconnect()
    second = RecorderService(tmp_path / "data", f"unix:{tmp_path}/tap/s", b"")
    await second.start()
    relay = await Relay.connect(tmp_path / "tap" / "s")
    relay.send("end", lesson.name)
    await relay.expect("done")
    await relay.close()
    await second.stop()
    assert len(listed(tmp_path, lesson.name)) == 1
