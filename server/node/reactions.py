"""Reactions: what a relay does about the plane's events: tells signaling, chooses layers, keeps its books."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from server.media import plane as media
from server.media.plane import CloseTransport, Command
from server.node.books import Books
from server.node.connection import Publisher, Watcher
from server.node.events import EventHub
from server.node.lesson import Publication
from server.node.tapping import RecorderTaps
from signaling import relay


class Reactions:
    """Events in, commands out. ``clock`` is monotonic seconds. An event of something already forgotten is nothing."""

    def __init__(
        self,
        books: Books,
        hub: EventHub,
        taps: RecorderTaps,
        clock: Callable[[], float],
        new_id: Callable[[], int],
    ) -> None:
        self._books = books
        self._hub = hub
        self._taps = taps
        self._clock = clock
        self._new_id = new_id
        self.layer_changes = 0

    def take(self, events: Sequence[media.Event]) -> list[Command]:
        commands: list[Command] = []
        for event in events:
            match event:
                case media.LineReport():
                    commands += self._line(event)
                case media.SourceLayers():
                    commands += self._layers(event)
                case media.TransportReady():
                    self._ready(event.transport)
                case media.TransportLost():
                    self._lost(event)
                case media.SourceSilent():
                    self._silent(event.source)
                case media.SinkLive():
                    self._first_frame(event.sink)
                case media.SinkLayer():
                    self._layer_now(event)
        return commands

    def _line(self, report: media.LineReport) -> list[Command]:
        watcher = self._books.transports.get(report.transport)
        if not isinstance(watcher, Watcher):
            return []
        self._hub.emit(relay.Line(watcher.lesson, watcher.id, report.remb, report.loss, report.rtt_ms, report.sent))
        return self._books.publication_of(watcher).choose(watcher, report, self._clock())

    def _layers(self, event: media.SourceLayers) -> list[Command]:
        found = self._books.sources.get(event.source)
        if found is None:
            return []
        publisher, source = found
        publication = self._books.publication_of(publisher)
        commands = self._codec_known(publisher, publication) if source.shows(event.codec) else []
        now = self._clock()
        changed = source.measured(event.layers, now)
        layers = tuple(relay.LayerInfo(x.rid, x.bitrate, x.width, x.height, x.frames) for x in event.layers)
        kind = source.command.kind
        live = relay.PublicationLive(publisher.lesson, publisher.id, publisher.publication, kind, event.codec, layers)
        self._hub.emit(live)
        if changed and kind == "video":
            for watcher in publication.watchers.values():
                commands += publication.choose(watcher, None, now)
        return commands

    def _codec_known(self, publisher: Publisher, publication: Publication) -> list[Command]:
        """The packets tell which of the agreed codecs it is: watchers without it leave, and a recording follows."""
        lesson = self._books.lessons[publisher.lesson]
        commands = [*lesson.tap(publication, self._taps, self._new_id)]
        for watcher in publication.lost():
            self._books.strike(watcher)
            commands.append(CloseTransport(watcher.transport))
            self._hub.emit(relay.ConnectionDown(watcher.lesson, watcher.id, "no-common-codec"))
        return commands

    def _ready(self, transport: int) -> None:
        connection = self._books.transports.get(transport)
        if connection is not None and not connection.up:
            connection.up = True
            self._books.pending.discard(transport)
            self._hub.emit(relay.ConnectionUp(connection.lesson, connection.id))

    def _lost(self, event: media.TransportLost) -> None:
        connection = self._books.transports.get(event.transport)
        if connection is not None:
            for track in self._books.strike(connection):
                self._taps.silent(track.id)
            self._hub.emit(relay.ConnectionDown(connection.lesson, connection.id, event.reason))

    def _silent(self, source: int) -> None:
        found = self._books.sources.get(source)
        if found is None:
            return
        publisher, known = found
        kind = known.command.kind
        self._hub.emit(relay.PublicationSilent(publisher.lesson, publisher.id, publisher.publication, kind))
        track = self._books.publication_of(publisher).tracks.get(kind)
        if track is not None:
            self._taps.silent(track.id)

    def _first_frame(self, sink: int) -> None:
        found = self._books.sinks.get(sink)
        if found is None:
            return
        watcher, kind = found
        if kind not in watcher.live:
            watcher.live.add(kind)
            after = 1000.0 * (self._clock() - watcher.offered_at)
            self._hub.emit(relay.FirstFrame(watcher.lesson, watcher.id, kind, after))

    def _layer_now(self, event: media.SinkLayer) -> None:
        found = self._books.sinks.get(event.sink)
        if found is not None:
            watcher, _ = found
            self.layer_changes += 1
            self._hub.emit(relay.LayerNow(watcher.lesson, watcher.id, event.rid, watcher.chooser.chosen_by))
