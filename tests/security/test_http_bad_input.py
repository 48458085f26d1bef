"""Bad input over HTTP gets a clear problem document and changes nothing; tokens and secrets never reach the log."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from recorder.library import problems as library
from signaling.core.lesson import Lesson
from signaling.http import bodies
from signaling.http.access_log import hold_back_junk, loggable_path
from signaling.ice import check_servers
from signaling.limits import JSON_BYTES, SDP_BYTES
from signaling.settings import SignalingSettings
from signaling.texts import TEXTS, language_of, words
from tests.support.class_server import ClassServer, class_server, fragment, offer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ClassServer]:
    async with class_server(tmp_path) as running:
        yield running


@pytest.fixture
def lesson(server: ClassServer) -> Lesson:
    return server.lesson()


async def raw(server: ClassServer, head: list[str], body: bytes = b"") -> tuple[int, dict[str, object], bool]:
    """A request as bytes: the status, the problem, and whether the server closed the connection after it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write("\r\n".join([*head, "Host: localhost", "", ""]).encode("latin-1") + body)
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n\r\n")
            headers = dict(line.lower().split(": ", 1) for line in answer.decode().split("\r\n")[1:] if ": " in line)
            content = await reader.readexactly(int(headers.get("content-length", "0")))
        problem = json.loads(content) if "problem" in headers.get("content-type", "") else {}
        return int(answer.split()[1]), problem, headers.get("connection") == "close"
    finally:
        writer.close()


def _head(server: ClassServer, lesson: Lesson, *fields: str) -> list[str]:
    token = server.tokens.issue(lesson.id, "teacher", "t")
    return [
        f"POST /whip/{lesson.id} HTTP/1.1",
        f"Authorization: Bearer {token}",
        "Content-Type: application/sdp",
        *fields,
    ]


async def test_a_body_that_says_it_is_too_large_is_refused_unread(server: ClassServer, lesson: Lesson) -> None:
    status, problem, closed = await raw(server, _head(server, lesson, "Content-Length: 999999999"))
    assert (status, problem["code"], closed) == (413, "too-large", True)


async def test_a_chunked_body_is_counted_while_it_comes(server: ClassServer, lesson: Lesson) -> None:
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    status, problem, _ = await raw(server, _head(server, lesson, "Transfer-Encoding: chunked"), chunk * 6)
    assert (status, problem["code"]) == (413, "too-large")


async def test_the_bound_is_exact(server: ClassServer, lesson: Lesson) -> None:
    filler = "a=x:" + "y" * (SDP_BYTES - len(offer()) - 6) + "\r\n"
    assert len(offer() + filler) == SDP_BYTES
    assert (await server.join(lesson.id, sdp=offer() + filler)).status == 201
    assert (await server.join(lesson.id, sdp=offer() + filler + "x")).status == 413


async def test_a_body_that_stops_halfway_is_a_408(
    server: ClassServer, lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)
    status, problem, closed = await raw(server, _head(server, lesson, "Content-Length: 1000"), b"v=0\r\n")
    assert (status, problem["code"], closed) == (408, "slow-body", True)
    assert server.relay.connections == {}


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(server: ClassServer, lesson: Lesson) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write("\r\n".join([*_head(server, lesson, "Content-Length: 1000"), "Host: localhost", "", "v=0"]).encode())
    await writer.drain()
    writer.transport.abort()
    assert (await server.join(lesson.id, seat="another")).status == 201


async def test_two_lengths_are_refused(server: ClassServer, lesson: Lesson) -> None:
    body = offer().encode()
    head = _head(server, lesson, f"Content-Length: {len(body)}", "Content-Length: 5")
    status, _, _ = await raw(server, head, body)
    assert status == 400
    head = _head(server, lesson, f"Content-Length: {len(body)}", "Transfer-Encoding: chunked")
    assert (await raw(server, head, body))[0] == 400
    assert server.relay.connections == {}


async def test_compressed_bodies_are_not_taken(server: ClassServer, lesson: Lesson) -> None:
    bomb = gzip.compress(b"a" * 50_000_000)
    head = _head(server, lesson, f"Content-Length: {len(bomb)}", "Content-Encoding: gzip")
    status, problem, _ = await raw(server, head, bomb)
    assert (status, problem["code"]) == (415, "not-sdp-type")


