"""A hundred kills of the recorder at random instants of one lesson on the real server: what each of them costs."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from loadtest.rawclient.media import sample
from tests.support.waiting import until
from tests.support.whole_server import covered, school, watch

KILLS = int(os.environ.get("SOAK_KILLS", "100"))


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_hundred_kills_cost_at_most_a_second_each(tmp_path: Path, codec: str) -> None:
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"SOAK_SEED={seed}")
    rng = random.Random(seed)
    async with school(tmp_path / "data") as here:
        lesson = await here.create()
        room = here.classroom(lesson, "莪山小学")
        async with here.teacher(lesson, sample(codec=codec)) as teacher, room:
            await until(lambda: room.stats().frames > 15, "pictures in the classroom")
            for _ in range(KILLS):
                # Some before it has connected, while it repairs, or while it takes what is sent again.
                await asyncio.sleep(rng.uniform(0.2, 8.0))
                killed = await here.kill_recorder()
                await until(lambda killed=killed: here.recorder not in (None, killed), "the next recorder")
            await asyncio.sleep(5)
            assert (room.stats().lost, room.stats().reconnects, teacher.stats().reconnects) == (0, 0, 0)
            await here.end(lesson)
        resource = await here.archived(lesson)
        seen = watch(await here.fetch(resource, tmp_path / "recording"))
        assert len(await here.resources(lesson)) == 1
    losses = seen.losses()
    total = sum(seconds for _, seconds in losses)
    print(f"{codec}: {KILLS} kills, {seen.duration:.1f} s, {len(losses)} losses, {total:.2f} s in all")
    for place, seconds in losses:
        assert covered(resource["gaps"], place, seconds)
    assert total <= KILLS * 1.0
    assert seen.drift() < 0.3
    assert seen.holes == 0
