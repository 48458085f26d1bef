"""Who may publish: the same seat replaces itself, another seat waits, and a bad offer takes nothing away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from signaling import messages as m
from signaling.core import commands as c
from signaling.core.handle import Core
from signaling.core.lesson import new_lesson
from signaling.relay import ConnectionDown, LayerInfo, PublicationLive, PublicationSilent, Refused
from signaling.settings import SignalingSettings
from tests.support.class_server import ClassServer, class_server, offer, until

T0 = 1_800_000_000.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ClassServer]:
    async with class_server(tmp_path) as running:
        yield running


async def test_the_same_seat_replaces_itself_and_the_old_connection_is_closed(server: ClassServer) -> None:
    lesson = server.lesson()
    first = await server.join(lesson.id, seat="t")
    second = await server.join(lesson.id, seat="t")
    assert second.status == 201
    assert server.opened(first) in server.relay.closed
    assert set(server.relay.connections) == {server.opened(second)}
    headers = server.bearer(lesson.id, "teacher", "t")
    assert (await server.request("DELETE", first.headers["Location"], headers=headers)).status == 404
    assert (await server.request("DELETE", second.headers["Location"], headers=headers)).status == 200


async def test_another_seat_is_refused_until_the_holder_is_gone(server: ClassServer) -> None:
    lesson = server.lesson()
    first = await server.join(lesson.id, seat="t1")
    refused = await server.join(lesson.id, seat="t2")
    assert (refused.status, (await refused.json())["code"]) == (409, "publisher-taken")
    assert set(server.relay.connections) == {server.opened(first)}
    await server.request("DELETE", first.headers["Location"], headers=server.bearer(lesson.id, "teacher", "t1"))
    assert (await server.join(lesson.id, seat="t2")).status == 201


async def test_another_seat_may_publish_after_the_holders_line_was_lost(server: ClassServer) -> None:
    lesson = server.lesson()
    first = server.opened(await server.join(lesson.id, seat="t1"))
    server.relay.lose(first)

    async def accepted() -> bool:
        return (await server.join(lesson.id, seat="t2")).status == 201

    await until(accepted)


async def test_another_publication_is_free(server: ClassServer) -> None:
    lesson = server.lesson()
    assert (await server.join(lesson.id, seat="t1", publication="camera")).status == 201
    assert (await server.join(lesson.id, seat="t2", publication="screen")).status == 201
    assert len(server.relay.connections) == 2


async def test_a_bad_offer_of_the_holder_does_not_end_what_it_holds(server: ClassServer) -> None:
    lesson = server.lesson()
    first = server.opened(await server.join(lesson.id, seat="t"))
    assert (await server.join(lesson.id, seat="t", sdp="junk")).status == 400
    assert (await server.join(lesson.id, seat="t", sdp=offer(codec="AV1"))).status == 422
    assert set(server.relay.connections) == {first}
    assert (await server.join(lesson.id, seat="t2")).status == 409


async def test_a_refused_offer_leaves_the_publication_free(server: ClassServer) -> None:
    lesson = server.lesson()
    assert (await server.join(lesson.id, seat="t1", sdp="junk")).status == 400
    server.relay.refusal = Refused("unavailable", "")
    assert (await server.join(lesson.id, seat="t1")).status == 503
    server.relay.refusal = None
    assert (await server.join(lesson.id, seat="t2")).status == 201


async def test_two_reloads_at_once_leave_one_holder(server: ClassServer) -> None:
    lesson = server.lesson()
    responses = await asyncio.gather(*(server.join(lesson.id, seat="t") for _ in range(6)))
    assert [response.status for response in responses] == [201] * 6
    await until(lambda: len(server.relay.connections) == 1)
    connections = await server.request(
        "GET", f"/api/lessons/{lesson.id}/connections", headers=server.bearer(lesson.id, "ops")
    )
    (only,) = (await connections.json())["connections"]
    assert only["id"] in server.relay.connections


async def test_a_lesson_that_ends_while_the_relay_is_asked_is_a_410_and_leaves_nothing(server: ClassServer) -> None:
    lesson = server.lesson()
    assert (await server.join(lesson.id, publication="screen", seat="t")).status == 201
    server.relay.hold = asyncio.Event()
    joining = asyncio.create_task(server.join(lesson.id, seat="t"))
    headers = server.bearer(lesson.id, "teacher", "t")

    async def asked() -> bool:
        view = await (await server.request("GET", f"/api/lessons/{lesson.id}", headers=headers)).json()
        return bool(view["seats"] and view["seats"][0]["connections"] == 2)

    await until(asked)
    await server.request("POST", f"/api/lessons/{lesson.id}/end", headers=headers)
    await until(lambda: lesson.id in server.relay.closed_lessons)
    await server.relay.open_lesson(lesson.id, "", None)  # a relay that is a moment behind
    server.relay.hold.set()
    response = await joining
    assert (response.status, (await response.json())["code"]) == (410, "lesson-ended")
    await until(lambda: not server.relay.connections)


def test_tracks_are_told_when_they_come_fall_silent_and_go() -> None:
    core, lesson = Core(SignalingSettings()), new_lesson("课", T0)
    core.handle(c.Learn(lesson), T0)
    core.handle(c.Join(lesson.id, "p", "t", "teacher", "publish", "camera"), T0)
    core.handle(c.Opened("p"), T0)
    event = PublicationLive(lesson.id, "p", "camera", "video", "VP8", (LayerInfo("h", 1),))
    core.handle(c.Heard(event), T0)
    silent = PublicationSilent(lesson.id, "p", "camera", "video")
    (told,) = core.handle(c.Heard(silent), T0 + 5)
    assert isinstance(told, c.Tell)
    assert isinstance(told.message, m.Published)
    assert told.message.publication.silent
    assert core.handle(c.Heard(silent), T0 + 6) == []
    effects = core.handle(c.Heard(ConnectionDown(lesson.id, "p", "consent")), T0 + 30)
    assert c.Tell(lesson.id, m.Unpublished("camera", "video")) in effects
    detail = core.detail(lesson.id, seats=False)
    assert detail is not None
    assert detail.publications == ()


def test_the_new_connections_tracks_survive_the_end_of_the_old_one() -> None:
    core, lesson = Core(SignalingSettings()), new_lesson("课", T0)
    core.handle(c.Learn(lesson), T0)
    for connection in ("old", "new"):
        core.handle(c.Join(lesson.id, connection, "t", "teacher", "publish", "camera"), T0)
        effects = core.handle(c.Opened(connection), T0)
        core.handle(c.Heard(PublicationLive(lesson.id, connection, "camera", "video", "VP8", (LayerInfo("h", 1),))), T0)
    assert c.Forget(lesson.id, "old", at_relay=True) in effects
    core.handle(c.Heard(ConnectionDown(lesson.id, "old", "closed")), T0 + 1)
    detail = core.detail(lesson.id, seats=False)
    assert detail is not None
    assert len(detail.publications) == 1
