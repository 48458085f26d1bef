"""A relay on the bus: keeps its lease, answers calls from Redis and from direct lines, tells its events to both."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from server.bus import wire
from server.bus.calls import CallDesk
from server.bus.direct_line import DirectLine, DirectServer, LineBroken
from server.bus.events import EventLog
from server.bus.limits import (
    EVENT_BATCH,
    EVENT_PAUSE,
    RENEWALS,
    STREAM_EVENTS,
    STREAM_REPLIES,
)
from server.bus.redis_link import RedisAway, RedisLink
from server.bus.registry import PREFIX, Registry, RelayLease
from server.bus.streams import append
from server.bus.wire import Call, Events, Listen, WireError
from signaling.relay import RelayPort

log = logging.getLogger(__name__)


class RelayService:
    """``load`` tells the connections of the node behind ``port``, now and at most; ``advertise`` is the host that our
    lease names."""

    def __init__(
        self,
        port: RelayPort,
        load: Callable[[], tuple[int, int]],
        link: RedisLink,
        registry: Registry,
        secret: bytes,
        advertise: str,
    ) -> None:
        self.id = secrets.token_hex(8)
        self._port = port
        self._link = link
        self._registry = registry
        self._advertise = advertise
        self._desk = CallDesk(port, load)
        self._log = EventLog()
        self._server = DirectServer(secret, self._serve_line)
        self._control = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def control(self) -> str:
        """``HOST:PORT`` of the direct line, as the lease says it."""
        return self._control

    def figures(self) -> dict[str, float]:
        """For metrics; what ends in ``_total`` only grows."""
        return {
            "calls_refused_total": self._desk.refused,
            "calls_open": self._desk.open,
            "direct_lines": self._server.lines,
            "direct_lines_refused_total": self._server.refused,
        }

    async def start(self, host: str | None, port: int) -> None:
        """:raises OSError: the control port cannot be had"""
        number = await self._server.start(host, port)
        self._control = f"[{self._advertise}]:{number}" if ":" in self._advertise else f"{self._advertise}:{number}"
        for work in (self._collect_events(), self._keep_lease(), self._take_calls(), self._tell_redis()):
            self._spawn(work)

    async def stop(self) -> None:
        """Take the lease back first: nothing new is placed here while the rest ends."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(RedisAway):
            await self._registry.withdraw("relay", self.id)
        await self._server.stop()
        await self._desk.stop()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect_events(self) -> None:
        async for event in self._port.events():
            self._log.append(event)

    async def _keep_lease(self) -> None:
        while True:
            await self._link.here.wait()
            status = self._desk.status()
            lease = RelayLease(self.id, self._control, status.load, status.capacity)
            with contextlib.suppress(RedisAway):
                await self._registry.renew_relay(lease, status.lessons)
                await asyncio.sleep(self._registry.lease / RENEWALS)

    # --- through Redis

    async def _take_calls(self) -> None:
        stream = f"{PREFIX}calls:{self.id}"
        last = b"0-0"
        while True:
            try:
                found = await self._link.read({stream: last})
            except RedisAway:
                continue
            for last, body in found.get(stream, []):  # noqa: B007 - the last id read is where the next read begins
                try:
                    call = wire.decode(body)
                except WireError as error:
                    log.warning("call from Redis: %s", error)
                    continue
                if isinstance(call, Call):
                    self._spawn(self._answer_through_redis(call))

    async def _answer_through_redis(self, call: Call) -> None:
        reply = await self._desk.answer(call)
        if reply is None:
            return
        stream, body = f"{PREFIX}replies:{call.caller}", wire.encode(reply)
        with contextlib.suppress(RedisAway):  # the caller then asks again over the direct line
            await self._link.run(lambda client: append(client, stream, body, STREAM_REPLIES))

    async def _tell_redis(self) -> None:
        told = 0
        stream = f"{PREFIX}events:{self.id}"
        while True:
            await self._link.here.wait()
            await self._log.beyond(told)
            await asyncio.sleep(EVENT_PAUSE)
            batch = self._log.after(told, EVENT_BATCH)
            body = wire.encode(Events(batch))
            with contextlib.suppress(RedisAway):
                await self._link.run(functools.partial(append, stream=stream, body=body, most=STREAM_EVENTS))
                told = batch[-1].number if batch else self._log.last

    # --- over a direct line

    async def _serve_line(self, line: DirectLine) -> None:
        telling: asyncio.Task[None] | None = None
        try:
            async for frame in line.frames():
                if isinstance(frame, Call):
                    self._spawn(self._answer_on_line(line, frame))
                elif isinstance(frame, Listen) and telling is None:
                    telling = asyncio.create_task(self._tell_line(line, frame.after))
        finally:
            if telling is not None:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

    async def _answer_on_line(self, line: DirectLine, call: Call) -> None:
        reply = await self._desk.answer(call)
        if reply is not None:
            with contextlib.suppress(LineBroken):  # nobody is left to be told
                line.send(reply)

    async def _tell_line(self, line: DirectLine, told: int) -> None:
        while True:
            await self._log.beyond(told)
            await asyncio.sleep(EVENT_PAUSE)
            batch = self._log.after(told, EVENT_BATCH)
            line.send(Events(batch))
            told = batch[-1].number if batch else self._log.last
