"""One track from packets to samples on the wall clock: reorder, depacketize, place in time, list what is missing.

A :class:`Lane` is what the file has of a publication's audio or video, for the whole recording; a :class:`Track` is
what one tap says of it now. Publishers, relays and this process come and go; the lane stays and its time goes on.

The single invariant: a lane's samples never overlap, and an audio lane has no hole: what was not received is silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recorder import limits, opus, rtp
from recorder.depacketize import AccessUnit, Format, for_codec
from recorder.limits import MS, S
from recorder.reorder import Item, Lost, Reorder
from recorder.timeline import PublisherClock, TrackClock

Kind = Literal["audio", "video"]
Reason = Literal["loss", "silent", "restart", "relay", "disk", "overload"]

DRIFT = 60 * MS  # audio samples stand end to end; only beyond this are they moved, by whole packets
FRAME_GUESS = 33 * MS  # how long a video frame lasts whose successor is unknown


@dataclass(frozen=True, slots=True)
class Gap:
    """Time of a track that was not received (or not kept). Times are wall clock, ns."""

    track: str
    start: int
    end: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Sample:
    """One access unit at its place in time; ``rtp`` is ``None`` for silence that we made."""

    track: str
    start: int  # wall clock, ns
    duration: int
    data: bytes
    keyframe: bool
    format: Format
    received: int  # ``now`` of the recorder when it arrived
    rtp: int | None = None
    sequences: tuple[int, int] | None = None
    ssrc: int | None = None


@dataclass(slots=True)
class Lane:
    """What the file has of one publication's audio or video."""

    publication: str
    kind: Kind
    format: Format | None = None
    end: int | None = None  # wall clock up to which there are samples
    durable: int | None = None  # the same, of what is on disk
    last_packet: tuple[int, int] | None = None  # SSRC and extended sequence number of the last sample's last packet
    received: int = 0  # ``now`` of the last packet
    interrupted: Reason | None = None  # why the next sample may come after a gap
    gaps: list[Gap] = field(default_factory=list)
    overlapped: int = 0
    _last: int = 0  # start of the last video sample
    _interval: int = FRAME_GUESS

    @property
    def key(self) -> str:
        return f"{self.publication}/{self.kind}"

    def accept(self, unit: AccessUnit, wall: int, now: int) -> list[Sample]:
        """Place one access unit; returns it, with the silence before it where audio was missing."""
        self.format = unit.format
        self.received = now
        make = self._accept_audio if self.kind == "audio" else self._accept_video
        samples = make(unit, wall, now)
        if samples:
            self.interrupted = None
        self.last_packet = unit.ssrc, unit.last
        return samples

    def _accept_audio(self, unit: AccessUnit, wall: int, now: int) -> list[Sample]:
        if self.end is None:
            self.end = wall
        samples: list[Sample] = []
        behind = wall - self.end
        if behind <= -DRIFT:
            self.overlapped += 1
            return []
        if behind >= (opus.FRAME // 2 if self.interrupted else DRIFT):
            samples = self.fill(wall, now, self.interrupted)
        samples.append(self._sample(unit, self.end, unit.duration, now))
        self.end += unit.duration
        return samples

    def _accept_video(self, unit: AccessUnit, wall: int, now: int) -> list[Sample]:
        start = wall
        if self.end is not None:
            start = max(start, self._last + MS)
            if self.interrupted:
                self._list(self.end, start, self.interrupted)
            elif start - self._last < S:
                self._interval = start - self._last
        self._last = start
        self.end = start + self._interval
        return [self._sample(unit, start, self._interval, now)]

    def fill(self, until: int, now: int, reason: Reason | None) -> list[Sample]:
        """Silence from the end of an audio lane to ``until``; listed as a gap when there is a reason."""
        assert self.end is not None and self.format is not None
        begin = self.end
        samples = []
        for start, duration, data in opus.silence(begin, until):
            samples.append(Sample(self.key, start, duration, data, True, self.format, now))
            self.end = start + duration
        if reason:
            self._list(begin, self.end, reason)
        return samples

    def rewind(self, reason: Reason, begin: int | None = None) -> None:
        """Forget what did not reach the disk: it becomes a gap when samples come again. ``begin`` is where a lane
        starts that had samples, none of which reached the disk."""
        self.end = self.durable if self.durable is not None or self.end is None else begin
        self._last = min(self._last, self.end or 0)
        self.interrupted = reason if self.end is not None else None
        self.last_packet = None
        self.gaps.clear()

    def close_gap(self, until: int, reason: Reason) -> None:
        """List the time from the lane's end to ``until`` as missing, without making samples."""
        if self.end is not None:
            self._list(self.end, until, reason)

    def _list(self, start: int, end: int, reason: Reason) -> None:
        if end - start >= MS:
            self.gaps.append(Gap(self.key, start, end, reason))

    def _sample(self, unit: AccessUnit, start: int, duration: int, now: int) -> Sample:
        return Sample(
            self.key,
            start,
            duration,
            unit.data,
            unit.keyframe,
            unit.format,
            now,
            unit.timestamp,
            (unit.first, unit.last),
            unit.ssrc,
        )


class Track:
    """One track of one tap: packets in, samples out.

    :raises ValueError: a codec that is not recorded.
    """

    def __init__(self, lane: Lane, codec: str, clock: int, channels: int, publisher: PublisherClock) -> None:
        if clock <= 0:
            raise ValueError(f"clock rate {clock}")
        self.lane = lane
        self._depacketizer = for_codec(codec, channels)
        self._reorder = Reorder()
        self._clock = TrackClock(clock, publisher)
        self._arrival: int | None = None  # of the last packet, relay's clock
        self._why: Reason | None = None  # the lane was interrupted, if this turns out not to go on where it ended
        self.received = -S * 3600  # ``now`` of the last packet
        self.malformed = 0

    @property
    def needs_keyframe(self) -> bool:
        return self._depacketizer.needs_keyframe

    @property
    def waiting(self) -> bool:
        return self._reorder.waiting

    @property
    def lost(self) -> int:
        return self._reorder.lost

    @property
    def late(self) -> int:
        return self._reorder.late + self._reorder.duplicates

    @property
    def bad(self) -> int:
        return self.malformed + self._depacketizer.malformed

    def push(self, data: bytes, arrival_ns: int, now: int, quiet_since: int) -> list[Sample]:
        """Take one RTP packet.

        ``quiet_since``: arrival of the last packet of the publication's other tracks. A video that paused while its
        audio went on is a camera switched off, not a gap.
        """
        try:
            packet = rtp.parse(data)
        except ValueError:
            self.malformed += 1
            return []
        self.received = now
        previous, self._arrival = self._arrival, arrival_ns
        if previous is None:
            self._begin(packet.ssrc, arrival_ns)
        if previous is not None and arrival_ns - previous > limits.SILENT:
            paused = self.lane.kind == "video" and quiet_since - previous > S
            if not paused and self.lane.interrupted is None:
                self.lane.interrupted = "silent"
        return self._take(self._reorder.push(packet, arrival_ns, now), now)

    def poll(self, now: int) -> list[Sample]:
        return self._take(self._reorder.poll(now), now)

    def flush(self, now: int) -> list[Sample]:
        return self._take(self._reorder.flush(), now)

    def report(self, timestamp: int, ntp_ns: int, arrival_ns: int) -> None:
        self._clock.report(timestamp, ntp_ns, arrival_ns)

    def restart_at_keyframe(self) -> None:
        """What came before was lost (disk, overload): video goes on with its next keyframe."""
        self._depacketizer.lost()

    def _begin(self, ssrc: int, arrival_ns: int) -> None:
        """Of a stream that the lane knows already (a tap's, after one of its ends has died) nothing but what the lane
        does not have is taken: it goes on with the next picture, not with the next keyframe."""
        lane = self.lane
        if lane.last_packet is None or lane.last_packet[0] != ssrc or lane.format is None or lane.end is None:
            return
        self._reorder.resume(lane.last_packet[1] + 1)
        self._depacketizer.resume(lane.format)
        if arrival_ns - lane.end <= limits.SILENT:
            self._why, lane.interrupted = lane.interrupted, None

    def _take(self, items: list[Item], now: int) -> list[Sample]:
        samples: list[Sample] = []
        for item in items:
            if isinstance(item, Lost):
                self._depacketizer.lost()
                self._broken()
                continue
            for unit in self._depacketizer.push(item):
                samples += self.lane.accept(unit, self._clock.place(unit.timestamp, unit.arrival_ns), now)
                self._why = None
            if self._depacketizer.needs_keyframe:
                self._broken()
        return samples

    def _broken(self) -> None:
        if self.lane.end is not None and self.lane.interrupted is None:
            self.lane.interrupted = self._why or "loss"
