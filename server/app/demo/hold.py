"""``kongzhong demo``: the whole main job without a person, on a data folder and ports of its own.

The server runs as a process of its own, started by the command a person would type. Everything that is reported was
seen from outside: by the clients, through HTTP, or in the recorded file.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from loadtest.classroom import ClassroomStats, VirtualClassroom
from loadtest.rawclient.publisher import PublisherStats
from loadtest.teacher import VirtualTeacher
from server.app import folder
from server.app.config import Config
from server.app.demo.lesson import SCHOOLS
from server.app.demo.recorded import Recorded, read
from server.app.demo.server import DemoError, serving
from server.app.texts import say
from signaling.store import LessonStore
from signaling.tokens import Tokens, load_or_make_secret

LISTED_WITHIN = 60.0
"""The product's promise for the library entry after the bell."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen. Times in seconds."""

    sent: PublisherStats
    rooms: tuple[tuple[str, ClassroomStats], ...]
    taught: float  # wall clock from the first frame sent to the end
    listed_after: float
    resource: dict[str, object]
    recorded: Recorded


async def hold_lesson(data: Path, seconds: float, tell: asyncio.Queue[str] | None = None) -> Outcome:
    """One lesson of ``seconds``, from nothing to the decoded file.

    :raises DemoError: with the step that did not happen
    """
    config = Config(data=data)
    async with serving(data) as server, aiohttp.ClientSession(server.url) as http:
        base = server.url
        store = LessonStore(folder.lessons_file(config.data))
        lesson = store.create(say("demo.lesson")).id
        store.close()
        tokens = Tokens(load_or_make_secret(data))
        ops = {"Authorization": f"Bearer {tokens.issue('*', 'ops', 'demo')}"}
        teacher = VirtualTeacher(f"{base}/whip/{lesson}", tokens.issue(lesson, "teacher", "teacher"))
        rooms = [
            VirtualClassroom(f"{base}/whep/{lesson}", tokens.issue(lesson, "classroom", name), name=name)
            for name in SCHOOLS
        ]
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(teacher)
            began = time.monotonic()
            for room in rooms:
                await stack.enter_async_context(room)
            await _sleep(seconds, tell)
            taught = time.monotonic() - began
            sent = teacher.stats().sent
            stats = tuple((room.name, room.stats()) for room in rooms)
            async with http.post(f"/api/lessons/{lesson}/end", headers=ops, json={}) as response:
                if response.status != 200:
                    raise DemoError(f"the lesson cannot be ended: HTTP {response.status}")
        ended = time.monotonic()
        resource = await _listed(http, lesson, ops)
        listed_after = time.monotonic() - ended
        file = data / "demo-recording"
        async with http.get(f"/api/library/{resource['id']}/media", headers=ops) as response:
            if response.status != 200:
                raise DemoError(f"the recording cannot be fetched: HTTP {response.status}")
            file.write_bytes(await response.read())
        recorded = await asyncio.to_thread(read, file)
    return Outcome(sent, stats, taught, listed_after, resource, recorded)


async def _listed(http: aiohttp.ClientSession, lesson: str, ops: dict[str, str]) -> dict[str, object]:
    deadline = time.monotonic() + LISTED_WITHIN
    while time.monotonic() < deadline:
        async with http.get("/api/library", headers=ops) as response:
            found = (await response.json())["resources"] if response.status == 200 else []
        for resource in found:
            if resource["lesson"] == lesson:
                return dict(resource)
        await asyncio.sleep(0.2)
    raise DemoError(f"the lesson is not in the library {LISTED_WITHIN:.0f} s after its end")


async def _sleep(seconds: float, tell: asyncio.Queue[str] | None) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if tell is not None:
            tell.put_nowait(f"{left:.0f}")
        await asyncio.sleep(min(1.0, left))
