"""Who is here: seats with their connections and sockets, their attendance, and what the staff is told of them."""

from __future__ import annotations

from signaling import messages as m
from signaling import relay as r
from signaling.core import commands as c
from signaling.core.attendance import Attendance
from signaling.core.running import Effects, House, Running
from signaling.core.seats import Connection, Interval, Seat
from signaling.limits import (
    BATCH_SECONDS,
    CONNECTIONS,
    CONNECTIONS_PER_SEAT,
    SEATS_PER_BATCH,
    SEATS_PER_LESSON,
    SOCKETS_PER_SEAT,
)
from signaling.roles import HEAR_RECORDING, SEE_SEATS, Role

SEES_SEATS = frozenset(SEE_SEATS)


class Presence:
    def __init__(self, house: House) -> None:
        self._house = house

    # --- connections ----------------------------------------------------------------------------------------------

    def join(self, command: c.Join, now: float, effects: Effects) -> None:
        running = self._house.open_lesson(command.lesson, effects)
        if running is None:
            return
        key = (command.role, command.seat)
        if command.direction == "publish":
            refusal = running.publishing.refusal(command.publication, key)
            if refusal is not None:
                effects.append(c.Refuse(refusal))
                return
        connections = self._house.connections
        seat = _seat(running, command.seat, command.role, now)
        if seat is None or len(seat.connections) >= CONNECTIONS_PER_SEAT or len(connections) >= CONNECTIONS:
            effects.append(c.Refuse("full"))
            return
        connection = Connection(
            command.connection, command.lesson, key, command.direction, command.publication, asked_at=now
        )
        connections[connection.id] = seat.connections[connection.id] = connection
        if command.direction == "publish":
            running.publishing.ask(connection)
        running.dirty.add(key)

    def opened(self, connection_id: str, now: float, effects: Effects) -> None:
        connection = self._house.connections.get(connection_id)
        if connection is None:  # the lesson ended, or the relay lost it, while the answer was under way
            effects.append(c.Refuse("unknown-connection"))
            return
        connection.opened = True
        if connection.direction == "publish":
            old = self._house.running[connection.lesson].publishing.take(connection)
            if old is not None:
                self.over(old.id, now, effects, at_relay=True)

    def over(self, connection_id: str, now: float, effects: Effects, *, at_relay: bool) -> None:
        """The connection's end, whoever caused it. With ``at_relay`` the relay does not know it yet."""
        connection = self._house.connections.pop(connection_id, None)
        if connection is None:
            return
        running = self._house.running[connection.lesson]
        seat = running.seats[connection.seat]
        del seat.connections[connection_id]
        effects.append(c.Forget(connection.lesson, connection_id, at_relay))
        if connection.direction == "publish":
            for publication, kind in running.publishing.drop(connection):
                effects.append(c.Tell(connection.lesson, m.Unpublished(publication, kind)))
        self.settle(running, seat, now, effects)

    def settle(self, running: Running, seat: Seat, now: float, effects: Effects) -> None:
        """After anything that may have changed a seat's presence."""
        interval = seat.settle(now)
        if interval is not None:
            effects.append(_attended(running, seat, interval))
            if seat.role == "teacher":
                running.mind_teacher(now)
        running.dirty.add(seat.key)

    # --- sockets --------------------------------------------------------------------------------------------------

    def attach(self, command: c.Attach, now: float, effects: Effects) -> None:
        running = self._house.open_lesson(command.lesson, effects)
        if running is None:
            return
        seat = _seat(running, command.seat, command.role, now)
        if seat is None or len(seat.sockets) >= SOCKETS_PER_SEAT:
            effects.append(c.Refuse("full"))
            return
        seat.sockets.add(command.socket)
        self._house.sockets[command.socket] = (command.lesson, seat.key)
        self.settle(running, seat, now, effects)
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
        effects.append(c.Tell(command.lesson, welcome, socket=command.socket))
        if running.recording is not None and command.role in HEAR_RECORDING:
            effects.append(c.Tell(command.lesson, recording_now(running.recording), socket=command.socket))

    def detach(self, socket: str, now: float, effects: Effects) -> None:
        found = self._house.sockets.pop(socket, None)
        if found is None:
            return
        running = self._house.running[found[0]]
        seat = running.seats[found[1]]
        seat.sockets.discard(socket)
        self.settle(running, seat, now, effects)

    # --- all seats ------------------------------------------------------------------------------------------------

    def tell_seats(self, running: Running, now: float, effects: Effects) -> None:
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
            effects.append(c.Tell(running.lesson.id, batch, roles=SEES_SEATS))

    def jumped(self, by: float, now: float, effects: Effects) -> None:
        """The clock jumped ahead: nobody attended the seconds between, nor waited through them."""
        for running in self._house.running.values():
            running.shift(by)
            for seat in running.seats.values():
                for interval in seat.split(now - by, now):
                    effects.append(_attended(running, seat, interval))


def recording_now(event: r.RecorderState) -> m.RecordingNow:
    return m.RecordingNow(event.state, round(event.seconds, 1), event.gaps, round(event.lag_ms, 1), event.detail)


def _seat(running: Running, seat: str, role: Role, now: float) -> Seat | None:
    """The seat, new if need be; ``None`` when the lesson is full."""
    key = (role, seat)
    found = running.seats.get(key)
    if found is None and len(running.seats) < SEATS_PER_LESSON:
        found = running.seats[key] = Seat(seat, role, now)
        if role == "teacher":
            running.teachers.add(key)
    return found


def _attended(running: Running, seat: Seat, interval: Interval) -> c.Attended:
    return c.Attended(Attendance(running.lesson.id, seat.id, seat.role, interval.start, interval.end))
