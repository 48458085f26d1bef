"""A signaling service over real HTTP on loopback, with a relay that behaves as the port says, only without packets."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from signaling.archive import Archive
from signaling.core.lesson import Lesson
from signaling.http.access_log import AccessLogger
from signaling.relay import (
    Answer,
    ConnectionDown,
    ConnectionUp,
    FirstFrame,
    LayerInfo,
    Offer,
    PublicationLive,
    RecorderRef,
    Refused,
    RelayEvent,
)
from signaling.roles import Role
from signaling.service import Signaling
from signaling.settings import SignalingSettings
from signaling.store import LessonStore
from signaling.tokens import Tokens

ACCEPTED = ["opus", "VP8", "H264"]


def offer(
    *, ufrag: str = "abcd", pwd: str = "p" * 24, codec: str = "VP8", direction: str = "sendonly", sections: int = 1
) -> str:
    """An offer as a browser writes it, cut to what a relay without packets looks at."""
    lines = ["v=0", "o=- 4611686018427387904 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines += ["a=group:BUNDLE " + " ".join(str(index) for index in range(sections))]
    for index in range(sections):
        lines += [
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "c=IN IP4 0.0.0.0",
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{pwd}",
            "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
            "a=setup:actpass",
            f"a=mid:{index}",
            f"a={direction}",
            "a=rtcp-mux",
            f"a=rtpmap:96 {codec}/90000",
        ]
    return "\r\n".join(lines) + "\r\n"


def fragment(ufrag: str = "abcd", pwd: str = "p" * 24) -> str:
    return (
        f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"
        "a=candidate:1 1 UDP 2130706431 127.0.0.1 50000 typ host\r\na=end-of-candidates\r\n"
    )


class LoopbackRelay:
    """``RelayPort`` and ``RelayDirectory``. Refuses what a relay refuses; remembers what it was told."""

    def __init__(self) -> None:
        self.lessons: dict[str, tuple[str, RecorderRef | None]] = {}
        self.closed_lessons: list[str] = []
        self.connections: dict[str, Offer] = {}
        self.publishers: dict[tuple[str, str], str] = {}
        self.trickled: list[tuple[str, str]] = []
        self.layers: list[tuple[str, str | None]] = []
        self.closed: list[str] = []
        self.recorder_ref: RecorderRef | None = RecorderRef("unix:/run/recorder.sock")
        self.refusal: Refused | None = None
        self.hold: asyncio.Event | None = None
        self._queues: list[asyncio.Queue[RelayEvent]] = []

    # --- directory ---

    async def place(self, lesson: str) -> LoopbackRelay:
        if self.refusal is not None and self.refusal.code == "unavailable":
            raise self.refusal
        return self

    async def recorder(self, lesson: str) -> RecorderRef | None:
        return self.recorder_ref

    async def all_events(self) -> AsyncIterator[RelayEvent]:
        queue: asyncio.Queue[RelayEvent] = asyncio.Queue()
        self._queues.append(queue)
        while True:
            yield await queue.get()

    def events(self) -> AsyncIterator[RelayEvent]:
        return self.all_events()

    def emit(self, event: RelayEvent) -> None:
        for queue in self._queues:
            queue.put_nowait(event)

    # --- port ---

    async def open_lesson(self, lesson: str, title: str, recorder: RecorderRef | None) -> None:
        self.lessons.setdefault(lesson, (title, recorder))

    async def close_lesson(self, lesson: str) -> None:
        self.closed_lessons.append(lesson)
        self.lessons.pop(lesson, None)
        for connection in [c for c, o in self.connections.items() if o.lesson == lesson]:
            await self.close(connection)

    def _check(self, given: Offer) -> Answer:
        if self.refusal is not None:
            raise self.refusal
        if given.lesson not in self.lessons:
            raise Refused("unknown-lesson", given.lesson)
        if not given.sdp.startswith("v=0") or "\nm=" not in given.sdp:
            raise Refused("not-sdp", "no version or no media")
        if given.sdp.count("\nm=") > 32:
            raise Refused("too-many-sections", "more than 32")
        if "a=ice-ufrag:" not in given.sdp or "a=fingerprint:" not in given.sdp:
            raise Refused("unsupported-sdp", "no ICE or no DTLS")
        offered = [line.split()[1].partition("/")[0] for line in given.sdp.splitlines() if line.startswith("a=rtpmap:")]
        if not set(offered) & set(ACCEPTED):
            raise Refused("no-common-codec", "", {"offered": offered, "accepted": ACCEPTED})
        self.connections[given.connection] = given
        return Answer(sdp=offer(ufrag="SRV", pwd="s" * 24, direction="recvonly"), etag=secrets.token_hex(4))

    async def publish(self, given: Offer) -> Answer:
        if self.hold is not None:
            await self.hold.wait()
        answer = self._check(given)
        before = self.publishers.get((given.lesson, given.publication))
        if before is not None:
            await self.close(before)
        self.publishers[given.lesson, given.publication] = given.connection
        return answer

    async def subscribe(self, given: Offer) -> Answer:
        if self.hold is not None:
            await self.hold.wait()
        return self._check(given)

    def _known(self, connection: str) -> None:
        if connection not in self.connections:
            raise Refused("unknown-connection", connection)

    async def trickle(self, connection: str, text: str) -> None:
        self._known(connection)
        if "a=" not in text:
            raise Refused("bad-fragment", "no attribute")
        self.trickled.append((connection, text))

    async def restart(self, connection: str, text: str) -> Answer:
        self._known(connection)
        if self.refusal is not None:
            raise self.refusal
        new = f"a=ice-ufrag:{secrets.token_hex(4)}\r\na=ice-pwd:{secrets.token_hex(12)}\r\n"
        return Answer(sdp=new, etag=secrets.token_hex(4))

    async def choose_layer(self, connection: str, rid: str | None) -> None:
        self._known(connection)
        self.layers.append((connection, rid))

    async def close(self, connection: str) -> None:
        self.closed.append(connection)
        gone = self.connections.pop(connection, None)
        if gone is not None and self.publishers.get((gone.lesson, gone.publication)) == connection:
            del self.publishers[gone.lesson, gone.publication]

    # --- what packets would do ---

    def connect(self, connection: str) -> None:
        self.emit(ConnectionUp(self.connections[connection].lesson, connection))

    def media(self, connection: str, rids: tuple[str, ...] = ("l", "h")) -> None:
        """The connection publishes video with these layers."""
        given = self.connections[connection]
        layers = tuple(LayerInfo(rid, 500_000, 640, 360, 25.0) for rid in rids)
        self.connect(connection)
        self.emit(PublicationLive(given.lesson, connection, given.publication, "video", "VP8", layers))

    def watch(self, connection: str) -> None:
        self.connect(connection)
        self.emit(FirstFrame(self.connections[connection].lesson, connection, "video", 40.0))

    def lose(self, connection: str) -> None:
        given = self.connections.pop(connection)
        if self.publishers.get((given.lesson, given.publication)) == connection:
            del self.publishers[given.lesson, given.publication]
        self.emit(ConnectionDown(given.lesson, connection, "consent"))


class ClassServer:
    """A running service, its relay, and a client that knows the tokens."""

    def __init__(self, signaling: Signaling, relay: LoopbackRelay, store: LessonStore, tokens: Tokens) -> None:
        self.signaling = signaling
        self.relay = relay
        self.store = store
        self.tokens = tokens
        self.url = ""
        self.port = 0
        self.http: aiohttp.ClientSession

    def lesson(self, title: str = "春天的诗") -> Lesson:
        return self.store.create(title)

    def bearer(self, lesson: str, role: Role, seat: str | None = None, ttl: float = 3600) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.issue(lesson, role, seat, ttl)}"}

    async def request(self, method: str, path: str, **options: Any) -> aiohttp.ClientResponse:
        """The response with its body already read."""
        async with self.http.request(method, self.url + path, allow_redirects=False, **options) as response:
            await response.read()
            return response

    async def join(
        self,
        lesson: str,
        role: Role = "teacher",
        seat: str = "t",
        *,
        protocol: str | None = None,
        publication: str | None = None,
        sdp: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        protocol = protocol or ("whip" if role == "teacher" else "whep")
        query = f"?publication={publication}" if publication else ""
        return await self.request(
            "POST",
            f"/{protocol}/{lesson}{query}",
            data=(sdp if sdp is not None else offer()).encode(),
            headers={**self.bearer(lesson, role, seat), "Content-Type": "application/sdp", **(headers or {})},
        )

    def opened(self, response: aiohttp.ClientResponse) -> str:
        """The public id of the connection that a 201 made."""
        assert response.status == 201, response.status
        return response.headers["Kongzhong-Connection"]


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for a condition (a function, perhaps a coroutine function); fails after a generous limit."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def class_server(
    folder: Path,
    *,
    settings: SignalingSettings | None = None,
    archive: Archive | None = None,
    secret: bytes = b"k" * 32,
    relay: LoopbackRelay | None = None,
) -> AsyncIterator[ClassServer]:
    """The service on a free port of loopback, as the composer runs it."""
    relay = relay or LoopbackRelay()
    store = LessonStore(folder / "lessons.sqlite3")
    tokens = Tokens(secret)
    signaling = Signaling(
        directory=relay,
        lessons=store,
        tokens=tokens,
        archive=archive,
        settings=settings or SignalingSettings(),
    )
    app = web.Application()
    signaling.routes(app)
    runner = web.AppRunner(
        app, access_log_class=AccessLogger, access_log=logging.getLogger("kongzhong.access"), shutdown_timeout=1.0
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await signaling.start()
    server = ClassServer(signaling, relay, store, tokens)
    host, server.port = runner.addresses[0][:2]
    server.url = f"http://{host}:{server.port}"
    try:
        async with aiohttp.ClientSession() as server.http:
            yield server
    finally:
        await signaling.stop()
        await runner.cleanup()
        store.close()
