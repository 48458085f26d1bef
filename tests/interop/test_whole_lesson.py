"""The main job as one command, and the process around it: started, watched, stopped, killed."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from loadtest.classroom import VirtualClassroom
from loadtest.teacher import VirtualTeacher
from server.app.texts import say
from server.app.tls import FILE
from signaling.roles import Role
from signaling.store import LessonStore
from signaling.tokens import Tokens, load_or_make_secret
from tests.support.processes import Serving, json_of, kongzhong
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def new_lesson(data: Path) -> str:
    store = LessonStore(data / "lessons.db")
    try:
        return store.create("分数的初步认识").id
    finally:
        store.close()


def token(data: Path, lesson: str, role: Role, seat: str = "seat") -> str:
    return Tokens(load_or_make_secret(data)).issue(lesson, role, seat)


async def test_the_demo_command_holds_a_whole_lesson_and_finds_everything() -> None:
    done = await asyncio.to_thread(kongzhong, "demo", "--seconds", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything is there" in done.stdout
    assert "✗" not in done.stdout and done.stdout.count("✓") >= 9
    assert done.stderr == ""


async def test_serve_with_demo_prints_links_that_open_and_shows_the_lesson(tmp_path: Path) -> None:
    async with Serving(tmp_path / "data", "--media", "127.0.0.1:0", "--demo") as serving:
        await until(lambda: "watching" in serving.said(), "a classroom watches", limit=60)
        links = [word for word in serving.said().split() if word.startswith(serving.url)]
        assert len(links) >= 4
        async with aiohttp.ClientSession() as http:
            for link in links:
                async with http.get(link.partition("#")[0]) as response:
                    assert response.status == 200 and "html" in response.headers["Content-Type"]
        store = LessonStore(serving.data / "lessons.db")
        assert [lesson.state for lesson in store.list()] == ["live"]
        store.close()
    # The same demo lesson is taken up again: a restart makes no second one.
    async with Serving(tmp_path / "data", "--media", "127.0.0.1:0", "--demo") as serving:
        store = LessonStore(serving.data / "lessons.db")
        await until(lambda: len(store.list()) == 1)
        store.close()


async def test_tls_auto_serves_pages_and_lessons_over_https(tmp_path: Path) -> None:
    async with Serving(
        tmp_path / "data", "--media", "127.0.0.1:0", "--tls", "auto", "--demo", scheme="https"
    ) as serving:
        await until(lambda: "watching" in serving.said(), "a classroom watches over HTTPS", limit=60)
        trust = ssl.create_default_context(cafile=str(serving.data / FILE))
        async with aiohttp.ClientSession() as http, http.get(serving.url + "/teach", ssl=trust) as response:
            assert response.status == 200


async def test_a_stop_in_mid_lesson_leaves_no_process_and_the_lesson_goes_on_after_the_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with AsyncExitStack() as stack, Serving(data, "--media", "127.0.0.1:0") as serving:
        lesson = new_lesson(data)
        url = f"{serving.url}/whip/{lesson}"
        teacher = VirtualTeacher(url, token(data, lesson, "teacher"))
        await stack.enter_async_context(teacher)
        await until(lambda: list((data / "archive").glob("*/manifest*")), "the recording has begun")
        recorders = children(serving.process.pid)
        assert recorders
        assert await serving.stop() == 0
        assert not any(alive(pid) for pid in recorders)
        serving = await stack.enter_async_context(Serving(data, "--media", "127.0.0.1:0"))
        headers = {"Authorization": f"Bearer {token(data, lesson, 'ops')}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            url = f"{serving.url}/api/lessons/{lesson}"
            assert (await json_of(http, url))["state"] == "live"
            again = VirtualTeacher(f"{serving.url}/whip/{lesson}", token(data, lesson, "teacher"))
            await stack.enter_async_context(again)
            await until(lambda: again.stats().sent.frames > 30, "the teacher goes on")
            done = await asyncio.to_thread(
                kongzhong, "lesson", "end", lesson, "--data", str(data), "--http", f"127.0.0.1:{serving.port}"
            )
            assert done.returncode == 0 and done.stdout.strip() in ("ended", "archived"), done.stderr

            async def archived() -> bool:
                return bool((await json_of(http, url)).get("resource"))

            await eventually(archived, "it is in the library, also what was recorded before the stop")


async def test_a_killed_server_leaves_no_recorder_behind(tmp_path: Path) -> None:
    async with Serving(tmp_path / "data", "--media", "127.0.0.1:0") as serving:
        recorders = children(serving.process.pid)
        assert recorders and all(alive(pid) for pid in recorders)
        serving.process.kill()
        await until(lambda: not any(alive(pid) for pid in recorders), "the recorder is gone too")


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with Serving(data, "--media", "127.0.0.1:0") as serving:
        # A client that never reads its download holds up a graceful stop; so does a recorder that is stopped.
        (recorder,) = children(serving.process.pid)
        os.kill(recorder, signal.SIGSTOP)
        serving.process.terminate()
        await until(lambda: say("stopping", "en") in serving.said())
        assert serving.process.returncode is None
        serving.process.terminate()
        async with asyncio.timeout(30):
            assert await serving.process.wait() == 130
        await until(lambda: not alive(recorder), "the recorder is gone too")


async def test_a_recorder_that_dies_is_started_again_and_the_lesson_does_not_notice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with AsyncExitStack() as stack:
        serving = await stack.enter_async_context(Serving(data, "--media", "127.0.0.1:0"))
        lesson = new_lesson(data)
        await stack.enter_async_context(VirtualTeacher(f"{serving.url}/whip/{lesson}", token(data, lesson, "teacher")))
        room = VirtualClassroom(f"{serving.url}/whep/{lesson}", token(data, lesson, "classroom"))
        await stack.enter_async_context(room)
        await until(lambda: room.stats().frames > 15)
        (before,) = children(serving.process.pid)
        os.kill(before, signal.SIGKILL)
        await until(lambda: children(serving.process.pid) not in ([], [before]), "another recorder runs")
        frames = room.stats().frames
        await until(lambda: room.stats().frames > frames + 30)
        assert room.stats().reconnects == 0
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def ready() -> bool:
            return (await json_of(http, serving.url + "/readyz"))["status"] == "ok"

        await eventually(ready, "the recorder is connected again")
