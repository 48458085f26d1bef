"""The port that signaling needs to know that a lesson is in the library, and how often it asks."""

from __future__ import annotations

from typing import Protocol

from signaling.core.lesson import Lesson

_EAGER_FOR = 600.0  # a 45-minute lesson is in the library within 60 s; ten times that covers a busy machine
_PATIENT_FOR = 86_400.0  # a recorder repaired the next morning


class Archive(Protocol):
    """What the library tells of one lesson."""

    async def find(self, lesson: str) -> str | None:
        """The id of the lesson's resource, or ``None`` while there is none."""


def ask_again_after(lesson: Lesson, now: float) -> float | None:
    """Seconds until the archive is asked for an ended lesson again; ``None``: never (nothing was ever taught)."""
    if lesson.state != "ended" or lesson.started_at is None:
        return None
    age = now - (lesson.ended_at or now)
    if age < _EAGER_FOR:
        return 2.0
    return 60.0 if age < _PATIENT_FOR else 3600.0
