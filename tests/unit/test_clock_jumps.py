"""The clock of the class: ahead with the wall clock, never back, and timers that time passing by moves, not a jump."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from signaling.clock import Clock
from signaling.core import commands as c
from signaling.core.attendance import Attendance
from signaling.core.handle import Core
from signaling.core.lesson import new_lesson
from signaling.relay import ConnectionUp, LayerInfo, PublicationLive
from signaling.settings import SignalingSettings
from tests.support.class_server import class_server, until

T0 = 1_800_000_000.0
YEARS = 1e9  # a machine without a battery starts in 1970, or wherever it was switched off


@dataclass
class Machine:
    """Both clocks of a machine, as its owner and NTP set them."""

    wall: float = T0
    steady: float = 50.0

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_it_is_the_wall_clock_and_goes_with_it() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock() == T0
    machine.passes(10)
    assert clock() == T0 + 10
    assert clock.jumped() == 0


def test_it_follows_the_wall_clock_ahead_and_says_once_by_how_much() -> None:
    machine = Machine(wall=T0 - YEARS)
    clock = machine.clock()
    machine.passes(10)
    machine.wall += YEARS
    assert clock() == T0 + 10
    assert clock() == T0 + 10
    assert clock.jumped() == YEARS
    assert clock.jumped() == 0


def test_it_never_goes_back_and_does_not_stand_still_either() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(10)
    assert clock() == T0 + 10
    machine.wall -= 3600
    told = []
    for _ in range(100):
        machine.passes(1)
        told.append(clock())
    assert told == [T0 + 11 + second for second in range(100)]
    machine.wall += 3600
    assert clock() == told[-1]
    assert clock.jumped() == 0


def test_what_nobody_notices_is_no_jump() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(100):
        machine.passes(1)
        machine.wall += 0.01
        clock()
    assert clock() == pytest.approx(T0 + 101)
    assert clock.jumped() == 0


def test_a_jump_ends_no_lesson_and_nobody_attended_it() -> None:
    core, lesson = Core(SignalingSettings(away=600.0)), new_lesson("春天的诗", T0)
    core.handle(c.Learn(lesson), T0)
    core.handle(c.Join(lesson.id, "p", "t", "teacher", "publish", "camera"), T0)
    core.handle(c.Opened("p"), T0)
    core.handle(c.Heard(ConnectionUp(lesson.id, "p")), T0)
    layers = (LayerInfo("h", 1_000_000),)
    core.handle(c.Heard(PublicationLive(lesson.id, "p", "camera", "video", "VP8", layers)), T0)
    core.handle(c.Attach(lesson.id, "s", "c1", "classroom"), T0)
    core.handle(c.Leave("p"), T0 + 100)
    core.handle(c.Join(lesson.id, "w", "c1", "classroom", "watch", "camera"), T0 + 100)
    effects = core.handle(c.Jumped(YEARS), T0 + 110 + YEARS)
    assert [effect.interval for effect in effects if isinstance(effect, c.Attended)] == [
        Attendance(lesson.id, "c1", "classroom", T0, T0 + 110),
        Attendance(lesson.id, "c1", "classroom", T0 + 110 + YEARS),
    ]
    (up,) = core.handle(c.Heard(ConnectionUp(lesson.id, "w")), T0 + 111 + YEARS)
    assert up == c.Measured("join", 11.0, "classroom")
    core.handle(c.Tick(), T0 + YEARS + 699)
    assert core.lessons()[0].state == "live"
    core.handle(c.Tick(), T0 + YEARS + 700)
    assert core.lessons()[0].state == "ended"


async def test_a_server_started_before_ntp_stamps_right_once_the_time_is_known(tmp_path: Path) -> None:
    machine = Machine(wall=T0 - YEARS)
    turn = SignalingSettings(ice_servers=("turn:turn.example",), turn_secret="s", turn_ttl=3600, away=600.0)
    async with class_server(tmp_path, settings=turn) as server:
        server.signaling._runner.clock = machine.clock()
        lesson = server.lesson()
        early = server.opened(await server.join(lesson.id, "classroom", "c1"))
        server.relay.watch(early)
        await until(lambda: bool(server.store.attendance(lesson.id)))
        machine.wall += YEARS
        response = await server.join(lesson.id)
        assert f'username="{int(T0) + 3600}:' in response.headers["Link"]
        server.relay.media(server.opened(response))
        await until(lambda: server.store.get(lesson.id).state == "live")  # type: ignore[union-attr]
        assert server.store.get(lesson.id).started_at == T0  # type: ignore[union-attr]
        await until(lambda: len(server.store.attendance(lesson.id)) == 3)
        spans = [(span.start, span.end) for span in server.store.attendance(lesson.id) if span.seat == "c1"]
        assert spans == [(T0 - YEARS, T0 - YEARS), (T0, None)]
