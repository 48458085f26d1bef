"""A lesson on this relay: its publications, their watchers, their recording. Makes plane commands; sends none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from server.media.plane import AddTap, BindSink, Command, Kind, LineReport, RemoveSink
from server.negotiation import codecs
from server.node.connection import Connection, Publisher, Source, Watcher, new_ssrc
from server.node.tapping import RecorderTaps, Track
from signaling.relay import Refused


@dataclass(slots=True, eq=False)
class Publication:
    """What has a name in a lesson. It outlives its publisher: watchers and tracks wait for the next one."""

    name: str
    publisher: Publisher | None = None
    watchers: dict[str, Watcher] = field(default_factory=dict)
    tracks: dict[Kind, Track] = field(default_factory=dict)

    @property
    def sources(self) -> dict[Kind, Source]:
        return self.publisher.sources if self.publisher else {}

    def admit(self, watcher: Watcher) -> list[Command]:
        """Let a watcher in: its sinks, bound to what is there, best-fitting codec first.

        :raises Refused: ``no-common-codec``, when it could not see or hear what is published now.
        """
        for source in self.sources.values():
            if watcher.refuses(source):
                offered = dict.fromkeys(codec.name for codec in watcher.sinks[source.command.kind].codecs)
                sent = sorted(source.possible)
                raise Refused(
                    "no-common-codec",
                    f"{' or '.join(sent)} is published, the offer has {', '.join(offered)} only",
                    {"offered": list(offered), "accepted": sent},
                )
        commands: list[Command] = []
        for kind, sink in watcher.sinks.items():
            source_or_none = self.sources.get(kind)
            if source_or_none is not None:
                ordered = codecs.prefer(sink.codecs, source_or_none.codec)
                sink = watcher.sinks[kind] = replace(sink, codecs=ordered, source=source_or_none.id)
            commands.append(sink)
        self.watchers[watcher.id] = watcher
        return commands

    def rebind(self, now: float) -> tuple[list[Command], list[Watcher]]:
        """Bind all sinks to the new publisher's sources. Also those watchers that cannot take its codecs."""
        commands: list[Command] = []
        lost = self.lost()
        for watcher in self.watchers.values():
            if watcher in lost:
                continue
            for kind, sink in watcher.sinks.items():
                source = self.sources.get(kind)
                commands.append(BindSink(sink.sink, source.id if source else None))
            watcher.has_asked = False
            commands += watcher.choose(self.sources.get("video"), None, now)
        return commands, lost

    def lost(self) -> list[Watcher]:
        """Watchers that cannot take what is sent."""
        return [w for w in self.watchers.values() if any(map(w.refuses, self.sources.values()))]

    def choose(self, watcher: Watcher, report: LineReport | None, now: float) -> list[Command]:
        return watcher.choose(self.sources.get("video"), report, now)


@dataclass(slots=True, eq=False)
class Lesson:
    """``connections`` by public id."""

    id: str
    title: str
    connections: dict[str, Connection] = field(default_factory=dict)
    publications: dict[str, Publication] = field(default_factory=dict)

    def publication(self, name: str) -> Publication:
        """The one of that name, made when it is new."""
        return self.publications.setdefault(name, Publication(name))

    def leave(self, connection: Connection) -> None:
        """Forget a connection; the plane forgets its sources and sinks with the transport."""
        self.connections.pop(connection.id, None)
        publication = self.publications.get(connection.publication)
        if publication is None:
            return
        publication.watchers.pop(connection.id, None)
        if publication.publisher is connection:
            publication.publisher = None
        if not (publication.publisher or publication.watchers or publication.tracks):
            del self.publications[publication.name]

    def tap(self, publication: Publication, taps: RecorderTaps, new_id: Callable[[], int]) -> Iterator[Command]:
        """Commands that let the recording follow a publication's sources; a track for each kind and codec."""
        if not taps.records(self.id):
            return
        for kind, source in publication.sources.items():
            track = publication.tracks.get(kind)
            if track is not None and track.codec.name in source.possible:
                yield BindSink(track.id, source.id)
                continue
            if track is not None:
                taps.remove(track.id)
                yield RemoveSink(track.id)
            track = Track(new_id(), self.id, publication.name, kind, source.codec)
            publication.tracks[kind] = track
            taps.add(track)
            yield AddTap(track.id, source.id, (source.codec,), new_ssrc())
