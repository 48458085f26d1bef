"""The library of the stand-in server: one small recording, shown under several titles."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
from aiohttp import web

from tests.support.test_picture import HEIGHT, RATE, WIDTH, picture

SECONDS = 12


def record(path: Path) -> None:
    """The test picture as an MP4 with a keyframe each second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": str(RATE)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(SECONDS * RATE):
            container.mux(stream.encode(picture(number)))
        container.mux(stream.encode())


class Library:
    def __init__(self, data: Path) -> None:
        self.media = data / "lesson.mp4"
        self.poster = data / "poster.jpg"
        self.resources: dict[str, dict[str, Any]] = {}
        if not self.media.exists():
            record(self.media)
            picture(20).to_image().save(self.poster)

    def add(self, lesson: str, title: str, published: bool) -> str:
        resource = secrets.token_hex(6)
        self.resources[resource] = {
            "id": resource, "lesson": lesson, "title": title, "published": published, "duration": float(SECONDS),
            "recorded_at": (datetime.now(UTC) - timedelta(days=len(self.resources))).isoformat(),
            "media_type": "video/mp4", "size": self.media.stat().st_size, "sha256": "0" * 64, "width": WIDTH,
            "height": HEIGHT, "gaps": [{"start": 4.0, "seconds": 1.5, "track": "video"}], "poster": f"/api/library/{resource}/poster",
        }  # fmt: skip
        return resource

    def routes(self, app: web.Application, claims: Callable[[str], dict[str, str]]) -> None:
        def rights(request: web.Request) -> dict[str, str]:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            return claims(token) if token else {}

        def find(request: web.Request, cookie: bool = False) -> dict[str, Any]:
            resource = self.resources.get(request.match_info["id"])
            if resource is None:
                raise web.HTTPNotFound()
            if not resource["published"] and not (cookie and "watch" in request.cookies):
                if rights(request).get("lesson") not in ("*", resource["lesson"]):
                    raise web.HTTPNotFound()
            return resource

        async def listing(request: web.Request) -> web.Response:
            lesson = rights(request).get("lesson")
            query = request.query.get("q", "")
            seen = [each for each in self.resources.values() if each["published"] or lesson in ("*", each["lesson"])]
            found = [each for each in seen if query in each["title"]]
            offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 24))
            return web.json_response({"total": len(found), "resources": found[offset : offset + limit]})

        async def read(request: web.Request) -> web.Response:
            return web.json_response(find(request))

        async def change(request: web.Request) -> web.Response:
            resource = find(request)
            if rights(request).get("role") not in ("teacher", "assistant", "ops"):
                raise web.HTTPForbidden()
            resource |= await request.json()
            return web.json_response(resource)

        async def watch(request: web.Request) -> web.Response:
            response = web.Response(status=204)
            path = f"/api/library/{find(request)['id']}"
            response.set_cookie("watch", "yes", path=path, httponly=True, samesite="Strict")
            return response

        async def media(request: web.Request) -> web.StreamResponse:
            find(request, cookie=True)
            headers = {"Content-Type": "video/mp4"}
            if "download" in request.query:
                headers["Content-Disposition"] = 'attachment; filename="lesson.mp4"'
            return web.FileResponse(self.media, headers=headers)

        async def poster(request: web.Request) -> web.StreamResponse:
            find(request, cookie=True)
            return web.FileResponse(self.poster)

        app.router.add_get("/api/library", listing)
        app.router.add_get("/api/library/{id}", read)
        app.router.add_patch("/api/library/{id}", change)
        app.router.add_post("/api/library/{id}/watch", watch)
        app.router.add_get("/api/library/{id}/media", media)
        app.router.add_get("/api/library/{id}/poster", poster)
