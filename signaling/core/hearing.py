"""What relays and browsers say of connections, publications and recordings, and what follows from it."""

from __future__ import annotations

from signaling import messages as m
from signaling import relay as r
from signaling.core import commands as c
from signaling.core.lesson import begin
from signaling.core.life import Life
from signaling.core.presence import SEES_SEATS, Presence, recording_now
from signaling.core.running import Effects, House, Running
from signaling.core.seats import Connection
from signaling.limits import STRAY_SECONDS
from signaling.roles import HEAR_RECORDING


class Hearing:
    def __init__(self, house: House, presence: Presence, life: Life) -> None:
        self._house = house
        self._presence = presence
        self._life = life

    def heard(self, event: r.RelayEvent, now: float, effects: Effects) -> None:
        running = self._house.running.get(event.lesson)
        if running is None or running.lesson.over:
            return
        if isinstance(event, r.RecorderState):
            running.recording = event
            effects.append(c.Tell(event.lesson, recording_now(event), roles=HEAR_RECORDING))
            return
        connection = self._house.connections.get(event.connection)
        match event:
            case r.PublicationLive():
                self._publication_live(running, connection, event, now, effects)
            case r.PublicationSilent():
                view = running.publishing.silent(event)
                if view is not None:
                    effects.append(c.Tell(event.lesson, m.Published(view)))
            case r.ConnectionDown() if connection is None:
                running.strays.pop(event.connection, None)
                for publication, kind in running.publishing.drop_tracks(event.connection):
                    effects.append(c.Tell(event.lesson, m.Unpublished(publication, kind)))
                running.mind_teacher(now)
            case r.ConnectionDown():
                self._presence.over(event.connection, now, effects, at_relay=False)
            case _ if connection is not None:
                self._about_connection(running, connection, event, now, effects)

    def reported(self, command: c.Reported, now: float, effects: Effects) -> None:
        running = self._house.running.get(command.lesson)
        seat = None if running is None else running.seats.get((command.role, command.seat))
        if running is None or seat is None or running.lesson.over:
            return
        stats = command.stats
        connection = seat.connections.get(stats.connection)
        if stats.latency_ms is not None:
            seat.latency_ms, seat.latency_at = stats.latency_ms, now
            effects.append(c.Measured("latency", stats.latency_ms / 1000, "browser"))
        if stats.first_frame_ms is not None:
            seat.first_frame_ms = stats.first_frame_ms
            if connection is not None and not connection.framed:  # a page repeats it in every report
                connection.framed = True
                effects.append(c.Measured("first_frame", stats.first_frame_ms / 1000, "browser"))
        if stats.loss is not None:
            seat.heard_loss(stats.loss)
        running.dirty.add(seat.key)

    def _publication_live(
        self, running: Running, connection: Connection | None, event: r.PublicationLive, now: float, effects: Effects
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
            self._life.change(running, begin(running.lesson, now), effects)
        view, shape_changed = running.publishing.live(event)
        roles = None if shape_changed else SEES_SEATS
        effects.append(c.Tell(event.lesson, m.Published(view), roles=roles))
        running.mind_teacher(now)

    def _about_connection(
        self, running: Running, connection: Connection, event: r.RelayEvent, now: float, effects: Effects
    ) -> None:
        seat = running.seats[connection.seat]
        match event:
            case r.ConnectionUp() if not connection.up:
                connection.up = True
                effects.append(c.Measured("join", now - connection.asked_at, seat.role))
                self._presence.settle(running, seat, now, effects)
            case r.FirstFrame():
                connection.flowing = True
                if event.kind == "video":  # sound has no frame, and would count one watcher twice
                    effects.append(c.Measured("first_frame", event.after_ms / 1000, "relay"))
                    if seat.first_frame_ms is None:
                        seat.first_frame_ms = event.after_ms
            case r.LayerNow():
                connection.layer = event.rid
                connection.paused = event.rid is None and event.chosen_by == "server"
                message = m.LayerChanged(connection.id, event.rid, event.chosen_by)
                effects.append(c.Tell(event.lesson, message, seat=seat.key))
            case r.Line():
                connection.loss, connection.rtt_ms = event.loss, event.rtt_ms
                connection.flowing = event.sent > 0
                seat.heard_loss(event.loss)
                effects.append(c.Measured("watch_loss", event.loss, "relay"))
        running.dirty.add(seat.key)
