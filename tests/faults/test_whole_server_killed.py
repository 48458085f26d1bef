"""kill -9 of a part or of all of the real server in mid-lesson: what the people in it see, and what is recorded."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtest.rawclient.media import sample
from recorder.library.catalog import Catalog
from recorder.limits import GRACE, S
from tests.support.processes import kongzhong
from tests.support.small_disk import fill, small_disk
from tests.support.waiting import until
from tests.support.whole_server import (
    RATE,
    School,
    Watched,
    covered,
    epoch,
    gone,
    last_clock,
    school,
    step,
    vanish,
    watch,
)

pytestmark = pytest.mark.slow
BACK = 90.0
"""Seconds for clients to come back by themselves: an encoder notices a killed server after 30 s (RFC 7675)."""


def outage(seen: Watched) -> tuple[tuple[float, int], tuple[float, int]]:
    """The last picture before the longest pause, and the first after it."""
    return max(pairwise(seen.pictures), key=lambda pair: pair[1][0] - pair[0][0])


async def until_recorder(here: School, condition: Callable[[dict[str, Any]], bool], limit: float = BACK) -> float:
    """Wait for what /api/ops says of recording; returns the seconds recorded by then."""
    async with asyncio.timeout(limit):
        while True:
            recorder = (await here.api("GET", "/api/ops"))["recorder"]
            if condition(recorder):
                return float(recorder["seconds"])
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_nobody_notices_that_the_recorder_was_killed_and_nothing_is_missing(tmp_path: Path, codec: str) -> None:
    rng = random.Random()
    async with school(tmp_path / "data") as here:
        lesson = await here.create()
        rooms = [here.classroom(lesson, name) for name in ("莪山小学", "中洲小学")]
        async with here.teacher(lesson, sample(codec=codec)) as teacher, rooms[0], rooms[1]:
            await until(lambda: all(room.stats().frames > 15 for room in rooms), "pictures in the classrooms")
            before = [room.stats() for room in rooms]
            for _ in range(2):
                await asyncio.sleep(rng.uniform(1.0, 2.0))
                killed = await here.kill_recorder()
                await until(lambda killed=killed: here.recorder not in (None, killed), "the next recorder")
            so_far = await until_recorder(here, lambda recorder: recorder["states"] == {"recording": 1})
            await until_recorder(here, lambda recorder: recorder["seconds"] > so_far + 1)
            after = [room.stats() for room in rooms]
            await here.end(lesson)
        resource = await here.archived(lesson)
        seen = watch(await here.fetch(resource, tmp_path / "recording"))
        assert len(await here.resources(lesson)) == 1

    # What the dead recorder had not written comes again from the relay. A disk that is slow beyond that costs what the
    # promise allows, and it is listed.
    for place, seconds in seen.losses():
        assert seconds <= 1.0
        assert covered(resource["gaps"], place, seconds)
    assert seen.drift() < 0.2
    assert seen.holes == 0
    assert seen.duration == pytest.approx(resource["duration"], abs=0.1)
    assert teacher.stats().reconnects == 0
    for early, late in zip(before, after, strict=True):
        assert late.frames > early.frames
        assert (late.lost, late.reconnects) == (early.lost, 0)


async def test_a_lesson_goes_on_after_the_whole_server_was_killed(tmp_path: Path) -> None:
    async with school(tmp_path / "data") as here:
        lesson = await here.create()
        room = here.classroom(lesson, "莪山小学")
        async with here.teacher(lesson) as teacher, room:
            await until(lambda: room.stats().frames > 45, "pictures in the classroom")
            recorder = await here.kill_server()
            sent, began = last_clock(teacher), epoch(teacher)
            assert recorder is not None
            await until(lambda: gone(recorder), "the recorder dies with its server")
            await here.start()
            assert (await here.lesson(lesson))["state"] == "live"
            await until(lambda: teacher.stats().reconnects == 1, "the teacher is back", BACK)
            shown = room.stats().frames
            await until(lambda: room.stats().frames > shown + 45, "the classroom is back", BACK)
            again = epoch(teacher)
            await here.end(lesson)
        resource = await here.archived(lesson)
        seen = watch(await here.fetch(resource, tmp_path / "recording"))
        assert len(await here.resources(lesson)) == 1

    last, first = outage(seen)
    assert step(last[1], sent) / RATE <= 1.0
    for kind in ("video", "audio"):
        assert covered(resource["gaps"], last[0] + 1, first[0] - last[0] - 2, kind)
    passed = (first[0] - first[1] / RATE) - (last[0] - last[1] / RATE)
    assert passed == pytest.approx(again - began, abs=0.5)
    assert seen.holes == 0
    assert seen.duration == pytest.approx(resource["duration"], abs=0.1)


async def test_what_a_killed_server_left_is_recovered_and_the_rest_of_the_lesson_is_a_second_recording(
    tmp_path: Path,
) -> None:
    async with school(tmp_path / "data") as here:
        lesson = await here.create()
        teacher, room = here.teacher(lesson), here.classroom(lesson, "莪山小学")
        async with room:
            await teacher.start()
            await until(lambda: room.stats().frames > 30, "pictures in the classroom")
            recorder = await here.kill_server()
            sent = last_clock(teacher)
            await vanish(teacher)
        await until(lambda: recorder is None or gone(recorder), "the recorder dies with its server")

        done = await asyncio.to_thread(kongzhong, "recover", "--data", str(here.data))
        assert done.returncode == 0, done.stderr
        catalog = Catalog(here.data / "library.db")
        [left] = catalog.of_lesson(lesson)
        catalog.close()
        seen = watch(here.data / "archive" / left.file)
        assert step(seen.pictures[-1][1], sent) / RATE <= 1.0
        assert seen.losses() == []
        assert seen.duration == pytest.approx(left.duration, abs=0.1)

        await here.start()
        room = here.classroom(lesson, "莪山小学")
        async with here.teacher(lesson), room:
            await until(lambda: room.stats().frames > 75, "pictures in the classroom")
            await here.end(lesson)
        resource = await here.archived(lesson)
        assert len(await here.resources(lesson)) == 2
        assert resource["duration"] > left.duration  # not the first that was there


async def test_a_teacher_whose_line_was_cut_comes_back_to_a_recording_that_kept_time(tmp_path: Path) -> None:
    async with school(tmp_path / "data") as here:
        lesson = await here.create()
        room = here.classroom(lesson, "莪山小学")
        async with room:
            first_teacher = here.teacher(lesson)
            await first_teacher.start()
            await until(lambda: room.stats().frames > 30, "pictures in the classroom")
            began = epoch(first_teacher)
            await vanish(first_teacher)
            await asyncio.sleep(8)  # the length of the outage
            before = room.stats()
            async with here.teacher(lesson) as second_teacher:
                await until(lambda: room.stats().frames > before.frames + 30, "the picture is back")
                again = epoch(second_teacher)
                assert (await here.lesson(lesson))["state"] == "live"
                await here.end(lesson)
            assert room.stats().reconnects == 0  # its seat and its connection stayed
        resource = await here.archived(lesson)
        seen = watch(await here.fetch(resource, tmp_path / "recording"))

    last, first = outage(seen)
    passed = (first[0] - first[1] / RATE) - (last[0] - last[1] / RATE)
    assert passed == pytest.approx(again - began, abs=0.3)
    for kind in ("video", "audio"):
        assert covered(resource["gaps"], last[0] + 0.5, first[0] - last[0] - 1, kind)
    assert seen.holes == 0
    assert seen.duration == pytest.approx(resource["duration"], abs=0.1)


async def test_a_full_disk_costs_the_recording_a_listed_gap_and_the_lesson_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data" / "archive", "8m") as archive:
        async with school(tmp_path / "data") as here:
            lesson = await here.create()
            room = here.classroom(lesson, "莪山小学")
            async with here.teacher(lesson) as teacher, room:
                await until(lambda: room.stats().frames > 15, "pictures in the classroom")
                filler = fill(archive, 64 * 1024)
                await until_recorder(here, lambda recorder: recorder["states"] == {"failing": 1})
                before = room.stats()
                await until(lambda: room.stats().frames > before.frames + 15, "the lesson goes on")
                filler.unlink()
                so_far = await until_recorder(here, lambda recorder: recorder["states"] == {"recording": 1})
                await until_recorder(here, lambda recorder: recorder["seconds"] > so_far + 1)
                after = room.stats()
                await here.end(lesson)
            resource = await here.archived(lesson)
            seen = watch(await here.fetch(resource, tmp_path / "recording"))

    assert (after.lost, after.reconnects, teacher.stats().reconnects) == (before.lost, 0, 0)
    assert seen.losses()
    for place, seconds in seen.losses():
        assert covered(resource["gaps"], place, seconds)
    assert seen.drift() < 0.2
    assert seen.holes == 0


async def test_a_server_that_is_stopped_and_started_in_mid_lesson_goes_on_with_the_same_recording(
    tmp_path: Path,
) -> None:
    async with school(tmp_path / "data") as here:
        lesson = await here.create()
        room = here.classroom(lesson, "莪山小学")
        async with here.teacher(lesson) as teacher, room:
            await until(lambda: room.stats().frames > 30, "pictures in the classroom")
            assert await here.server.stop() == 0
            await here.start()
            assert (await here.lesson(lesson))["state"] == "live"
            await until(lambda: teacher.stats().reconnects == 1, "the teacher is back", BACK)
            shown = room.stats().frames
            await until(lambda: room.stats().frames > shown + 30, "the classroom is back", BACK)
            await here.end(lesson)
        resource = await here.archived(lesson)
        assert len(await here.resources(lesson)) == 1
        seen = watch(await here.fetch(resource, tmp_path / "recording"))
    last, first = outage(seen)
    assert covered(resource["gaps"], last[0] + 0.2, first[0] - last[0] - 0.4)
    assert seen.holes == 0


async def test_a_lesson_that_ends_while_its_recorder_hangs_and_dies_is_archived_whole(tmp_path: Path) -> None:
    async with school(tmp_path / "data") as here:
        lesson = await here.create()
        room = here.classroom(lesson, "莪山小学")
        async with here.teacher(lesson) as teacher, room:
            await until(lambda: room.stats().frames > 30, "pictures in the classroom")
            recorder = here.recorder
            assert recorder is not None
            os.kill(recorder, signal.SIGSTOP)
            await asyncio.sleep(1)
            sent = last_clock(teacher)
            await here.end(lesson)
            os.kill(recorder, signal.SIGKILL)
        resource = await here.archived(lesson)
        seen = watch(await here.fetch(resource, tmp_path / "recording"))
    assert step(seen.pictures[-1][1], sent) in (*range(3), step(1, 0))  # the very end is there
    assert seen.losses() == []
    assert seen.holes == 0


async def test_a_lesson_ended_after_a_restart_before_its_teacher_is_back_is_archived_at_once(tmp_path: Path) -> None:
    """The new relay never heard of the lesson; the recorder must not wait GRACE for it, but hear that it is over."""
    async with school(tmp_path / "data") as here:
        lesson = await here.create()
        async with here.teacher(lesson) as teacher:
            await until(lambda: teacher.stats().sent.frames > 45, "three seconds are taught")
            await until_recorder(here, lambda recorder: recorder["seconds"] > 2)
            await here.kill_server()
        await here.start()
        await here.end(lesson)
        async with asyncio.timeout(GRACE / S / 2):
            resource = await here.archived(lesson)
        assert len(await here.resources(lesson)) == 1
        assert resource["duration"] > 1.5
