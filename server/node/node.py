"""RelayNode: ``signaling.relay.RelayPort`` on top of a media plane.

The single invariant: what the books say of a connection and what the plane was told of it change together, in one
call, without an await between them.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.media import plane as media
from server.media.plane import BindSink, CloseTransport, Command, Plane, RemoveSink, RequestKeyframe, RestartIce
from server.negotiation.answer import Local, answer_publisher, answer_watcher
from server.negotiation.errors import NegotiationError
from server.negotiation.sdp import Credentials
from server.negotiation.trickle import Fragment, build_fragment, parse_fragment
from server.node import limits
from server.node.books import Books
from server.node.connection import Connection, Publisher, Source, Watcher, new_credentials, new_ssrc
from server.node.events import EventHub, EventReader
from server.node.lesson import Lesson, Publication
from server.node.reactions import Reactions
from server.node.tapping import RecorderTaps
from server.quality.chooser import LayerChooser
from signaling.relay import Answer, ConnectionDown, Offer, RecorderRef, Refused

LAYER_RANKS = ("top", "middle", "low", "voice")
"""A single stream is ``top``, the lower of two ``low``; rids are the encoder's own words and would be no label."""


@dataclass(slots=True)
class NodeStats:
    """Figures of now, and counters since the start (named ``…_total``)."""

    lessons: int
    connections: int
    pending: int
    watchers: int
    watchers_by_layer: dict[str, int]
    """By rank among the living layers of what they watch: ``LAYER_RANKS``."""
    voice_only: int
    layer_changes_total: int
    refused_total: int
    events_dropped_total: int


