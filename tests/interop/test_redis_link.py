"""The link to Redis: one deadline for everything, everybody told at once, and a cancellation that is never lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from server.bus.redis_link import RedisAway, RedisLink
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

pytestmark = pytest.mark.redis


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def link(redis: RedisServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(redis.url)
    await link.start()
    yield link
    await link.stop()


async def ping(client: Redis) -> bool:
    return bool(await client.ping())


async def test_a_redis_that_is_not_there_yet_is_found_when_it_comes(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    link = RedisLink(server.url)
    await link.start()
    assert link.away.is_set() and not link.seen
    with pytest.raises(RedisAway):
        await link.run(ping)
    server.start()
    await until(link.here.is_set)
    assert await link.run(ping) and link.seen
    await link.stop()
    server.stop()


async def test_everybody_who_waits_learns_at_once_that_redis_went_and_that_it_is_back(
    redis: RedisServer, link: RedisLink
) -> None:
    waiting = [asyncio.create_task(link.away.wait()) for _ in range(5)]
    redis.stop()
    with pytest.raises(RedisAway):
        await link.run(ping)
    await asyncio.wait_for(asyncio.gather(*waiting), 30)
    assert link.losses == 1
    redis.start()
    await until(link.here.is_set)
    assert await link.run(ping)


async def test_a_redis_that_hangs_is_as_good_as_gone(link: RedisLink) -> None:
    async def stuck(client: Redis) -> None:
        await client.blpop(["nothing"], timeout=60)  # type: ignore[misc]

    with pytest.raises(RedisAway):
        await link.run(stuck, timeout=0.2)
    assert link.away.is_set()
    await until(link.here.is_set)


async def test_a_task_that_is_cancelled_at_any_moment_ends(link: RedisLink) -> None:
    """It once did not: a cancellation that met the opening of a connection was lost in the client library."""

    async def use_for_ever() -> None:
        while True:
            await link.here.wait()
            try:
                await link.run(ping)
                await asyncio.sleep(0)
            except RedisAway:
                continue

    for _ in range(40):
        await until(link.here.is_set)
        tasks = [asyncio.create_task(use_for_ever()) for _ in range(8)]
        await asyncio.sleep(random.random() * 0.01)
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=10)
        assert not pending
