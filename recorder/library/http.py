"""The library over HTTP (docs/protocol.md, ``/api/library``): list, show, change, watch, media, poster."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from aiohttp import web

from recorder import limits
from recorder.library.access import WATCH_SECONDS, Grant, WatchCookie
from recorder.library.catalog import Catalog, Resource
from recorder.library.openapi import openapi_paths
from recorder.library.problems import problem
from recorder.library.ranges import Unsatisfiable, etag_matches, parse_range, range_still_valid

CHUNK = 256 * 1024
BODY = 8 * 1024
_SUFFIX = {"video/mp4": "mp4", "video/webm": "webm", "video/x-matroska": "mkv"}

Authorize = Callable[[web.Request], Grant | None]


class LibraryRoutes:
    """``authorize`` reads the request's bearer token: a grant, or ``None`` when there is none that is valid."""

    def __init__(self, catalog: Catalog, archive_dir: Path, authorize: Authorize, cookie_secret: bytes) -> None:
        self._catalog = catalog
        self._archive = archive_dir
        self._authorize = authorize
        self._cookie = WatchCookie(cookie_secret)

    def routes(self, app: web.Application) -> None:
        router = app.router
        router.add_get("/api/library", self._list)
        router.add_get("/api/library/{id}", self._show)
        router.add_patch("/api/library/{id}", self._change)
        router.add_post("/api/library/{id}/watch", self._watch)
        router.add_get("/api/library/{id}/media", self._media)
        router.add_get("/api/library/{id}/poster", self._poster)

    # --- the catalogue --------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.StreamResponse:
        grant = self._grant(request)
        if isinstance(grant, web.Response):
            return grant
        query = request.query
        try:
            limit, offset = _integer(query.get("limit", "20")), _integer(query.get("offset", "0"))
        except ValueError:
            return problem(request, "bad-query")
        text = query.get("q", "").strip()
        if not 1 <= limit <= 100 or len(text) > 200 or "\x00" in text:
            return problem(request, "bad-query")
        lesson = grant.lesson if grant else None
        total, found = await asyncio.to_thread(self._catalog.search, text, lesson=lesson, limit=limit, offset=offset)
        return _json({"total": total, "resources": [each.view() for each in found]})

    async def _show(self, request: web.Request) -> web.StreamResponse:
        found = await self._visible(request, cookie=False)
        return found if isinstance(found, web.Response) else _json(found.view())

    async def _change(self, request: web.Request) -> web.StreamResponse:
        grant = self._grant(request)
        if isinstance(grant, web.Response):
            return grant
        if grant is None:
            return problem(request, "token-needed")
        resource = await asyncio.to_thread(self._catalog.get, request.match_info["id"])
        if resource is None:
            return problem(request, "unknown-resource")
        if not (grant.may_publish and grant.covers(resource.lesson)):
            return problem(request, "not-allowed")
        changes = await _changes(request)
        if isinstance(changes, web.Response):
            return changes
        changed = await asyncio.to_thread(lambda: self._catalog.change(resource.id, **changes))
        return _json(changed.view()) if changed else problem(request, "unknown-resource")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        found = await self._visible(request, cookie=False)
        if isinstance(found, web.Response):
            return found
        response = web.Response(status=204, headers={"Cache-Control": "no-store"})
        response.set_cookie(
            WatchCookie.name,
            self._cookie.issue(found.id, time.time()),
            max_age=WATCH_SECONDS,
            path=f"/api/library/{found.id}",
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    # --- the files ------------------------------------------------------------------------------------------------

    async def _media(self, request: web.Request) -> web.StreamResponse:
        found = await self._visible(request, cookie=True)
        if isinstance(found, web.Response):
            return found
        headers = {"ETag": f'"{found.sha256}"'}
        if "download" in request.query:
            headers["Content-Disposition"] = disposition(found)
        return await self._send(request, found, found.file, found.media_type, headers)

    async def _poster(self, request: web.Request) -> web.StreamResponse:
        found = await self._visible(request, cookie=True)
        if isinstance(found, web.Response):
            return found
        if not found.poster:
            return problem(request, "no-poster")
        # The poster is made together with the file, so that the file's checksum names it too.
        headers = {"ETag": f'"{found.sha256[:32]}-poster"'}
        return await self._send(request, found, found.poster, "image/jpeg", headers)

    async def _send(
        self, request: web.Request, resource: Resource, name: str, media_type: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        """A file with ranges. Not aiohttp's FileResponse: its ETag is made of time and size, and it ignores If-Range
        with an ETag, so that a player could join halves of two different files."""
        etag = headers["ETag"]
        headers |= {
            "Accept-Ranges": "bytes",
            "Cache-Control": "public, max-age=3600" if resource.published else "private, no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        if etag_matches(request.headers.get("If-None-Match"), etag):
            return web.Response(status=304, headers=headers)
        try:
            file = await asyncio.to_thread(lambda: (self._archive / name).open("rb"))
        except OSError:
            return problem(request, "file-missing")
        try:
            size = await asyncio.to_thread(file.seek, 0, 2)
            wanted = request.headers.get("Range") if request.method == "GET" else None
            if not range_still_valid(request.headers.get("If-Range"), etag):
                wanted = None
            try:
                part = parse_range(wanted, size)
            except Unsatisfiable:
                return problem(request, "bad-range", {"Content-Range": f"bytes */{size}"})
            first, length = part or (0, size)
            if part:
                headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{size}"
            response = web.StreamResponse(status=206 if part else 200, headers=headers)
            response.content_type = media_type
            response.content_length = length
            try:
                await response.prepare(request)
                if request.method != "HEAD":
                    await _copy(file, first, length, response)
                await response.write_eof()
            except ConnectionError:  # a player that seeks breaks off what it asked for before
                if request.transport is not None:
                    request.transport.close()
            return response
        finally:
            file.close()

    # --- who may ----------------------------------------------------------------------------------------------------

    def _grant(self, request: web.Request) -> Grant | web.Response | None:
        """The caller's grant; a token that is not valid is refused even where none is needed."""
        grant = self._authorize(request)
        if grant is None and "Authorization" in request.headers:
            return problem(request, "token-needed")
        return grant

    async def _visible(self, request: web.Request, cookie: bool) -> Resource | web.Response:
        """The resource of the path, if the caller may see it; otherwise what to answer."""
        grant = self._grant(request)
        if isinstance(grant, web.Response):
            return grant
        identifier = request.match_info["id"]
        found = await asyncio.to_thread(self._catalog.get, identifier)
        if found is None:
            return problem(request, "unknown-resource")
        if found.published or (grant and grant.covers(found.lesson)):
            return found
        value = request.cookies.get(WatchCookie.name, "")
        if cookie and self._cookie.opens(found.id, value, time.time()):
            return found
        return problem(request, "not-allowed" if grant else "token-needed")


def disposition(resource: Resource) -> str:
    """Content-Disposition with the title as a file name (RFC 6266, RFC 8187)."""
    suffix = _SUFFIX.get(resource.media_type, "bin")
    title = "".join(" " if c in '/\\:*?"<>|' or not c.isprintable() else c for c in resource.title)
    title = title.strip(" .")[:80] or "lesson"
    return f"attachment; filename=\"lesson.{suffix}\"; filename*=UTF-8''{quote(f'{title}.{suffix}', safe='')}"


async def _copy(file: BinaryIO, first: int, length: int, response: web.StreamResponse) -> None:
    await asyncio.to_thread(file.seek, first)
    while length > 0:
        data = await asyncio.to_thread(file.read, min(CHUNK, length))
        if not data:
            raise ConnectionResetError("the file became shorter")  # closes the connection: the length was promised
        length -= len(data)
        await response.write(data)


async def _changes(request: web.Request) -> dict[str, Any] | web.Response:
    """The PATCH body, checked."""
    if (request.content_length or 0) > BODY:
        return problem(request, "too-large")
    data = await request.content.read(BODY + 1)
    while len(data) <= BODY and (more := await request.content.read(BODY + 1)):
        data += more
    if len(data) > BODY:
        return problem(request, "too-large")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return problem(request, "bad-json")
    if not isinstance(body, dict):
        return problem(request, "bad-json")
    changes = {name: body[name] for name in ("published", "title") if name in body}
    if not changes or not isinstance(changes.get("published", True), bool):
        return problem(request, "bad-json")
    title = changes.get("title", "x")
    if not isinstance(title, str) or not title.isprintable() or not 0 < len(title.strip()) <= limits.TITLE_CHARS:
        return problem(request, "bad-json")
    if "title" in changes:
        changes["title"] = title.strip()
    return changes


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(text)
    return int(text)


def _json(body: Any) -> web.Response:
    return web.json_response(
        body,
        dumps=lambda each: json.dumps(each, ensure_ascii=False),
        headers={"Cache-Control": "no-cache", "Vary": "Authorization"},
    )


__all__ = ["LibraryRoutes", "openapi_paths"]
