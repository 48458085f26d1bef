"""WHIP and WHEP connections by their secret. Only the secret's hash is kept, so a dump of memory opens nothing, and the
lookup's time says nothing about the secret."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field

from signaling.core.commands import Direction
from signaling.core.seats import SeatKey
from signaling.ice import Credentials
from signaling.relay import RelayPort

SECRET_BYTES = 16  # 128 bits


@dataclass(slots=True)
class Handle:
    """One connection as HTTP sees it. ``id`` is public; the secret stands only in the client's ``Location``."""

    id: str
    lesson: str
    seat: SeatKey
    direction: Direction
    relay: RelayPort
    etag: str
    remote: Credentials | None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One PATCH at a time: If-Match is compared with the tag that the last one left."""


class Registry:
    def __init__(self) -> None:
        self._by_hash: dict[bytes, Handle] = {}
        self._hashes: dict[str, bytes] = {}

    def add(self, handle: Handle) -> str:
        """Returns the secret, which is not seen again."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        digest = _digest(secret)
        self._by_hash[digest] = handle
        self._hashes[handle.id] = digest
        return secret

    def find(self, secret: str) -> Handle | None:
        return self._by_hash.get(_digest(secret))

    def by_id(self, connection: str) -> Handle | None:
        digest = self._hashes.get(connection)
        return None if digest is None else self._by_hash[digest]

    def remove(self, connection: str) -> Handle | None:
        digest = self._hashes.pop(connection, None)
        return None if digest is None else self._by_hash.pop(digest)

    def __len__(self) -> int:
        return len(self._hashes)


def new_connection_id() -> str:
    """The public id, for logs, the API and the relay."""
    return f"c-{secrets.token_hex(6)}"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
