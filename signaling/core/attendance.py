"""Attendance: who was in which lesson from when to when, as the core says it and the store keeps it."""

from __future__ import annotations

import msgspec


class Attendance(msgspec.Struct, frozen=True):
    """One interval of a seat; ``end`` is ``None`` while it lasts, or when the process was killed in it."""

    lesson: str
    seat: str
    role: str
    start: float
    end: float | None = None
