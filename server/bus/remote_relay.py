"""A relay in another process, behind the same port as one in ours: each call goes through Redis, or directly.

Redis is the first road while it is there; the direct line is taken at once when Redis is away, when the relay's lease
has run out, or when a reply does not come in time. The relay executes a call once, whichever road it took.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from server.bus import wire
from server.bus.direct_line import DirectLine, LineBroken, dial
from server.bus.events import EventHub
from server.bus.limits import CALL_TIMEOUT, REDIS_PATIENCE, STREAM_CALLS
from server.bus.redis_link import RedisAway, RedisLink
from server.bus.registry import PREFIX, RelayLease
from server.bus.streams import append
from server.bus.wire import Call, Events, Listen, RelayStatus, Reply, WireError
from signaling.relay import (
    Answer,
    ConnectionDown,
    Offer,
    RecorderRef,
    Refused,
    RelayEvent,
)

log = logging.getLogger(__name__)


class RemoteRelay:
    """``caller`` names our stream of replies; whoever reads it hands what came to ``take``."""

    def __init__(
        self, lease: RelayLease, link: RedisLink, caller: str, secret: bytes, on_event: Callable[[RelayEvent], None]
    ) -> None:
        self.lease = lease
        self.leased = True  # as of the directory's last look
        self._link = link
        self._caller = caller
        self._secret = secret
        self._on_event = on_event
        self._hub = EventHub()
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._line: DirectLine | None = None
        self._dialing = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._heard = 0
        self._connections: dict[str, str] = {}  # connection → lesson, to tell their end when the relay is lost

    # --- the port

    async def open_lesson(self, lesson: str, title: str, recorder: RecorderRef | None) -> None:
        await self._call("open_lesson", lesson, title, recorder)

    async def close_lesson(self, lesson: str) -> None:
        await self._call("close_lesson", lesson)

    async def publish(self, offer: Offer) -> Answer:
        return await self._connect("publish", offer)

    async def subscribe(self, offer: Offer) -> Answer:
        return await self._connect("subscribe", offer)

    async def trickle(self, connection: str, fragment: str) -> None:
        await self._call("trickle", connection, fragment)

    async def restart(self, connection: str, fragment: str) -> Answer:
        answer: Answer = await self._call("restart", connection, fragment)
        return answer

    async def choose_layer(self, connection: str, rid: str | None) -> None:
        await self._call("choose_layer", connection, rid)

    async def close(self, connection: str) -> None:
        self._connections.pop(connection, None)
        await self._call("close", connection)

    def events(self) -> AsyncIterator[RelayEvent]:
        return self._hub.read()

    # --- for the directory

    async def status(self) -> RelayStatus:
        status: RelayStatus = await self._call("status")
        return status

    def take(self, frame: Reply | Events) -> None:
        """What came for us, by either road."""
        if isinstance(frame, Reply):
            future = self._waiting.get(frame.id)
            if future is not None and not future.done():
                future.set_result(frame)
            return
        for told in frame.told:
            if told.number > self._heard:
                self._heard = told.number
                self._tell(told.event)

    async def listen_directly(self) -> None:
        """Have a direct line and the events on it, from the last one heard.

        :raises LineBroken: the relay cannot be reached
        """
        async with self._dialing:
            if self._line is None:
                self._line = line = await dial(self.lease.control, self._secret)
                line.send(Listen(self._heard))
                self._listening = asyncio.create_task(self._read(line), name="direct line")

    def lost(self) -> None:
        """The relay is gone for good: its connections have ended, and somebody should say so."""
        connections, self._connections = self._connections, {}
        for connection, lesson in connections.items():
            self._tell(ConnectionDown(lesson, connection, "closed"))

    async def stop(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._line is not None:
            self._line.close()

    # --- the two roads

    async def _connect(self, method: str, offer: Offer) -> Answer:
        answer: Answer = await self._call(method, offer)
        self._connections[offer.connection] = offer.lesson
        return answer

    async def _call(self, method: str, *arguments: Any) -> Any:
        expires = int((time.time() + CALL_TIMEOUT) * 1000)
        call = Call(secrets.token_hex(8), self._caller, method, arguments, expires)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[call.id] = reply
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                if not (self.leased and await self._through_redis(call, reply)):
                    await self.listen_directly()
                    if self._line is None:
                        raise LineBroken("the direct line ended")
                    self._line.send(call)
                return wire.result_of(method, await reply)
        except (TimeoutError, LineBroken, WireError) as error:
            raise Refused("unavailable", f"the relay does not answer: {error or 'no reply in time'}") from error
        finally:
            del self._waiting[call.id]

    async def _through_redis(self, call: Call, reply: asyncio.Future[Reply]) -> bool:
        """Whether a reply came this way."""
        stream, body = f"{PREFIX}calls:{self.lease.id}", wire.encode(call)
        try:
            await self._link.run(lambda client: append(client, stream, body, STREAM_CALLS))
        except RedisAway:
            return False
        away = asyncio.ensure_future(self._link.away.wait())
        either: set[asyncio.Future[Any]] = {reply, away}
        try:
            await asyncio.wait(either, timeout=REDIS_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            away.cancel()
        return reply.done()

    async def _read(self, line: DirectLine) -> None:
        try:
            async for frame in line.frames():
                if isinstance(frame, Reply | Events):
                    self.take(frame)
        except LineBroken as error:
            log.debug("direct line to relay %s: %s", self.lease.id, error)
        finally:
            self._line = None
            line.close()

    def _tell(self, event: RelayEvent) -> None:
        if isinstance(event, ConnectionDown):
            self._connections.pop(event.connection, None)
        self._on_event(event)
        self._hub.put(event)
