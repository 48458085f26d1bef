"""Real Chromium on the lines of a county: the lesson goes on, is repaired, fits itself to the line, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bad_lines import CHROMIUM, Room, Stage, staged
from tests.support.impaired_line import LINES, Line, Way
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
THIN = Line(Way(0.4, 30, 10, 0.01, 400), Way(0.4, 30, 10, 0.01, 400))
"""Carries the two lower layers of the lesson with ease, and not half of the highest."""
OUTAGE = 10.0  # seconds


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as made:
        yield made


async def test_watching_over_three_lines_at_once(stage: Stage) -> None:
    async def on_a_good_line() -> None:
        async with stage.room(LINES["P1"], seed=1) as room:
            await room.plays()
            await eventually(lambda: shows(room, 1280), "the full picture")
            await room.lips_meet(within_ms=80)
            stats = await room.stats()
            assert stats.concealed < 0.05
            assert stats.video["totalFreezesDuration"] < 2

    async def on_a_line_that_loses() -> None:
        async with stage.room(LINES["P3"], seed=3) as room:
            await room.plays()
            await eventually(lambda: repaired(room, 10), "ten lost packets that came again")
            await room.lips_meet(within_ms=80)
            stats = await room.stats()
            assert stats.repaired >= 0.8 * stats.video["packetsLost"]
            assert stats.concealed < 0.08
            assert stats.video["totalFreezesDuration"] < 2

    async def in_a_hill_village() -> None:
        async with stage.room(LINES["P6"], seed=6) as room:
            await room.plays(frames=100, voice_ms=6000)
            assert (await room.stats()).concealed < 0.15

    async with stage.teacher(), asyncio.TaskGroup() as group:
        for line in (on_a_good_line, on_a_line_that_loses, in_a_hill_village):
            group.create_task(line())


async def test_a_line_that_becomes_thin_and_lines_that_go_black(stage: Stage) -> None:
    async def thin() -> None:
        async with stage.room(LINES["P1"], seed=4) as room:
            await eventually(lambda: shows(room, 1280), "the full picture")
            room.line.change(THIN)
            await eventually(lambda: shows(room, 320, 640), "a picture that the line carries")
            await room.plays()

    async def black(*, new_address: bool) -> None:
        async with stage.room(LINES["P9"], seed=8 + new_address) as room:
            await room.plays()
            room.line.cut()
            await asyncio.sleep(OUTAGE)
            await room.line.mend(new_address=new_address)
            await room.plays()

    async with stage.teacher(), asyncio.TaskGroup() as group:
        group.create_task(thin())
        group.create_task(black(new_address=False))
        group.create_task(black(new_address=True))


async def test_teaching_over_a_line_that_loses(stage: Stage) -> None:
    async with (
        stage.room(LINES["P3"], "teach", "teacher", seed=2) as teacher,
        stage.room(LINES["P1"], seed=5) as classroom,
    ):
        await teacher.page.click("#start")

        async def repairs_its_full_picture() -> bool:
            layers = (await teacher.stats()).layers_sent
            again = sum(layer.get("retransmittedPacketsSent", 0) for layer in layers.values())
            alive = [rid for rid, layer in layers.items() if layer.get("framesEncoded", 0) > 30]
            return len(alive) == 3 and again > 0

        await eventually(repairs_its_full_picture, "three layers, and lost packets sent again")
        await classroom.plays(frames=45, voice_ms=2000)
        stats = await classroom.stats()
        assert stats.concealed < 0.1
        assert stats.video["totalFreezesDuration"] < 2


async def shows(room: Room, *widths: int) -> bool:
    return (await room.stats()).width in widths


async def repaired(room: Room, packets: int) -> bool:
    return (await room.stats()).repaired >= packets
