"""Seats: presence by sockets and connections, attendance, line quality, and what is told to whom how often."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from signaling import messages as m
from signaling.core import commands as c
from signaling.core.handle import Core
from signaling.core.lesson import Lesson, new_lesson
from signaling.core.seats import Interval, Seat
from signaling.limits import INTERVALS_PER_SEAT, SEATS_PER_BATCH
from signaling.metrics import HouseCollector, Metrics
from signaling.relay import (
    ConnectionDown,
    ConnectionUp,
    FirstFrame,
    LayerInfo,
    LayerNow,
    Line,
    PublicationLive,
    PublicationSilent,
)
from signaling.series import PerMinute, Series, percentile
from signaling.settings import SignalingSettings

T0 = 1_800_000_000.0


@pytest.fixture
def lesson() -> Lesson:
    return new_lesson("春天的诗", T0)


@pytest.fixture
def core(lesson: Lesson) -> Core:
    core = Core(SignalingSettings())
    core.handle(c.Learn(lesson), T0)
    return core


def watch(core: Core, lesson: Lesson, connection: str, seat: str, now: float) -> None:
    core.handle(c.Join(lesson.id, connection, seat, "classroom", "watch", "camera"), now)
    core.handle(c.Opened(connection), now)


def view(core: Core, lesson: Lesson, seat: str) -> m.SeatView:
    detail = core.detail(lesson.id, seats=True)
    assert detail is not None
    assert detail.seats is not None
    return next(found for found in detail.seats if found.seat == seat)


def test_a_seat_is_present_from_the_first_sign_to_the_last() -> None:
    seat = Seat("c1", "classroom", T0)
    seat.sockets.add("s1")
    assert seat.settle(T0) == Interval(T0)
    seat.sockets.add("s2")
    assert seat.settle(T0 + 1) is None
    seat.sockets.discard("s1")
    assert seat.settle(T0 + 2) is None
    seat.sockets.discard("s2")
    assert seat.settle(T0 + 3) == Interval(T0, T0 + 3)


def test_intervals_are_bounded_and_the_shortest_gap_closes_first() -> None:
    seat = Seat("c1", "classroom", T0)
    now = T0
    for index in range(INTERVALS_PER_SEAT + 1):
        seat.sockets.add("s")
        seat.settle(now)
        seat.sockets.clear()
        seat.settle(now + 10)
        now += 10 + (0.5 if index == 100 else 5)
    assert len(seat.intervals) == INTERVALS_PER_SEAT
    assert seat.intervals[100].end is not None
    assert seat.intervals[100].end - seat.intervals[100].start == pytest.approx(20.5)
    assert seat.intervals[0].start == T0
    assert seat.intervals[-1].end == now - 5


def test_a_connection_counts_as_presence_only_once_it_is_up(core: Core, lesson: Lesson) -> None:
    watch(core, lesson, "w1", "c1", T0)
    assert (view(core, lesson, "c1").state, view(core, lesson, "c1").present) == ("connecting", False)
    effects = core.handle(c.Heard(ConnectionUp(lesson.id, "w1")), T0 + 1)
    assert [e.interval.start for e in effects if isinstance(e, c.Attended)] == [T0 + 1]
    assert view(core, lesson, "c1").present
    effects = core.handle(c.Heard(ConnectionDown(lesson.id, "w1", "consent")), T0 + 61)
    assert [e.interval.end for e in effects if isinstance(e, c.Attended)] == [T0 + 61]


def test_a_classroom_that_tried_and_failed_stays_listed(core: Core, lesson: Lesson) -> None:
    core.handle(c.Join(lesson.id, "w1", "c1", "classroom", "watch", "camera"), T0)
    core.handle(c.Failed("w1"), T0 + 1)
    assert (view(core, lesson, "c1").state, view(core, lesson, "c1").connections) == ("gone", 0)


def test_a_reconnecting_classroom_keeps_its_seat_and_its_other_connections(core: Core, lesson: Lesson) -> None:
    watch(core, lesson, "w1", "c1", T0)
    watch(core, lesson, "w2", "c1", T0)
    core.handle(c.Heard(ConnectionUp(lesson.id, "w1")), T0)
    core.handle(c.Heard(ConnectionDown(lesson.id, "w1", "consent")), T0 + 30)
    assert core.knows("w2")
    watch(core, lesson, "w3", "c1", T0 + 33)
    core.handle(c.Heard(ConnectionUp(lesson.id, "w3")), T0 + 34)
    detail = core.detail(lesson.id, seats=True)
    assert detail is not None
    assert detail.seats is not None
    assert [seat.seat for seat in detail.seats] == ["c1"]
    assert detail.seats[0].connections == 2


def test_states_follow_the_line(core: Core, lesson: Lesson) -> None:
    core.handle(c.Attach(lesson.id, "s1", "c1", "classroom"), T0)
    assert view(core, lesson, "c1").state == "waiting"
    watch(core, lesson, "w1", "c1", T0)
    assert view(core, lesson, "c1").state == "connecting"
    core.handle(c.Heard(ConnectionUp(lesson.id, "w1")), T0)
    assert view(core, lesson, "c1").state == "waiting"
    core.handle(c.Heard(FirstFrame(lesson.id, "w1", "video", 40.0)), T0)
    assert view(core, lesson, "c1").state == "watching"
    for second in range(5):
        core.handle(c.Heard(Line(lesson.id, "w1", 500_000, 0.2, 80.0, 400_000)), T0 + second)
    assert view(core, lesson, "c1").state == "poor"
    for second in range(20):
        core.handle(c.Heard(Line(lesson.id, "w1", 500_000, 0.0, 80.0, 400_000)), T0 + 5 + second)
    assert view(core, lesson, "c1").state == "watching"
    core.handle(c.Heard(LayerNow(lesson.id, "w1", None, "server")), T0 + 30)
    assert view(core, lesson, "c1").state == "poor"
    core.handle(c.Heard(LayerNow(lesson.id, "w1", "l", "server")), T0 + 31)
    core.handle(c.Heard(Line(lesson.id, "w1", None, 0.0, None, 0)), T0 + 40)
    assert view(core, lesson, "c1").state == "waiting"
    core.handle(c.Detach("s1"), T0 + 41)
    core.handle(c.Leave("w1"), T0 + 41)
    assert view(core, lesson, "c1").state == "gone"


def test_one_bad_report_does_not_make_a_seat_poor_nor_does_it_flap(core: Core, lesson: Lesson) -> None:
    seat = Seat("c1", "classroom", T0)
    seat.heard_loss(0.0)
    seat.heard_loss(0.2)
    assert not seat.poor
    for _ in range(10):
        seat.heard_loss(0.1)
    assert seat.poor
    for _ in range(50):
        seat.heard_loss(0.05)
    assert seat.poor
    for _ in range(50):
        seat.heard_loss(0.01)
    assert not seat.poor


def test_seats_are_told_once_a_second_only_what_changed_and_only_to_those_who_may(core: Core, lesson: Lesson) -> None:
    core.handle(c.Attach(lesson.id, "s0", "t", "teacher"), T0)
    core.handle(c.Tick(), T0)
    for index in range(10):
        core.handle(c.Attach(lesson.id, f"s{index + 1}", f"c{index}", "classroom"), T0 + 0.1)
    assert core.handle(c.Tick(), T0 + 0.5) == []
    (told,) = core.handle(c.Tick(), T0 + 1.0)
    assert isinstance(told, c.Tell)
    assert told.roles == {"teacher", "assistant", "inspector", "ops"}
    assert isinstance(told.message, m.Seats)
    assert len(told.message.seats) == 10
    assert told.message.counts == m.Counts(classrooms=10, watching=0, poor=0, gone=0)
    assert core.handle(c.Tick(), T0 + 2.0) == []
    watch(core, lesson, "w1", "c1", T0 + 2)
    (told,) = core.handle(c.Tick(), T0 + 3.0)
    assert isinstance(told, c.Tell)
    assert isinstance(told.message, m.Seats)
    assert [seat.seat for seat in told.message.seats] == ["c1"]


def test_a_line_that_trembles_is_no_news(core: Core, lesson: Lesson) -> None:
    watch(core, lesson, "w1", "c1", T0)
    core.handle(c.Heard(ConnectionUp(lesson.id, "w1")), T0)
    core.handle(c.Heard(Line(lesson.id, "w1", 1, 0.0, 52.0, 400_000)), T0)
    assert core.handle(c.Tick(), T0 + 1)
    core.handle(c.Heard(Line(lesson.id, "w1", 1, 0.001, 53.5, 410_000)), T0 + 2)
    assert core.handle(c.Tick(), T0 + 3) == []


def test_a_classroom_gets_no_presence_in_its_welcome(core: Core, lesson: Lesson) -> None:
    core.handle(c.Attach(lesson.id, "s1", "c1", "classroom"), T0)
    for role, sees in (("classroom", False), ("teacher", True), ("inspector", True)):
        effects = core.handle(c.Attach(lesson.id, f"s-{role}", "x", role), T0)  # type: ignore[arg-type]
        (welcome,) = [e.message for e in effects if isinstance(e, c.Tell) and isinstance(e.message, m.Welcome)]
        assert (welcome.seats is not None) == sees


def test_rates_of_a_publication_are_for_the_staff_its_shape_is_for_all(core: Core, lesson: Lesson) -> None:
    core.handle(c.Join(lesson.id, "p", "t", "teacher", "publish", "camera"), T0)
    core.handle(c.Opened("p"), T0)

    def told(bitrate: int, width: int) -> frozenset[str] | None:
        layers = (LayerInfo("h", bitrate, width, 720, 25.0),)
        effects = core.handle(c.Heard(PublicationLive(lesson.id, "p", "camera", "video", "VP8", layers)), T0)
        (tell,) = [e for e in effects if isinstance(e, c.Tell) and isinstance(e.message, m.Published)]
        return tell.roles

    assert told(1_000_000, 1280) is None
    assert told(1_100_000, 1280) == {"teacher", "assistant", "inspector", "ops"}
    assert told(1_100_000, 640) is None


def test_many_changed_seats_are_several_messages(core: Core, lesson: Lesson) -> None:
    for index in range(SEATS_PER_BATCH + 1):
        core.handle(c.Attach(lesson.id, f"s{index}", f"c{index}", "classroom"), T0)
    effects = core.handle(c.Tick(), T0 + 1)
    sizes = [len(e.message.seats) for e in effects if isinstance(e, c.Tell) and isinstance(e.message, m.Seats)]
    assert sizes == [SEATS_PER_BATCH, 1]


def test_the_seats_of_a_lesson_are_bounded(core: Core, lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.core.presence.SEATS_PER_LESSON", 50)
    for index in range(50):
        core.handle(c.Attach(lesson.id, f"s{index}", f"c{index}", "classroom"), T0)
    assert core.handle(c.Attach(lesson.id, "more", "one-more", "classroom"), T0) == [c.Refuse("full")]
    assert core.handle(c.Join(lesson.id, "w", "one-more", "classroom", "watch", "camera"), T0) == [c.Refuse("full")]


def test_browsers_reports_are_measured_once_where_they_repeat(core: Core, lesson: Lesson) -> None:
    watch(core, lesson, "w1", "c1", T0)
    core.handle(c.Heard(ConnectionUp(lesson.id, "w1")), T0 + 0.5)
    stats = m.Stats(connection="w1", first_frame_ms=420.0, latency_ms=180.0, loss=0.01)
    measured = [
        (effect.what, effect.label)
        for _ in range(3)
        for effect in core.handle(c.Reported(lesson.id, "c1", "classroom", stats), T0 + 1)
        if isinstance(effect, c.Measured)
    ]
    assert measured.count(("first_frame", "browser")) == 1
    assert measured.count(("latency", "browser")) == 3
    seat = view(core, lesson, "c1")
    assert (seat.latency_ms, seat.first_frame_ms) == (180.0, 420.0)
    assert core.totals(T0 + 2).latencies == [180.0]
    assert core.totals(T0 + 60).latencies == []


def test_the_time_to_the_first_frame_is_one_picture_each(core: Core, lesson: Lesson) -> None:
    measured = []
    for name in ("w1", "w2", "w3"):
        watch(core, lesson, name, name, T0)
        core.handle(c.Heard(ConnectionUp(lesson.id, name)), T0)
        for kind, after_ms in (("audio", 20.0), ("video", 250.0)):
            effects = core.handle(c.Heard(FirstFrame(lesson.id, name, kind, after_ms)), T0 + 1)  # type: ignore[arg-type]
            measured += [e for e in effects if isinstance(e, c.Measured)]
    assert measured == [c.Measured("first_frame", 0.25, "relay")] * 3
    assert view(core, lesson, "w1").state == "watching"


def test_sound_alone_also_counts_as_watching(core: Core, lesson: Lesson) -> None:
    watch(core, lesson, "w1", "c1", T0)
    core.handle(c.Heard(ConnectionUp(lesson.id, "w1")), T0)
    assert core.handle(c.Heard(FirstFrame(lesson.id, "w1", "audio", 20.0)), T0) == []
    assert view(core, lesson, "c1").state == "watching"


def test_the_loss_of_every_watching_line_is_measured(core: Core, lesson: Lesson) -> None:
    watch(core, lesson, "w1", "c1", T0)
    assert core.handle(c.Heard(Line(lesson.id, "unknown", None, 0.5, None, 1)), T0) == []
    metrics = Metrics(CollectorRegistry())
    for loss in (0.0, 0.004, 0.3):
        for effect in core.handle(c.Heard(Line(lesson.id, "w1", None, loss, None, 1)), T0):
            assert isinstance(effect, c.Measured)
            metrics.observe(effect.what, effect.value, effect.label)

    def up_to(bound: str) -> float | None:
        labels = {"source": "relay", "le": bound}
        return metrics.registry.get_sample_value("kongzhong_watch_loss_ratio_bucket", labels)

    assert [up_to(bound) for bound in ("0.001", "0.005", "0.5")] == [1, 2, 3]


def test_a_live_lesson_is_silent_when_nothing_of_it_sends(core: Core, lesson: Lesson) -> None:
    registry = CollectorRegistry()
    registry.register(HouseCollector(lambda: core.totals(T0), lambda: 7, lambda: 0))

    def silent() -> float | None:
        return registry.get_sample_value("kongzhong_lessons_silent")

    assert silent() == 0  # it has not begun
    assert registry.get_sample_value("kongzhong_lessons", {"state": "scheduled"}) == 1
    assert registry.get_sample_value("kongzhong_lessons", {"state": "archived"}) == 7
    core.handle(c.Join(lesson.id, "p", "t", "teacher", "publish", "camera"), T0)
    core.handle(c.Opened("p"), T0)
    layers = (LayerInfo("h", 1, 1280, 720, 25.0),)
    core.handle(c.Heard(PublicationLive(lesson.id, "p", "camera", "video", "VP8", layers)), T0)
    core.handle(c.Heard(PublicationLive(lesson.id, "p", "camera", "audio", "opus", ())), T0)
    assert silent() == 0
    core.handle(c.Heard(PublicationSilent(lesson.id, "p", "camera", "video")), T0)
    assert silent() == 0
    core.handle(c.Heard(PublicationSilent(lesson.id, "p", "camera", "audio")), T0)
    assert silent() == 1
    core.handle(c.Leave("p"), T0)
    assert silent() == 1
    core.handle(c.End(lesson.id), T0)
    assert silent() == 0


def test_the_join_time_is_from_the_request_to_the_connection(core: Core, lesson: Lesson) -> None:
    watch(core, lesson, "w1", "c1", T0)
    effects = core.handle(c.Heard(ConnectionUp(lesson.id, "w1")), T0 + 0.75)
    assert c.Measured("join", 0.75, "classroom") in effects
    again = core.handle(c.Heard(ConnectionUp(lesson.id, "w1")), T0 + 9)
    assert not any(isinstance(effect, c.Measured) for effect in again)


def test_series_keep_one_point_a_step_and_a_bounded_past() -> None:
    series = Series()
    for second in range(4000):
        due = series.due(T0 + second)
        assert due == (second % 5 == 0)
        assert series.add({"seats": float(second), "loss": None}, T0 + second) == due
    points = series.since()["seats"]
    assert len(points) == 720
    assert points[1][0] - points[0][0] == 5
    assert series.since(points[-2][0])["seats"] == [points[-1]]


def test_joins_per_minute_forget_what_is_older() -> None:
    joins = PerMinute()
    for second in range(90):
        joins.add(T0 + second)
    assert joins.count(T0 + 89) == 60
    assert joins.count(T0 + 300) == 0


@pytest.mark.parametrize(("share", "value"), [(0.5, 51.0), (0.99, 100.0), (0.0, 1.0)])
def test_percentiles_by_nearest_rank(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == value
    assert percentile([], share) is None
