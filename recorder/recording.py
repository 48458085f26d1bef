"""One lesson's recording, sans IO: packets and a ``now`` in, fragments to write out.

Decides what a fragment is (whatever is ready when the oldest sample has waited for FRAGMENT_AGE), where a segment ends
(60 s, at a keyframe; at once where codec, size, publisher or the set of tracks change), and what is a gap.

The single invariant: every sample that ``cut`` has handed out is either reported ``written`` or becomes a listed gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from recorder import limits
from recorder.limits import S
from recorder.manifest import Manifest
from recorder.mux import Container, Layout, container_for
from recorder.timeline import PublisherClock
from recorder.track import Gap, Kind, Lane, Reason, Sample, Track


@dataclass(frozen=True, slots=True)
class SegmentSpec:
    name: str
    container: Container
    layout: Layout


@dataclass(slots=True)
class Fragment:
    """A piece of work for the writer. Times are wall clock, ns."""

    segment: SegmentSpec
    epoch: int
    samples: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    generation: int = 0  # of the recording; pieces of a generation that failed are thrown away

    @property
    def size(self) -> int:
        return sum(len(sample.data) for sample in self.samples)


class Recording:
    """All times named ``now`` are ns of one clock that does not jump; arrivals are the relays' wall clock."""

    def __init__(self, lesson: str, title: str, resumed: Manifest | None = None) -> None:
        self.lesson = lesson
        self.title = title
        self.epoch: int | None = None
        self.generation = 0
        self.gap_count = 0
        self.segment_count = 0
        self.lanes: dict[str, Lane] = {}
        self.tracks: dict[Any, Track] = {}  # by (tap, track)
        self._keys: dict[Any, str] = {}
        self._publishers: dict[str, PublisherClock] = {}
        self._arrivals: dict[str, int] = {}  # by lane key: relay's wall clock of the last packet
        self._pending: list[Sample] = []
        self._segment: SegmentSpec | None = None
        self._segment_start = 0
        self._video_at = 0  # end of the last video sample cut
        self._roll = False  # at the next keyframe
        self._asked: dict[Any, int] = {}
        if resumed is not None:
            self._resume(resumed)

    def _resume(self, manifest: Manifest) -> None:
        self.epoch = manifest.head.epoch_ns
        self.gap_count = len(manifest.gaps)
        self.segment_count = max((int(each.line.file.split(".")[0]) for each in manifest.segments), default=0)
        formats = {part.track: part.format for each in manifest.segments for part in each.line.layout}
        last_packets = manifest.last_packets()
        for key, end in manifest.track_ends().items():
            publication, _, kind = key.rpartition("/")
            lane = self._lane(publication, "audio" if kind == "audio" else "video")
            lane.format = formats[key]
            lane.durable = self.epoch + end
            lane.rewind("restart")
            lane.last_packet = last_packets.get(key)

    # --- what a tap says ------------------------------------------------------------------------------------------

    def open_track(self, handle: Any, publication: str, kind: Kind, codec: str, clock: int, channels: int) -> None:
        """Begin (or replace) a track. ``handle`` names it in the calls below and in ``keyframes``.

        :raises ValueError: a codec that is not recorded, or too many tracks.
        """
        lane = self.lanes.get(f"{publication}/{kind}")
        if lane is None and len(self.lanes) >= limits.TRACKS:
            raise ValueError("too many tracks")
        fresh = lane or Lane(publication, kind)
        publisher = self._publishers.setdefault(publication, PublisherClock())
        track = Track(fresh, codec, clock, channels, publisher)
        self.lanes[fresh.key] = fresh
        for old in [each for each, key in self._keys.items() if key == fresh.key]:
            self.close_track(old, 0)
        if fresh.end is not None:
            self._roll = True
            fresh.interrupted = fresh.interrupted or "relay"
        self.tracks[handle] = track
        self._keys[handle] = fresh.key

    def close_track(self, handle: Any, now: int) -> None:
        """The tap or the publisher is gone; what waits behind a hole waits no more."""
        track = self.tracks.pop(handle, None)
        self._keys.pop(handle, None)
        self._asked.pop(handle, None)
        if track is not None:
            self._pending += track.flush(now)

    def push(self, handle: Any, packets: Iterable[tuple[int, bytes]], now: int) -> None:
        """Take ``(arrival, RTP packet)`` pairs of one track; an unknown handle is ignored."""
        track = self.tracks.get(handle)
        if track is None:
            return
        key = track.lane.key
        prefix = track.lane.publication + "/"
        quiet = max((at for each, at in self._arrivals.items() if each != key and each.startswith(prefix)), default=0)
        for arrival, data in packets:
            self._pending += track.push(data, arrival, now, quiet)
            self._arrivals[key] = arrival

    def report(self, handle: Any, timestamp: int, ntp_ns: int, arrival_ns: int) -> None:
        track = self.tracks.get(handle)
        if track is not None:
            track.report(timestamp, ntp_ns, arrival_ns)

    def _lane(self, publication: str, kind: Kind) -> Lane:
        return self.lanes.setdefault(f"{publication}/{kind}", Lane(publication, kind))

    # --- what the clock says --------------------------------------------------------------------------------------

    def poll(self, now: int) -> list[Fragment]:
        """Once every POLL: fragments that are due."""
        for track in self.tracks.values():
            if track.waiting:
                self._pending += track.poll(now)
        self._fill_silent(now)
        if self._pending and now - min(sample.received for sample in self._pending) >= limits.FRAGMENT_AGE:
            return self.cut(now)
        return []

    def keyframes(self, now: int) -> list[Any]:
        """Handles of the video tracks that need a keyframe now: to start, after a loss, to end a segment."""
        wanted = []
        for handle, track in self.tracks.items():
            if track.lane.kind != "video" or now - track.received > 2 * limits.KEYFRAME_RETRY:
                continue  # nothing comes: asking would not help
            due = track.needs_keyframe or (self._is_main(track.lane.key) and self._segment_due())
            if due and now - self._asked.get(handle, -limits.KEYFRAME_RETRY) >= limits.KEYFRAME_RETRY:
                self._asked[handle] = now
                wanted.append(handle)
        return wanted

    def finish(self, now: int, ended_wall: int | None) -> list[Fragment]:
        """The last fragments. ``ended_wall``: when the lesson ended, so that silence up to then is kept and listed;
        0 when nobody said so (all taps are gone); ``None`` when it may go on."""
        for handle in list(self.tracks):
            self.close_track(handle, now)
        if ended_wall is not None and self.epoch is not None:
            last = self.end
            if limits.SILENT < ended_wall - last <= limits.TRAILING:
                for lane in self.lanes.values():
                    self._extend(lane, ended_wall, now)
            else:  # the tracks need not end at the same instant: audio is completed to the end of the picture
                for lane in self.lanes.values():
                    if lane.kind == "audio" and lane.end is not None and last - lane.end >= S // 50:
                        self._pending += lane.fill(last, now, "silent" if last - lane.end > limits.SILENT else None)
        return self.cut(now)

    def _extend(self, lane: Lane, until: int, now: int) -> None:
        if lane.end is None:
            return
        if lane.kind == "audio":
            self._pending += lane.fill(until, now, lane.interrupted or "silent")
        else:
            lane.close_gap(until, lane.interrupted or "silent")

    def _fill_silent(self, now: int) -> None:
        """Audio that has stopped while others go on is filled up behind them, so that a kill finds it filled."""
        for lane in self.lanes.values():
            if lane.kind != "audio" or lane.end is None or now - lane.received < limits.FILL_BEHIND:
                continue
            others = [each.end for each in self.lanes.values() if each is not lane and each.end is not None]
            until = max(others, default=0) - limits.FILL_BEHIND
            if until - lane.end >= S:
                self._pending += lane.fill(until, now, lane.interrupted or "silent")

    # --- fragments and segments -----------------------------------------------------------------------------------

    def cut(self, now: int) -> list[Fragment]:
        """Hand out all that is ready, in order of time, as fragments of at most FRAGMENT_SPAN."""
        samples, self._pending = sorted(self._pending, key=lambda each: each.start), []
        gaps = [gap for lane in self.lanes.values() for gap in lane.gaps]
        for lane in self.lanes.values():
            lane.gaps.clear()
        if not samples:
            return self._gaps_alone(gaps)
        if self.epoch is None:
            self.epoch = samples[0].start
        fragments: list[Fragment] = []
        for index, sample in enumerate(samples):
            if self._segment is None or self._ends_segment(sample):
                self._open_segment(samples[index:])
                fragments.append(self._fragment())
            elif not fragments or sample.start - fragments[-1].samples[0].start >= limits.FRAGMENT_SPAN:
                fragments.append(self._fragment())
            fragments[-1].samples.append(sample)
            if sample.format.codec != "opus":
                self._video_at = sample.start
        fragments[-1].gaps = gaps
        self.gap_count += len(gaps)
        return fragments

    def _gaps_alone(self, gaps: list[Gap]) -> list[Fragment]:
        if not gaps or self._segment is None:
            return []
        self.gap_count += len(gaps)
        fragment = self._fragment()
        fragment.gaps = gaps
        return [fragment]

    def _fragment(self) -> Fragment:
        assert self._segment is not None and self.epoch is not None
        return Fragment(self._segment, self.epoch, generation=self.generation)

    def _ends_segment(self, sample: Sample) -> bool:
        assert self._segment is not None
        if dict(self._segment.layout).get(sample.track) != sample.format:
            return True
        age = sample.start - self._segment_start
        if sample.keyframe and self._is_main(sample.track):
            return self._roll or age >= limits.SEGMENT_EARLY
        # Without a living picture there is no keyframe to wait for.
        return age >= limits.SEGMENT_SPAN and sample.start - self._video_at > limits.FILL_BEHIND

    def _open_segment(self, following: list[Sample]) -> None:
        """A new segment from ``following[0]`` on; its layout is what lanes have now."""
        first = following[0]
        formats = {sample.track: sample.format for sample in reversed(following)}
        for lane in self.lanes.values():
            if lane.format is not None and lane.end is not None and lane.end > first.start - limits.SEGMENT_SPAN:
                formats.setdefault(lane.key, lane.format)
        layout = tuple(sorted(formats.items(), key=lambda item: rank(item[0])))
        container = container_for(form.codec for _, form in layout)
        self.segment_count += 1
        self._segment = SegmentSpec(f"{self.segment_count:06d}.{container}", container, layout)
        self._segment_start = first.start
        self._roll = False

    def _is_main(self, key: str) -> bool:
        """The first video track decides where segments end; without any, the first track."""
        if self._segment is None:
            return False
        keys = [each for each, form in self._segment.layout if form.codec != "opus"]
        return key == keys[0] if keys else False

    def _segment_due(self) -> bool:
        return self._segment is not None and self.end - self._segment_start >= limits.SEGMENT_SPAN - S

    # --- what the writer says -------------------------------------------------------------------------------------

    def written(self, fragment: Fragment) -> None:
        """The fragment is on disk."""
        for sample in fragment.samples:
            lane = self.lanes[sample.track]
            lane.durable = max(lane.durable or 0, sample.start + sample.duration)

    def failed(self, reason: Reason) -> None:
        """Nothing handed out and not yet ``written`` will be: it becomes a gap when recording goes on."""
        self.generation += 1
        self._pending.clear()
        self._segment = None
        for lane in self.lanes.values():
            lane.rewind(reason, self.epoch)
        for track in self.tracks.values():
            track.restart_at_keyframe()

    def drop(self) -> None:
        """While nothing can be written: forget what came in, so that nothing grows. ``failed`` must follow."""
        self._pending.clear()
        for lane in self.lanes.values():
            lane.gaps.clear()

    # --- what others want to know ---------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """End of the last sample of any lane, wall clock ns; 0 before the first."""
        return max((lane.end for lane in self.lanes.values() if lane.end is not None), default=0)

    @property
    def seconds(self) -> float:
        return max(0, self.end - self.epoch) / S if self.epoch is not None else 0.0

    def lag(self, now: int) -> int:
        """Age in ns of the oldest sample that has not been handed out."""
        return now - min((sample.received for sample in self._pending), default=now)


def rank(key: str) -> tuple[bool, bool, str]:
    """The order of tracks in a file: players show the first video and sound the first audio, which are the teacher's
    camera; then by name."""
    publication, _, kind = key.rpartition("/")
    return kind == "audio", publication != "camera", publication