@pytest.mark.parametrize(
    ("sdp", "code"),
    [
        (b"", "not-sdp"),
        (b"\x00" * 100, "not-sdp"),
        (b"v=0\r\n\xff\xfe\xfd", "not-sdp"),
        (b"<html>", "not-sdp"),
        (b"v=0", "not-sdp"),
        (offer(sections=400).encode()[:SDP_BYTES], "too-many-sections"),
    ],
)
async def test_bodies_that_are_no_offer(server: ClassServer, lesson: Lesson, sdp: bytes, code: str) -> None:
    headers = {**server.bearer(lesson.id, "teacher"), "Content-Type": "application/sdp"}
    response = await server.request("POST", f"/whip/{lesson.id}", data=sdp, headers=headers)
    assert (response.status, (await response.json())["code"]) == (400, code)


async def test_a_request_without_a_type_is_a_415(server: ClassServer, lesson: Lesson) -> None:
    body = offer().encode()
    head = [line for line in _head(server, lesson, f"Content-Length: {len(body)}") if "Content-Type" not in line]
    status, problem, _ = await raw(server, head, body)
    assert (status, problem["code"]) == (415, "not-sdp-type")


async def test_wrong_secrets_and_stale_tags_change_nothing(server: ClassServer, lesson: Lesson) -> None:
    response = await server.join(lesson.id)
    location = response.headers["Location"]
    headers = server.bearer(lesson.id, "teacher", "t")
    patch = {**headers, "Content-Type": "application/trickle-ice-sdpfrag"}
    for wrong in (
        location[:-1],
        location + "A",
        f"/whip/{lesson.id}/{server.opened(response)}",
        f"/whip/{lesson.id}/%00",
    ):
        assert (await server.request("DELETE", wrong, headers=headers)).status == 404
        assert (await server.request("PATCH", wrong, data=fragment(), headers={**patch, "If-Match": "*"})).status == 404
    stale = await server.request("PATCH", location, data=fragment(), headers={**patch, "If-Match": '"old"'})
    assert (stale.status, (await stale.json())["code"]) == (412, "stale")
    assert list(server.relay.connections) == [server.opened(response)]
    assert server.relay.trickled == []


async def test_a_second_teacher_is_told_what_to_do(server: ClassServer, lesson: Lesson) -> None:
    await server.join(lesson.id, seat="t1")
    for language, word in (("zh-CN,zh;q=0.9", "另一台设备"), ("en-GB", "Another device"), ("", "另一台设备")):
        response = await server.join(lesson.id, seat="t2", headers={"Accept-Language": language})
        problem = await response.json()
        assert (response.status, problem["code"]) == (409, "publisher-taken")
        assert problem["type"] == "urn:kongzhong:problem:publisher-taken"
        assert word in problem["detail"]
        assert "camera" in problem["detail"]


async def test_a_token_in_the_query_or_a_cookie_is_not_looked_at(server: ClassServer, lesson: Lesson) -> None:
    token = server.tokens.issue(lesson.id, "teacher")
    for query in ("token", "access_token", "authorization"):
        response = await server.request("GET", f"/api/lessons/{lesson.id}?{query}={token}")
        assert (response.status, (await response.json())["code"]) == (401, "no-token")
    response = await server.request("GET", f"/api/lessons/{lesson.id}", headers={"Cookie": f"token={token}"})
    assert response.status == 401


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", "bad-json"),
        (b"[]", "application/json", "bad-json"),
        (b'{"title": 5}', "application/json", "bad-json"),
        (b'{"title": ""}', "application/json", "bad-json"),
        (b'{"title": "   "}', "application/json", "bad-json"),
        (b'{"title": "a\\u0000b"}', "application/json", "bad-json"),
        (b'{"title": "a\\nb"}', "application/json", "bad-json"),
        (b'{"title": "\\ud800"}', "application/json", "bad-json"),
        (json.dumps({"title": "x" * 201}).encode(), "application/json", "bad-json"),
        (b"[" * JSON_BYTES, "application/json", "bad-json"),
        (b'{"title": "\xff"}', "application/json", "bad-json"),
        (b'{"title": "' + b"x" * JSON_BYTES + b'"}', "application/json", "too-large"),
        (b'{"title": "x"}', "text/plain", "not-json-type"),
    ],
)
async def test_json_that_is_not_a_lesson(server: ClassServer, body: bytes, content_type: str, code: str) -> None:
    headers = {**server.bearer("*", "ops"), "Content-Type": content_type}
    response = await server.request("POST", "/api/lessons", data=body, headers=headers)
    assert (response.status, (await response.json())["code"]) == (TEXTS[code].status, code)
    assert server.store.list() == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=-1", "limit=%2B5", "limit=1_0", "limit=٣", "offset=x"]
)
async def test_parameters_out_of_range(server: ClassServer, query: str) -> None:
    response = await server.request("GET", f"/api/lessons?{query}", headers=server.bearer("*", "ops"))
    assert (response.status, (await response.json())["code"]) == (400, "bad-parameter")


