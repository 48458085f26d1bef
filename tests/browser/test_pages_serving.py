"""How the pages are served: types, caching, headers, the 404 page; no name from a user becomes a path."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from web import pages as pages_module
from web.pages import SECURITY_HEADERS, add_routes

WEB = Path(pages_module.__file__).parent
Client = TestClient[web.Request, web.Application]
PAGES = ["/", "/teach", "/classroom", "/library", "/watch/abc_DEF-123", "/ops"]
READER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    add_routes(app)

    async def refuse(_: web.Request) -> web.Response:
        raise web.HTTPNotFound(text="{}", content_type="application/problem+json")

    app.router.add_get("/api/lessons/{id}", refuse)
    async with TestClient(TestServer(app)) as found:
        yield found


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_is_html_with_all_security_headers(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "<script type=" in await response.text()


def test_the_policy_allows_nothing_inline_and_nothing_foreign() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "http" not in policy and "*" not in policy
    for need in ("camera=(self)", "microphone=(self)", "display-capture=(self)"):
        assert need in SECURITY_HEADERS["Permissions-Policy"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/static/js/whip.js", "text/javascript; charset=utf-8"),
        ("/static/js/pages/teach.js", "text/javascript; charset=utf-8"),
        ("/static/css/base.css", "text/css; charset=utf-8"),
        ("/static/i18n/zh-CN.json", "application/json; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
async def test_static_files_have_their_type(client: Client, path: str, kind: str) -> None:
    response = await client.get(path)
    assert (response.status, response.headers["Content-Type"]) == (200, kind)
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def imports(script: Path) -> set[Path]:
    """The modules that a module loads, and those that they load."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        current = waiting.pop()
        for name in re.findall(r"from '([^']+)'", current.read_text()):
            module = (current.parent / name).resolve()
            if module not in found:
                found.add(module)
                waiting.append(module)
    return found


@pytest.mark.parametrize("page", sorted((WEB / "pages").glob("*.html")), ids=lambda path: path.stem)
def test_a_page_announces_every_module_it_will_need(page: Path) -> None:
    """One round trip instead of one for each step of the import chain: on a satellite line each costs 600 ms."""
    html = page.read_text()
    script = re.search(r'src="/static/(js/pages/\w+\.js)"', html)
    assert script is not None
    announced = {
        (WEB / "static" / name).resolve() for name in re.findall(r'modulepreload" href="/static/([^"]+)"', html)
    }
    assert announced == imports(WEB / "static" / script[1])


async def test_what_the_browser_holds_is_not_sent_again(client: Client) -> None:
    first = await client.get("/static/css/base.css")
    again = await client.get("/static/css/base.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    stale = await client.get("/static/css/base.css", headers={"If-None-Match": '"other"'})
    assert stale.status == 200


async def test_gzip_is_a_representation_of_its_own(client: Client) -> None:
    packed = await client.get("/static/css/base.css", headers={"Accept-Encoding": "gzip"})
    plain = await client.get("/static/css/base.css", headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert await packed.read() == await plain.read()


@pytest.mark.parametrize("path", ["/", "/static/js/whep.js"])
async def test_head_says_what_get_would(client: Client, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status, head.headers["ETag"]) == (200, got.headers["ETag"])
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert await head.read() == b""


async def test_a_reader_gets_the_404_page_and_a_program_does_not(client: Client) -> None:
    page = await client.get("/nowhere", headers=READER)
    assert page.status == 404 and "missing.heading" in await page.text()
    assert page.headers["Content-Security-Policy"] == SECURITY_HEADERS["Content-Security-Policy"]
    program = await client.get("/nowhere", headers={"Accept": "application/json"})
    assert program.status == 404 and "missing.heading" not in await program.text()
    api = await client.get("/api/lessons/none", headers=READER)
    assert (api.status, api.content_type) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static/..%2f..%2fpyproject.toml",
        "/static//etc/passwd",
        "/static/js",
        "/static/",
        "/watch/..%2f..",
        "/watch/" + "a" * 65,
        "/pages/teach.html",
    ],
)
async def test_nothing_else_can_be_named(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status == 404


async def test_pages_are_only_read(client: Client) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert (await client.request(method, "/teach")).status == 405
