"""Who may see and change which resource. Imports nothing of ours; whoever checks tokens makes a ``Grant`` of one."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

WATCH_SECONDS = 4 * 3600
_COOKIE = re.compile(r"(\d{1,12})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid token allows."""

    role: str
    lesson: str  # "*": every lesson
    may_publish: bool = False

    def covers(self, lesson: str) -> bool:
        return self.lesson in ("*", lesson)


class WatchCookie:
    """A proof that one resource may be watched until a time: what a ``<video>`` element can send and a token cannot.

    ``EXPIRES.HMAC``: HMAC-SHA-256 over the resource's id and the expiry (Unix seconds), so that it opens nothing else.
    """

    name = "watch"

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError("the cookie secret needs 16 bytes or more")
        self._key = hashlib.sha256(b"kongzhong watch cookie " + secret).digest()

    def issue(self, resource: str, now: float) -> str:
        expires = int(now) + WATCH_SECONDS
        return f"{expires}.{self._mac(resource, expires)}"

    def opens(self, resource: str, value: str, now: float) -> bool:
        found = _COOKIE.fullmatch(value)
        if found is None:
            return False
        expires = int(found[1])
        return hmac.compare_digest(found[2], self._mac(resource, expires)) and now < expires

    def _mac(self, resource: str, expires: int) -> str:
        return hmac.new(self._key, f"{resource}|{expires}".encode(), hashlib.sha256).hexdigest()
