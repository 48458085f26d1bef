"""The class as a synchronous core: ``handle(command, now) -> effects``. No clock, no socket, no await, no store.

The invariant: everything that happens in a lesson passes through ``Core.handle``, one command at a time, and whatever
must happen outside comes back as an effect. ``now`` is Unix seconds and never steps back (the shell sees to that).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, assert_never

from signaling import messages as m
from signaling import relay as r
from signaling.core import commands as c
from signaling.core.lesson import STATES, Lesson, begin, finish, further, shelve
from signaling.core.publishing import Publishing
from signaling.core.seats import Connection, Interval, Seat, SeatKey
from signaling.limits import (
    CONNECTIONS,
    CONNECTIONS_PER_SEAT,
    SEATS_PER_BATCH,
    SEATS_PER_LESSON,
    SOCKETS_PER_SEAT,
)
from signaling.roles import HEAR_RECORDING, SEE_SEATS, Role
from signaling.settings import SignalingSettings
from signaling.store import Attendance

BATCH_SECONDS = 1.0  # seats are told at most this often
STRAY_SECONDS = 5.0  # a relay says PublicationLive once a second; five missed ones are gone
FRESH_SECONDS = 30.0  # a browser reports each 5 s; older figures are not of now

_SEES_SEATS = frozenset(SEE_SEATS)
_ENDED = 4410


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


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of the whole house at one moment; latencies in ms, sorted."""

    lessons: dict[str, int]
    seats: dict[str, int]
    latencies: list[float]
    losses: list[float]
    recorders: list[r.RecorderState]


