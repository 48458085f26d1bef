"""A stand-in for the server behind the pages: the API of docs/protocol.md with canned data, media by aiortc.

``python -m tests.support.fake_server --http HOST:PORT --data DIR``. It keeps what it must remember over a restart in
DIR/lessons.json. It is for working on pages alone; the browser tests run the same against the real server.
"""

from __future__ import annotations

import argparse
import asyncio
import fractions
import json
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from aiohttp import WSMsgType, web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError

from tests.support.fake_library import Library
from web.pages import add_routes

SECRET = "a secret of thirty-two characters"
DUMMY = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
STAFF = ("teacher", "assistant", "inspector", "ops")


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def problem(status: int, code: str) -> web.HTTPException:
    body = json.dumps(
        {"type": f"urn:kongzhong:problem:{code}", "title": code, "status": status, "detail": code, "code": code}
    )
    kind = {
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
        409: web.HTTPConflict,
        410: web.HTTPGone,
    }
    return kind[status](text=body, content_type="application/problem+json")


class Lesson:
    """One lesson: who publishes, who watches, who listens on a WebSocket."""

    def __init__(self, view: dict[str, Any]) -> None:
        self.view = view
        self.tracks: dict[str, Any] = {}
        self.publisher: str | None = None
        self.watchers: dict[str, tuple[RTCPeerConnection, str]] = {}
        self.sockets: dict[web.WebSocketResponse, dict[str, str]] = {}
        self.seats: dict[str, dict[str, Any]] = {}

    def publications(self) -> list[dict[str, Any]]:
        layers = [{"rid": "", "bitrate": 300_000, "width": 320, "height": 180, "frames": 15.0}]
        return [
            {
                "publication": "camera",
                "kind": kind,
                "codec": codec,
                "layers": layers if kind == "video" else [],
                "silent": False,
            }
            for kind, codec in (("audio", "opus"), ("video", "VP8"))
            if kind in self.tracks
        ]

    def counts(self) -> dict[str, int]:
        states = [seat["state"] for seat in self.seats.values() if seat["role"] == "classroom"]
        here = [state for state in states if state != "gone"]
        return {"classrooms": len(here), "watching": here.count("watching"), "poor": 0, "gone": states.count("gone")}

    async def tell(self, message: dict[str, Any], roles: tuple[str, ...] | None = None) -> None:
        for socket, claims in list(self.sockets.items()):
            if (roles is None or claims["role"] in roles) and not socket.closed:
                await socket.send_json(message)

    async def seat(self, claims: dict[str, str], state: str) -> None:
        self.seats[claims["seat"]] = {
            "seat": claims["seat"], "role": claims["role"], "present": state != "gone", "since": now_text(),
            "connections": 1, "state": state,
        }  # fmt: skip
        seats = [self.seats[claims["seat"]]]
        await self.tell({"type": "seats", "seats": seats, "counts": self.counts()}, STAFF)