async def test_paths_and_methods_that_do_not_exist_are_problem_documents(server: ClassServer) -> None:
    for path in ("/api/nothing", "/whip/", "/whip/a/b/c/d", "/ws/"):
        response = await server.request("GET", path)
        assert (response.status, response.content_type) == (404, "application/problem+json"), path
    response = await server.request("PUT", "/api/lessons")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert (await server.request("OPTIONS", "/api/lessons")).status == 204


async def test_an_expectation_that_cannot_be_met(server: ClassServer, lesson: Lesson) -> None:
    status, _, _ = await raw(server, _head(server, lesson, "Content-Length: 5", "Expect: 200-maybe"), b"12345")
    assert status == 417


async def test_a_bug_is_a_500_without_its_inside(
    server: ClassServer, lesson: Lesson, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(server.relay, "publish", broken)
    with caplog.at_level(logging.ERROR):
        response = await server.join(lesson.id)
    assert (response.status, (await response.json())["code"]) == (500, "internal")
    assert "secret inside" not in await response.text()
    assert "a bug in POST /whip/{lesson}" in caplog.text
    monkeypatch.undo()
    assert (await server.join(lesson.id, seat="another")).status == 201


async def test_no_token_and_no_secret_reaches_a_log_or_a_metric(
    server: ClassServer, lesson: Lesson, caplog: pytest.LogCaptureFixture
) -> None:
    from prometheus_client import generate_latest

    caplog.set_level(logging.DEBUG)
    token = server.tokens.issue(lesson.id, "teacher", "t")
    headers = {"Authorization": f"Bearer {token}"}
    response = await server.join(lesson.id)
    location = response.headers["Location"]
    secret = location.rpartition("/")[2]
    patch = {**headers, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}
    for path in (
        f"/api/lessons/{lesson.id}?token={token}",
        f"/whip/{lesson.id}?access_token={token}",
        f"//whip/{lesson.id}/{secret}",
        f"/WHIP/{lesson.id}/{secret}",
        f"/whip/{lesson.id}/{secret}/x",
        f"/whip/{lesson.id}%2F{secret}",
        f"/whip%2f{lesson.id}/{secret}",
        f"/whep/{lesson.id}/{secret}/layer",
    ):
        await raw(server, [f"GET {path} HTTP/1.1"])
    await server.request("PATCH", location, data=fragment(), headers=patch)
    await server.request("DELETE", location, headers=headers)
    assert "/whip/" in caplog.text
    assert server.opened(response) in caplog.text
    for text in (caplog.text, generate_latest(server.signaling.metrics.registry).decode()):
        for word in (token, token.split(".")[1], token.split(".")[2], secret):
            assert word not in text
    assert lesson.id not in generate_latest(server.signaling.metrics.registry).decode()


@pytest.mark.parametrize(
    "junk",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x12\x04MARKER",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03MARKER\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header MARKER\r\n\r\n",
    ],
    ids=["http2", "tls", "header"],
)
@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
async def test_what_is_no_http_fills_no_log(
    server: ClassServer, caplog: pytest.LogCaptureFixture, junk: bytes, level: int
) -> None:
    caplog.set_level(level)
    for name in ("aiohttp.server", "kongzhong.access"):
        caplog.set_level(level, name)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(junk)
    async with asyncio.timeout(20):
        assert b" 400 " in (await reader.read()).partition(b"\r\n")[0]
    writer.close()
    said = [record for record in caplog.records if record.name == "aiohttp.server"]
    assert [record.levelno for record in said] == ([logging.DEBUG] if level == logging.DEBUG else [])
    assert all(record.exc_info is None and len(record.getMessage()) < 80 for record in said)
    assert "MARKER" not in caplog.text
    assert "Traceback" not in caplog.text


