"""WHEP by draft-ietf-wish-whep: what differs from WHIP, the layer extension, and many watchers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.class_server import ClassServer, class_server, fragment, offer, until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ClassServer]:
    async with class_server(tmp_path) as running:
        yield running


async def test_post_is_accepted_before_anybody_publishes(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id, "classroom", "c1", sdp=offer(direction="recvonly"))
    assert response.status == 201
    assert response.content_type == "application/sdp"
    assert response.headers["Location"].startswith(f"/whep/{lesson.id}/")
    assert response.headers["ETag"].startswith('"')
    assert server.relay.connections[server.opened(response)].publication == "camera"


async def test_the_publication_to_watch_is_chosen_by_the_query(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id, "classroom", "c1", publication="screen")
    assert server.relay.connections[server.opened(response)].publication == "screen"
    unknown = await server.join(lesson.id, "classroom", "c1", publication="../etc")
    assert (unknown.status, (await unknown.json())["code"]) == (400, "bad-parameter")


async def test_one_seat_may_watch_several_times_and_none_is_kicked(server: ClassServer) -> None:
    lesson = server.lesson()
    first = server.opened(await server.join(lesson.id, "classroom", "c1"))
    second = server.opened(await server.join(lesson.id, "classroom", "c1"))
    assert {first, second} <= set(server.relay.connections)
    assert server.relay.closed == []


async def test_the_connections_of_one_seat_are_bounded(server: ClassServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.core.presence.CONNECTIONS_PER_SEAT", 8)
    lesson = server.lesson()
    statuses = [(await server.join(lesson.id, "classroom", "c1")).status for _ in range(9)]
    assert statuses == [201] * 8 + [503]
    assert (await server.join(lesson.id, "classroom", "c2")).status == 201


async def test_patch_and_delete_are_those_of_whip(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id, "classroom", "c1")
    location = response.headers["Location"]
    headers = {
        **server.bearer(lesson.id, "classroom", "c1"),
        "Content-Type": "application/trickle-ice-sdpfrag",
        "If-Match": response.headers["ETag"],
    }
    assert (await server.request("PATCH", location, data=fragment(), headers=headers)).status == 204
    restart = await server.request(
        "PATCH", location, data=fragment("new1", "n" * 24), headers={**headers, "If-Match": "*"}
    )
    assert restart.status == 200
    assert (await server.request("DELETE", location, headers=headers)).status == 200
    assert server.opened(response) in server.relay.closed


async def test_a_secret_of_one_protocol_opens_nothing_in_the_other(server: ClassServer) -> None:
    lesson = server.lesson()
    location = (await server.join(lesson.id)).headers["Location"].replace("/whip/", "/whep/")
    response = await server.request("DELETE", location, headers=server.bearer(lesson.id, "teacher", "t"))
    assert response.status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST"])
async def test_reserved_methods_on_the_resource_are_405(server: ClassServer, method: str) -> None:
    lesson = server.lesson()
    location = (await server.join(lesson.id, "classroom", "c1")).headers["Location"]
    response = await server.request(method, location, headers=server.bearer(lesson.id, "classroom", "c1"))
    assert response.status == 405
    assert response.headers["Allow"] == "DELETE, OPTIONS, PATCH"


async def test_the_layer_extension_is_announced_and_asks_the_relay(server: ClassServer) -> None:
    lesson = server.lesson()
    publisher = server.opened(await server.join(lesson.id))
    server.relay.media(publisher)
    response = await server.join(lesson.id, "classroom", "c1")
    (link,) = response.headers.getall("Link")
    layer = f"{response.headers['Location']}/layer"
    assert link == f'<{layer}>; rel="urn:ietf:params:whep:ext:core:layer"'
    headers = server.bearer(lesson.id, "classroom", "c1")

    async def choose(body: object) -> tuple[int, str]:
        answer = await server.request("POST", layer, json=body, headers=headers)
        return answer.status, "" if answer.status == 204 else (await answer.json())["code"]

    async def known() -> bool:
        return await choose({"rid": "x"}) == (422, "unknown-layer")

    await until(known)
    server.relay.layers.clear()
    assert await choose({"rid": "h"}) == (204, "")
    assert await choose({"encodingId": "l"}) == (204, "")
    assert await choose({"rid": None}) == (204, "")
    assert await choose({}) == (204, "")
    connection = server.opened(response)
    assert server.relay.layers == [(connection, "h"), (connection, "l"), (connection, None), (connection, None)]
    assert await choose({"rid": 7}) == (400, "bad-json")
    assert (await server.request("OPTIONS", layer)).headers["Accept-Post"] == "application/json"


async def test_a_whip_connection_has_no_layers(server: ClassServer) -> None:
    lesson = server.lesson()
    response = await server.join(lesson.id)
    assert "Link" not in response.headers
    answer = await server.request(
        "POST",
        response.headers["Location"] + "/layer",
        json={"rid": "h"},
        headers=server.bearer(lesson.id, "teacher", "t"),
    )
    assert answer.status == 404


async def test_watching_an_ended_lesson_is_a_410(server: ClassServer) -> None:
    lesson = server.lesson()
    await server.request("POST", f"/api/lessons/{lesson.id}/end", headers=server.bearer(lesson.id, "teacher"))
    response = await server.join(lesson.id, "classroom", "c1")
    assert (response.status, (await response.json())["code"]) == (410, "lesson-ended")
