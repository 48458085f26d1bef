"""``serve --demo``: a lesson that is on at once, so that a newcomer sees the product at work."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import msgspec

from server.app import folder
from server.app.demo.child import Member, Orders, Report
from server.app.demo.display import Display, Picture
from server.app.demo.links import page_links
from server.app.parts import Parts
from server.app.supervise import Child
from server.app.texts import say
from server.app.tls import FILE
from signaling.core.lesson import Lesson
from signaling.relay import RecorderState
from signaling.store import LessonStore
from signaling.tokens import Tokens

SCHOOLS = ("莪山小学 三(1)班", "中洲小学 三(2)班", "李家小学 三(1)班")
"""Schools of the county; a classroom's seat is named by school and class."""


class DemoLesson:
    """The lesson of one running server: its people in a child process, its picture on the terminal."""

    def __init__(self, parts: Parts, url: str) -> None:
        self._parts, self._url = parts, url
        self._tasks: list[asyncio.Task[None]] = []
        self._display: Display | None = None

    async def start(self) -> None:
        parts, config = self._parts, self._parts.config
        lesson = await asyncio.to_thread(find_or_make, config.data)
        tokens = Tokens(parts.secret)
        links = page_links(self._url, lesson.id, tokens, config.token_ttl)
        picture = Picture(lesson.title, links, time.monotonic())
        if config.tls == "auto":
            picture.notes.append(say("demo.self-signed"))
        self._display = Display(picture)
        self._display.start()
        await parts.supervise(self._people(lesson, tokens, picture))
        self._tasks = [asyncio.create_task(self._listen(lesson.id, picture)), asyncio.create_task(self._redraw())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._display is not None:
            self._display.stop()

    def _people(self, lesson: Lesson, tokens: Tokens, picture: Picture) -> Child:
        config = self._parts.config
        members = tuple(Member(name, tokens.issue(lesson.id, "classroom", name, config.token_ttl)) for name in SCHOOLS)
        orders = Orders(
            parent=os.getpid(),
            whip=f"{self._url}/whip/{lesson.id}",
            whep=f"{self._url}/whep/{lesson.id}",
            teacher=tokens.issue(lesson.id, "teacher", "demo-teacher", config.token_ttl),
            classrooms=members,
        )

        def take(line: bytes) -> None:
            picture.report = msgspec.json.decode(line, type=Report)

        return Child(
            "demo",
            [sys.executable, "-m", "server.app.demo.child"],
            orders=msgspec.json.encode(orders),
            on_line=take,
            stderr=self._parts.child_stderr,
            # OpenSSL's variable for trusted certificates: the demo's clients trust our own self-signed one, no other.
            environment={"SSL_CERT_FILE": str(config.data / FILE)} if config.tls == "auto" else None,
        )

    async def _listen(self, lesson: str, picture: Picture) -> None:
        directory = self._parts.directory
        if directory is None:
            return
        async for event in directory.all_events():
            if isinstance(event, RecorderState) and event.lesson == lesson:
                picture.recording = event

    async def _redraw(self) -> None:
        while self._display is not None:
            self._display.update()
            await asyncio.sleep(0.25)


def find_or_make(data: Path) -> Lesson:
    """The demo's own lesson if it has not ended, else a new one; ``run/demo`` in the data folder remembers which."""
    store = LessonStore(folder.lessons_file(data))
    note = data / "run" / "demo"
    try:
        known = store.get(note.read_text(encoding="ascii").strip()) if note.exists() else None
        if known is not None and known.state in ("scheduled", "live"):
            return known
        made = store.create(say("demo.lesson"))
        note.write_text(made.id, encoding="ascii")
        return made
    finally:
        store.close()
