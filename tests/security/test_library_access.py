"""Nobody sees or changes what is not theirs: tokens, watch cookies, paths, headers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from recorder.library.access import WATCH_SECONDS, Grant, WatchCookie
from recorder.library.catalog import Catalog
from recorder.library.http import LibraryRoutes
from recorder.manifest import FinishedLine, Manifest, Part, RecordingLine

Client = TestClient[web.Request, web.Application]
SECRET = b"a secret of this test"
MEDIA = b"moving pictures"


def authorize(request: web.Request) -> Grant | None:
    """``Bearer ROLE/LESSON``; anything else is no valid token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    role, _, lesson = token.partition("/")
    if scheme != "Bearer" or not lesson:
        return None
    return Grant(role, lesson, role in ("teacher", "assistant", "ops"))


def token(role: str, lesson: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {role}/{lesson}"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    catalog = Catalog(tmp_path / "library.db")
    for recording, lesson, title in (
        ("aa", "l1", "没有发布"),
        ("bb", "l2", 'x"; filename="evil.exe\r\nSet-Cookie: a=b/../../etc/passwd'),
    ):
        part = Part("lesson.mp4", "video/mp4", len(MEDIA), "ab" * 32, 0, 1, 2, 3, "poster.jpg", ())
        catalog.add(Manifest(RecordingLine(1, recording, lesson, title, 0), finished=FinishedLine((part,))))
        (tmp_path / "archive" / recording).mkdir(parents=True)
        (tmp_path / "archive" / recording / "lesson.mp4").write_bytes(MEDIA)
        (tmp_path / "archive" / recording / "poster.jpg").write_bytes(MEDIA)
    (tmp_path / "secret.txt").write_text("not for you")
    app = web.Application()
    LibraryRoutes(catalog, tmp_path / "archive", authorize, SECRET).routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client


PATHS = ["", "/media", "/poster"]


@pytest.mark.parametrize("path", PATHS)
async def test_the_unpublished_opens_to_its_lesson_and_to_nobody_else(client: Client, path: str) -> None:
    url = f"/api/library/aa{path}"
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer rubbish"}, 401),
        ({"Authorization": "Basic l1"}, 401),
        (token("teacher", "l2"), 403),
        (token("classroom", "l1"), 200),
        (token("ops", "*"), 200),
    ):
        response = await client.get(url, headers=headers)
        assert response.status == status
        assert (await response.read() == MEDIA) == (status == 200 and path != "")
    refused = await client.get(url)
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.headers["Cache-Control"] == "no-store"


async def test_the_unpublished_is_in_no_strangers_list(client: Client) -> None:
    for headers in ({}, token("teacher", "l9")):
        body = await (await client.get("/api/library", headers=headers)).json()
        assert body == {"total": 0, "resources": []}
    assert (await client.get("/api/library", headers={"Authorization": "Bearer x"})).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (token("classroom", "l1"), 403),
        (token("inspector", "l1"), 403),
        (token("teacher", "l2"), 403),
        (token("classroom", "*"), 403),
        (token("teacher", "l1"), 200),
        (token("assistant", "l1"), 200),
        (token("ops", "*"), 200),
    ],
)
async def test_who_may_publish(client: Client, headers: dict[str, str], status: int) -> None:
    assert (await client.patch("/api/library/aa", json={"published": True}, headers=headers)).status == status
    assert (await client.get("/api/library/aa")).status == (200 if status == 200 else 401)


async def test_a_watch_cookie_opens_one_resource_for_a_while(client: Client) -> None:
    assert (await client.post("/api/library/aa/watch")).status == 401
    assert (await client.post("/api/library/aa/watch", headers=token("classroom", "l2"))).status == 403
    response = await client.post("/api/library/aa/watch", headers=token("classroom", "l1"))
    assert response.status == 204
    cookie = response.cookies[WatchCookie.name]
    assert cookie["httponly"] and cookie["samesite"] == "Strict"
    assert (cookie["path"], cookie["max-age"]) == ("/api/library/aa", str(WATCH_SECONDS))
    assert (await client.get("/api/library/aa/media")).status == 200  # the client's jar sends it
    assert (await client.get("/api/library/aa/poster")).status == 200
    client.session.cookie_jar.clear()
    forged = {WatchCookie.name: cookie.value}
    assert (await client.get("/api/library/bb/media", cookies=forged)).status == 401
    assert (await client.get("/api/library/aa", cookies=forged)).status == 401
    assert (await client.patch("/api/library/aa", json={"published": True}, cookies=forged)).status == 401


def test_watch_cookies_expire_and_cannot_be_made_up() -> None:
    cookie = WatchCookie(SECRET)
    now = time.time()
    value = cookie.issue("aa", now)
    assert cookie.opens("aa", value, now + WATCH_SECONDS - 2)
    assert not cookie.opens("aa", value, now + WATCH_SECONDS + 1)
    assert not cookie.opens("ab", value, now)
    expires, _, mac = value.partition(".")
    for wrong in (
        "",
        ".",
        mac,
        f"{int(expires) + 1}.{mac}",
        f"{expires}.{'0' * 64}",
        value + "0",
        "9" * 400 + "." + mac,
        WatchCookie(b"another secret ...").issue("aa", now),
        "٣" + value,
    ):
        assert not cookie.opens("aa", wrong, now)
    with pytest.raises(ValueError):
        WatchCookie(b"short")


@pytest.mark.parametrize(
    "name", ["..", "../secret.txt", "..%2Fsecret.txt", "aa%2F..%2Fbb", "aa%00", "%2e%2e", "*", "%"]
)
async def test_no_id_becomes_a_path(client: Client, name: str) -> None:
    for path in PATHS:
        response = await client.get(URL(f"/api/library/{name}{path}", encoded=True), headers=token("ops", "*"))
        assert response.status in (400, 404)
        assert b"not for you" not in await response.read()


async def test_a_title_becomes_no_header(client: Client) -> None:
    response = await client.get("/api/library/bb/media?download", headers=token("ops", "*"))
    header = response.headers["Content-Disposition"]
    assert "Set-Cookie" not in response.headers
    assert header.count('"') == 2
    for forbidden in ("\r", "\n", "/", "\\", "%2F", "%0D", "%0A"):
        assert forbidden not in header


async def test_search_takes_no_sql(client: Client) -> None:
    for text in ("' OR 1=1 --", '"; DROP TABLE resources; --', "\\", "%' ESCAPE '"):
        body = await (await client.get("/api/library", params={"q": text})).json()
        assert body["total"] == 0
    assert (await client.get("/api/library/aa", headers=token("ops", "*"))).status == 200


async def test_files_are_not_sniffed(client: Client) -> None:
    response = await client.get("/api/library/aa/media", headers=token("ops", "*"))
    assert response.headers["X-Content-Type-Options"] == "nosniff"
