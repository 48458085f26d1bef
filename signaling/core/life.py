"""A running lesson's life: learnt from the store, begun, ended, shelved; and what is due when time passes."""

from __future__ import annotations

from signaling import messages as m
from signaling.core import commands as c
from signaling.core.lesson import Lesson, finish, further, shelve
from signaling.core.presence import Presence
from signaling.core.running import Effects, House, Running
from signaling.limits import STRAY_SECONDS

_ENDED = 4410


class Life:
    def __init__(self, house: House, presence: Presence) -> None:
        self._house = house
        self._presence = presence

    def learn(self, lesson: Lesson, now: float, effects: Effects) -> None:
        running = self._house.running.get(lesson.id)
        if running is None:
            if lesson.state != "archived":
                running = self._house.running[lesson.id] = Running(lesson)
                running.mind_teacher(now)
        elif further(running.lesson, lesson):
            if lesson.over and not running.lesson.over:
                self.end(lesson.id, now, effects)
            running.lesson = lesson
            effects.append(c.Tell(lesson.id, m.LessonChanged(m.lesson_view(lesson))))
            running.mind_teacher(now)
            if lesson.state == "archived":
                running.farewell_at = now

    def change(self, running: Running, lesson: Lesson, effects: Effects) -> None:
        """The lesson has moved on, by our own doing: written down and told."""
        if lesson == running.lesson:
            return
        running.lesson = lesson
        effects.append(c.Persist(lesson))
        effects.append(c.Tell(lesson.id, m.LessonChanged(m.lesson_view(lesson))))

    def end(self, lesson: str, now: float, effects: Effects) -> None:
        running = self._house.running.get(lesson)
        if running is None:
            effects.append(c.Refuse("unknown-lesson"))
            return
        if running.lesson.over:
            return
        self.change(running, finish(running.lesson, now), effects)
        running.teacherless_since = None
        running.strays.clear()
        running.farewell_at = now + self._house.settings.linger
        for seat in running.seats.values():
            for connection in list(seat.connections):
                self._presence.over(connection, now, effects, at_relay=False)
        effects.append(c.CloseLesson(lesson))

    def found(self, lesson: str, resource: str, now: float, effects: Effects) -> None:
        """The last news is told; whoever still listens may go."""
        running = self._house.running.get(lesson)
        if running is not None and running.lesson.state == "ended":
            self.change(running, shelve(running.lesson, resource), effects)
            running.farewell_at = now

    def tick(self, now: float, effects: Effects) -> None:
        for running in list(self._house.running.values()):
            running.mind_teacher(now)
            since = running.teacherless_since
            if since is not None and now >= since + self._house.settings.away:
                self.end(running.lesson.id, now, effects)
            self._presence.tell_seats(running, now, effects)
            if running.farewell_at is not None and now >= running.farewell_at:
                self._farewell(running, now, effects)

    def next_time(self, now: float) -> float | None:
        """When ``tick`` is due; ``None`` when nothing waits for time."""
        times: list[float] = []
        for running in self._house.running.values():
            if running.dirty:
                times.append(running.batch_at)
            if running.teacherless_since is not None:
                times.append(running.teacherless_since + self._house.settings.away)
            elif running.strays:
                times.append(now + STRAY_SECONDS)
            if running.farewell_at is not None:
                times.append(running.farewell_at)
        return min(times, default=None)

    def _farewell(self, running: Running, now: float, effects: Effects) -> None:
        lesson = running.lesson.id
        running.farewell_at = None
        effects.append(c.HangUp(lesson, _ENDED, "ended"))
        for seat in running.seats.values():
            for socket in list(seat.sockets):
                self._presence.detach(socket, now, effects)
        if running.lesson.state == "archived":
            del self._house.running[lesson]
        else:  # it waits for its recording, perhaps for long: only the lesson itself is still needed
            self._house.running[lesson] = Running(running.lesson)
