"""The library over HTTP: search, show, change, and files with ranges as RFC 9110 has them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from recorder.library.access import Grant
from recorder.library.catalog import Catalog
from recorder.library.http import LibraryRoutes, openapi_paths
from recorder.library.ranges import Unsatisfiable, parse_range
from recorder.manifest import FinishedLine, GapLine, Manifest, Part, RecordingLine

MEDIA = bytes(range(256)) * 4000
POSTER = b"\xff\xd8 not quite a picture"
SHA = hashlib.sha256(MEDIA).hexdigest()
S = 1_000_000_000


def finished(recording: str, lesson: str, title: str, at: int = 0, poster: str = "poster.jpg") -> Manifest:
    gap = GapLine("camera/audio", 5 * S, 7 * S, "silent")
    part = Part("lesson.mp4", "video/mp4", len(MEDIA), SHA, 1_700_000_000 * S + at, 61 * S, 1280, 720, poster, (gap,))
    return Manifest(RecordingLine(1, recording, lesson, title, 0), finished=FinishedLine((part,)))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog(tmp_path / "library.db")
    for number, (recording, lesson, title) in enumerate(
        [("aa", "l1", "光合作用与呼吸作用"), ("bb", "l2", "100% 的分数_复习"), ("cc", "l3", "Poem 静夜思")]
    ):
        catalog.add(finished(recording, lesson, title, number * S, "" if recording == "cc" else "poster.jpg"))
        (tmp_path / "archive" / recording).mkdir(parents=True)
        (tmp_path / "archive" / recording / "lesson.mp4").write_bytes(MEDIA)
        (tmp_path / "archive" / recording / "poster.jpg").write_bytes(POSTER)
    catalog.change("aa", published=True)
    catalog.change("cc", published=True)
    return catalog


def authorize(request: web.Request) -> Grant | None:
    """Tokens of this test: ``Bearer ROLE/LESSON``."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    role, _, lesson = token.partition("/")
    if scheme != "Bearer" or not lesson:
        return None
    return Grant(role, lesson, role in ("teacher", "assistant", "ops"))


@pytest.fixture
async def client(catalog: Catalog, tmp_path: Path) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    LibraryRoutes(catalog, tmp_path / "archive", authorize, b"0123456789abcdef").routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client


Client = TestClient[web.Request, web.Application]


async def titles(client: Client, query: dict[str, str], token: str = "") -> list[str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = await client.get("/api/library", params=query, headers=headers)
    assert response.status == 200
    body = await response.json()
    assert body["total"] >= len(body["resources"])
    return [each["title"] for each in body["resources"]]


async def test_the_list_is_newest_first_and_shows_what_is_published(client: Client) -> None:
    assert await titles(client, {}) == ["Poem 静夜思", "光合作用与呼吸作用"]
    assert await titles(client, {}, "teacher/l2") == ["Poem 静夜思", "100% 的分数_复习", "光合作用与呼吸作用"]
    assert await titles(client, {}, "teacher/other") == ["Poem 静夜思", "光合作用与呼吸作用"]
    assert len(await titles(client, {}, "ops/*")) == 3


@pytest.mark.parametrize(
    ("text", "count"), [("合作", 1), ("作用", 1), ("静", 1), ("poem", 1), ("%", 1), ("_", 1), ("0%", 1), ("没有", 0)]
)
async def test_search_finds_parts_of_titles_and_takes_no_wildcards(client: Client, text: str, count: int) -> None:
    assert len(await titles(client, {"q": text}, "ops/*")) == count


async def test_pages(client: Client) -> None:
    assert await titles(client, {"limit": "1"}, "ops/*") == ["Poem 静夜思"]
    assert await titles(client, {"limit": "1", "offset": "2"}, "ops/*") == ["光合作用与呼吸作用"]
    assert await titles(client, {"offset": "9"}, "ops/*") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "offset=-1", "limit=1e1", "q=" + "长" * 201])
