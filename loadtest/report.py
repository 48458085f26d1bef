"""What a load test found: points over time, sums, percentiles, and the remarks a reader must not miss."""

from __future__ import annotations

from collections import Counter

import msgspec

from loadtest import limits
from loadtest.generator import Join, Tick
from loadtest.percentiles import Histogram
from loadtest.process import Usage


class Sent(msgspec.Struct):
    """The publisher's counters."""

    packets: int = 0
    bytes: int = 0
    frames: int = 0
    keyframe_requests: int = 0
    nacked: int = 0
    retransmitted: int = 0
    skipped_frames: int = 0
    reconnects: int = 0
    rtt_ms: float | None = None


class Point(msgspec.Struct):
    """One second of the run. Rates are per second; CPU is a share of one core; memory in bytes; times in ms."""

    at: float
    joined: int = 0
    receiving: int = 0
    with_picture: int = 0
    failed: int = 0
    dropped: int = 0
    packets: int = 0  # counter, since the start
    lost: int = 0
    sent_packets: int = 0
    bytes: int = 0
    sent_bytes: int = 0
    delivered_per_second: float = 0.0
    delivered_bitrate: float = 0.0
    published_per_second: float = 0.0
    published_bitrate: float = 0.0
    loss: float = 0.0  # 0..1, of this second
    video_p50: float | None = None
    video_p95: float | None = None
    video_p99: float | None = None
    audio_p50: float | None = None
    audio_p99: float | None = None
    server_cpu: float | None = None
    server_memory: int | None = None
    generator_cpu: float | None = None
    generator_memory: int | None = None
    lag_ms: float = 0.0

    @classmethod
    def of(
        cls,
        tick: Tick,
        before: Point | None,
        video: Histogram,
        audio: Histogram,
        sent: Sent | None,
        server: Usage | None,
        generator: Usage | None,
    ) -> Point:
        """The point of ``tick``, with rates since ``before``."""
        point = cls(
            at=tick.at,
            joined=tick.joined,
            receiving=tick.receiving,
            with_picture=tick.with_picture,
            failed=tick.failed,
            dropped=tick.dropped,
            packets=tick.packets,
            lost=tick.lost,
            bytes=tick.bytes,
            sent_packets=sent.packets if sent is not None else 0,
            sent_bytes=sent.bytes if sent is not None else 0,
            video_p50=ms(video.percentile(0.5)),
            video_p95=ms(video.percentile(0.95)),
            video_p99=ms(video.percentile(0.99)),
            audio_p50=ms(audio.percentile(0.5)),
            audio_p99=ms(audio.percentile(0.99)),
            server_cpu=server.cpu if server is not None else None,
            server_memory=server.memory if server is not None else None,
            generator_cpu=generator.cpu if generator is not None else None,
            generator_memory=generator.memory if generator is not None else None,
            lag_ms=tick.lag_ms,
        )
        point._rates(before)
        return point

    def _rates(self, before: Point | None) -> None:
        earlier = before or Point(at=0.0)
        elapsed = max(1e-3, self.at - earlier.at)
        packets, lost = self.packets - earlier.packets, self.lost - earlier.lost
        self.delivered_per_second = packets / elapsed
        self.delivered_bitrate = (self.bytes - earlier.bytes) * 8 / elapsed
        self.published_per_second = (self.sent_packets - earlier.sent_packets) / elapsed if before else 0.0
        self.published_bitrate = (self.sent_bytes - earlier.sent_bytes) * 8 / elapsed if before else 0.0
        self.loss = lost / (packets + lost) if packets + lost > 0 else 0.0


