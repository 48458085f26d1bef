"""Redis, which may be gone at any time: every use of it has a deadline, and everybody learns at once when it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.bus import streams
from server.bus.limits import REDIS_BLOCK, REDIS_RETRY, REDIS_TIMEOUT
from server.bus.streams import Entry

log = logging.getLogger(__name__)

T = TypeVar("T")


class RedisAway(Exception):
    """Redis cannot be reached, does not answer in time, or refuses (loading, read-only, out of memory)."""


class RedisLink:
    """``away`` is set while Redis is gone, ``here`` while it is not; one of the two always is."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url,
            socket_connect_timeout=REDIS_TIMEOUT,
            socket_timeout=REDIS_TIMEOUT + REDIS_BLOCK,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        self.away = asyncio.Event()
        self.here = asyncio.Event()
        self.away.set()
        self.seen = False  # ever
        self.losses = 0
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for Redis now and, whenever it is gone, again and again. It need not be there yet."""
        await self._ping()
        self._watcher = asyncio.create_task(self._watch(), name="redis watch")

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._client.aclose()

    async def run(self, operation: Callable[[Redis], Awaitable[T]], timeout: float = REDIS_TIMEOUT) -> T:
        """:raises RedisAway: with the reason; whoever waits on ``away`` wakes up"""
        if self.away.is_set():
            raise RedisAway("Redis is away")
        return await self._try(operation, timeout)

    async def read(self, after: Mapping[str, Any]) -> dict[str, list[Entry]]:
        """News of streams, each after the id given for it; waits for Redis to be there. Empty when nothing came.

        :raises RedisAway: it went meanwhile
        """
        await self.here.wait()
        return await self.run(lambda client: streams.read(client, after), REDIS_TIMEOUT + REDIS_BLOCK)

    async def _try(self, operation: Callable[[Redis], Awaitable[T]], timeout: float) -> T:
        with _cancelled_stays_cancelled():
            try:
                async with asyncio.timeout(timeout):
                    return await operation(self._client)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
                raise RedisAway(str(error) or type(error).__name__) from error

    def _lost(self, error: Exception) -> None:
        if not self.away.is_set():
            self.losses += 1
            log.warning("Redis is away (%s): lessons go on over direct lines", type(error).__name__)
        self.here.clear()
        self.away.set()

    async def _watch(self) -> None:
        while True:
            await self.away.wait()
            await asyncio.sleep(REDIS_RETRY)
            await self._ping()

    async def _ping(self) -> None:
        try:
            await self._try(lambda client: client.ping(), REDIS_TIMEOUT)
        except RedisAway:
            return
        if self.seen:
            log.warning("Redis is back")
        self.seen = True
        self.away.clear()
        self.here.set()


@contextlib.contextmanager
def _cancelled_stays_cancelled() -> Iterator[None]:
    """A cancellation that meets a connection just being opened or closed comes out of the client as one of its own
    errors, or not at all; whoever cancelled us would then wait for ever."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