async def test_bad_queries_get_a_problem(client: Client, query: str) -> None:
    response = await client.get(f"/api/library?{query}")
    assert response.status == 400
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert body["code"] == "bad-query"
    assert body["type"] == "urn:kongzhong:problem:bad-query"
    assert body["status"] == 400


async def test_a_resource_is_what_the_protocol_says(client: Client) -> None:
    view = await (await client.get("/api/library/aa")).json()
    assert view == {
        "id": "aa",
        "lesson": "l1",
        "title": "光合作用与呼吸作用",
        "recorded_at": "2023-11-14T22:13:20.000Z",
        "duration": 61.0,
        "published": True,
        "media_type": "video/mp4",
        "size": len(MEDIA),
        "sha256": SHA,
        "width": 1280,
        "height": 720,
        "gaps": [{"start": 5.0, "seconds": 2.0, "track": "camera/audio"}],
        "poster": "/api/library/aa/poster",
    }
    assert (await (await client.get("/api/library/cc")).json())["poster"] is None


async def test_problems_speak_the_readers_language(client: Client) -> None:
    for header, title in (
        ("", "没有这个资源"),
        ("en-GB,en;q=0.9,zh;q=0.3", "No such resource"),
        ("fr", "没有这个资源"),
    ):
        response = await client.get("/api/library/nothing", headers={"Accept-Language": header})
        assert response.status == 404
        assert (await response.json())["title"] == title


# --- the file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status", "first", "last"),
    [
        (None, 200, 0, len(MEDIA) - 1),
        ("bytes=0-", 206, 0, len(MEDIA) - 1),
        ("bytes=0-0", 206, 0, 0),
        ("bytes=500-999", 206, 500, 999),
        ("bytes=-100", 206, len(MEDIA) - 100, len(MEDIA) - 1),
        ("bytes=-99999999999", 206, 0, len(MEDIA) - 1),
        (f"bytes={len(MEDIA) - 1}-{len(MEDIA) + 500}", 206, len(MEDIA) - 1, len(MEDIA) - 1),
        ("bytes=0-1, 5-9", 206, 0, 1),
        (f"bytes={len(MEDIA)}-, 7-9", 206, 7, 9),
        ("bytes=9-5", 200, 0, len(MEDIA) - 1),
        ("bytes=x-y", 200, 0, len(MEDIA) - 1),
        ("lines=1-2", 200, 0, len(MEDIA) - 1),
    ],
)
async def test_ranges(client: Client, header: str | None, status: int, first: int, last: int) -> None:
    response = await client.get("/api/library/aa/media", headers={"Range": header} if header else {})
    assert response.status == status
    assert await response.read() == MEDIA[first : last + 1]
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["ETag"] == f'"{SHA}"'
    assert response.content_type == "video/mp4"
    if status == 206:
        assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(MEDIA)}"


@pytest.mark.parametrize("header", [f"bytes={len(MEDIA)}-", "bytes=-0", f"bytes={len(MEDIA)}-, -0"])
async def test_a_range_outside_is_416_and_says_how_long_the_file_is(client: Client, header: str) -> None:
    response = await client.get("/api/library/aa/media", headers={"Range": header})
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(MEDIA)}"


async def test_if_range(client: Client) -> None:
    for tag, status in (
        (f'"{SHA}"', 206),
        ('"other"', 200),
        (f'W/"{SHA}"', 200),
        ("Tue, 14 Nov 2023 22:13:20 GMT", 200),
    ):
        response = await client.get("/api/library/aa/media", headers={"Range": "bytes=0-9", "If-Range": tag})
        assert response.status == status


async def test_if_none_match(client: Client) -> None:
    for tag, status in ((f'"{SHA}"', 304), (f'"x", W/"{SHA}"', 304), ("*", 304), ('"x"', 200)):
        response = await client.get("/api/library/aa/media", headers={"If-None-Match": tag})
        assert response.status == status