class Core:
    """All lessons of this signaling process."""

    def __init__(self, settings: SignalingSettings) -> None:
        self._settings = settings
        self._running: dict[str, Running] = {}
        self._connections: dict[str, Connection] = {}
        self._sockets: dict[str, tuple[str, SeatKey]] = {}
        self._effects: list[c.Effect] = []

    # --- what the shells may ask --------------------------------------------------------------------------------

    def lesson(self, lesson: str) -> Lesson | None:
        running = self._running.get(lesson)
        return None if running is None else running.lesson

    def lessons(self) -> list[Lesson]:
        return [running.lesson for running in self._running.values()]

    def knows(self, connection: str) -> bool:
        return connection in self._connections

    def detail(self, lesson: str, *, seats: bool) -> m.LessonDetail | None:
        running = self._running.get(lesson)
        if running is None:
            return None
        views = tuple(seat.view() for seat in running.seats.values()) if seats else None
        counts = running.counts() if seats else None
        return m.lesson_detail(running.lesson, running.publishing.views(), views, counts)

    def connections(self, lesson: str) -> tuple[m.ConnectionView, ...]:
        running = self._running.get(lesson)
        if running is None:
            return ()
        return tuple(
            connection.view()
            for seat in running.seats.values()
            for connection in seat.connections.values()
            if connection.opened
        )

    def has_layer(self, connection: str, rid: str) -> bool:
        known = self._connections.get(connection)
        if known is None:
            return False
        return self._running[known.lesson].publishing.has_layer(known.publication, rid)

    def totals(self, now: float) -> Totals:
        lessons = dict.fromkeys(STATES, 0)
        seats: dict[str, int] = dict.fromkeys(m.SEAT_STATES, 0)
        latencies: list[float] = []
        losses: list[float] = []
        recorders: list[r.RecorderState] = []
        for running in self._running.values():
            lessons[running.lesson.state] += 1
            if running.recording is not None and running.lesson.state == "live":
                recorders.append(running.recording)
            for seat in running.seats.values():
                seats[seat.state] += 1
                if seat.latency_ms is not None and now - seat.latency_at < FRESH_SECONDS:
                    latencies.append(seat.latency_ms)
                if seat.loss is not None:
                    losses.append(seat.loss)
        return Totals(lessons, seats, sorted(latencies), losses, recorders)

    def next_time(self, now: float) -> float | None:
        """When ``Tick`` is due; ``None`` when nothing waits for time."""
        times: list[float] = []
        for running in self._running.values():
            if running.dirty:
                times.append(running.batch_at)
            if running.teacherless_since is not None:
                times.append(running.teacherless_since + self._settings.away)
            elif running.strays:
                times.append(now + STRAY_SECONDS)
            if running.farewell_at is not None:
                times.append(running.farewell_at)
        return min(times, default=None)

    # --- what happens ---------------------------------------------------------------------------------------------

    def handle(self, command: c.Command, now: float) -> list[c.Effect]:
        self._effects = []
        match command:
            case c.Learn():
                self._learn(command.lesson, now)
            case c.Join():
                self._join(command, now)
            case c.Opened():
                self._opened(command.connection, now)
            case c.Failed():
                self._over(command.connection, now, at_relay=False)
            case c.Leave():
                self._over(command.connection, now, at_relay=True)
            case c.Attach():
                self._attach(command, now)
            case c.Detach():
                self._detach(command.socket, now)
            case c.Heard():
                self._heard(command.event, now)
            case c.Reported():
                self._reported(command, now)
            case c.End():
                self._end(command.lesson, now)
            case c.Found():
                self._found(command.lesson, command.resource, now)
            case c.Tick():
                self._tick(now)
            case _:
                assert_never(command)
        return self._effects

    def _do(self, effect: c.Effect) -> None:
        self._effects.append(effect)

    # --- the lesson's life ----------------------------------------------------------------------------------------

    def _learn(self, lesson: Lesson, now: float) -> None:
        running = self._running.get(lesson.id)
        if running is None:
            if lesson.state != "archived":
                running = self._running[lesson.id] = Running(lesson)
                self._mind_teacher(running, now)
        elif further(running.lesson, lesson):
            if lesson.over and not running.lesson.over:
                self._end(lesson.id, now)
            running.lesson = lesson
            self._do(c.Tell(lesson.id, m.LessonChanged(m.lesson_view(lesson))))
            self._mind_teacher(running, now)
            if lesson.state == "archived":
                self._archived(running, now)

    def _change(self, running: Running, lesson: Lesson) -> None:
        if lesson == running.lesson:
            return
        running.lesson = lesson
        self._do(c.Persist(lesson))
        self._do(c.Tell(lesson.id, m.LessonChanged(m.lesson_view(lesson))))

    def _end(self, lesson: str, now: float) -> None:
        running = self._running.get(lesson)
        if running is None:
            self._do(c.Refuse("unknown-lesson"))
            return
        if running.lesson.over:
            return
        self._change(running, finish(running.lesson, now))
        running.teacherless_since = None
        running.strays.clear()
        running.farewell_at = now + self._settings.linger
        for seat in running.seats.values():
            for connection in list(seat.connections):
                self._over(connection, now, at_relay=False)
        self._do(c.CloseLesson(lesson))

    def _found(self, lesson: str, resource: str, now: float) -> None:
        running = self._running.get(lesson)
        if running is not None and running.lesson.state == "ended":
            self._change(running, shelve(running.lesson, resource))
            self._archived(running, now)

    def _archived(self, running: Running, now: float) -> None:
        """The last news is told; whoever still listens may go."""
        running.farewell_at = now

    def _farewell(self, running: Running, now: float) -> None:
        lesson = running.lesson.id
        running.farewell_at = None
        self._do(c.HangUp(lesson, _ENDED, "ended"))
        for seat in running.seats.values():
            for socket in list(seat.sockets):
                self._detach(socket, now)
        if running.lesson.state == "archived":
            del self._running[lesson]
        else:  # it waits for its recording, perhaps for long: only the lesson itself is still needed
            self._running[lesson] = Running(running.lesson)

    def _mind_teacher(self, running: Running, now: float) -> None:
        if running.lesson.state != "live" or running.taught(now):
            running.teacherless_since = None
        elif running.teacherless_since is None:
            running.teacherless_since = now

    def _tick(self, now: float) -> None:
        for running in list(self._running.values()):
            self._mind_teacher(running, now)
            since = running.teacherless_since
            if since is not None and now >= since + self._settings.away:
                self._end(running.lesson.id, now)
            self._tell_seats(running, now)
            if running.farewell_at is not None and now >= running.farewell_at:
                self._farewell(running, now)

    # --- connections ----------------------------------------------------------------------------------------------

    def _seat(self, running: Running, seat: str, role: Role, now: float) -> Seat | None:
        key = (role, seat)
        found = running.seats.get(key)
        if found is None and len(running.seats) < SEATS_PER_LESSON:
            found = running.seats[key] = Seat(seat, role, now)
            if role == "teacher":
                running.teachers.add(key)
        return found

    def _join(self, command: c.Join, now: float) -> None:
        running = self._running.get(command.lesson)
        if running is None or running.lesson.over:
            self._do(c.Refuse("unknown-lesson" if running is None else "lesson-ended"))
            return
        key = (command.role, command.seat)
        if command.direction == "publish":
            refusal = running.publishing.refusal(command.publication, key)
            if refusal is not None:
                self._do(c.Refuse(refusal))
                return
        seat = self._seat(running, command.seat, command.role, now)
        if seat is None or len(seat.connections) >= CONNECTIONS_PER_SEAT or len(self._connections) >= CONNECTIONS:
            self._do(c.Refuse("full"))
            return
        connection = Connection(
            command.connection, command.lesson, key, command.direction, command.publication, asked_at=now
        )
        self._connections[connection.id] = seat.connections[connection.id] = connection
        if command.direction == "publish":
            running.publishing.ask(connection)
        running.dirty.add(key)

    def _opened(self, connection_id: str, now: float) -> None:
        connection = self._connections.get(connection_id)
        if connection is None:  # the lesson ended, or the relay lost it, while the answer was under way
            self._do(c.Refuse("unknown-connection"))
            return
        connection.opened = True
        if connection.direction == "publish":
            old = self._running[connection.lesson].publishing.take(connection)
            if old is not None:
                self._over(old.id, now, at_relay=True)

    def _over(self, connection_id: str, now: float, *, at_relay: bool) -> None:
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return
        running = self._running[connection.lesson]
        seat = running.seats[connection.seat]
        del seat.connections[connection_id]
        self._do(c.Forget(connection.lesson, connection_id, at_relay))
        if connection.direction == "publish":
            for publication, kind in running.publishing.drop(connection):
                self._unpublished(running, publication, kind)
        self._settle(running, seat, now)

    def _unpublished(self, running: Running, publication: str, kind: Any) -> None:
        self._do(c.Tell(running.lesson.id, m.Unpublished(publication, kind)))

    def _settle(self, running: Running, seat: Seat, now: float) -> None:
        """After anything that may have changed a seat's presence."""
        interval = seat.settle(now)
        if interval is not None:
            self._do(c.Attended(_attendance(running, seat, interval)))
            if seat.role == "teacher":
                self._mind_teacher(running, now)
        running.dirty.add(seat.key)

    # --- sockets --------------------------------------------------------------------------------------------------

    def _attach(self, command: c.Attach, now: float) -> None:
        running = self._running.get(command.lesson)
        if running is None or running.lesson.over:
            self._do(c.Refuse("unknown-lesson" if running is None else "lesson-ended"))
            return
        seat = self._seat(running, command.seat, command.role, now)
        if seat is None or len(seat.sockets) >= SOCKETS_PER_SEAT:
            self._do(c.Refuse("full"))
            return
        seat.sockets.add(command.socket)
        self._sockets[command.socket] = (command.lesson, seat.key)
        self._settle(running, seat, now)
        seats = None
        if command.role in SEE_SEATS:
            seats = tuple(other.view() for other in running.seats.values())
        welcome = m.Welcome(
            seat=seat.id,
            role=seat.role,
            lesson=m.lesson_view(running.lesson),
            publications=running.publishing.views(),
            counts=running.counts(),
            seats=seats,
        )
        self._do(c.Tell(command.lesson, welcome, socket=command.socket))
        if running.recording is not None and command.role in HEAR_RECORDING:
            self._do(c.Tell(command.lesson, _recording(running.recording), socket=command.socket))

    def _detach(self, socket: str, now: float) -> None:
        found = self._sockets.pop(socket, None)
        if found is None:
            return
        running = self._running[found[0]]
        seat = running.seats[found[1]]
        seat.sockets.discard(socket)
        self._settle(running, seat, now)

    def _tell_seats(self, running: Running, now: float) -> None:
        """The seats that look different from what was last told, to those who may see them."""
        if not running.dirty or now < running.batch_at:
            return
        changed: list[m.SeatView] = []
        for key in running.dirty:
            view = running.seats[key].view()
            if running.told.get(key) != view:
                running.told[key] = view
                changed.append(view)
        running.dirty.clear()
        running.batch_at = now + BATCH_SECONDS
        counts = running.counts()
        for first in range(0, len(changed), SEATS_PER_BATCH):
            batch = m.Seats(tuple(changed[first : first + SEATS_PER_BATCH]), counts)
            self._do(c.Tell(running.lesson.id, batch, roles=_SEES_SEATS))

    # --- relays and browsers --------------------------------------------------------------------------------------

    def _heard(self, event: r.RelayEvent, now: float) -> None:
        running = self._running.get(event.lesson)
        if running is None or running.lesson.over:
            return
        if isinstance(event, r.RecorderState):
            running.recording = event
            self._do(c.Tell(event.lesson, _recording(event), roles=HEAR_RECORDING))
            return
        connection = self._connections.get(event.connection)
        match event:
            case r.PublicationLive():
                self._publication_live(running, connection, event, now)
            case r.PublicationSilent():
                view = running.publishing.silent(event)
                if view is not None:
                    self._do(c.Tell(event.lesson, m.Published(view)))
            case r.ConnectionDown() if connection is None:
                running.strays.pop(event.connection, None)
                for publication, kind in running.publishing.drop_tracks(event.connection):
                    self._unpublished(running, publication, kind)
                self._mind_teacher(running, now)
            case r.ConnectionDown():
                self._over(event.connection, now, at_relay=False)
            case _ if connection is not None:
                self._about_connection(running, connection, event, now)

    def _publication_live(
        self, running: Running, connection: Connection | None, event: r.PublicationLive, now: float
    ) -> None:
        if connection is None:
            running.strays[event.connection] = now
            for stray, heard in list(running.strays.items()):
                if now - heard > STRAY_SECONDS:
                    del running.strays[stray]
        else:
            connection.flowing = True
            running.dirty.add(connection.seat)
        if running.lesson.state == "scheduled":
            self._change(running, begin(running.lesson, now))
        view, shape_changed = running.publishing.live(event)
        roles = None if shape_changed else _SEES_SEATS
        self._do(c.Tell(event.lesson, m.Published(view), roles=roles))
        self._mind_teacher(running, now)

    def _about_connection(self, running: Running, connection: Connection, event: r.RelayEvent, now: float) -> None:
        seat = running.seats[connection.seat]
        match event:
            case r.ConnectionUp() if not connection.up:
                connection.up = True
                self._do(c.Measured("join", now - connection.asked_at, seat.role))
                self._settle(running, seat, now)
            case r.FirstFrame():
                connection.flowing = True
                self._do(c.Measured("first_frame", event.after_ms / 1000, "relay"))
                if event.kind == "video" and seat.first_frame_ms is None:
                    seat.first_frame_ms = event.after_ms
            case r.LayerNow():
                connection.layer = event.rid
                connection.paused = event.rid is None and event.chosen_by == "server"
                message = m.LayerChanged(connection.id, event.rid, event.chosen_by)
                self._do(c.Tell(event.lesson, message, seat=seat.key))
            case r.Line():
                connection.loss, connection.rtt_ms = event.loss, event.rtt_ms
                connection.flowing = event.sent > 0
                seat.heard_loss(event.loss)
        running.dirty.add(seat.key)

    def _reported(self, command: c.Reported, now: float) -> None:
        running = self._running.get(command.lesson)
        seat = None if running is None else running.seats.get((command.role, command.seat))
        if running is None or seat is None or running.lesson.over:
            return
        stats = command.stats
        connection = seat.connections.get(stats.connection)
        if stats.latency_ms is not None:
            seat.latency_ms, seat.latency_at = stats.latency_ms, now
            self._do(c.Measured("latency", stats.latency_ms / 1000, "browser"))
        if stats.first_frame_ms is not None:
            seat.first_frame_ms = stats.first_frame_ms
            if connection is not None and not connection.framed:  # a page repeats it in every report
                connection.framed = True
                self._do(c.Measured("first_frame", stats.first_frame_ms / 1000, "browser"))
        if stats.loss is not None:
            seat.heard_loss(stats.loss)
        running.dirty.add(seat.key)


def _attendance(running: Running, seat: Seat, interval: Interval) -> Attendance:
    return Attendance(running.lesson.id, seat.id, seat.role, interval.start, interval.end)


def _recording(event: r.RecorderState) -> m.RecordingNow:
    return m.RecordingNow(event.state, round(event.seconds, 1), event.gaps, round(event.lag_ms, 1), event.detail)
