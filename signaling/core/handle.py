"""The class as a synchronous core: ``handle(command, now) -> effects``. No clock, no socket, no await, no store.

The invariant: everything that happens in a lesson passes through ``Core.handle``, one command at a time, and whatever
must happen outside comes back as an effect. ``now`` is Unix seconds and never steps back (the shell sees to that); when
it leaps ahead of the time that passed, the shell says so (``Jumped``).
"""

from __future__ import annotations

from typing import assert_never

from signaling import messages as m
from signaling.core import commands as c
from signaling.core.hearing import Hearing
from signaling.core.lesson import Lesson
from signaling.core.life import Life
from signaling.core.presence import Presence
from signaling.core.running import Effects, House
from signaling.core.totals import Totals, totals_of
from signaling.settings import SignalingSettings


class Core:
    """All lessons of this signaling process."""

    def __init__(self, settings: SignalingSettings) -> None:
        self._house = House(settings)
        self._presence = Presence(self._house)
        self._life = Life(self._house, self._presence)
        self._hearing = Hearing(self._house, self._presence, self._life)

    # --- what the shells may ask --------------------------------------------------------------------------------

    def lesson(self, lesson: str) -> Lesson | None:
        running = self._house.running.get(lesson)
        return None if running is None else running.lesson

    def lessons(self) -> list[Lesson]:
        return [running.lesson for running in self._house.running.values()]

    def knows(self, connection: str) -> bool:
        return connection in self._house.connections

    def detail(self, lesson: str, *, seats: bool) -> m.LessonDetail | None:
        running = self._house.running.get(lesson)
        if running is None:
            return None
        views = tuple(seat.view() for seat in running.seats.values()) if seats else None
        counts = running.counts() if seats else None
        return m.lesson_detail(running.lesson, running.publishing.views(), views, counts)

    def connections(self, lesson: str) -> tuple[m.ConnectionView, ...]:
        running = self._house.running.get(lesson)
        if running is None:
            return ()
        return tuple(
            connection.view()
            for seat in running.seats.values()
            for connection in seat.connections.values()
            if connection.opened
        )

    def has_layer(self, connection: str, rid: str) -> bool:
        known = self._house.connections.get(connection)
        if known is None:
            return False
        return self._house.running[known.lesson].publishing.has_layer(known.publication, rid)

    def totals(self, now: float) -> Totals:
        return totals_of(self._house.running.values(), now)

    def next_time(self, now: float) -> float | None:
        """When ``Tick`` is due; ``None`` when nothing waits for time."""
        return self._life.next_time(now)

    # --- what happens ---------------------------------------------------------------------------------------------

    def handle(self, command: c.Command, now: float) -> list[c.Effect]:
        effects: Effects = []
        match command:
            case c.Learn():
                self._life.learn(command.lesson, now, effects)
            case c.Join():
                self._presence.join(command, now, effects)
            case c.Opened():
                self._presence.opened(command.connection, now, effects)
            case c.Failed():
                self._presence.over(command.connection, now, effects, at_relay=False)
            case c.Leave():
                self._presence.over(command.connection, now, effects, at_relay=True)
            case c.Attach():
                self._presence.attach(command, now, effects)
            case c.Detach():
                self._presence.detach(command.socket, now, effects)
            case c.Heard():
                self._hearing.heard(command.event, now, effects)
            case c.Reported():
                self._hearing.reported(command, now, effects)
            case c.End():
                self._life.end(command.lesson, now, effects)
            case c.Found():
                self._life.found(command.lesson, command.resource, now, effects)
            case c.Jumped():
                self._presence.jumped(command.by, now, effects)
            case c.Tick():
                self._life.tick(now, effects)
            case _:
                assert_never(command)
        return effects