class RelayNode:
    """One relay. What each call of the port means is said in ``signaling.relay``.

    :param plane: what moves the media; its callbacks become ours.
    :param addresses: IP addresses of host candidates, best first; a function is asked at each offer, since a machine's
        addresses come and go.
    :param clock: monotonic seconds.
    :param capacity: watchers; a further one is refused as ``full``.
    :param tap_secret: proves to recorders on other machines that we belong to the same bureau.
    """

    def __init__(
        self,
        plane: Plane,
        *,
        addresses: Callable[[], Sequence[str]] | Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        tap_secret: bytes = b"",
        capacity: int = limits.CONNECTIONS,
    ) -> None:
        self._capacity = capacity
        self._plane = plane
        self._addresses = addresses
        self._clock = clock
        self._ids = itertools.count(1)
        self._books = Books()
        self._hub = EventHub()
        self._taps = RecorderTaps(
            secret=tap_secret, clock=clock, on_keyframe=self._tap_wants_keyframe, on_state=self._hub.emit
        )
        self._reactions = Reactions(self._books, self._hub, self._taps, clock, self._next_id)
        self._refused = 0
        plane.on_events = self._on_events
        plane.on_tap = self._taps.take

    # --- the port ---------------------------------------------------------------------------------------------

    async def open_lesson(self, lesson: str, title: str, recorder: RecorderRef | None) -> None:
        if lesson not in self._books.lessons:
            if len(self._books.lessons) >= limits.LESSONS:
                raise self._refuse("full", "this relay has no room for another lesson")
            self._books.lessons[lesson] = Lesson(lesson, title)
        if recorder is not None:
            self._taps.open(lesson, title, recorder)
            self._tap_what_is_published(self._books.lessons[lesson])

    async def close_lesson(self, lesson: str) -> None:
        known = self._books.lessons.get(lesson)
        if known is None:
            return
        tracks = [track for publication in known.publications.values() for track in publication.tracks.values()]
        commands: list[Command] = [RemoveSink(track.id) for track in tracks]
        for connection in tuple(known.connections.values()):
            commands += self._forget(connection)
        del self._books.lessons[lesson]
        self._plane.submit(commands)
        self._taps.end(lesson)

    async def publish(self, offer: Offer) -> Answer:
        lesson = self._room_for(offer)
        transport, credentials = next(self._ids), new_credentials()
        try:
            answer = answer_publisher(offer.sdp, self._local(credentials), transport=transport, new_id=self._next_id)
        except NegotiationError as error:
            raise self._translated(error) from error
        publisher = Publisher(
            id=offer.connection,
            lesson=lesson.id,
            seat=offer.seat,
            publication=offer.publication,
            transport=transport,
            local=credentials,
            remote=Credentials(answer.open.remote_ufrag, answer.open.remote_pwd),
            tag=answer.tag,
            offered_at=self._clock(),
            sources={command.kind: Source(command) for command in answer.sources},
        )
        self._plane.submit([answer.open, *answer.sources, *self._take_over(lesson, publisher)])
        return Answer(answer.sdp, publisher.etag)

    async def subscribe(self, offer: Offer) -> Answer:
        lesson = self._room_for(offer)
        if sum(isinstance(known, Watcher) for known in self._books.connections.values()) >= self._capacity:
            raise self._refuse("full", f"this relay already has {self._capacity} watchers")
        transport, credentials, now = next(self._ids), new_credentials(), self._clock()
        try:
            answer = answer_watcher(
                offer.sdp,
                self._local(credentials),
                transport=transport,
                new_id=self._next_id,
                new_ssrc=new_ssrc,
                cname=secrets.token_hex(8),
            )
        except NegotiationError as error:
            raise self._translated(error) from error
        watcher = Watcher(
            id=offer.connection,
            lesson=lesson.id,
            seat=offer.seat,
            publication=offer.publication,
            transport=transport,
            local=credentials,
            remote=Credentials(answer.open.remote_ufrag, answer.open.remote_pwd),
            tag=answer.tag,
            offered_at=now,
            sinks={sink.kind: sink for sink in answer.sinks},
            chooser=LayerChooser(now),
        )
        publication = lesson.publication(offer.publication)
        try:
            sinks = publication.admit(watcher)
        except Refused:
            self._refused += 1
            raise
        self._books.enter(watcher)
        self._plane.submit([answer.open, *sinks, *publication.choose(watcher, None, now)])
        return Answer(answer.sdp, watcher.etag)

    async def trickle(self, connection: str, fragment: str) -> None:
        known = self._known(connection)
        if self._fragment(fragment).restarts(known.remote):
            raise self._refuse(
                "bad-fragment", "these are not the credentials in force; an ICE restart needs If-Match: * (RFC 9725)"
            )

    async def restart(self, connection: str, fragment: str) -> Answer:
        known = self._known(connection)
        parsed = self._fragment(fragment)
        if parsed.credentials is None or not parsed.restarts(known.remote):
            raise self._refuse("bad-fragment", "an ICE restart needs a new ice-ufrag and ice-pwd (RFC 9725, 4.3.3)")
        known.local, known.remote = new_credentials(), parsed.credentials
        self._plane.submit([RestartIce(known.transport, *known.local, *known.remote)])
        return Answer(build_fragment(known.local, self._candidates(), known.tag), known.etag)

    async def choose_layer(self, connection: str, rid: str | None) -> None:
        known = self._known(connection)
        if not isinstance(known, Watcher) or "video" not in known.sinks:
            raise self._refuse("unknown-layer", "this connection watches no video")
        publication = self._books.publication_of(known)
        source = publication.sources.get("video")
        if rid is not None and source is not None and rid not in (source.command.rids or ("",)):
            raise self._refuse("unknown-layer", "the publication has no such layer")
        known.chooser.prefer(rid)
        self._plane.submit(publication.choose(known, None, self._clock()))

    async def close(self, connection: str) -> None:
        known = self._books.connections.get(connection)
        if known is not None:
            self._plane.submit(self._forget(known))

    def events(self) -> EventReader:
        return self._hub.reader()

    # --- for the process around it ----------------------------------------------------------------------------

    def recorder_stats(self) -> dict[str, dict[str, float]]:
        """By recorder address; see ``RecorderTaps.stats``."""
        return self._taps.stats()

    def stats(self) -> NodeStats:
        watchers = list(self._books.watchers())
        return NodeStats(
            lessons=len(self._books.lessons),
            connections=len(self._books.connections),
            pending=len(self._books.pending),
            watchers=len(watchers),
            watchers_by_layer=self._by_layer(watchers),
            voice_only=sum(watcher.chooser.voice_only for watcher in watchers),
            layer_changes_total=self._reactions.layer_changes,
            refused_total=self._refused,
            events_dropped_total=self._hub.dropped,
        )

    def _by_layer(self, watchers: Sequence[Watcher]) -> dict[str, int]:
        counts = dict.fromkeys(LAYER_RANKS, 0)
        for watcher in watchers:
            publication = self._books.lessons[watcher.lesson].publications.get(watcher.publication)
            counts[layer_rank(watcher, publication.sources.get("video") if publication else None)] += 1
        return counts

    async def shut_down(self) -> None:
        """Stop talking to recorders and end the readers of events. The plane is its owner's to close."""
        self._hub.close()
        await self._taps.close()

    # --- within -----------------------------------------------------------------------------------------------

    def _on_events(self, events: Sequence[media.Event]) -> None:
        commands = self._reactions.take(events)
        if commands:
            self._plane.submit(commands)

    def _tap_wants_keyframe(self, track: int) -> None:
        source = self._books.source_of_track(track)
        if source is not None:
            self._plane.submit([RequestKeyframe(source.id)])

    def _take_over(self, lesson: Lesson, publisher: Publisher) -> list[Command]:
        """Put a publisher in the place of the one before: sinks and tracks follow it, the old transport closes."""
        publication = lesson.publication(publisher.publication)
        earlier, publication.publisher = publication.publisher, publisher
        self._books.enter(publisher)
        commands, lost = publication.rebind(self._clock())
        commands += lesson.tap(publication, self._taps, self._next_id)
        commands += self._silence_what_is_missing(publication)
        if earlier is not None:
            commands += self._forget(earlier)
        for watcher in lost:
            commands += self._forget(watcher)
            self._hub.emit(ConnectionDown(watcher.lesson, watcher.id, "no-common-codec"))
        return commands

    def _silence_what_is_missing(self, publication: Publication) -> list[Command]:
        missing = [track for kind, track in publication.tracks.items() if kind not in publication.sources]
        for track in missing:
            self._taps.silent(track.id)
        return [BindSink(track.id, None) for track in missing]

    def _tap_what_is_published(self, lesson: Lesson) -> None:
        """A recorder came after the publishers did."""
        commands: list[Command] = []
        for publication in lesson.publications.values():
            if publication.sources.keys() - publication.tracks.keys():
                commands += lesson.tap(publication, self._taps, self._next_id)
        if commands:
            self._plane.submit(commands)

    def _forget(self, connection: Connection) -> list[Command]:
        for track in self._books.strike(connection):
            self._taps.silent(track.id)
        return [CloseTransport(connection.transport)]

    def _next_id(self) -> int:
        return next(self._ids)

    def _refuse(self, code: str, detail: str) -> Refused:
        self._refused += 1
        return Refused(code, detail)

    def _translated(self, error: NegotiationError) -> Refused:
        self._refused += 1
        return Refused(error.code, error.detail, error.extra)

    def _fragment(self, text: str) -> Fragment:
        try:
            return parse_fragment(text)
        except NegotiationError as error:
            raise self._translated(error) from error

    def _known(self, connection: str) -> Connection:
        known = self._books.connections.get(connection)
        if known is None:
            raise self._refuse("unknown-connection", "there is no such connection on this relay")
        return known

    def _room_for(self, offer: Offer) -> Lesson:
        books = self._books
        lesson = books.lessons.get(offer.lesson)
        if lesson is None:
            raise self._refuse("unknown-lesson", "this relay does not forward the lesson")
        if offer.connection in books.connections:
            raise self._refuse("unavailable", "there is a connection of this id already")
        if len(lesson.connections) >= limits.CONNECTIONS_PER_LESSON:
            raise self._refuse("full", f"the lesson already has {limits.CONNECTIONS_PER_LESSON} connections")
        if len(books.connections) >= limits.CONNECTIONS or len(books.pending) >= limits.PENDING:
            raise self._refuse("full", "this relay has no room for another connection now")
        return lesson

    def _candidates(self) -> tuple[tuple[str, int], ...]:
        listed = self._addresses() if callable(self._addresses) else self._addresses
        families = self._plane.families
        usable = [address for address in listed if ("ipv6" if ":" in address else "ipv4") in families]
        return tuple((address, self._plane.port) for address in usable[: limits.ADDRESSES])

    def _local(self, credentials: Credentials) -> Local:
        candidates = self._candidates()
        if not candidates:
            raise self._refuse("unavailable", "this relay has no address to be reached at")
        return Local(*credentials, self._plane.fingerprint, candidates, secrets.randbits(62))


def layer_rank(watcher: Watcher, source: Source | None) -> str:
    """Of ``LAYER_RANKS``, what is sent to a watcher of this picture."""
    if "video" not in watcher.sinks or source is None or (watcher.has_asked and watcher.asked is None):
        return "voice"
    rids = [layer.rid for layer in source.steady]
    if len(rids) < 2 or watcher.asked == rids[-1]:
        return "top"
    return "middle" if watcher.asked in rids[1:] else "low"
