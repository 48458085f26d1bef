"""RecorderTaps: the relay's side of all its recordings: whose tap is whose, batches, and what comes back.

A lesson is opened at its recorder with its first packet: nobody presses a button, and a lesson in which nothing was
ever published leaves no recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from recorder import tap
from server.media.plane import Codec, Kind, TapClock, TapItem, TapPacket
from server.negotiation.sdp import number
from server.node import limits
from server.node.tap_link import HeardState, TapLink
from signaling.relay import RecorderRef, RecorderState, Refused


@dataclass(slots=True, eq=False)
class Track:
    """One tap of the plane and what the recorder is told of it. ``id`` is both the plane's tap and the tap's track."""

    id: int
    lesson: str
    publication: str
    kind: Kind
    codec: Codec
    said: bool = False
    batch: list[tuple[int, bytes]] = field(default_factory=list)
    batch_bytes: int = 0

    @property
    def frame(self) -> bytes:
        codec = self.codec
        return tap.encode(
            "track", self.lesson, self.id, self.publication, self.kind, codec.name, codec.clock_rate, codec.channels
        )


@dataclass(slots=True, eq=False)
class _Lesson:
    title: str
    link: TapLink
    opened: bool = False
    tracks: set[int] = field(default_factory=set)


class RecorderTaps:
    """All taps of one relay. Not thread-safe: everything happens in the loop's thread."""

    def __init__(
        self,
        *,
        secret: bytes,
        clock: Callable[[], float],
        on_keyframe: Callable[[int], None],
        on_state: Callable[[RecorderState], None],
    ) -> None:
        self._secret = secret
        self._clock = clock
        self._on_keyframe = on_keyframe
        self._on_state = on_state
        self._links: dict[str, TapLink] = {}
        self._lessons: dict[str, _Lesson] = {}
        self._tracks: dict[int, Track] = {}
        self._timer: asyncio.TimerHandle | None = None

    def open(self, lesson: str, title: str, recorder: RecorderRef) -> None:
        """Tell where a lesson is recorded. Idempotent; another recorder than before takes over from now on.

        :raises Refused: ``unavailable``, for an address that is none.
        """
        link = self._link(recorder.address)
        known = self._lessons.get(lesson)
        if known is None:
            self._lessons[lesson] = _Lesson(title, link)
        elif known.link is not link:
            self._flush()
            if known.opened:
                known.link.end(lesson)
            known.link, known.opened = link, False
            for track in known.tracks:
                self._tracks[track].said = False

    def records(self, lesson: str) -> bool:
        return lesson in self._lessons

    def add(self, track: Track) -> None:
        """A tap that the plane has been told of."""
        self._tracks[track.id] = track
        self._lessons[track.lesson].tracks.add(track.id)

    def remove(self, track: int) -> None:
        known = self._tracks.get(track)
        if known is not None:
            self._flush_track(known)
            self._lessons[known.lesson].tracks.discard(track)
            del self._tracks[track]

    def silent(self, track: int) -> None:
        """The track's source sends nothing any more."""
        known = self._tracks.get(track)
        if known is not None and known.said:
            self._flush_track(known)
            self._lessons[known.lesson].link.media(tap.encode("silent", track), track=track, packets=0)

    def end(self, lesson: str) -> None:
        """The lesson is over: the recorder may finish it."""
        known = self._lessons.get(lesson)
        if known is None:
            return
        for track in tuple(known.tracks):
            self.remove(track)
        known.link.end(lesson)
        del self._lessons[lesson]

    def take(self, items: Sequence[TapItem]) -> None:
        """What the plane's taps received; packets of one track keep their order."""
        for item in items:
            track = self._tracks.get(item.tap)
            if track is None:
                continue
            if isinstance(item, TapPacket):
                self._say(track, item.arrival_ns)
                track.batch.append((item.arrival_ns, item.data))
                track.batch_bytes += len(item.data)
                if track.batch_bytes >= limits.TAP_BATCH_BYTES:
                    self._flush_track(track)
            else:
                self._clock_frame(track, item)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(limits.TAP_BATCH_AGE, self._flush)

    def stats(self) -> dict[str, dict[str, float]]:
        """By address: what the recorder says of itself, and ``tap_connected``, ``tap_dropped`` (packets),
        ``tap_queue_bytes`` and ``tap_lag_ms``."""
        now = self._clock()
        return {
            address: {
                **link.stats,
                "tap_connected": float(link.connected),
                "tap_connections": float(link.connections),
                "tap_dropped": float(link.queue.dropped),
                "tap_queue_bytes": float(link.queue.bytes),
                "tap_lag_ms": 1000.0 * link.queue.age(now),
            }
            for address, link in self._links.items()
        }

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._flush()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    def _link(self, address: str) -> TapLink:
        scheme, _, rest = address.partition(":")
        port = number(rest.rpartition(":")[2], 65535)
        if not rest or scheme not in ("unix", "tcp") or (scheme == "tcp" and not port):
            raise Refused("unavailable", "a recorder's address is unix:/path or tcp:host:port")
        if address not in self._links:
            self._links[address] = TapLink(
                address, secret=self._secret, clock=self._clock, on_keyframe=self._on_keyframe, on_state=self._heard
            )
        return self._links[address]

    def _heard(self, heard: HeardState) -> None:
        self._on_state(
            RecorderState(heard.lesson, heard.state, heard.lag_ms, heard.seconds, heard.gaps, heard.detail[:200])
        )

    def _say(self, track: Track, arrival_ns: int) -> None:
        if track.said:
            return
        lesson = self._lessons[track.lesson]
        if not lesson.opened:
            lesson.opened = True
            lesson.link.open(track.lesson, lesson.title, arrival_ns)
        lesson.link.track(track.lesson, track.id, track.frame)
        track.said = True

    def _clock_frame(self, track: Track, item: TapClock) -> None:
        self._flush_track(track)
        if track.said:
            frame = tap.encode("clock", track.id, item.rtp, item.ntp_ns, item.arrival_ns)
            self._lessons[track.lesson].link.media(frame, track=track.id, packets=0)

    def _flush(self) -> None:
        self._timer = None
        for track in self._tracks.values():
            self._flush_track(track)

    def _flush_track(self, track: Track) -> None:
        if not track.batch:
            return
        frame = tap.encode("rtp", track.id, track.batch)
        self._lessons[track.lesson].link.media(frame, track=track.id, packets=len(track.batch))
        track.batch = []
        track.batch_bytes = 0
