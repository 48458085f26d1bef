"""Who may what: every route × every role × own and other lesson, from one table; a route without a row fails."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from signaling.core.lesson import Lesson
from signaling.roles import ROLES, Role
from signaling.settings import SignalingSettings
from tests.support.class_server import ClassServer, class_server, fragment, offer

EVERYBODY = frozenset(ROLES)
STAFF = frozenset({"teacher", "assistant", "ops"})
SEES = frozenset({"teacher", "assistant", "inspector", "ops"})
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}


@dataclass(frozen=True)
class Row:
    """What a request with a good body gets. ``scoped``: the path names a lesson, which the token must cover."""

    roles: frozenset[str] | None  # None: anybody, also without a token
    status: int
    scoped: bool = True
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    every_lesson: bool = False  # only a token for "*" may
    owned: bool = False  # of a connection: its own seat, or the lesson's staff


TABLE: dict[tuple[str, str], Row] = {
    ("POST", "/whip/{lesson}"): Row(frozenset({"teacher"}), 201, body=offer(), headers=tuple(SDP.items())),
    ("OPTIONS", "/whip/{lesson}"): Row(None, 204),
    ("PATCH", "/whip/{lesson}/{secret}"): Row(
        frozenset({"teacher"}), 204, body=fragment(), headers=tuple(FRAGMENT.items()), owned=True
    ),
    ("DELETE", "/whip/{lesson}/{secret}"): Row(frozenset({"teacher"}), 200, owned=True),
    ("OPTIONS", "/whip/{lesson}/{secret}"): Row(None, 204),
    ("POST", "/whep/{lesson}"): Row(EVERYBODY, 201, body=offer(), headers=tuple(SDP.items())),
    ("OPTIONS", "/whep/{lesson}"): Row(None, 204),
    ("PATCH", "/whep/{lesson}/{secret}"): Row(
        EVERYBODY, 204, body=fragment(), headers=tuple(FRAGMENT.items()), owned=True
    ),
    ("DELETE", "/whep/{lesson}/{secret}"): Row(EVERYBODY, 200, owned=True),
    ("OPTIONS", "/whep/{lesson}/{secret}"): Row(None, 204),
    ("POST", "/whep/{lesson}/{secret}/layer"): Row(
        EVERYBODY, 204, body="{}", headers=(("Content-Type", "application/json"),), owned=True
    ),
    ("OPTIONS", "/whep/{lesson}/{secret}/layer"): Row(None, 204),
    ("GET", "/ws/{lesson}"): Row(None, 426),
    ("GET", "/api/lessons"): Row(frozenset({"ops"}), 200, scoped=False),
    ("POST", "/api/lessons"): Row(
        frozenset({"ops"}),
        201,
        scoped=False,
        body='{"title": "课"}',
        headers=(("Content-Type", "application/json"),),
        every_lesson=True,
    ),
    ("GET", "/api/lessons/{lesson}"): Row(EVERYBODY, 200),
    ("POST", "/api/lessons/{lesson}/end"): Row(STAFF, 200),
    ("GET", "/api/lessons/{lesson}/connections"): Row(SEES, 200),
    ("GET", "/api/ops"): Row(frozenset({"ops"}), 200, scoped=False),
    ("GET", "/api/openapi.json"): Row(None, 200, scoped=False),
}

CASES = sorted(itertools.product(TABLE, sorted(ROLES)))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ClassServer]:
    async with class_server(tmp_path, settings=SignalingSettings()) as running:
        yield running


async def _path(server: ClassServer, template: str, lesson: Lesson, role: Role, seat: str) -> str:
    """The template filled in; a connection is made for ``{secret}``, the seat's own."""
    secret = ""
    if "{secret}" in template:
        protocol = template.split("/")[1]
        owner: Role = "teacher" if protocol == "whip" else role
        secret = (await server.join(lesson.id, owner, seat, protocol=protocol)).headers["Location"].rpartition("/")[2]
    return template.format(lesson=lesson.id, secret=secret)


async def _ask(server: ClassServer, method: str, path: str, row: Row, headers: dict[str, str]) -> tuple[int, str]:
    response = await server.request(method, path, data=row.body, headers={**dict(row.headers), **headers})
    code = ""
    if response.status >= 400:
        assert response.content_type == "application/problem+json"
        code = (await response.json())["code"]
    return response.status, code


