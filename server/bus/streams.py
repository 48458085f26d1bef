"""Redis streams as this package uses them: bounded, one field, gone when nobody writes to them any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from server.bus.limits import EVENT_BATCH, REDIS_BLOCK, STREAM_LIFE

Entry = tuple[bytes, bytes]
"""An entry's id and what it carries."""

_FIELD = b"f"


async def append(client: Redis, stream: str, body: bytes, most: int) -> None:
    """Add an entry; of more than about ``most`` the oldest fall away."""
    pipe = client.pipeline(transaction=False)
    pipe.xadd(stream, {_FIELD: body}, maxlen=most, approximate=True)
    pipe.expire(stream, STREAM_LIFE)
    await pipe.execute()


async def read(client: Redis, after: Mapping[str, Any]) -> dict[str, list[Entry]]:
    """What each stream has after the id given for it; waits ``REDIS_BLOCK`` for news."""
    streams: Any = dict(after)
    found: Any = await client.xread(streams, count=EVENT_BATCH, block=int(REDIS_BLOCK * 1000))
    return {name.decode(): [(each, fields.get(_FIELD, b"")) for each, fields in items] for name, items in _pairs(found)}


async def newest(client: Redis, stream: str) -> Any:
    """The id of the last entry, to read from there on."""
    found: Any = await client.xrevrange(stream, count=1)
    return found[0][0] if found else "0-0"


def _pairs(found: Any) -> Any:
    """RESP2 gives a list of pairs, RESP3 a map of lists of lists."""
    if isinstance(found, dict):
        return [(name, [entry for group in groups for entry in group]) for name, groups in found.items()]
    return found or []
