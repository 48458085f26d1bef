"""The core's state: a lesson with everybody in it, and the house with all its lessons."""

from __future__ import annotations

from dataclasses import dataclass, field

from signaling import messages as m
from signaling import relay as r
from signaling.core import commands as c
from signaling.core.lesson import Lesson
from signaling.core.publishing import Publishing
from signaling.core.seats import Connection, Seat, SeatKey
from signaling.limits import STRAY_SECONDS
from signaling.settings import SignalingSettings

Effects = list[c.Effect]
"""What a command has caused so far; whoever causes more appends."""


@dataclass(slots=True)
class Running:
    """A lesson that is not archived, with everybody in it."""

    lesson: Lesson
    seats: dict[SeatKey, Seat] = field(default_factory=dict)
    teachers: set[SeatKey] = field(default_factory=set)
    publishing: Publishing = field(default_factory=Publishing)
    told: dict[SeatKey, m.SeatView] = field(default_factory=dict)
    dirty: set[SeatKey] = field(default_factory=set)
    batch_at: float = 0.0
    teacherless_since: float | None = None
    strays: dict[str, float] = field(default_factory=dict)
    """Publishers that a relay knows and we do not (we were restarted): when each was last heard of."""
    recording: r.RecorderState | None = None
    farewell_at: float | None = None

    def counts(self) -> m.Counts:
        states = [seat.state for seat in self.seats.values() if seat.role == "classroom"]
        gone = states.count("gone")
        return m.Counts(len(states) - gone, states.count("watching"), states.count("poor"), gone)

    def taught(self, now: float) -> bool:
        """Is a teacher here: by socket, by connection, or as a publisher from before our restart?"""
        if any(self.seats[key].present for key in self.teachers):
            return True
        return any(now - heard < STRAY_SECONDS for heard in self.strays.values())

    def mind_teacher(self, now: float) -> None:
        """After anything that may have brought a teacher or taken the last one away."""
        if self.lesson.state != "live" or self.taught(now):
            self.teacherless_since = None
        elif self.teacherless_since is None:
            self.teacherless_since = now

    def shift(self, by: float) -> None:
        """The clock jumped ahead by so many seconds that did not pass: what is awaited is awaited as long as before."""
        self.batch_at += by
        if self.teacherless_since is not None:
            self.teacherless_since += by
        if self.farewell_at is not None:
            self.farewell_at += by
        self.strays = {stray: heard + by for stray, heard in self.strays.items()}
        for seat in self.seats.values():
            seat.latency_at += by
            for connection in seat.connections.values():
                connection.asked_at += by


@dataclass(slots=True)
class House:
    """All lessons of this process, and where each connection and each socket belongs."""

    settings: SignalingSettings
    running: dict[str, Running] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    sockets: dict[str, tuple[str, SeatKey]] = field(default_factory=dict)

    def open_lesson(self, lesson: str, effects: Effects) -> Running | None:
        """The lesson if it may still be entered; else the effect is a refusal."""
        running = self.running.get(lesson)
        if running is None or running.lesson.over:
            effects.append(c.Refuse("unknown-lesson" if running is None else "lesson-ended"))
            return None
        return running