def test_every_route_has_a_row(tmp_path: Path) -> None:
    import asyncio

    async def routes() -> set[tuple[str, str]]:
        async with class_server(tmp_path) as server:
            return {(operation.method, operation.path) for operation in server.signaling.operations}

    assert asyncio.run(routes()) == set(TABLE)


@pytest.mark.parametrize(
    ("route", "role"), CASES, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
async def test_own_lesson_other_lesson_and_no_token(server: ClassServer, route: tuple[str, str], role: Role) -> None:
    method, template = route
    row = TABLE[route]
    lesson = server.lesson()
    path = await _path(server, template, lesson, role, "mine")
    if row.roles is None:
        assert (await _ask(server, method, path, row, {}))[0] == row.status
        return
    assert (await _ask(server, method, path, row, {}))[:2] == (401, "no-token")
    if row.scoped:
        other = server.bearer("another-lesson", role, "mine")
        assert await _ask(server, method, path, row, other) == (403, "other-lesson")
    if row.owned and role in row.roles:
        stranger = server.bearer(lesson.id, role, "not-mine")
        if role in STAFF:
            if method != "DELETE":
                assert (await _ask(server, method, path, row, stranger))[0] == row.status
        else:
            assert await _ask(server, method, path, row, stranger) == (403, "not-yours")
    own = server.bearer(lesson.id, role, "mine")
    status, code = await _ask(server, method, path, row, own)
    if role not in row.roles:
        assert (status, code) == (403, "role")
    elif row.every_lesson:
        assert (status, code) == (403, "other-lesson")
        everywhere = server.bearer("*", role, "mine")
        assert (await _ask(server, method, path, row, everywhere))[0] == row.status
    else:
        assert status == row.status


@pytest.mark.parametrize("route", [route for route, row in TABLE.items() if row.roles is not None], ids=" ".join)
async def test_tokens_that_are_no_good_are_401_everywhere(server: ClassServer, route: tuple[str, str]) -> None:
    method, template = route
    row = TABLE[route]
    lesson = server.lesson()
    path = await _path(server, template, lesson, "ops", "mine")
    expired = server.tokens.issue(lesson.id, "teacher", "mine", ttl=-60)
    good = server.tokens.issue(lesson.id, "teacher", "mine")
    for value, code in (
        (f"Bearer {expired}", "expired-token"),
        ("Bearer junk", "bad-token"),
        ("Bearer", "no-token"),
        (f"Basic {good}", "bad-token"),
        (good, "bad-token"),
    ):
        assert await _ask(server, method, path, row, {"Authorization": value}) == (401, code), value


async def test_ops_for_every_lesson_may_act_on_any(server: ClassServer) -> None:
    lesson = server.lesson()
    headers = server.bearer("*", "ops", "o")
    assert (await server.request("GET", f"/api/lessons/{lesson.id}/connections", headers=headers)).status == 200
    missing = await server.request("GET", "/api/lessons/nothing", headers=headers)
    assert (missing.status, (await missing.json())["code"]) == (404, "unknown-lesson")
    assert (await server.request("POST", f"/api/lessons/{lesson.id}/end", headers=headers)).status == 200


async def test_ops_of_one_lesson_lists_only_that_one(server: ClassServer) -> None:
    mine, other = server.lesson("我的"), server.lesson("别人的")
    listed = await server.request("GET", "/api/lessons", headers=server.bearer(mine.id, "ops"))
    assert [lesson["id"] for lesson in (await listed.json())["lessons"]] == [mine.id]
    listed = await server.request("GET", "/api/lessons", headers=server.bearer("*", "ops"))
    assert {lesson["id"] for lesson in (await listed.json())["lessons"]} == {mine.id, other.id}


async def test_only_those_who_may_see_seats_find_them_in_the_lesson(server: ClassServer) -> None:
    lesson = server.lesson()
    await server.join(lesson.id, "classroom", "c1")
    for role in sorted(ROLES):
        view = await (
            await server.request("GET", f"/api/lessons/{lesson.id}", headers=server.bearer(lesson.id, role, "x"))  # type: ignore[arg-type]
        ).json()
        assert ("seats" in view) == (role in SEES), role


async def test_a_classroom_named_like_the_teacher_cannot_touch_the_teachers_connection(server: ClassServer) -> None:
    lesson = server.lesson()
    location = (await server.join(lesson.id, "teacher", "t", protocol="whep")).headers["Location"]
    response = await server.request("DELETE", location, headers=server.bearer(lesson.id, "classroom", "t"))
    assert (response.status, (await response.json())["code"]) == (403, "not-yours")
