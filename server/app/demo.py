"""``kongzhong demo``: the whole main job without a person, on a data folder and ports of its own.

The server runs as a process of its own, started by the command a person would type. Everything that is reported was
seen from outside: by the clients, through HTTP, or in the recorded file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from loadtest.classroom import ClassroomStats, VirtualClassroom
from loadtest.rawclient.publisher import PublisherStats
from loadtest.teacher import VirtualTeacher
from server.app import folder
from server.app.config import Config
from server.app.demo_lesson import SCHOOLS
from server.app.recorded import Recorded, read
from server.app.supervise import die_with
from server.app.texts import say
from signaling.store import LessonStore
from signaling.tokens import Tokens, load_or_make_secret

READY_WITHIN = 30.0
LISTED_WITHIN = 60.0
"""The product's promise for the library entry after the bell."""
FLOWING_WITHIN = 15.0


class DemoError(Exception):
    """A step of the main job did not happen."""


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
    async with _server(data) as base, aiohttp.ClientSession(base) as http:
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


@contextlib.asynccontextmanager
async def _server(data: Path) -> AsyncIterator[str]:
    """``kongzhong serve`` in a process of its own, ready; stopped with SIGTERM."""
    http, media = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
    code = "import sys; from server.app.demo import serve_child; serve_child()"
    arguments = ["serve", "--data", str(data), "--http", f"127.0.0.1:{http}", "--media", f"127.0.0.1:{media}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(os.getpid()), *arguments, "--log-level", "warning"),
        env={name: value for name, value in os.environ.items() if not name.startswith("KONGZHONG_")},
        start_new_session=True,
    )
    base = f"http://127.0.0.1:{http}"
    try:
        await _ready(base, process)
        yield base
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def serve_child() -> None:
    """Entry of the server's process: it ends when whoever holds the demo does."""
    from server.app.cli import main

    die_with(int(sys.argv.pop(1)))
    main(prog_name="kongzhong")


async def _ready(base: str, process: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + READY_WITHIN
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise DemoError(f"the server ended with exit code {process.returncode}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{base}/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise DemoError("the server is not ready")


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


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
