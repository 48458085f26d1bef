"""Carries the core's changes to the store: off the loop, in batches, again and again until the store takes them.

A transaction costs more than the join that it records. So attendance is gathered for a moment, unless a lesson's state
or somebody who waits cannot.

The invariant: a lesson's newest state is never dropped, only overtaken by a newer one; attendance is bounded, and what
falls off is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from signaling.core.attendance import Attendance
from signaling.core.lesson import Lesson
from signaling.limits import ATTENDANCE_GATHERED, PATIENCE_SECONDS, PENDING_ATTENDANCE, RETRY_SECONDS
from signaling.store import LessonStore

_log = logging.getLogger(__name__)


class Writer:
    def __init__(self, store: LessonStore, on_drop: Callable[[], None]) -> None:
        self._store = store
        self._on_drop = on_drop
        self._lessons: dict[str, Lesson] = {}
        self._attendance: deque[Attendance] = deque()
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.failing: str | None = None
        """Why the store does not take what we have, for readiness."""

    def lesson(self, lesson: Lesson) -> None:
        self._lessons[lesson.id] = lesson
        self._urgent.set()
        self._stir()

    def attended(self, interval: Attendance) -> None:
        if len(self._attendance) >= PENDING_ATTENDANCE:
            self._attendance.popleft()
            self._on_drop()
        self._attendance.append(interval)
        self._stir()

    def _stir(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def drained_soon(self) -> bool:
        """Wait until everything so far is in the store, but not longer than a person waits for a button."""
        self._urgent.set()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), ATTENDANCE_GATHERED)
            self._wake.clear()
            self._urgent.clear()
            lessons, self._lessons = self._lessons, {}
            attendance, self._attendance = self._attendance, deque()
            try:
                await asyncio.to_thread(self._write, list(lessons.values()), list(attendance))
            except (SQLAlchemyError, OSError) as error:
                if self.failing is None:
                    _log.error("the lesson store does not take changes, trying again: %s", type(error).__name__)
                self.failing = type(error).__name__
                self._lessons = {**lessons, **self._lessons}
                attendance.extend(self._attendance)
                while len(attendance) > PENDING_ATTENDANCE:
                    attendance.popleft()
                    self._on_drop()
                self._attendance = attendance
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()
                continue
            self.failing = None
            if not self._wake.is_set():
                self._idle.set()

    def _write(self, lessons: list[Lesson], attendance: list[Attendance]) -> None:
        self._store.save(lessons)
        # An interval may have begun and ended since the last batch: the later row of one key is the one.
        newest = {(a.lesson, a.seat, a.role, a.start): a for a in attendance}
        self._store.attended(newest.values())
