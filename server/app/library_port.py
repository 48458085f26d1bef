"""Where two rooms that know nothing of one another meet: the library's catalogue as signaling's archive, and
signaling's tokens as the library's grants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from recorder.library.access import Grant
from recorder.library.catalog import Catalog
from signaling.roles import STAFF
from signaling.tokens import Claims


class CatalogArchive:
    """Implements ``signaling.archive.Archive``. A lesson in several files is known by its longest."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def find(self, lesson: str) -> str | None:
        found = await asyncio.to_thread(self._catalog.of_lesson, lesson)
        return max(found, key=lambda resource: resource.duration).id if found else None


def grants(authorize: Callable[[web.Request], Claims | None]) -> Callable[[web.Request], Grant | None]:
    """What a verified token allows in the library (docs/protocol.md: who publishes a resource)."""

    def grant(request: web.Request) -> Grant | None:
        claims = authorize(request)
        return Grant(claims.role, claims.lesson, claims.role in STAFF) if claims is not None else None

    return grant
