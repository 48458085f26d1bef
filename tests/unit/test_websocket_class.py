"""The class WebSocket: the same tests on both subprotocols, over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest

from signaling import limits
from signaling import messages as m
from signaling.relay import LayerNow, RecorderState
from signaling.roles import Role
from signaling.settings import SignalingSettings
from signaling.websocket.bucket import Bucket
from tests.support.class_server import ClassServer, class_server, until

PROTOCOLS = ["kongzhong.v1.json", "kongzhong.v1.msgpack"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ClassServer]:
    settings = SignalingSettings(hello=1.0, cors=("https://school.example",))
    async with class_server(tmp_path, settings=settings) as running:
        yield running


@pytest.fixture(params=PROTOCOLS, ids=["json", "msgpack"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Page:
    """A client of the class: packs and unpacks, skips what a test does not wait for."""

    def __init__(self, peer: aiohttp.ClientWebSocketResponse) -> None:
        self.peer = peer
        self.json = peer.protocol == PROTOCOLS[0]

    async def say(self, **message: Any) -> None:
        if self.json:
            await self.peer.send_str(json.dumps(message))
        else:
            await self.peer.send_bytes(msgpack.packb(message))

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of this type."""
        async with asyncio.timeout(10):
            while True:
                frame = await self.peer.receive()
                assert frame.type is (aiohttp.WSMsgType.TEXT if self.json else aiohttp.WSMsgType.BINARY), frame
                message = json.loads(frame.data) if self.json else msgpack.unpackb(frame.data)
                if message["type"] == kind:
                    return dict(message)

    async def closed(self) -> int | None:
        """The code with which the server closes, whatever it still says before."""
        async with asyncio.timeout(10):
            async for _ in self.peer:
                pass
        return self.peer.close_code


@contextlib.asynccontextmanager
async def page(server: ClassServer, lesson: str, protocol: str, **options: Any) -> AsyncIterator[Page]:
    async with server.http.ws_connect(f"{server.url}/ws/{lesson}", protocols=[protocol], **options) as peer:
        assert peer.protocol == protocol
        yield Page(peer)


@contextlib.asynccontextmanager
async def greeted(
    server: ClassServer, lesson: str, protocol: str, role: Role = "classroom", seat: str = "c1"
) -> AsyncIterator[tuple[Page, dict[str, Any]]]:
    async with page(server, lesson, protocol) as client:
        await client.say(type="hello", token=server.tokens.issue(lesson, role, seat), later_field=1)
        yield client, await client.hear("welcome")


