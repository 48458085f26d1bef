"""Which relay forwards which lesson, as a signaling process sees it: leases in Redis are hints, relays the authority.

The invariant: a lesson that a living relay forwards is never placed on another one. A relay counts as lost only when
its lease has run out (or Redis cannot tell) *and* its direct line is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from server.bus import wire
from server.bus.direct_line import LineBroken
from server.bus.events import EventHub
from server.bus.limits import LESSONS_REMEMBERED, REDIS_BLOCK, RENEWALS
from server.bus.recent import Recent
from server.bus.redis_link import RedisAway, RedisLink
from server.bus.registry import PREFIX, RecorderLease, Registry, RelayLease
from server.bus.remote_relay import RemoteRelay
from server.bus.streams import newest
from server.bus.wire import Events, Reply, WireError
from signaling.relay import RecorderRef, Refused, RelayEvent, RelayPort

log = logging.getLogger(__name__)


class HasRoom(Protocol):
    @property
    def room(self) -> int: ...


R = TypeVar("R", bound=HasRoom)


class RedisDirectory:
    """Implements ``signaling.relay.RelayDirectory``."""

    def __init__(self, link: RedisLink, registry: Registry, secret: bytes) -> None:
        self._link = link
        self._registry = registry
        self._secret = secret
        self._caller = secrets.token_hex(8)
        self._hub = EventHub()
        self._relays: dict[str, RemoteRelay] = {}
        self._recorders: dict[str, RecorderLease] = {}
        self._placed: Recent[str] = Recent(LESSONS_REMEMBERED)
        self._recording: Recent[RecorderLease] = Recent(LESSONS_REMEMBERED)
        self._read_from: dict[str, Any] = {}
        self._unreachable: dict[str, float] = {}  # relay → monotonic time of the first refused dial in a row
        self._placing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by lesson, while someone waits
        self._lost = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Look around once, then keep looking."""
        await self._look()
        self._tasks = [
            asyncio.create_task(self._keep_looking(), name="directory"),
            asyncio.create_task(self._read_streams(), name="bus streams"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for relay in self._relays.values():
            await relay.stop()

    @property
    def relays(self) -> tuple[RelayLease, ...]:
        """The relays known now, as their last leases describe them."""
        return tuple(relay.lease for relay in self._relays.values())

    @property
    def recorders(self) -> tuple[RecorderLease, ...]:
        return tuple(self._recorders.values())

    def figures(self) -> dict[str, float]:
        """For metrics; what ends in ``_total`` only grows."""
        return {
            "relays": len(self._relays),
            "recorders": len(self._recorders),
            "relays_lost_total": self._lost,
            "events_dropped_total": self._hub.dropped,
        }

    # --- the port

    async def place(self, lesson: str) -> RelayPort:
        relay = self._remembered(lesson)
        if relay is not None:
            return relay
        # Two joins at once ask once; joins to other lessons do not wait for this lesson's round trips.
        async with self._placing.setdefault(lesson, asyncio.Lock()):
            relay = self._remembered(lesson)
            if relay is None:
                relay = await self._find_or_choose(lesson)
                self._placed.set(lesson, relay.lease.id)
        return relay

    async def recorder(self, lesson: str) -> RecorderRef | None:
        kept = self._recording.get(lesson)
        if kept is not None and (kept.id in self._recorders or self._link.away.is_set()):
            return RecorderRef(kept.address)
        chosen = _roomiest(self._recorders.values())
        if chosen is None:
            return None
        with contextlib.suppress(RedisAway):  # then the one we know has to do
            before = await self._registry.recording(lesson)
            stale = before if before not in self._recorders else None
            winner = await self._registry.claim_recorder(lesson, chosen.id, instead_of=stale)
            chosen = self._recorders.get(winner, chosen)
        self._recording.set(lesson, chosen)
        return RecorderRef(chosen.address)

    def all_events(self) -> AsyncIterator[RelayEvent]:
        return self._hub.read()

    # --- placing

    def _remembered(self, lesson: str) -> RemoteRelay | None:
        name = self._placed.get(lesson)
        return self._relays.get(name) if name is not None else None

    async def _find_or_choose(self, lesson: str) -> RemoteRelay:
        try:
            return await self._find_or_claim(lesson)
        except RedisAway:
            return await self._ask_relays(lesson)

    async def _find_or_claim(self, lesson: str) -> RemoteRelay:
        await self._refresh()
        before = await self._registry.placed(lesson)
        if before is not None and before in self._relays:
            return self._relays[before]
        chosen = _roomiest(r.lease for r in self._relays.values() if r.leased)
        if chosen is None or chosen.room <= 0:
            raise Refused("unavailable", "no relay has room")
        winner = await self._registry.claim(lesson, chosen.id, instead_of=before)
        if winner not in self._relays:
            await self._refresh()
        if winner not in self._relays:
            raise Refused("unavailable", "the lesson's relay is not known here yet")
        return self._relays[winner]

    async def _ask_relays(self, lesson: str) -> RemoteRelay:
        """Without Redis the relays themselves are asked. One that forwards the lesson has it; otherwise all signaling
        processes choose the same one, by the hash of lesson and relay (rendezvous hashing)."""
        relays = list(self._relays.values())
        answers = await asyncio.gather(*(relay.status() for relay in relays), return_exceptions=True)
        living = []
        for relay, answer in zip(relays, answers, strict=True):
            if isinstance(answer, wire.RelayStatus):
                if lesson in answer.lessons:
                    return relay
                if answer.load < answer.capacity:
                    living.append(relay)
        if not living:
            raise Refused("unavailable", "Redis is away and no relay is known")
        return max(living, key=lambda relay: hashlib.sha256(f"{lesson} {relay.lease.id}".encode()).digest())

    # --- looking around

    async def _keep_looking(self) -> None:
        while True:
            pause = self._registry.lease / RENEWALS
            changed = self._link.away if self._link.here.is_set() else self._link.here
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await changed.wait()
            await self._look()
            if self._link.away.is_set():
                await asyncio.sleep(min(pause, REDIS_BLOCK))

    async def _look(self) -> None:
        try:
            await self._refresh()
        except RedisAway:
            for relay in self._relays.values():
                relay.leased = False
        await asyncio.gather(*(self._reach(relay) for relay in list(self._relays.values()) if not relay.leased))

    async def _refresh(self) -> None:
        """Take over the leases in Redis. A relay without one is not gone yet: its direct line has the last word."""
        known = list(self._relays)  # what another look finds meanwhile is newer than these leases
        leases = {lease.id: lease for lease in await self._registry.relays()}
        self._recorders = {lease.id: lease for lease in await self._registry.recorders()}
        for name, lease in leases.items():
            relay = self._relays.get(name)
            if relay is None:
                await self._get_to_know(lease)
            else:
                relay.lease, relay.leased = lease, True
                self._unreachable.pop(name, None)
        for name in known:
            if name in self._relays:
                self._relays[name].leased = name in leases

    async def _get_to_know(self, lease: RelayLease) -> None:
        stream = f"{PREFIX}events:{lease.id}"
        last = await self._link.run(lambda client: newest(client, stream))
        if lease.id in self._relays:
            return  # another look was faster
        self._read_from[stream] = last
        self._relays[lease.id] = RemoteRelay(lease, self._link, self._caller, self._secret, self._hub.put)
        log.info("relay %s at %s", lease.id, lease.control)

    async def _reach(self, relay: RemoteRelay) -> None:
        try:
            await relay.listen_directly()
            self._unreachable.pop(relay.lease.id, None)
        except LineBroken as error:
            since = self._unreachable.setdefault(relay.lease.id, time.monotonic())
            if self._link.here.is_set() or time.monotonic() - since > self._registry.lease:
                await self._lose(relay, str(error))

    async def _lose(self, relay: RemoteRelay, reason: str) -> None:
        self._lost += 1
        log.error("relay %s is lost: %s", relay.lease.id, reason)
        self._relays.pop(relay.lease.id, None)
        self._unreachable.pop(relay.lease.id, None)
        self._read_from.pop(f"{PREFIX}events:{relay.lease.id}", None)
        relay.lost()
        await relay.stop()

    # --- replies and events through Redis

    async def _read_streams(self) -> None:
        replies = f"{PREFIX}replies:{self._caller}"
        self._read_from[replies] = "0-0"
        while True:
            try:
                found = await self._link.read(self._read_from)
            except RedisAway:
                # A Redis that restarts may have lost its streams: read them from their start. Numbers and ids make
                # sure that nothing counts twice.
                self._read_from = dict.fromkeys(self._read_from, "0-0")
                continue
            for stream, items in found.items():
                if stream in self._read_from:
                    self._read_from[stream] = items[-1][0]
                self._hand_out(stream, [body for _, body in items])

    def _hand_out(self, stream: str, bodies: Iterable[bytes]) -> None:
        for body in bodies:
            try:
                frame = wire.decode(body)
            except WireError as error:
                log.warning("from Redis: %s", error)
                continue
            if isinstance(frame, Events):
                relay = self._relays.get(stream.rpartition(":")[2])
                if relay is not None:
                    relay.take(frame)
            elif isinstance(frame, Reply):
                for relay in self._relays.values():
                    relay.take(frame)


def _roomiest(leases: Iterable[R]) -> R | None:
    return max(leases, key=lambda lease: lease.room, default=None)
