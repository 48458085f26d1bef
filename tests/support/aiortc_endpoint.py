"""A small WHIP/WHEP server made of aiortc: a full ICE agent that answers as DTLS client, foreign to our own code."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


class AiortcEndpoint:
    """``async with AiortcEndpoint() as endpoint``: publishes go to ``on_frame``, watchers get ``make_tracks()``.

    ``token``, where set, must come as bearer token. ``/moved/...`` redirects with 307.
    """

    def __init__(
        self,
        on_frame: Callable[[str, Any], None] | None = None,
        make_tracks: Callable[[], list[Any]] | None = None,
        token: str = "",
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.peers: dict[str, RTCPeerConnection] = {}
        self.url = ""
        self._on_frame = on_frame
        self._make_tracks = make_tracks
        self._token = token
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> AiortcEndpoint:
        app = web.Application()
        app.router.add_post("/whip/{lesson}", self._guard(self._publish))
        app.router.add_post("/whep/{lesson}", self._guard(self._watch))
        app.router.add_post("/moved/{kind}/{lesson}", self._redirect)
        app.router.add_delete("/resource/{id}", self._guard(self._delete))
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(peer.close() for peer in self.peers.values()))
        assert self._runner is not None
        await self._runner.cleanup()

    def _guard(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
                return web.json_response({"detail": "wrong token"}, status=401, content_type="application/problem+json")
            return await handler(request)

        return guarded

    async def _redirect(self, request: web.Request) -> web.Response:
        where = f"/{request.match_info['kind']}/{request.match_info['lesson']}"
        return web.Response(status=307, headers={"Location": where})

    async def _publish(self, request: web.Request) -> web.Response:
        peer = RTCPeerConnection()

        @peer.on("track")
        def on_track(track: Any) -> None:
            task = asyncio.create_task(self._consume(track))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return await self._answer(request, peer)

    async def _consume(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.counts[track.kind] += 1
            if self._on_frame is not None:
                self._on_frame(track.kind, frame)

    async def _watch(self, request: web.Request) -> web.Response:
        peer = RTCPeerConnection()
        for track in self._make_tracks() if self._make_tracks is not None else []:
            peer.addTrack(track)
        return await self._answer(request, peer)

    async def _answer(self, request: web.Request, peer: RTCPeerConnection) -> web.Response:
        offer = RTCSessionDescription(await request.text(), "offer")
        await peer.setRemoteDescription(offer)
        await peer.setLocalDescription(await peer.createAnswer())
        name = secrets.token_hex(8)
        self.peers[name] = peer
        return web.Response(
            status=201,
            text=peer.localDescription.sdp,
            content_type="application/sdp",
            headers={"Location": f"/resource/{name}", "ETag": '"1"'},
        )

    async def _delete(self, request: web.Request) -> web.Response:
        peer = self.peers.pop(request.match_info["id"], None)
        if peer is None:
            return web.Response(status=404)
        await peer.close()
        self.counts["deleted"] += 1
        return web.Response()
