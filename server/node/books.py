"""Books: every connection, source and sink of one relay under each of its names. Knows; decides and sends nothing."""

from __future__ import annotations

from collections.abc import Iterator

from server.media.plane import Kind
from server.node.connection import Connection, Publisher, Source, Watcher
from server.node.lesson import Lesson, Publication
from server.node.tapping import Track


class Books:
    """All indexes change together in ``enter`` and ``strike``."""

    def __init__(self) -> None:
        self.lessons: dict[str, Lesson] = {}
        self.connections: dict[str, Connection] = {}
        self.transports: dict[int, Connection] = {}
        self.sources: dict[int, tuple[Publisher, Source]] = {}
        self.sinks: dict[int, tuple[Watcher, Kind]] = {}
        self.pending: set[int] = set()
        """Transports whose handshake is not done."""

    def enter(self, connection: Connection) -> None:
        self.lessons[connection.lesson].connections[connection.id] = connection
        self.connections[connection.id] = connection
        self.transports[connection.transport] = connection
        self.pending.add(connection.transport)
        if isinstance(connection, Publisher):
            for source in connection.sources.values():
                self.sources[source.id] = (connection, source)
        elif isinstance(connection, Watcher):
            for kind, sink in connection.sinks.items():
                self.sinks[sink.sink] = (connection, kind)

    def strike(self, connection: Connection) -> list[Track]:
        """Forget a connection. Returns the recorded tracks that have lost their source by it."""
        publication = self.publication_of(connection)
        orphans: list[Track] = []
        if isinstance(connection, Publisher):
            for source in connection.sources.values():
                self.sources.pop(source.id, None)
            if publication.publisher is connection:
                orphans = [track for kind, track in publication.tracks.items() if kind in connection.sources]
        elif isinstance(connection, Watcher):
            for sink in connection.sinks.values():
                self.sinks.pop(sink.sink, None)
        self.lessons[connection.lesson].leave(connection)
        self.connections.pop(connection.id, None)
        self.transports.pop(connection.transport, None)
        self.pending.discard(connection.transport)
        return orphans

    def publication_of(self, connection: Connection) -> Publication:
        return self.lessons[connection.lesson].publication(connection.publication)

    def watchers(self) -> Iterator[Watcher]:
        return (connection for connection in self.connections.values() if isinstance(connection, Watcher))

    def source_of_track(self, track: int) -> Source | None:
        """What a recorded track follows now."""
        for lesson in self.lessons.values():
            for publication in lesson.publications.values():
                for kind, known in publication.tracks.items():
                    if known.id == track:
                        return publication.sources.get(kind)
        return None
