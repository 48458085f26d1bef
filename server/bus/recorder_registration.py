"""A recorder on the bus: nothing but a lease that says where its tap is and how much it has to do."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable

from server.bus.limits import RENEWALS
from server.bus.redis_link import RedisAway, RedisLink
from server.bus.registry import RecorderLease, Registry


class RecorderRegistration:
    """``load`` tells the number of lessons recorded now, ``capacity`` how many this machine's disk is trusted with."""

    def __init__(
        self, link: RedisLink, registry: Registry, address: str, load: Callable[[], int], capacity: int
    ) -> None:
        self.id = secrets.token_hex(8)
        self._link = link
        self._registry = registry
        self._address = address
        self._load = load
        self._capacity = capacity
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep_lease(), name="recorder lease")

    async def stop(self) -> None:
        """Take the lease back: no new lesson comes here."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(RedisAway):
            await self._registry.withdraw("recorder", self.id)

    async def _keep_lease(self) -> None:
        while True:
            await self._link.here.wait()
            with contextlib.suppress(RedisAway):
                await self._registry.renew_recorder(RecorderLease(self.id, self._address, self._load(), self._capacity))
                await asyncio.sleep(self._registry.lease / RENEWALS)
