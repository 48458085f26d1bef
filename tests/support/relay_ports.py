"""One real node on a real plane, behind each of the roads to it: in the process, through Redis, over a direct line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from server.bus.directory import RedisDirectory
from server.bus.redis_link import RedisLink
from server.bus.registry import Registry
from server.bus.relay_service import RelayService
from server.media.reference.plane import ReferencePlane
from server.node.local import LocalDirectory
from server.node.node import RelayNode
from signaling.relay import RelayDirectory, RelayPort
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

SECRET = b"the bureau's secret in the tests"
LEASE = 1.0
ROADS = ("in process", "through redis", "direct line")


@dataclass
class Reached:
    """``port`` is what is under test; ``node`` and ``plane`` are behind it."""

    port: RelayPort
    directory: RelayDirectory
    node: RelayNode
    plane: ReferencePlane


@dataclass
class OnBus:
    """A relay that is registered, and a way to cut it alone off from Redis."""

    id: str
    link: RedisLink

    async def lose_redis(self) -> None:
        await self.link.stop()
        self.link.here.clear()
        self.link.away.set()


@asynccontextmanager
async def relay_node() -> AsyncIterator[tuple[RelayNode, ReferencePlane]]:
    plane = await ReferencePlane.open("127.0.0.1", 0)
    node = RelayNode(plane, addresses=["127.0.0.1"])
    try:
        yield node, plane
    finally:
        await node.shut_down()
        await plane.close()


@asynccontextmanager
async def relay_on_bus(
    url: str, node: RelayNode, capacity: int = 100, load: Callable[[], int] | None = None
) -> AsyncIterator[OnBus]:
    link = RedisLink(url)
    await link.start()
    count = load or (lambda: node.stats().connections)
    service = RelayService(node, lambda: (count(), capacity), link, Registry(link, LEASE), SECRET, "127.0.0.1")
    await service.start("127.0.0.1", 0)
    try:
        yield OnBus(service.id, link)
    finally:
        await service.stop()
        await link.stop()


@asynccontextmanager
async def directory_on_bus(url: str, secret: bytes = SECRET) -> AsyncIterator[RedisDirectory]:
    link = RedisLink(url)
    await link.start()
    directory = RedisDirectory(link, Registry(link, LEASE), secret)
    await directory.start()
    try:
        yield directory
    finally:
        await directory.stop()
        await link.stop()


@asynccontextmanager
async def reached(road: str, folder: Path) -> AsyncIterator[Reached]:
    """The node behind the named road."""
    async with AsyncExitStack() as stack:
        node, plane = await stack.enter_async_context(relay_node())
        if road == "in process":
            yield Reached(node, LocalDirectory(node, None), node, plane)
            return
        redis = RedisServer(folder)
        redis.start()
        stack.callback(redis.stop)
        await stack.enter_async_context(relay_on_bus(redis.url, node))
        directory = await stack.enter_async_context(directory_on_bus(redis.url))
        await until(lambda: directory.relays, "the relay is known")
        port = await directory.place("lesson")
        if road == "direct line":
            redis.stop()
        yield Reached(port, directory, node, plane)
