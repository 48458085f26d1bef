"""A lesson's life: ``scheduled → live → ended → archived``. It only goes forward; a lesson runs once."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Literal, get_args

import msgspec

LessonState = Literal["scheduled", "live", "ended", "archived"]
STATES: tuple[str, ...] = get_args(LessonState)

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
TITLE_PATTERN = rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$"
"""Something to read, on one line: no control characters, no line breaks, nothing that turns the direction of text."""


class Lesson(msgspec.Struct, frozen=True):
    """One teaching event as the store keeps it. Times are Unix seconds."""

    id: str
    title: str
    state: LessonState
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    resource: str | None = None

    @property
    def over(self) -> bool:
        return self.state in ("ended", "archived")


def new_lesson(title: str, now: float) -> Lesson:
    """A scheduled lesson with a random id (80 bits; short enough to be read out)."""
    return Lesson(id=secrets.token_hex(10), title=title, state="scheduled", created_at=now)


def begin(lesson: Lesson, now: float) -> Lesson:
    """Media of the first publication has come."""
    return lesson if lesson.state != "scheduled" else msgspec.structs.replace(lesson, state="live", started_at=now)


def finish(lesson: Lesson, now: float) -> Lesson:
    """Ended by the teacher or by their absence; also a lesson that never began may be ended."""
    return lesson if lesson.over else msgspec.structs.replace(lesson, state="ended", ended_at=now)


def shelve(lesson: Lesson, resource: str) -> Lesson:
    """Its recording is in the library."""
    if lesson.state != "ended":
        return lesson
    return msgspec.structs.replace(lesson, state="archived", resource=resource)


def further(ours: Lesson, theirs: Lesson) -> bool:
    """Is ``theirs`` (another process wrote it) later in the life than ``ours``?"""
    return STATES.index(theirs.state) > STATES.index(ours.state)


def rfc3339(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