def test_a_failure_of_ours_is_still_logged_by_the_server(caplog: pytest.LogCaptureFixture) -> None:
    hold_back_junk()
    try:
        raise RuntimeError("ours")
    except RuntimeError:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "ours" in caplog.text


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/whip/l1", "/whip/l1"),
        ("/whip/l1/SECRET", "/whip/l1/…"),
        ("/whep/l1/SECRET/layer", "/whep/l1/…/layer"),
        ("/api/lessons?token=SECRET", "/api/lessons"),
        ("/api/x#SECRET", "/api/x"),
        ("/whep/l1%2fSECRET", "/…"),
        ("/api/%0aforged", "/api/%0aforged"),
        ("/" + "a" * 500, "/" + "a" * 199),
    ],
)
def test_what_of_a_path_is_logged(path: str, logged: str) -> None:
    assert loggable_path(path) == logged


# --- texts ----------------------------------------------------------------------------------------------------------


def test_every_text_is_there_in_both_languages_and_can_be_filled() -> None:
    for code, text in TEXTS.items():
        assert all(text[1:]), code
        for language in ("zh-CN", "en"):
            title, detail = words(code, language)  # type: ignore[arg-type]
            assert title
            assert "{" not in detail
        assert any("\u4e00" <= letter <= "\u9fff" for letter in text.zh_detail), code
        assert not any("\u4e00" <= letter <= "\u9fff" for letter in text.en_detail), code


def test_chinese_texts_use_chinese_punctuation_and_one_word_for_each_thing() -> None:
    half_width = re.compile(r"[\u4e00-\u9fff”}][,;:!?]|[,;:!?()][\u4e00-\u9fff“]|[\u4e00-\u9fff”][()]|\(\{|\}\)")
    for code, text in TEXTS.items():
        for chinese in (text.zh_title, text.zh_detail):
            assert not half_width.search(chinese), (code, chinese)
            for other in ("凭证", "口令", "资源库", "教师"):
                assert other not in chinese, (code, chinese)
        assert text.zh_detail.endswith("。"), code
    assert half_width.search("请稍后,再试")
    assert half_width.search("身份({role})")


def test_both_catalogues_call_the_same_error_by_the_same_name() -> None:
    shared = TEXTS.keys() & library._PROBLEMS.keys()
    assert shared
    for code in shared:
        status, chinese, english = library._PROBLEMS[code]
        ours = TEXTS[code]
        assert (ours.status, ours.zh_title, ours.en_title) == (status, chinese[0], english[0]), code


@pytest.mark.parametrize(
    ("field", "language"),
    [
        (None, "zh-CN"),
        ("", "zh-CN"),
        ("en", "en"),
        ("en-US,en;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("en;q=0.5,zh;q=0.4", "en"),
        ("fr", "zh-CN"),
        ("*", "zh-CN"),
        ("en;q=nonsense", "zh-CN"),
        ("en;q=0", "zh-CN"),
        (",,,;;;", "zh-CN"),
    ],
)
def test_the_language_of_a_request(field: str | None, language: str) -> None:
    assert language_of(field) == language


@pytest.mark.parametrize("url", ["http://x", "stun:", "stun:a>; rel=x", 'turn:"', "turn:a\r\nX: y", "stun:空中"])
def test_an_ice_server_that_would_break_the_header_stops_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="ice_servers"):
        check_servers(SignalingSettings(ice_servers=(url,)))
