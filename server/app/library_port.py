"""Where two rooms that know nothing of one another meet: the library's catalogue as signaling's archive, and
signaling's tokens as the library's grants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from recorder.library.access import Grant
from recorder.library.awaited import awaited
from recorder.library.catalog import Catalog
from signaling.roles import STAFF
from signaling.tokens import Claims


class CatalogArchive:
    """Implements ``signaling.archive.Archive``. A lesson in several files is known by its longest."""

    def __init__(self, catalog: Catalog, archive: Path) -> None:
        self._catalog = catalog
        self._archive = archive

    async def find(self, lesson: str) -> str | None:
        return await asyncio.to_thread(self._find, lesson)

    def _find(self, lesson: str) -> str | None:
        found = self._catalog.of_lesson(lesson)
        if not found or awaited(self._archive, lesson, {resource.recording for resource in found}):
            return None
        return max(found, key=lambda resource: resource.duration).id


def grants(authorize: Callable[[web.Request], Claims | None]) -> Callable[[web.Request], Grant | None]:
    """What a verified token allows in the library (docs/protocol.md: who publishes a resource)."""

    def grant(request: web.Request) -> Grant | None:
        claims = authorize(request)
        return Grant(claims.role, claims.lesson, claims.role in STAFF) if claims is not None else None

    return grant
