"""Lessons in which nothing was published, or only a voice: the class and the library say the same of them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.support.waiting import until
from tests.support.whole_server import school, watch


async def test_a_lesson_in_which_nothing_was_published_ends_and_leaves_nothing(tmp_path: Path) -> None:
    async with school(tmp_path / "data") as here:
        never, waited = await here.create("没有人来"), await here.create("老师没有来")
        async with here.classroom(waited, "莪山小学") as room:
            await until(lambda: room.stats().connected_ms is not None, "the classroom waits")
            for lesson in (never, waited):
                await here.end(lesson)
        for lesson in (never, waited):
            found = await here.lesson(lesson)
            assert (found["state"], found.get("resource")) == ("ended", None)
            assert await here.resources(lesson) == []
        assert list((here.data / "archive").iterdir()) == []


async def test_a_lesson_of_voice_alone_is_recorded_and_found(tmp_path: Path) -> None:
    async with school(tmp_path / "data") as here:
        lesson = await here.create("听写")
        command = ["-m", "tests.support.whip_teacher", f"{here.server.url}/whip/{lesson}", "--voice-only"]
        token = {"TEACHER_TOKEN": here.token(lesson, "teacher", "teacher")}
        teacher = await asyncio.create_subprocess_exec(sys.executable, *command, env=os.environ | token)
        try:
            async with here.classroom(lesson, "莪山小学") as room:
                await until(lambda: room.stats().packets > 150, "the voice in the classroom")
                await here.end(lesson)
        finally:
            teacher.terminate()
            await teacher.wait()
        resource = await here.archived(lesson)
        heard = watch(await here.fetch(resource, tmp_path / "recording"))
    assert (resource["poster"], resource["width"], resource["gaps"]) == (None, 0, [])
    assert heard.pictures == ()
    assert heard.holes == 0
    assert heard.sound > 2
    assert abs(heard.sound - resource["duration"]) < 0.1
