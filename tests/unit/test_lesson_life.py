"""A lesson's life: scheduled → live → ended → archived; the teacher's absence; restarts; other processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from signaling import messages as m
from signaling import runner
from signaling.archive import ask_again_after
from signaling.core import commands as c
from signaling.core.attendance import Attendance
from signaling.core.handle import Core
from signaling.core.lesson import Lesson, begin, finish, further, new_lesson, rfc3339, shelve
from signaling.relay import (
    ConnectionDown,
    ConnectionUp,
    LayerInfo,
    PublicationLive,
    RecorderState,
    Refused,
    RelayEvent,
)
from signaling.settings import SignalingSettings
from signaling.store import LessonStore, StoreError
from tests.support.class_server import LoopbackRelay, class_server, until

T0 = 1_800_000_000.0
SETTINGS = SignalingSettings(away=600.0, linger=900.0)


def scheduled() -> Lesson:
    return new_lesson("春天的诗", T0)


def live_event(lesson: str, connection: str) -> PublicationLive:
    return PublicationLive(lesson, connection, "camera", "video", "VP8", (LayerInfo("h", 1_000_000),))


def taught(core: Core, lesson: Lesson, now: float, connection: str = "pub") -> list[c.Effect]:
    """A teacher publishes and media comes."""
    core.handle(c.Learn(lesson), now)
    core.handle(c.Join(lesson.id, connection, "t", "teacher", "publish", "camera"), now)
    core.handle(c.Opened(connection), now)
    core.handle(c.Heard(ConnectionUp(lesson.id, connection)), now)
    return core.handle(c.Heard(live_event(lesson.id, connection)), now)


def state(core: Core, lesson: Lesson) -> str:
    known = core.lesson(lesson.id)
    assert known is not None
    return known.state


def test_a_lesson_only_goes_forward() -> None:
    lesson = scheduled()
    live = begin(lesson, T0 + 1)
    ended = finish(live, T0 + 2)
    archived = shelve(ended, "r1")
    assert (live.state, live.started_at) == ("live", T0 + 1)
    assert (ended.state, ended.ended_at) == ("ended", T0 + 2)
    assert (archived.state, archived.resource) == ("archived", "r1")
    assert begin(ended, T0 + 3) is ended
    assert finish(archived, T0 + 3) is archived
    assert shelve(live, "r2") is live
    assert further(live, ended)
    assert not further(ended, live)


def test_a_lesson_goes_live_with_the_first_media_not_with_the_connection() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    core.handle(c.Learn(lesson), T0)
    core.handle(c.Join(lesson.id, "pub", "t", "teacher", "publish", "camera"), T0)
    core.handle(c.Opened("pub"), T0)
    core.handle(c.Heard(ConnectionUp(lesson.id, "pub")), T0 + 1)
    assert state(core, lesson) == "scheduled"
    effects = core.handle(c.Heard(live_event(lesson.id, "pub")), T0 + 2)
    assert state(core, lesson) == "live"
    (saved,) = [effect.lesson for effect in effects if isinstance(effect, c.Persist)]
    assert (saved.state, saved.started_at) == ("live", T0 + 2)
    assert any(isinstance(e, c.Tell) and isinstance(e.message, m.LessonChanged) and e.roles is None for e in effects)


def test_the_teacher_ends_it_and_everything_of_it_is_closed() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    taught(core, lesson, T0)
    core.handle(c.Join(lesson.id, "w1", "c1", "classroom", "watch", "camera"), T0)
    effects = core.handle(c.End(lesson.id), T0 + 2700)
    assert state(core, lesson) == "ended"
    assert {e.connection for e in effects if isinstance(e, c.Forget)} == {"pub", "w1"}
    assert c.CloseLesson(lesson.id) in effects
    assert core.handle(c.End(lesson.id), T0 + 2701) == []


def test_a_lesson_that_never_began_may_be_ended() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    core.handle(c.Learn(lesson), T0)
    core.handle(c.End(lesson.id), T0 + 1)
    assert state(core, lesson) == "ended"


def test_it_ends_when_the_teacher_has_been_gone_for_the_set_time() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    taught(core, lesson, T0)
    core.handle(c.Heard(ConnectionDown(lesson.id, "pub", "consent")), T0 + 100)
    assert core.next_time(T0 + 102) is not None
    core.handle(c.Tick(), T0 + 101)  # the batch of seats
    assert core.next_time(T0 + 102) == T0 + 700
    core.handle(c.Tick(), T0 + 699.9)
    assert state(core, lesson) == "live"
    effects = core.handle(c.Tick(), T0 + 700)
    assert state(core, lesson) == "ended"
    assert c.CloseLesson(lesson.id) in effects


def test_a_teacher_who_comes_back_in_time_starts_the_clock_anew() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    taught(core, lesson, T0)
    core.handle(c.Leave("pub"), T0 + 100)
    core.handle(c.Join(lesson.id, "pub2", "t", "teacher", "publish", "camera"), T0 + 690)
    core.handle(c.Opened("pub2"), T0 + 690)
    core.handle(c.Heard(ConnectionUp(lesson.id, "pub2")), T0 + 691)
    core.handle(c.Tick(), T0 + 2000)
    assert state(core, lesson) == "live"
    core.handle(c.Leave("pub2"), T0 + 2000)
    core.handle(c.Tick(), T0 + 2599)
    assert state(core, lesson) == "live"
    core.handle(c.Tick(), T0 + 2600)
    assert state(core, lesson) == "ended"


def test_an_open_page_of_the_teacher_keeps_the_lesson() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    taught(core, lesson, T0)
    core.handle(c.Attach(lesson.id, "s1", "t", "teacher"), T0)
    core.handle(c.Leave("pub"), T0 + 1)
    core.handle(c.Tick(), T0 + 5000)
    assert state(core, lesson) == "live"
    core.handle(c.Detach("s1"), T0 + 5000)
    core.handle(c.Tick(), T0 + 5600)
    assert state(core, lesson) == "ended"


def test_a_classroom_that_calls_itself_like_the_teacher_does_not_keep_the_lesson() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    taught(core, lesson, T0)
    core.handle(c.Attach(lesson.id, "s1", "t", "classroom"), T0)
    core.handle(c.Leave("pub"), T0 + 1)
    core.handle(c.Tick(), T0 + 601)
    assert state(core, lesson) == "ended"


def test_a_live_lesson_of_before_a_restart_waits_for_its_teacher() -> None:
    core = Core(SETTINGS)
    lesson = begin(scheduled(), T0)
    core.handle(c.Learn(lesson), T0 + 1000)
    core.handle(c.Tick(), T0 + 1599)
    assert state(core, lesson) == "live"
    core.handle(c.Tick(), T0 + 1600)
    assert state(core, lesson) == "ended"


def test_a_publisher_of_before_a_restart_still_teaches() -> None:
    """Only signaling was restarted: the relay goes on and says so once a second of a connection that we do not know."""
    core = Core(SETTINGS)
    lesson = begin(scheduled(), T0)
    core.handle(c.Learn(lesson), T0 + 1000)
    for second in range(0, 900, 3):
        core.handle(c.Heard(live_event(lesson.id, "from-before")), T0 + 1000 + second)
        core.handle(c.Tick(), T0 + 1000 + second + 1)
    assert state(core, lesson) == "live"
    core.handle(c.Tick(), T0 + 1910)
    core.handle(c.Tick(), T0 + 2511)
    assert state(core, lesson) == "ended"


def test_when_the_library_has_it_all_are_told_and_the_sockets_may_go() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    taught(core, lesson, T0)
    core.handle(c.Attach(lesson.id, "s1", "c1", "classroom"), T0)
    effects = core.handle(c.End(lesson.id), T0 + 10)
    assert not any(isinstance(effect, c.HangUp) for effect in effects)
    effects = core.handle(c.Found(lesson.id, "r1"), T0 + 40)
    (told,) = [e.message.lesson for e in effects if isinstance(e, c.Tell) and isinstance(e.message, m.LessonChanged)]
    assert (told.state, told.resource) == ("archived", "r1")
    assert [e.lesson.state for e in effects if isinstance(e, c.Persist)] == ["archived"]
    effects = core.handle(c.Tick(), T0 + 41)
    assert c.HangUp(lesson.id, 4410, "ended") in effects
    assert core.lesson(lesson.id) is None


def test_sockets_do_not_wait_for_ever_for_a_recording_that_does_not_come() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    taught(core, lesson, T0)
    core.handle(c.Attach(lesson.id, "s1", "c1", "classroom"), T0)
    core.handle(c.End(lesson.id), T0 + 10)
    effects = core.handle(c.Tick(), T0 + 10 + SETTINGS.linger)
    assert c.HangUp(lesson.id, 4410, "ended") in effects
    assert state(core, lesson) == "ended"
    core.handle(c.Found(lesson.id, "late"), T0 + 90_000)
    core.handle(c.Tick(), T0 + 90_001)
    assert core.lesson(lesson.id) is None


def test_recording_news_goes_to_those_who_may_hear_it_and_to_late_comers() -> None:
    core, lesson = Core(SETTINGS), scheduled()
    taught(core, lesson, T0)
    event = RecorderState(lesson.id, "recording", 12.34, 60.0, 1)
    (told,) = core.handle(c.Heard(event), T0 + 60)
    assert isinstance(told, c.Tell)
    assert told.roles == {"teacher", "assistant", "ops"}
    effects = core.handle(c.Attach(lesson.id, "s1", "o", "ops"), T0 + 61)
    assert any(isinstance(e, c.Tell) and isinstance(e.message, m.RecordingNow) and e.socket == "s1" for e in effects)
    effects = core.handle(c.Attach(lesson.id, "s2", "c1", "classroom"), T0 + 61)
    assert not any(isinstance(e, c.Tell) and isinstance(e.message, m.RecordingNow) for e in effects)


def test_the_archive_is_asked_often_at_first_then_rarely_and_never_for_what_was_not_taught() -> None:
    ended = finish(begin(scheduled(), T0), T0 + 100)
    assert ask_again_after(ended, T0 + 101) == 2.0
    assert ask_again_after(ended, T0 + 699) == 2.0
    assert ask_again_after(ended, T0 + 701) == 60.0
    assert ask_again_after(ended, T0 + 200_000) == 3600.0
    assert ask_again_after(finish(scheduled(), T0), T0) is None
    assert ask_again_after(begin(scheduled(), T0), T0) is None


def test_times_are_rfc3339_in_utc() -> None:
    assert rfc3339(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"


# --- the store ------------------------------------------------------------------------------------------------------


def test_the_store_never_goes_back(tmp_path: Path) -> None:
    store = LessonStore(tmp_path / "a.sqlite3")
    lesson = store.create("课")
    ended = finish(begin(lesson, T0), T0 + 1)
    store.save([ended])
    store.save([begin(lesson, T0 + 5)])
    assert store.get(lesson.id) == ended
    assert store.counts() == {"scheduled": 0, "live": 0, "ended": 1, "archived": 0}
    assert [found.id for found in store.unfinished()] == [lesson.id]
    store.save([shelve(ended, "r")])
    assert store.unfinished() == ()
    assert store.get("nothing") is None
    store.close()


def test_a_lesson_made_beside_the_server_is_seen(tmp_path: Path) -> None:
    server = LessonStore(tmp_path / "a.sqlite3")
    command_line = LessonStore(tmp_path / "a.sqlite3")
    lesson = command_line.create("数学")
    assert server.get(lesson.id) == lesson
    assert server.list() == [lesson]
    assert server.changed(lesson.created_at - 1) == (lesson,)
    assert server.changed(lesson.created_at + 3600) == ()
    server.close()
    command_line.close()


@pytest.mark.parametrize("title", ["", "   ", "x" * 201, "a\nb", "a\x00b"])
def test_a_title_that_cannot_be_shown_is_refused(tmp_path: Path, title: str) -> None:
    store = LessonStore(tmp_path / "a.sqlite3")
    with pytest.raises(ValueError, match="printable"):
        store.create(title)
    store.close()


def _create_some(path: str, count: int) -> None:
    store = LessonStore(Path(path))
    for index in range(count):
        store.create(f"课 {index}")
    store.close()


def test_processes_that_start_on_an_empty_folder_at_once_all_write(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.sqlite3"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_create_some, args=(str(path), 5)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    store = LessonStore(path)
    assert len(store.list()) == 20
    store.close()


def test_a_file_that_is_no_store_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"a\.sqlite3"):
        LessonStore(path)


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    LessonStore(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version=99")
    raw.close()
    with pytest.raises(StoreError, match="newer"):
        LessonStore(path)


def test_attendance_is_written_at_its_start_and_completed_at_its_end(tmp_path: Path) -> None:
    store = LessonStore(tmp_path / "a.sqlite3")
    store.attended([Attendance("l", "c1", "classroom", T0), Attendance("l", "c2", "classroom", T0, T0 + 5)])
    store.attended([Attendance("l", "c1", "classroom", T0, T0 + 60), Attendance("l", "c1", "classroom", T0 + 70)])
    assert store.attendance("l") == (
        Attendance("l", "c1", "classroom", T0, T0 + 60),
        Attendance("l", "c1", "classroom", T0 + 70),
        Attendance("l", "c2", "classroom", T0, T0 + 5),
    )
    assert store.attendance("other") == ()
    store.close()


# --- the service ----------------------------------------------------------------------------------------------------


class Shelf:
    """An archive that finds a lesson when it is told to."""

    def __init__(self) -> None:
        self.resources: dict[str, str] = {}
        self.broken = False

    async def find(self, lesson: str) -> str | None:
        if self.broken:
            raise RuntimeError("the library is being repaired")
        return self.resources.get(lesson)


async def test_a_whole_life_through_the_service_and_two_restarts(tmp_path: Path) -> None:
    shelf = Shelf()
    async with class_server(tmp_path, archive=shelf) as server:
        lesson = server.lesson()
        server.relay.media(server.opened(await server.join(lesson.id)))
        await until(lambda: server.store.get(lesson.id).state == "live")  # type: ignore[union-attr]
        assert server.relay.lessons[lesson.id][0] == lesson.title
        assert server.relay.lessons[lesson.id][1] is server.relay.recorder_ref
        assert server.signaling.ready() == []
    assert server.signaling.ready() != []
    shelf.broken = True
    async with class_server(tmp_path, archive=shelf) as server:
        headers = server.bearer(lesson.id, "teacher", "t")
        view = await (await server.request("GET", f"/api/lessons/{lesson.id}", headers=headers)).json()
        assert view["state"] == "live"
        ended = await server.request("POST", f"/api/lessons/{lesson.id}/end", headers=headers)
        assert (await ended.json())["state"] == "ended"
        await until(lambda: lesson.id in server.relay.closed_lessons)
        assert server.store.get(lesson.id).state == "ended"  # type: ignore[union-attr]
    shelf.broken, shelf.resources[lesson.id] = False, "res-1"
    async with class_server(tmp_path, archive=shelf) as server:
        await until(lambda: server.store.get(lesson.id).state == "archived")  # type: ignore[union-attr]
        view = await (await server.request("GET", f"/api/lessons/{lesson.id}", headers=headers)).json()
        assert (view["state"], view["resource"]) == ("archived", "res-1")


async def test_a_teacher_gone_ends_the_lesson_at_the_relay_too(tmp_path: Path) -> None:
    async with class_server(tmp_path, settings=SignalingSettings(away=0.2)) as server:
        lesson = server.lesson()
        connection = server.opened(await server.join(lesson.id))
        server.relay.media(connection)
        await until(lambda: server.store.get(lesson.id).state == "live")  # type: ignore[union-attr]
        server.relay.lose(connection)
        await until(lambda: lesson.id in server.relay.closed_lessons)
        await until(lambda: server.store.get(lesson.id).state == "ended")  # type: ignore[union-attr]


async def test_a_lesson_ended_by_another_process_ends_here(tmp_path: Path) -> None:
    async with class_server(tmp_path) as server:
        lesson = server.lesson()
        server.opened(await server.join(lesson.id))
        other = LessonStore(tmp_path / "lessons.sqlite3")
        other.save([finish(lesson, lesson.created_at + 60)])
        other.close()
        await until(lambda: lesson.id in server.relay.closed_lessons)
        assert (await server.join(lesson.id, "classroom", "c1")).status == 410


async def test_a_locked_store_delays_the_writing_and_loses_nothing(tmp_path: Path) -> None:
    async with class_server(tmp_path) as server:
        lesson = server.lesson()
        connection = server.opened(await server.join(lesson.id))
        blocker = sqlite3.connect(tmp_path / "lessons.sqlite3", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        server.relay.media(connection)
        headers = server.bearer(lesson.id, "teacher", "t")

        async def live_for_those_who_ask() -> bool:
            view = await (await server.request("GET", f"/api/lessons/{lesson.id}", headers=headers)).json()
            return bool(view["state"] == "live")

        await until(live_for_those_who_ask)
        assert server.store.get(lesson.id).state == "scheduled"  # type: ignore[union-attr]
        blocker.execute("ROLLBACK")
        blocker.close()
        await until(lambda: server.store.get(lesson.id).state == "live")  # type: ignore[union-attr]
        await until(lambda: bool(server.store.attendance(lesson.id)))


async def test_without_a_recorder_the_lesson_is_opened_and_a_later_join_asks_again(tmp_path: Path) -> None:
    async with class_server(tmp_path) as server:
        lesson = server.lesson()
        reference, server.relay.recorder_ref = server.relay.recorder_ref, None
        assert (await server.join(lesson.id)).status == 201
        assert server.relay.lessons[lesson.id] == (lesson.title, None)
        server.relay.recorder_ref = reference
        server.relay.lessons.clear()
        assert (await server.join(lesson.id, "classroom", "c1")).status == 201
        assert server.relay.lessons[lesson.id] == (lesson.title, reference)


async def test_a_relay_that_forgot_the_lesson_is_told_again(tmp_path: Path) -> None:
    async with class_server(tmp_path) as server:
        lesson = server.lesson()
        assert (await server.join(lesson.id)).status == 201
        server.relay.lessons.clear()  # it was restarted
        assert (await server.join(lesson.id, "classroom", "c1")).status == 201
        assert lesson.id in server.relay.lessons


def test_a_lesson_survives_the_wire() -> None:
    lesson = finish(begin(scheduled(), T0), T0 + 1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(lesson), type=Lesson) == lesson


async def test_a_store_that_fails_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with class_server(tmp_path) as server:
        lesson = server.lesson()
        save = server.store.save

        def broken(_: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr(server.store, "save", broken)
        server.relay.media(server.opened(await server.join(lesson.id)))
        await until(lambda: "the lesson store does not answer" in server.signaling.ready())
        monkeypatch.setattr(server.store, "save", save)
        await until(lambda: server.signaling.ready() == [])
        assert server.store.get(lesson.id).state == "live"  # type: ignore[union-attr]
        assert server.store.attendance(lesson.id)


async def test_a_relay_that_does_not_answer_is_a_503_and_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RELAY_SECONDS", 0.1)
    async with class_server(tmp_path) as server:
        lesson = server.lesson()
        server.relay.hold = asyncio.Event()
        response = await server.join(lesson.id)
        assert (response.status, (await response.json())["code"]) == (503, "unavailable")
        server.relay.hold = None
        assert (await server.join(lesson.id, seat="another")).status == 201


async def test_events_are_listened_to_again_after_their_source_failed(tmp_path: Path) -> None:
    class Flaky(LoopbackRelay):
        failures = 1

        async def all_events(self) -> AsyncIterator[RelayEvent]:
            if self.failures:
                self.failures -= 1
                raise Refused("unavailable", "the bus is being restarted")
            async for event in super().all_events():
                yield event

    async with class_server(tmp_path, relay=Flaky()) as server:
        await until(lambda: "no events from relays" in server.signaling.ready())
        await until(lambda: server.signaling.ready() == [])
        lesson = server.lesson()
        server.relay.media(server.opened(await server.join(lesson.id)))
        await until(lambda: server.store.get(lesson.id).state == "live")  # type: ignore[union-attr]


async def test_the_figures_for_ops(tmp_path: Path) -> None:
    async with class_server(tmp_path) as server:
        lesson = server.lesson()
        server.relay.media(server.opened(await server.join(lesson.id)))
        server.relay.watch(server.opened(await server.join(lesson.id, "classroom", "c1")))
        server.relay.emit(RecorderState(lesson.id, "recording", 35.0, 12.0, 1))
        headers = server.bearer("*", "ops")
        figures: dict[str, Any] = {}

        async def complete() -> bool:
            figures.update(await (await server.request("GET", "/api/ops", headers=headers)).json())
            return bool(figures["recorder"]["lessons"] and figures["series"] and figures["joins_per_minute"] == 2)

        await until(complete)
        assert (figures["lessons"], figures["seats"]) == (1, 2)
        assert figures["recorder"] == {
            "lessons": 1, "lag_ms": 35.0, "seconds": 12.0, "gaps": 1, "states": {"recording": 1},
        }  # fmt: skip
        assert figures["seats_by_state"]["watching"] == 2
        assert {"lessons", "seats", "loss", "latency_p50_ms", "recorder_lag_ms"} <= set(figures["series"])
        later = await server.request("GET", f"/api/ops?since={int(figures['now']) + 60}", headers=headers)
        assert set(map(tuple, (await later.json())["series"].values())) == {()}
