"""The relay's side of a call: executed once however it came, bounded, and always answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from server.bus import wire
from server.bus.limits import CALLS_AT_ONCE, CALLS_KEPT, CALLS_WAITING
from server.bus.wire import Call, RelayStatus, Reply, WireError
from signaling.relay import Refused, RelayPort

log = logging.getLogger(__name__)


class CallDesk:
    """Executes calls on a port. A call that arrives again (by the other road) gets the reply of its first arrival."""

    def __init__(self, port: RelayPort, load: Callable[[], tuple[int, int]]) -> None:
        self._port = port
        self._load = load
        self._lessons: set[str] = set()
        self._replies: OrderedDict[str, asyncio.Task[Reply]] = OrderedDict()
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)
        self.open = 0  # being executed, or waiting for that
        self.refused = 0

    async def answer(self, call: Call) -> Reply | None:
        """The reply; ``None`` when nobody waits for it any more."""
        if time.time() * 1000 > call.expires_ms + wire.CLOCK_TOLERANCE_MS:
            return None
        task = self._replies.get(call.id)
        if task is None:
            if self.open >= CALLS_WAITING:
                self.refused += 1
                return wire.refusal_of(call.id, Refused("unavailable", "the relay has too many calls waiting"))
            self.open += 1
            task = asyncio.create_task(self._execute(call), name=f"call {call.method}")
            task.add_done_callback(self._closed)
            self._remember(call.id, task)
        return await asyncio.shield(task)

    def status(self) -> RelayStatus:
        """Every lesson of this relay comes and goes through calls, so they are known here."""
        load, capacity = self._load()
        return RelayStatus(load, capacity, tuple(self._lessons))

    async def stop(self) -> None:
        for task in self._replies.values():
            task.cancel()
        await asyncio.gather(*self._replies.values(), return_exceptions=True)

    def _remember(self, name: str, task: asyncio.Task[Reply]) -> None:
        self._replies[name] = task
        while len(self._replies) > CALLS_KEPT:
            oldest = next(iter(self._replies.values()))
            if not oldest.done():
                break  # never forget what still runs; CALLS_WAITING bounds it
            self._replies.popitem(last=False)

    async def _execute(self, call: Call) -> Reply:
        try:
            async with self._slots:
                return Reply(call.id, await self._perform(call))
        except Refused as refused:
            return wire.refusal_of(call.id, refused)
        except WireError as error:
            return wire.refusal_of(call.id, Refused("unavailable", f"the relay speaks another version: {error}"))
        except Exception:
            # A bug of this relay: the caller must not wait for a reply that never comes.
            log.exception("%s failed", call.method)
            return wire.refusal_of(call.id, Refused("unavailable", "the relay failed; its log says why"))

    def _closed(self, task: asyncio.Task[Reply]) -> None:
        self.open -= 1

    async def _perform(self, call: Call) -> Any:
        arguments = wire.arguments_of(call)
        if call.method == "status":
            return self.status()
        result = await getattr(self._port, call.method)(*arguments)
        if call.method == "open_lesson":
            self._lessons.add(arguments[0])
        elif call.method == "close_lesson":
            self._lessons.discard(arguments[0])
        return result