class Percentiles(msgspec.Struct):
    """In ms; ``None`` where nothing was measured. ``never`` are the classrooms that never got there: they stand in no
    percentile and must be read with them."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    maximum: float | None
    mean: float | None
    never: int = 0
    bars: list[tuple[float, int]] = []  # upper edge in ms, how many


_TOTALS = (
    *("joined", "failed", "dropped", "receiving", "with_picture", "packets", "bytes", "lost", "recovered"),
    *("reordered", "duplicates", "nacks", "plis", "opened", "forged"),
)


class Report(msgspec.Struct):
    """The whole; ``remarks`` are codes of ``texts.py`` with their numbers."""

    description: dict[str, str | int | float]
    totals: dict[str, int]
    loss: float
    sent: Sent | None
    joined_ms: Percentiles
    first_packet_ms: Percentiles
    first_picture_ms: Percentiles
    video_latency_ms: Percentiles
    audio_latency_ms: Percentiles
    errors: dict[str, int]
    remarks: list[tuple[str, dict[str, float]]]
    points: list[Point]
    joins: list[Join]

    @property
    def whole(self) -> bool:
        """Every classroom got its picture and kept it."""
        return not self.errors and self.first_picture_ms.never == 0


_EDGES_MS = (1, 2, 3, 5, 8, 13, 20, 30, 50, 80, 130, 200, 300, 500, 800, 1300, 2000, 3000, 5000, 8000, 13000, 20000)


def ms(microseconds: int | None) -> float | None:
    """For people: milliseconds to two places."""
    return None if microseconds is None else round(microseconds / 1000, 2)


def percentiles(histogram: Histogram, never: int = 0) -> Percentiles:
    """The figures of one histogram of microseconds."""
    mean = histogram.mean()
    bars = zip(_EDGES_MS, histogram.bars(edge * 1000 for edge in _EDGES_MS), strict=True)
    return Percentiles(
        count=histogram.count,
        p50=ms(histogram.percentile(0.5)),
        p95=ms(histogram.percentile(0.95)),
        p99=ms(histogram.percentile(0.99)),
        maximum=ms(histogram.maximum if histogram.count else None),
        mean=None if mean is None else round(mean / 1000, 2),
        never=never,
        bars=[(float(edge), count) for edge, count in bars],
    )


def summarise(
    points: list[Point],
    last: Tick | None,
    video: Histogram,
    audio: Histogram,
    sent: Sent | None,
    description: dict[str, str | int | float],
) -> Report:
    """Everything a run gathered, as a report."""
    final = last or Tick(at=0.0)
    joins = sorted(final.joins, key=lambda join: join.at)
    errors = Counter(join.error for join in joins if join.error)
    kept = dict(errors.most_common(limits.MAX_ERRORS))
    if (rest := errors.total() - sum(kept.values())) > 0:
        kept["other"] = rest
    report = Report(
        description=description,
        totals={"planned": int(description["classrooms"]), **{name: getattr(final, name) for name in _TOTALS}},
        loss=final.lost / (final.packets + final.lost) if final.packets + final.lost else 0.0,
        sent=sent,
        joined_ms=_of_joins([join.connected_ms for join in joins]),
        first_packet_ms=_of_joins([join.first_packet_ms for join in joins]),
        first_picture_ms=_of_joins([join.first_keyframe_ms for join in joins]),
        video_latency_ms=percentiles(video),
        audio_latency_ms=percentiles(audio),
        errors=kept,
        remarks=[],
        points=points,
        joins=joins,
    )
    report.remarks = list(_remarks(report, video, audio))
    return report


def _of_joins(values: list[float | None]) -> Percentiles:
    histogram = Histogram()
    for value in values:
        if value is not None:
            histogram.add(round(value * 1000))
    return percentiles(histogram, never=sum(value is None for value in values))


BUSY_CORE = 0.85  # of a core per generator process: beyond it the generator's own delays enter the figures
LATE_LOOP_MS = 50.0
SLIP_MS = 250.0


def _remarks(report: Report, video: Histogram, audio: Histogram) -> list[tuple[str, dict[str, float]]]:
    """What a reader must know before believing the figures."""
    remarks: list[tuple[str, dict[str, float]]] = []
    # Above one worker, the parent publishes: a core of its own.
    workers = int(report.description["workers"]) or 1
    cores = workers + (workers > 1)
    busiest = max((point.generator_cpu or 0.0 for point in report.points), default=0.0) / cores
    if busiest > BUSY_CORE:
        remarks.append(("generator-busy", {"percent": round(busiest * 100)}))
    lag = max((point.lag_ms for point in report.points), default=0.0)
    if lag > LATE_LOOP_MS:
        remarks.append(("generator-late", {"ms": round(lag)}))
    slip = max((join.slip_ms for join in report.joins), default=0.0)
    if slip > SLIP_MS:
        remarks.append(("ramp-late", {"ms": round(slip)}))
    if video.negative + audio.negative:
        remarks.append(("clocks-differ", {"count": video.negative + audio.negative}))
    if report.totals["packets"] and not video.count and not audio.count:
        remarks.append(("no-latency", {}))
    if report.sent is not None and report.sent.skipped_frames:
        remarks.append(("publisher-late", {"count": report.sent.skipped_frames}))
    if report.sent is not None and report.sent.reconnects:
        remarks.append(("publisher-reconnected", {"count": report.sent.reconnects}))
    if report.first_picture_ms.never:
        remarks.append(("never", {"count": report.first_picture_ms.never}))
    return remarks
