"""Raw clients on bad lines: what is lost is asked for again and comes, in both directions, and the rest goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from loadtest.rawclient import media
from loadtest.rawclient.publisher import Publisher
from loadtest.rawclient.resource import new_session
from loadtest.rawclient.watcher import Meters, Watcher
from tests.support.bad_lines import FULL_RATE, Stage, over, staged
from tests.support.impaired_line import LINES, ImpairedLine
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, chromium=False) as made:
        yield made


async def counter(stage: Stage, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"{stage.server.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


async def test_watchers_get_everything_that_their_lines_lose(stage: Stage) -> None:
    """All but the voice, which nobody sends twice."""
    async with stage.teacher(), new_session() as session, contextlib.AsyncExitStack() as stack:
        watchers = {}
        for seed, name in enumerate(("P1", "P2", "P3", "P5", "P6", "P8")):
            line = await stack.enter_async_context(ImpairedLine(LINES[name], seed))
            watcher = watchers[name] = Watcher(session, stage.whep(), stage.token("classroom", name), Meters())
            stack.push_async_callback(watcher.stop)
            with over(line):
                await watcher.start()
        for name, watcher in watchers.items():
            await until(lambda each=watcher: each.stats().first_keyframe_ms is not None, f"the first picture on {name}")
            await until(lambda each=watcher: each.stats().frames > 90, f"six seconds of pictures on {name}")
        recovered = {name: watcher.stats().recovered for name, watcher in watchers.items()}
        assert recovered["P3"], recovered
        for name, watcher in watchers.items():
            await until(lambda each=watcher: not each.stats().missing, f"every hole filled on {name}")


async def test_a_teacher_on_a_line_that_loses_is_repaired_at_the_relay(stage: Stage) -> None:
    async with ImpairedLine(LINES["P3"], seed=5) as line, new_session() as session:
        clip = media.sample(FULL_RATE)
        publisher = Publisher(session, stage.whip(), stage.token("teacher", "teacher"), clip)
        with over(line):
            await publisher.start()
        await until(lambda: publisher.stats.retransmitted >= 5, "five packets that the relay asked for")
        async with new_session() as direct:
            watcher = Watcher(direct, stage.whep(), stage.token("classroom", "one"), Meters())
            await watcher.start()
            await until(lambda: watcher.stats().frames > 45, "three seconds of pictures")
            await watcher.stop()
        # What stays lost is voice, which this publisher does not keep: each such packet was asked for in vain.
        assert await counter(stage, "kongzhong_plane_rtp_lost_packets_total") <= publisher.stats.not_in_history
        await publisher.stop()


async def test_a_black_line_comes_back_with_another_address_and_the_watcher_never_knew(stage: Stage) -> None:
    async with stage.teacher(), ImpairedLine(LINES["P9"], seed=7) as line, new_session() as session:
        watcher = Watcher(session, stage.whep(), stage.token("classroom", "one"), Meters())
        with over(line):
            await watcher.start()
        await until(lambda: watcher.stats().frames > 15, "pictures")
        line.cut()
        await asyncio.sleep(4.0)
        before = watcher.stats().frames
        await line.mend(new_address=True)
        await until(lambda: watcher.stats().frames > before + 30, "pictures again")
        await eventually(lambda: nothing_was_lost_for_good(watcher), "holes given up or filled")
        assert not watcher.lost.done()
        await watcher.stop()


async def nothing_was_lost_for_good(watcher: Watcher) -> bool:
    return not watcher.stats().missing