class Switch(MediaStreamTrack):
    """What a watcher gets: it follows one publisher after the other, since aiortc stops sending at a track's end."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.source: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.began: float | None = None

    def follow(self, track: Any) -> None:
        if self.source.done():
            self.source = asyncio.get_running_loop().create_future()
        self.source.set_result(track)

    async def recv(self) -> Any:
        while True:
            following = self.source
            try:
                frame = await (await asyncio.shield(following)).recv()
            except MediaStreamError:
                if self.source is following:
                    self.source = asyncio.get_running_loop().create_future()
                continue
            # One clock for all publishers: RTP time must not jump back when another one takes over.
            now = time.monotonic()
            self.began = self.began or now
            frame.pts, frame.time_base = int((now - self.began) * 48_000), fractions.Fraction(1, 48_000)
            return frame


class Fake:
    def __init__(self, data: Path) -> None:
        self.path = data / "lessons.json"
        self.relay = MediaRelay()
        self.library = Library(data)
        known = json.loads(self.path.read_text()) if self.path.exists() else []
        self.lessons = {view["id"]: Lesson(view) for view in known}
        self.connections: dict[str, tuple[Lesson, RTCPeerConnection, str]] = {}
        self.joins: list[float] = []

    def save(self) -> None:
        self.path.write_text(json.dumps([lesson.view for lesson in self.lessons.values()]))

    # --- who asks -------------------------------------------------------------------------------------------------

    def claims(self, token: str) -> dict[str, str]:
        try:
            claims: dict[str, str] = jwt.decode(token, SECRET, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            raise problem(401, "bad-token") from None
        return claims

    def bearer(self, request: web.Request) -> dict[str, str]:
        return self.claims(request.headers.get("Authorization", "").removeprefix("Bearer "))

    def lesson(self, request: web.Request) -> tuple[Lesson, dict[str, str]]:
        claims = self.bearer(request)
        lesson = self.lessons.get(request.match_info["lesson"])
        if lesson is None:
            raise problem(404, "unknown-lesson")
        if claims["lesson"] not in ("*", lesson.view["id"]):
            raise problem(403, "other-lesson")
        return lesson, claims

    # --- media ------------------------------------------------------------------------------------------------------

    async def negotiate(self, request: web.Request, publish: bool) -> web.Response:
        lesson, claims = self.lesson(request)
        if lesson.view["state"] in ("ended", "archived"):
            raise problem(410, "lesson-ended")
        if publish and claims["role"] != "teacher":
            raise problem(403, "role")
        offer = await request.text()
        peer = RTCPeerConnection()
        # aiortc gives up on a peer without candidates, as a trickling one begins; any candidate makes it wait for checks.
        await peer.setRemoteDescription(RTCSessionDescription(offer.rstrip("\r\n") + "\r\n" + DUMMY, "offer"))
        secret = secrets.token_urlsafe(16)
        if publish:
            await self.published(lesson, peer, secret)
        else:
            self.watched(lesson, peer)
        await peer.setLocalDescription(await peer.createAnswer())
        self.connections[secret] = (lesson, peer, claims["seat"])

        @peer.on("connectionstatechange")
        async def changed() -> None:
            if peer.connectionState == "connected":
                self.joins.append(time.time())
                if not publish:
                    await lesson.seat(claims, "watching" if lesson.tracks else "waiting")
            elif peer.connectionState in ("failed", "closed"):
                await self.gone(secret)

        if not publish:
            lesson.watchers[secret] = (peer, claims["seat"])
            await lesson.seat(claims, "connecting")
        headers = {"Location": f"{request.path}/{secret}", "ETag": f'"{secrets.token_hex(4)}"'}
        return web.Response(status=201, text=peer.localDescription.sdp, content_type="application/sdp", headers=headers)

    async def published(self, lesson: Lesson, peer: RTCPeerConnection, secret: str) -> None:
        if lesson.publisher:
            await self.gone(lesson.publisher)
        lesson.publisher = secret
        lesson.tracks = {each.kind: each.receiver.track for each in peer.getTransceivers()}
        for watcher, _ in lesson.watchers.values():
            self.feed(lesson, watcher)
        if lesson.view["state"] == "scheduled":
            lesson.view |= {"state": "live", "started_at": now_text()}
            self.save()
        await lesson.tell({"type": "lesson", "lesson": lesson.view})
        for publication in lesson.publications():
            await lesson.tell({"type": "publication", "publication": publication})
        for seat in [each for each in lesson.seats.values() if each["state"] == "waiting"]:
            await lesson.seat(seat, "watching")

    def watched(self, lesson: Lesson, peer: RTCPeerConnection) -> None:
        for each in peer.getTransceivers():
            each.direction = "sendonly"
        self.feed(lesson, peer)

    def feed(self, lesson: Lesson, peer: RTCPeerConnection) -> None:
        for each in peer.getTransceivers():
            if not isinstance(each.sender.track, Switch):
                each.sender.replaceTrack(Switch(each.kind))
            track = lesson.tracks.get(each.kind)
            if track:
                each.sender.track.follow(self.relay.subscribe(track, buffered=False))

    async def gone(self, secret: str) -> None:
        lesson, peer, seat = self.connections.pop(secret, (None, None, ""))
        if lesson is None or peer is None:
            return
        lesson.watchers.pop(secret, None)
        if lesson.publisher == secret:
            lesson.publisher = None
            for kind in lesson.tracks:
                await lesson.tell({"type": "unpublished", "publication": "camera", "kind": kind})
            lesson.tracks = {}
        elif seat in lesson.seats:
            await lesson.seat(lesson.seats[seat], "gone")
        await peer.close()

    async def delete(self, request: web.Request) -> web.Response:
        await self.gone(request.match_info["secret"])
        return web.Response()

    async def patch(self, request: web.Request) -> web.Response:
        raise problem(404, "unknown-connection")  # aiortc cannot restart ICE: the client begins anew

    # --- the class ----------------------------------------------------------------------------------------------------

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("kongzhong.v1.json",))
        await socket.prepare(request)
        hello = await socket.receive_json(timeout=5)
        lesson = self.lessons.get(request.match_info["lesson"])
        try:
            claims = self.claims(hello["token"])
        except web.HTTPException:
            await socket.close(code=4401)
            return socket
        if lesson is None:
            await socket.close(code=4404)
            return socket
        lesson.sockets[socket] = claims
        welcome = {"type": "welcome", "seat": claims["seat"], "role": claims["role"], "lesson": lesson.view,
                   "publications": lesson.publications(), "counts": lesson.counts()}  # fmt: skip
        if claims["role"] in STAFF:
            welcome["seats"] = list(lesson.seats.values())
        await socket.send_json(welcome)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            said = message.json()
            if said["type"] == "ping":
                await socket.send_json({"type": "pong", "id": said["id"], "now_ms": int(time.time() * 1000)})
            elif said["type"] == "stats" and claims["seat"] in lesson.seats and "latency_ms" in said:
                lesson.seats[claims["seat"]]["latency_ms"] = said["latency_ms"]
                lesson.seats[claims["seat"]]["stats"] = said
        lesson.sockets.pop(socket, None)
        return socket

    async def pulse(self, _: web.Application) -> Any:
        """The recorder's word, each second; a heartbeat of the fake, ended with the application."""

        async def beat() -> None:
            while True:
                await asyncio.sleep(1)
                for lesson in self.lessons.values():
                    if lesson.view["state"] == "live":
                        began = datetime.fromisoformat(lesson.view["started_at"]).timestamp()
                        said = {"type": "recording", "state": "recording", "seconds": time.time() - began, "gaps": 0,
                                "lag_ms": 120.0, "detail": ""}  # fmt: skip
                        await lesson.tell(said, ("teacher", "assistant", "ops"))

        task = asyncio.create_task(beat())
        yield
        task.cancel()
        for _lesson, peer, _seat in list(self.connections.values()):
            await peer.close()

    # --- REST -------------------------------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        self.bearer(request)
        title = (await request.json())["title"]
        view = {"id": secrets.token_hex(6), "title": title, "state": "scheduled", "created_at": now_text()}
        self.lessons[view["id"]] = Lesson(view)
        self.save()
        return web.json_response(view, status=201)

    async def list(self, request: web.Request) -> web.Response:
        self.bearer(request)
        return web.json_response({"lessons": [lesson.view for lesson in self.lessons.values()]})

    async def read(self, request: web.Request) -> web.Response:
        lesson, _ = self.lesson(request)
        detail = {"publications": lesson.publications(), "seats": list(lesson.seats.values())}
        return web.json_response(lesson.view | detail)

    async def end(self, request: web.Request) -> web.Response:
        lesson, _ = self.lesson(request)
        lesson.view |= {"state": "ended", "ended_at": now_text()}
        for secret in [each for each, (of, *_rest) in self.connections.items() if of is lesson]:
            await self.gone(secret)
        await lesson.tell({"type": "lesson", "lesson": lesson.view})

        async def archive() -> None:
            await asyncio.sleep(2)
            resource = self.library.add(lesson.view["id"], lesson.view["title"], published=False)
            lesson.view |= {"state": "archived", "resource": resource}
            self.save()
            await lesson.tell({"type": "lesson", "lesson": lesson.view})

        self.archiving = asyncio.create_task(archive())
        return web.json_response(lesson.view)

    async def list_connections(self, request: web.Request) -> web.Response:
        lesson, _ = self.lesson(request)
        rows = [
            {"id": f"c{index}", "seat": seat, "role": "classroom", "direction": "publish" if secret == lesson.publisher else "watch",
             "publication": "camera", "since": now_text(), "up": peer.connectionState == "connected", "loss": 0.004, "rtt_ms": 23.0}
            for index, (secret, (of, peer, seat)) in enumerate(self.connections.items())
            if of is lesson
        ]  # fmt: skip
        return web.json_response({"connections": rows})

    async def ops(self, request: web.Request) -> web.Response:
        if self.bearer(request)["role"] != "ops":
            raise problem(403, "role")
        now = time.time()
        live = [lesson for lesson in self.lessons.values() if lesson.view["state"] == "live"]
        seats = sum(lesson.counts()["classrooms"] for lesson in live)
        steps = [now - 5 * each for each in range(120, -1, -1)]
        wave = [abs((each // 5) % 60 - 30) for each in steps]
        series = {
            "seats": [[at, 12 + up] for at, up in zip(steps, wave, strict=True)],
            "joins_per_minute": [[at, up / 2] for at, up in zip(steps, wave, strict=True)],
            "latency_p50_ms": [[at, 160 + up] for at, up in zip(steps, wave, strict=True)],
            "latency_p99_ms": [[at, 260 + 5 * up] for at, up in zip(steps, wave, strict=True)],
            "loss": [[at, up / 3000] for at, up in zip(steps, wave, strict=True)],
            "recorder_lag_ms": [[at, 200 + 9 * up] for at, up in zip(steps, wave, strict=True)],
        }
        return web.json_response({
            "now": now, "lessons": len(live), "seats": seats,
            "joins_per_minute": sum(at > now - 60 for at in self.joins), "latency_ms": {"p50": 162.0, "p99": 388.0},
            "loss": 0.0042, "recorder": {"lessons": len(live), "lag_ms": 214.0, "states": {"recording": len(live)}}, "series": series,
        })  # fmt: skip

    def routes(self, app: web.Application) -> None:
        add = app.router.add_route
        for kind, publish in (("whip", True), ("whep", False)):

            async def post(request: web.Request, publish: bool = publish) -> web.Response:
                return await self.negotiate(request, publish)

            add("POST", f"/{kind}/{{lesson}}", post)
            add("DELETE", f"/{kind}/{{lesson}}/{{secret}}", self.delete)
            add("PATCH", f"/{kind}/{{lesson}}/{{secret}}", self.patch)
        add("GET", "/ws/{lesson}", self.socket)
        add("GET", "/api/lessons", self.list)
        add("POST", "/api/lessons", self.create)
        add("GET", "/api/lessons/{lesson}", self.read)
        add("POST", "/api/lessons/{lesson}/end", self.end)
        add("GET", "/api/lessons/{lesson}/connections", self.list_connections)
        add("GET", "/api/ops", self.ops)

        async def health(_: web.Request) -> web.Response:
            return web.Response(text="ok")

        add("GET", "/healthz", health)
        self.library.routes(app, self.claims)
        app.cleanup_ctx.append(self.pulse)
        add_routes(app)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", default="127.0.0.1:8090")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    host, _, port = arguments.http.rpartition(":")
    app = web.Application()
    Fake(arguments.data).routes(app)
    web.run_app(app, host=host, port=int(port), print=None, shutdown_timeout=0.5)


if __name__ == "__main__":
    main()
