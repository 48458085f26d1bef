"""Who holds which publication of a lesson, and what it sends now.

The invariant: a publication has one holder. The same seat replaces itself at once (a reload, a new line); another seat
must wait until the holder is gone. The old holder stays until the relay has accepted the new one, so that a bad offer
takes nothing away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from signaling.core.seats import Connection, SeatKey
from signaling.limits import PUBLICATIONS_PER_LESSON
from signaling.messages import LayerView, PublicationView
from signaling.relay import LayerInfo, PublicationLive, PublicationSilent

TrackKey = tuple[str, Literal["audio", "video"]]  # (publication, kind)


@dataclass(slots=True)
class Track:
    connection: str
    view: PublicationView

    @property
    def shape(self) -> tuple[object, ...]:
        """What viewers care about; rates change every second and are for the staff only."""
        layers = tuple((layer.rid, layer.width, layer.height) for layer in self.view.layers)
        return (self.connection, self.view.codec, self.view.silent, layers)


@dataclass(slots=True)
class Publishing:
    holders: dict[str, Connection] = field(default_factory=dict)
    asking: dict[str, dict[str, Connection]] = field(default_factory=dict)
    tracks: dict[TrackKey, Track] = field(default_factory=dict)

    def refusal(self, publication: str, seat: SeatKey) -> str | None:
        """The problem code with which ``seat`` may not publish, or ``None``."""
        rivals = [*self.asking.get(publication, {}).values()]
        holder = self.holders.get(publication)
        if holder is not None:
            rivals.append(holder)
        if any(rival.seat != seat for rival in rivals):
            return "publisher-taken"
        if not rivals and len(self.holders) + len(self.asking) >= PUBLICATIONS_PER_LESSON:
            return "full"
        return None

    def ask(self, connection: Connection) -> None:
        self.asking.setdefault(connection.publication, {})[connection.id] = connection

    def take(self, connection: Connection) -> Connection | None:
        """The relay has accepted: the connection holds its publication now. Returns the one it replaces."""
        self._stop_asking(connection)
        old = self.holders.get(connection.publication)
        self.holders[connection.publication] = connection
        return old

    def drop(self, connection: Connection) -> list[TrackKey]:
        """The connection is over; returns the tracks that went with it."""
        self._stop_asking(connection)
        if self.holders.get(connection.publication) is connection:
            del self.holders[connection.publication]
        return self.drop_tracks(connection.id)

    def drop_tracks(self, connection: str) -> list[TrackKey]:
        gone = [key for key, track in self.tracks.items() if track.connection == connection]
        for key in gone:
            del self.tracks[key]
        return gone

    def _stop_asking(self, connection: Connection) -> None:
        asking = self.asking.get(connection.publication)
        if asking is not None:
            asking.pop(connection.id, None)
            if not asking:
                del self.asking[connection.publication]

    def live(self, event: PublicationLive) -> tuple[PublicationView, bool]:
        """What the publication is now, and whether viewers should know."""
        key = (event.publication, event.kind)
        before = self.tracks.get(key)
        view = PublicationView(
            publication=event.publication,
            kind=event.kind,
            codec=event.codec,
            layers=tuple(_layer(layer) for layer in event.layers),
            silent=False,
        )
        track = Track(event.connection, view)
        self.tracks[key] = track
        return view, before is None or before.shape != track.shape

    def silent(self, event: PublicationSilent) -> PublicationView | None:
        """The publication's view if it fell silent just now."""
        track = self.tracks.get((event.publication, event.kind))
        if track is None or track.connection != event.connection or track.view.silent:
            return None
        view = track.view
        track.view = PublicationView(view.publication, view.kind, view.codec, view.layers, silent=True)
        return track.view

    @property
    def silent_now(self) -> bool:
        """Nothing is published, or nothing of it sends."""
        return all(track.view.silent for track in self.tracks.values())

    def has_layer(self, publication: str, rid: str) -> bool:
        """Also true while nothing is known: then the relay decides."""
        track = self.tracks.get((publication, "video"))
        return track is None or rid in {layer.rid for layer in track.view.layers}

    def views(self) -> tuple[PublicationView, ...]:
        return tuple(track.view for _, track in sorted(self.tracks.items()))


def _layer(layer: LayerInfo) -> LayerView:
    return LayerView(layer.rid, layer.bitrate, layer.width, layer.height, round(layer.frames, 1))