async def test_head_has_the_headers_and_no_body(client: Client) -> None:
    response = await client.head("/api/library/aa/media", headers={"Range": "bytes=0-9"})
    assert response.status == 200
    assert response.headers["Content-Length"] == str(len(MEDIA))
    assert await response.read() == b""


async def test_download_has_the_title_as_its_name(client: Client) -> None:
    response = await client.get("/api/library/aa/media?download")
    header = response.headers["Content-Disposition"]
    assert header.startswith("attachment; filename=\"lesson.mp4\"; filename*=UTF-8''")
    assert unquote(header.rpartition("''")[2]) == "光合作用与呼吸作用.mp4"
    assert "Content-Disposition" not in (await client.get("/api/library/aa/media")).headers


async def test_cache_headers_tell_the_public_from_the_private(client: Client) -> None:
    public = await client.head("/api/library/aa/media")
    private = await client.head("/api/library/bb/media", headers={"Authorization": "Bearer teacher/l2"})
    assert public.headers["Cache-Control"].startswith("public")
    assert private.headers["Cache-Control"].startswith("private")


async def test_the_poster(client: Client) -> None:
    response = await client.get("/api/library/aa/poster")
    assert (response.status, response.content_type, await response.read()) == (200, "image/jpeg", POSTER)
    assert (await client.get("/api/library/cc/poster")).status == 404


async def test_a_file_that_is_gone_is_404(client: Client, tmp_path: Path) -> None:
    (tmp_path / "archive" / "aa" / "lesson.mp4").unlink()
    response = await client.get("/api/library/aa/media")
    assert response.status == 404
    assert (await response.json())["code"] == "file-missing"


# --- changes ----------------------------------------------------------------------------------------------------


async def test_publish_withdraw_and_rename(client: Client) -> None:
    headers = {"Authorization": "Bearer teacher/l2"}
    assert (await client.get("/api/library/bb")).status == 401
    response = await client.patch("/api/library/bb", json={"published": True, "title": " 新的标题 "}, headers=headers)
    assert response.status == 200
    assert (await response.json())["title"] == "新的标题"
    assert (await client.get("/api/library/bb")).status == 200
    await client.patch("/api/library/bb", json={"published": False}, headers=headers)
    assert (await client.get("/api/library/bb")).status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"published": 1}',
        b'{"title": ""}',
        b'{"title": "a\\nb"}',
        b'{"title": null}',
        b"\xff",
        ('{"title": "' + "长" * 301 + '"}').encode(),
        b"[" * 5000,
    ],
)
async def test_bad_changes_get_a_problem_and_change_nothing(client: Client, body: bytes) -> None:
    headers = {"Authorization": "Bearer teacher/l2", "Content-Type": "application/json"}
    response = await client.patch("/api/library/bb", data=body, headers=headers)
    assert response.status == 400
    assert (await response.json())["code"] == "bad-json"
    assert await titles(client, {"q": "分数"}, "ops/*") == ["100% 的分数_复习"]


async def test_a_body_that_is_too_large_is_413(client: Client) -> None:
    headers = {"Authorization": "Bearer teacher/l2"}
    assert (await client.patch("/api/library/bb", data=b"x" * 9000, headers=headers)).status == 413


# --- sans IO ----------------------------------------------------------------------------------------------------


@given(st.text(alphabet="bytes=0123456789-, x", max_size=40), st.integers(0, 3000))
def test_any_range_header_is_within_the_file_or_refused(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except Unsatisfiable:
        return
    if found is not None:
        first, length = found
        assert 0 <= first < first + length <= size


def test_the_openapi_paths_are_the_routes(catalog: Catalog, tmp_path: Path) -> None:
    app = web.Application()
    LibraryRoutes(catalog, tmp_path, authorize, b"0123456789abcdef").routes(app)
    routes: dict[str, Any] = {}
    for route in app.router.routes():
        assert route.resource is not None
        if route.method != "HEAD":
            routes.setdefault(route.resource.canonical, set()).add(route.method.lower())
    described = {path: set(item) - {"parameters"} for path, item in openapi_paths().items()}
    assert described == routes
