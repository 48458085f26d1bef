"""The roles as processes, and Redis stopped and started again in mid-lesson: the lesson goes on, joins to it too."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from loadtest.classroom import VirtualClassroom
from loadtest.teacher import VirtualTeacher
from signaling.store import LessonStore
from signaling.tokens import Tokens, load_or_make_secret
from tests.support.processes import Serving, free_tcp_port, json_of
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@dataclass
class Bureau:
    """One machine with the three roles apart; ``data`` is signaling's and the recorder's (a shared disk)."""

    redis: RedisServer
    signaling: Serving
    relay: Serving
    recorder: Serving
    data: Path
    stack: AsyncExitStack

    def lesson(self) -> str:
        store = LessonStore(self.data / "lessons.db")
        try:
            return store.create("分数的初步认识").id
        finally:
            store.close()

    def token(self, lesson: str, role: str, seat: str) -> str:
        return Tokens(load_or_make_secret(self.data)).issue(lesson, role, seat)  # type: ignore[arg-type]

    async def teacher(self, lesson: str) -> VirtualTeacher:
        url = f"{self.signaling.url}/whip/{lesson}"
        return await self.stack.enter_async_context(VirtualTeacher(url, self.token(lesson, "teacher", "teacher")))

    async def classroom(self, lesson: str, name: str) -> VirtualClassroom:
        url = f"{self.signaling.url}/whep/{lesson}"
        room = VirtualClassroom(url, self.token(lesson, "classroom", name), name=name)
        return await self.stack.enter_async_context(room)


@pytest.fixture
async def bureau(tmp_path: Path) -> AsyncIterator[Bureau]:
    async with AsyncExitStack() as stack:
        redis = RedisServer(tmp_path / "redis")
        redis.start()
        stack.callback(redis.stop)
        data = tmp_path / "shared"
        load_or_make_secret(data)
        relay_data = tmp_path / "relay"
        relay_data.mkdir()
        shutil.copy(data / "token-secret", relay_data)  # the relay is another machine that knows the secret
        common = ("--redis", redis.url, "--lease", "1")
        tap = f"tcp:127.0.0.1:{free_tcp_port()}"
        recorder = await stack.enter_async_context(Serving(data, "--role", "recorder", "--tap", tap, *common))
        relay = await stack.enter_async_context(
            Serving(relay_data, "--role", "relay", "--media", "127.0.0.1:0", *common)
        )
        signaling = await stack.enter_async_context(Serving(data, "--role", "signaling", *common))
        clients = await stack.enter_async_context(AsyncExitStack())
        yield Bureau(redis, signaling, relay, recorder, data, clients)


def watching(room: VirtualClassroom) -> bool:
    return room.stats().frames > 0


async def goes_on(room: VirtualClassroom) -> None:
    before = room.stats().frames
    await until(lambda: room.stats().frames > before + 15, "more frames")


async def test_a_lesson_survives_redis_and_takes_new_classrooms_meanwhile(bureau: Bureau) -> None:
    lesson = bureau.lesson()
    await bureau.teacher(lesson)
    first = await bureau.classroom(lesson, "first")
    await until(lambda: watching(first), "the first classroom sees the lesson")

    bureau.redis.stop()
    await goes_on(first)
    second = await bureau.classroom(lesson, "second")
    await until(lambda: watching(second), "a classroom joins while Redis is away")
    async with aiohttp.ClientSession() as http:
        assert (await json_of(http, bureau.signaling.url + "/readyz"))["status"] == "degraded"
        assert (await json_of(http, bureau.relay.url + "/healthz"))["status"] == "ok"

        bureau.redis.start()
        for serving in (bureau.signaling, bureau.relay, bureau.recorder):
            await _until_ok(http, serving)
    third = await bureau.classroom(lesson, "third")
    await until(lambda: watching(third), "a classroom joins after Redis is back")
    await goes_on(first)
    assert first.stats().reconnects == second.stats().reconnects == 0

    another = bureau.lesson()
    await bureau.teacher(another)
    fourth = await bureau.classroom(another, "fourth")
    await until(lambda: watching(fourth), "a new lesson is placed after Redis is back")


async def test_a_lesson_that_ends_while_redis_is_away_is_in_the_library(bureau: Bureau) -> None:
    lesson = bureau.lesson()
    await bureau.teacher(lesson)
    room = await bureau.classroom(lesson, "room")
    await until(lambda: watching(room))
    bureau.redis.stop()
    await goes_on(room)
    headers = {"Authorization": f"Bearer {bureau.token(lesson, 'ops', 'ops')}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{bureau.signaling.url}/api/lessons/{lesson}/end", json={}) as response:
            assert response.status == 200
        state: dict[str, object] = {}
        for _ in range(300):
            state = await json_of(http, f"{bureau.signaling.url}/api/lessons/{lesson}")
            if state.get("resource"):
                break
            await asyncio.sleep(0.1)
        assert state["state"] == "archived" and state["resource"]


async def _until_ok(http: aiohttp.ClientSession, serving: Serving) -> None:
    found: dict[str, object] = {}
    for _ in range(300):
        found = await json_of(http, serving.url + "/readyz")
        if found["status"] == "ok":
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{serving.url} is not ready again: {found}")