async def test_hello_gets_a_welcome_of_the_seat(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    async with greeted(server, lesson.id, protocol) as (_, welcome):
        assert (welcome["seat"], welcome["role"]) == ("c1", "classroom")
        assert welcome["lesson"]["title"] == lesson.title
        assert welcome["lesson"]["state"] == "scheduled"
        assert welcome["lesson"]["created_at"].endswith("Z")
        assert "started_at" not in welcome["lesson"]
        assert "seats" not in welcome
        assert welcome["counts"] == {"classrooms": 1, "watching": 0, "poor": 0, "gone": 0}


async def test_the_teacher_sees_classrooms_come_and_go(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    async with greeted(server, lesson.id, protocol, "teacher", "t") as (teacher, welcome):
        assert [seat["seat"] for seat in welcome["seats"]] == ["t"]
        async with greeted(server, lesson.id, protocol):
            while not any(s["seat"] == "c1" and s["present"] for s in (await teacher.hear("seats"))["seats"]):
                pass
        while not any(s["seat"] == "c1" and s["state"] == "gone" for s in (await teacher.hear("seats"))["seats"]):
            pass


async def test_everybody_hears_of_the_lesson_and_its_publications(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    async with greeted(server, lesson.id, protocol) as (client, _):
        connection = server.opened(await server.join(lesson.id))
        server.relay.media(connection)
        assert (await client.hear("lesson"))["lesson"]["state"] == "live"
        publication = (await client.hear("publication"))["publication"]
        assert (publication["publication"], publication["kind"], publication["silent"]) == ("camera", "video", False)
        assert [layer["rid"] for layer in publication["layers"]] == ["l", "h"]
        server.relay.lose(connection)
        assert await client.hear("unpublished") == {"type": "unpublished", "publication": "camera", "kind": "video"}


async def test_end_is_for_those_who_may_and_the_news_comes_to_all(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    async with (
        greeted(server, lesson.id, protocol) as (classroom, _),
        greeted(server, lesson.id, protocol, "teacher", "t") as (teacher, _),
    ):
        await classroom.say(type="end")
        assert (await classroom.hear("error"))["code"] == "role"
        await teacher.say(type="end")
        for client in (classroom, teacher):
            assert (await client.hear("lesson"))["lesson"]["state"] == "ended"
    async with page(server, lesson.id, protocol) as late:
        await late.say(type="hello", token=server.tokens.issue(lesson.id, "classroom"))
        assert (await late.hear("bye"))["reason"] == "lesson-ended"
        assert await late.closed() == 4410


async def test_ping_is_answered_with_its_id(server: ClassServer, protocol: str) -> None:
    async with greeted(server, server.lesson().id, protocol) as (client, _):
        for identifier in (7, "seven"):
            await client.say(type="ping", id=identifier)
            pong = await client.hear("pong")
            assert pong["id"] == identifier
            assert pong["now_ms"] > 1_500_000_000_000


async def test_a_layer_is_chosen_by_public_id_or_by_secret_of_the_own_seat(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    server.relay.media(server.opened(await server.join(lesson.id)))
    response = await server.join(lesson.id, "classroom", "c1")
    connection, secret = server.opened(response), response.headers["Location"].rpartition("/")[2]
    other = server.opened(await server.join(lesson.id, "classroom", "c2"))
    async with greeted(server, lesson.id, protocol) as (client, _):
        await client.say(type="layer", connection=connection, rid="h")
        await client.say(type="layer", connection=secret, rid=None)
        await until(lambda: server.relay.layers == [(connection, "h"), (connection, None)])
        for wrong, code in ((other, "not-yours"), ("nothing", "unknown-connection")):
            await client.say(type="layer", connection=wrong, rid="h")
            assert (await client.hear("error"))["code"] == code
        await client.say(type="layer", connection=connection, rid="no-such")
        assert (await client.hear("error"))["code"] == "unknown-layer"
        server.relay.emit(LayerNow(lesson.id, connection, "h", "client"))
        heard = await client.hear("layer")
        assert heard == {"type": "layer", "connection": connection, "rid": "h", "by": "client"}


async def test_stats_reach_the_staff_and_the_metrics(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    connection = server.opened(await server.join(lesson.id, "classroom", "c1"))
    server.relay.watch(connection)
    async with (
        greeted(server, lesson.id, protocol, "teacher", "t") as (teacher, _),
        greeted(server, lesson.id, protocol) as (client, _),
    ):
        await client.say(
            type="stats",
            connection=connection,
            join_ms=300,
            first_frame_ms=410.4,
            latency_ms=182.0,
            loss=0.01,
            freezes=0,
        )
        while True:
            batch = await teacher.hear("seats")
            seat = next((s for s in batch["seats"] if s["seat"] == "c1" and "latency_ms" in s), None)
            if seat is not None:
                break
        assert (seat["latency_ms"], seat["first_frame_ms"], seat["state"]) == (180.0, 410.0, "watching")
    registry = server.signaling.metrics.registry
    assert registry.get_sample_value("kongzhong_one_way_latency_seconds_count", {"source": "browser"}) == 1
    assert registry.get_sample_value("kongzhong_first_frame_seconds_count", {"source": "browser"}) == 1
    assert registry.get_sample_value("kongzhong_join_seconds_count", {"role": "classroom"}) == 1


async def test_recording_is_told_to_the_staff(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    async with greeted(server, lesson.id, protocol, "assistant", "a") as (client, _):
        server.relay.emit(RecorderState(lesson.id, "buffering", 1500.0, 61.2, 1, "no recorder"))
        assert await client.hear("recording") == {
            "type": "recording", "state": "buffering", "seconds": 61.2, "gaps": 1, "lag_ms": 1500.0,
            "detail": "no recorder",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "sing"}, "unknown-type"),
        ({"type": "layer"}, "bad-message"),
        ({"type": "stats", "loss": 7}, "bad-message"),
        ({"type": "stats", "latency_ms": "fast"}, "bad-message"),
        ({"type": "hello", "token": "again"}, "bad-message"),
        ({"no": "type"}, "bad-message"),
        ({"type": 5}, "bad-message"),
        (["hello"], "bad-message"),
    ],
)
async def test_a_message_that_cannot_be_read_gets_an_error_and_the_socket_stays(
    server: ClassServer, protocol: str, message: Any, code: str
) -> None:
    async with greeted(server, server.lesson().id, protocol) as (client, _):
        if client.json:
            await client.peer.send_str(json.dumps(message))
        else:
            await client.peer.send_bytes(msgpack.packb(message))
        error = await client.hear("error")
        assert error["code"] == code
        assert error["detail"]
        await client.say(type="ping", id=1)
        await client.hear("pong")


async def test_bytes_that_are_no_message_get_an_error(server: ClassServer, protocol: str) -> None:
    async with greeted(server, server.lesson().id, protocol) as (client, _):
        if client.json:
            junk = ["", "{", "[" * 5000, "\x00", '{"type": "ping", "id": 1e999}']
            for text in junk:
                await client.peer.send_str(text)
            await client.peer.send_bytes(b'{"type": "ping"}')
        else:
            nan = b"\x82\xa4type\xa5stats\xaalatency_ms\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"
            junk = [b"", b"\xc1", b"\x91" * 5000, b"\xdf\xff\xff\xff\xff", nan]
            for data in junk:
                await client.peer.send_bytes(data)
            await client.peer.send_str("ping")
        for _ in range(len(junk) + 1):
            assert (await client.hear("error"))["code"] == "bad-message"
        await client.say(type="ping", id=1)
        await client.hear("pong")


async def test_errors_speak_the_language_of_the_hello(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    for language, word in (("en", "does not know"), ("zh-CN", "不认识")):
        async with page(server, lesson.id, protocol) as client:
            await client.say(type="hello", token=server.tokens.issue(lesson.id, "classroom"), language=language)
            await client.hear("welcome")
            await client.say(type="sing")
            assert word in (await client.hear("error"))["detail"]


# --- how it is closed -----------------------------------------------------------------------------------------------


async def test_without_a_hello_it_is_closed(server: ClassServer, protocol: str) -> None:
    lesson = server.lesson()
    async with page(server, lesson.id, protocol) as silent:
        assert await silent.closed() == 4408
    async with page(server, lesson.id, protocol) as other:
        await other.say(type="ping", id=1)
        assert await other.closed() == 4408


@pytest.mark.parametrize(("kind", "code"), [("none", 4401), ("junk", 4401), ("expired", 4401), ("other", 4403)])
async def test_a_token_that_is_no_good_closes_it(server: ClassServer, protocol: str, kind: str, code: int) -> None:
    lesson = server.lesson()
    token = {
        "none": "",
        "junk": "a.b.c",
        "expired": server.tokens.issue(lesson.id, "teacher", ttl=-60),
        "other": server.tokens.issue("another", "teacher"),
    }[kind]
    async with page(server, lesson.id, protocol) as client:
        await client.say(type="hello", token=token)
        await client.hear("error")
        await client.hear("bye")
        assert await client.closed() == code


async def test_an_unknown_lesson_closes_it(server: ClassServer, protocol: str) -> None:
    async with page(server, "nothing", protocol) as client:
        await client.say(type="hello", token=server.tokens.issue("*", "ops"))
        assert await client.closed() == 4404


async def test_a_flood_closes_the_socket_and_more_sockets_of_the_seat_bring_nothing(
    server: ClassServer, protocol: str
) -> None:
    lesson = server.lesson()
    async with greeted(server, lesson.id, protocol) as (first, _), greeted(server, lesson.id, protocol) as (second, _):
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                await first.say(type="ping", id=1)
        assert await first.closed() == 1008
        with contextlib.suppress(ConnectionError):
            for _ in range(35):
                await second.say(type="ping", id=1)
        assert await second.closed() == 1008
    async with greeted(server, lesson.id, protocol, seat="c2") as (other, _):
        await other.say(type="ping", id=1)
        await other.hear("pong")


async def test_a_message_above_the_bound_closes_it(server: ClassServer, protocol: str) -> None:
    async with greeted(server, server.lesson().id, protocol) as (client, _):
        await client.say(type="ping", id="x" * limits.MESSAGE_BYTES)
        assert await client.closed() == 1009


async def test_after_the_recording_is_found_the_sockets_are_closed_with_4410(tmp_path: Path, protocol: str) -> None:
    class Shelf:
        async def find(self, lesson: str) -> str | None:
            return "resource-1"

    async with class_server(tmp_path, archive=Shelf()) as server:
        lesson = server.lesson()
        async with greeted(server, lesson.id, protocol, "teacher", "t") as (client, _):
            server.relay.media(server.opened(await server.join(lesson.id)))
            assert (await client.hear("lesson"))["lesson"]["state"] == "live"
            await client.say(type="end")
            assert (await client.hear("lesson"))["lesson"]["state"] == "ended"
            view = (await client.hear("lesson"))["lesson"]
            assert (view["state"], view["resource"]) == ("archived", "resource-1")
            assert (await client.hear("bye"))["reason"] == "ended"
            assert await client.closed() == 4410


async def test_a_stopping_server_asks_pages_to_come_back(tmp_path: Path, protocol: str) -> None:
    async with class_server(tmp_path) as server, greeted(server, server.lesson().id, protocol) as (client, _):
        await server.signaling.stop()
        assert (await client.hear("bye"))["reason"] == "restart"
        assert await client.closed() == 1001


async def test_a_reader_that_does_not_read_is_cut_off_and_others_are_not(
    server: ClassServer, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SOCKET_QUEUE_MESSAGES", 8)
    lesson = server.lesson()
    slow = sockets.socket()
    slow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    connector = aiohttp.TCPConnector(socket_factory=lambda _: slow)
    async with (
        greeted(server, lesson.id, protocol, "ops", "o") as (healthy, _),
        aiohttp.ClientSession(connector=connector, read_bufsize=1024) as session,
        session.ws_connect(
            f"{server.url}/ws/{lesson.id}", protocols=[protocol], timeout=aiohttp.ClientWSTimeout(ws_close=0.1)
        ) as peer,
    ):
        client = Page(peer)
        await client.say(type="hello", token=server.tokens.issue(lesson.id, "ops", "slow"))
        await client.hear("welcome")
        assert peer._conn is not None
        assert peer._conn.transport is not None
        peer._conn.transport.pause_reading()  # type: ignore[attr-defined]

        def cut() -> bool:
            value = server.signaling.metrics.registry.get_sample_value("kongzhong_slow_readers_total")
            return value == 1

        detail = "x" * 100_000
        heard = 0
        async with asyncio.timeout(30):
            while not cut():
                server.relay.emit(RecorderState(lesson.id, "recording", 1.0, 1.0, 0, detail))
                await healthy.hear("recording")
                heard += 1
        assert heard > 8
        await healthy.say(type="ping", id=1)
        await healthy.hear("pong")


# --- the handshake --------------------------------------------------------------------------------------------------


async def _refused(server: ClassServer, headers: dict[str, str], protocols: list[str]) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await server.http.ws_connect(f"{server.url}/ws/{server.lesson().id}", protocols=protocols, headers=headers)
    return caught.value.status


async def test_a_subprotocol_must_be_offered(server: ClassServer) -> None:
    assert await _refused(server, {}, []) == 400
    assert await _refused(server, {}, ["chat"]) == 400


async def test_foreign_origins_are_refused_and_configured_ones_are_not(server: ClassServer, protocol: str) -> None:
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{server.port + 1}", "http://[bad"):
        assert await _refused(server, {"Origin": origin}, [protocol]) == 403
    for origin in (server.url, "https://school.example"):
        async with page(server, server.lesson().id, protocol, headers={"Origin": origin}):
            pass


async def test_plain_http_is_told_to_upgrade(server: ClassServer) -> None:
    response = await server.request("GET", f"/ws/{server.lesson().id}")
    assert (response.status, response.headers["Upgrade"]) == (426, "websocket")
    assert (await response.json())["code"] == "upgrade-required"
    broken = await server.request(
        "GET",
        f"/ws/{server.lesson().id}",
        headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": PROTOCOLS[0]},
    )
    assert (broken.status, broken.content_type) == (400, "application/problem+json")


# --- small parts ----------------------------------------------------------------------------------------------------


def test_the_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = Bucket(20.0, 40.0)
    assert sum(bucket.take(100.0) for _ in range(100)) == 40
    assert sum(bucket.take(101.0) for _ in range(100)) == 20
    assert sum(bucket.take(1000.0) for _ in range(100)) == 40


def test_the_table_of_messages_names_every_message_of_the_protocol() -> None:
    table = m.table()
    protocol = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    for struct in (*m.CLIENT_MESSAGES, *m.SERVER_MESSAGES):
        tag = str(struct.__struct_config__.tag)
        assert f"`{tag}`" in table
        assert f"`{tag} " in protocol or f"`{tag}`" in protocol, tag
        for name in struct.__struct_fields__:
            assert name in protocol, (tag, name)
