"""Placing lessons: on the relay with most room, the same for everybody who asks, and never twice while one forwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from server.bus.recorder_registration import RecorderRegistration
from server.bus.redis_link import RedisLink
from server.bus.registry import Registry
from server.bus.remote_relay import RemoteRelay
from signaling.relay import ConnectionDown, Offer, RecorderRef, Refused, RelayPort
from tests.support import offers
from tests.support.redis_server import RedisServer
from tests.support.relay_ports import LEASE, directory_on_bus, relay_node, relay_on_bus
from tests.support.waiting import until

pytestmark = pytest.mark.redis
WATCH = offers.offer(offers.audio("recvonly"), offers.video("recvonly"))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def name(port: RelayPort) -> str:
    assert isinstance(port, RemoteRelay)
    return port.lease.id


async def test_a_lesson_goes_where_most_room_is_and_stays_there(redis: RedisServer, stack: AsyncExitStack) -> None:
    node, _ = await stack.enter_async_context(relay_node())
    full = await stack.enter_async_context(relay_on_bus(redis.url, node, load=lambda: 90))
    roomy = await stack.enter_async_context(relay_on_bus(redis.url, node, load=lambda: 10))
    one = await stack.enter_async_context(directory_on_bus(redis.url))
    two = await stack.enter_async_context(directory_on_bus(redis.url))
    await until(lambda: len(one.relays) == len(two.relays) == 2)
    assert name(await one.place("lesson")) == roomy.id != full.id
    assert name(await two.place("lesson")) == roomy.id


async def test_two_signaling_processes_that_ask_at_once_agree(redis: RedisServer, stack: AsyncExitStack) -> None:
    node, _ = await stack.enter_async_context(relay_node())
    for _number in range(3):
        await stack.enter_async_context(relay_on_bus(redis.url, node))
    one = await stack.enter_async_context(directory_on_bus(redis.url))
    two = await stack.enter_async_context(directory_on_bus(redis.url))
    await until(lambda: len(one.relays) == len(two.relays) == 3)
    for number in range(20):
        ports = await asyncio.gather(one.place(f"lesson-{number}"), two.place(f"lesson-{number}"))
        assert name(ports[0]) == name(ports[1])


async def test_a_lesson_does_not_wait_for_the_placing_of_another(
    redis: RedisServer, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = await stack.enter_async_context(relay_node())
    relay = await stack.enter_async_context(relay_on_bus(redis.url, node))
    directory = await stack.enter_async_context(directory_on_bus(redis.url))
    await until(lambda: len(directory.relays) == 1)
    asked: list[str] = []
    go_on, placed = asyncio.Event(), Registry.placed

    async def held_up(registry: Registry, lesson: str) -> str | None:
        asked.append(lesson)
        if lesson == "slow":
            await go_on.wait()
        return await placed(registry, lesson)

    monkeypatch.setattr(Registry, "placed", held_up)
    slow = [asyncio.create_task(directory.place("slow")) for _ in range(3)]
    await until(lambda: asked == ["slow"])
    assert name(await directory.place("quick")) == relay.id
    go_on.set()
    assert {name(port) for port in await asyncio.gather(*slow)} == {relay.id}
    assert asked == ["slow", "quick"], "joins to the same lesson ask once"


async def test_without_a_relay_or_with_full_ones_a_lesson_is_refused(redis: RedisServer, stack: AsyncExitStack) -> None:
    directory = await stack.enter_async_context(directory_on_bus(redis.url))
    with pytest.raises(Refused, match="unavailable"):
        await directory.place("lesson")
    node, _ = await stack.enter_async_context(relay_node())
    await stack.enter_async_context(relay_on_bus(redis.url, node, load=lambda: 100, capacity=100))
    await until(lambda: directory.relays)
    with pytest.raises(Refused, match="no relay has room"):
        await directory.place("lesson")


async def test_a_relay_that_stops_takes_its_lease_back_and_its_lessons_move(
    redis: RedisServer, stack: AsyncExitStack
) -> None:
    node, _ = await stack.enter_async_context(relay_node())
    await stack.enter_async_context(relay_on_bus(redis.url, node, load=lambda: 50))
    directory = await stack.enter_async_context(directory_on_bus(redis.url))
    events = directory.all_events()
    async with relay_on_bus(redis.url, node) as leaving:
        await until(lambda: len(directory.relays) == 2)
        port = await directory.place("lesson")
        assert name(port) == leaving.id
        await port.open_lesson("lesson", "title", None)
        await port.subscribe(Offer("lesson", "c-1", "seat", WATCH))
    await until(lambda: len(directory.relays) == 1, "the relay is forgotten")
    async with asyncio.timeout(30):
        assert await anext(events) == ConnectionDown("lesson", "c-1", "closed")
    assert name(await directory.place("lesson")) != leaving.id


async def test_a_relay_that_lost_redis_alone_keeps_its_lesson(redis: RedisServer, stack: AsyncExitStack) -> None:
    """Its lease runs out while signaling still has Redis; the node that forwards is the authority all the same."""
    node, _ = await stack.enter_async_context(relay_node())
    directory = await stack.enter_async_context(directory_on_bus(redis.url))
    async with relay_on_bus(redis.url, node) as alone:
        await until(lambda: directory.relays)
        port = await directory.place("lesson")
        await stack.enter_async_context(relay_on_bus(redis.url, node, load=lambda: 50))
        await until(lambda: len(directory.relays) == 2)
        await alone.lose_redis()
        await until(lambda: not port.leased, "the lease has run out")  # type: ignore[attr-defined]
        await port.open_lesson("lesson", "title", None)
        assert name(await directory.place("lesson")) == alone.id
        assert node.stats().lessons == 1


async def test_who_does_not_know_the_secret_gets_no_answer_over_the_direct_line(
    redis: RedisServer, stack: AsyncExitStack
) -> None:
    node, _ = await stack.enter_async_context(relay_node())
    await stack.enter_async_context(relay_on_bus(redis.url, node))
    stranger = await stack.enter_async_context(
        directory_on_bus(redis.url, secret=b"another bureau's secret, so to say")
    )
    await until(lambda: stranger.relays)
    port = await stranger.place("lesson")
    redis.stop()
    with pytest.raises(Refused, match="unavailable"):
        await port.open_lesson("lesson", "title", None)
    assert node.stats().lessons == 0


async def test_a_recorder_with_room_is_found_kept_and_replaced_when_gone(
    redis: RedisServer, stack: AsyncExitStack
) -> None:
    link = RedisLink(redis.url)
    await link.start()
    stack.push_async_callback(link.stop)
    registry = Registry(link, LEASE)
    directory = await stack.enter_async_context(directory_on_bus(redis.url))
    assert await directory.recorder("lesson") is None
    one = RecorderRegistration(link, registry, "tcp:127.0.0.1:1", lambda: 5, 10)
    two = RecorderRegistration(link, registry, "tcp:127.0.0.1:2", lambda: 1, 10)
    await one.start()
    await two.start()
    await until(lambda: len(directory.recorders) == 2)
    assert await directory.recorder("lesson") == RecorderRef("tcp:127.0.0.1:2")
    await two.stop()
    await until(lambda: len(directory.recorders) == 1)
    assert await directory.recorder("lesson") == RecorderRef("tcp:127.0.0.1:1")
    await one.stop()
