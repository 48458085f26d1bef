"""Who is there and who runs what, as hints with leases in Redis. The authority is the relay that forwards a lesson.

Keys::

    kongzhong:relay:ID       a relay's lease (msgpack), expires without renewal
    kongzhong:recorder:ID    the same for a recorder
    kongzhong:relays, kongzhong:recorders   sets of ids, to find the leases by
    kongzhong:lesson:ID      the relay a lesson was placed on; claimed by signaling, then renewed by the relay
    kongzhong:recording:ID   the recorder a lesson was given
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec
from redis.asyncio import Redis

from server.bus.limits import PLACEMENT_LIFE, RECORDING_LIFE
from server.bus.redis_link import RedisLink

PREFIX = "kongzhong:"


class RelayLease(msgspec.Struct, frozen=True):
    id: str  # new for each process: a relay that restarts is another relay
    control: str  # HOST:PORT of its direct line
    load: int
    capacity: int

    @property
    def room(self) -> int:
        return self.capacity - self.load


class RecorderLease(msgspec.Struct, frozen=True):
    id: str
    address: str  # of its tap
    load: int  # lessons it records now
    capacity: int

    @property
    def room(self) -> int:
        return self.capacity - self.load


L = TypeVar("L", RelayLease, RecorderLease)


class Registry:
    """``lease`` is the life of a registration without renewal, in seconds. All methods raise ``RedisAway``."""

    def __init__(self, link: RedisLink, lease: float) -> None:
        self._link = link
        self.lease = lease

    async def renew_relay(self, relay: RelayLease, lessons: tuple[str, ...]) -> None:
        """Say that the relay is there, and that it forwards these lessons."""

        async def write(client: Redis) -> None:
            pipe = client.pipeline(transaction=False)
            pipe.set(f"{PREFIX}relay:{relay.id}", msgspec.msgpack.encode(relay), px=int(self.lease * 1000))
            pipe.sadd(f"{PREFIX}relays", relay.id)
            for lesson in lessons:
                pipe.set(f"{PREFIX}lesson:{lesson}", relay.id, ex=PLACEMENT_LIFE)
            await pipe.execute()

        await self._link.run(write)

    async def renew_recorder(self, recorder: RecorderLease) -> None:
        async def write(client: Redis) -> None:
            pipe = client.pipeline(transaction=False)
            pipe.set(f"{PREFIX}recorder:{recorder.id}", msgspec.msgpack.encode(recorder), px=int(self.lease * 1000))
            pipe.sadd(f"{PREFIX}recorders", recorder.id)
            await pipe.execute()

        await self._link.run(write)

    async def withdraw(self, kind: Literal["relay", "recorder"], name: str) -> None:
        """A process that stops takes its lease back, so that nothing new is placed on it."""

        async def write(client: Redis) -> None:
            pipe = client.pipeline(transaction=False)
            pipe.delete(f"{PREFIX}{kind}:{name}")
            pipe.srem(f"{PREFIX}{kind}s", name)
            await pipe.execute()

        await self._link.run(write)

    async def relays(self) -> list[RelayLease]:
        return await self._leases("relay", RelayLease)

    async def recorders(self) -> list[RecorderLease]:
        return await self._leases("recorder", RecorderLease)

    async def placed(self, lesson: str) -> str | None:
        """The id of the relay that a lesson was placed on, if that is remembered."""
        return await self._read(f"{PREFIX}lesson:{lesson}")

    async def claim(self, lesson: str, relay: str, instead_of: str | None = None) -> str:
        """Place a lesson unless it is placed already (on another than ``instead_of``); the relay it is on now."""
        return await self._claim(f"{PREFIX}lesson:{lesson}", relay, instead_of, PLACEMENT_LIFE)

    async def claim_recorder(self, lesson: str, recorder: str, instead_of: str | None = None) -> str:
        return await self._claim(f"{PREFIX}recording:{lesson}", recorder, instead_of, RECORDING_LIFE)

    async def recording(self, lesson: str) -> str | None:
        return await self._read(f"{PREFIX}recording:{lesson}")

    async def _read(self, key: str) -> str | None:
        found: Any = await self._link.run(lambda client: client.get(key))
        return found.decode() if found else None

    async def _claim(self, key: str, name: str, instead_of: str | None, life: int) -> str:
        """Compare and set in one step, so that two signaling processes agree."""
        winner: Any = await self._link.run(
            lambda client: client.eval(_CLAIM, 1, key, name, instead_of or "", str(life))
        )
        return str(winner.decode())

    async def _leases(self, kind: str, shape: type[L]) -> list[L]:
        async def read(client: Redis) -> list[L]:
            names: list[Any] = sorted(await client.smembers(f"{PREFIX}{kind}s"))
            if not names:
                return []
            values: list[Any] = await client.mget([f"{PREFIX}{kind}:{name.decode()}" for name in names])
            gone = [name for name, value in zip(names, values, strict=True) if value is None]
            if gone:
                await client.srem(f"{PREFIX}{kind}s", *gone)
            return [msgspec.msgpack.decode(value, type=shape) for value in values if value is not None]

        return await self._link.run(read)


_CLAIM = """
local now = redis.call('GET', KEYS[1])
if not now or now == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
  return ARGV[1]
end
return now
"""
