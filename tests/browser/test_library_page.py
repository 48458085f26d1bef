"""The library and the player: found, played by pixels, sought, published by those who may."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Route, expect

from tests.support.browser import PATIENCE, Opener, Site, is_moving, is_test_picture, wait_until

pytestmark = pytest.mark.browser
MS = PATIENCE * 1000


@pytest.fixture(scope="module")
def recordings(kongzhong_server: Site) -> dict[str, tuple[str, str]]:
    """A published and an unpublished recording: title → (lesson, resource)."""
    made = {title: kongzhong_server.recorded(title) for title in ("水的三态变化", "小数的加减法")}
    kongzhong_server.api("PATCH", f"/api/library/{made['水的三态变化'][1]}", {"published": True})
    return made


def test_anyone_sees_what_is_published_and_a_token_holder_all(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, tuple[str, str]]
) -> None:
    page = open_page(f"{kongzhong_server.url}/library")
    expect(page.locator(".resource")).to_have_count(1, timeout=MS)
    expect(page.locator(".resource-title")).to_have_text("水的三态变化")
    expect(page.locator(".length")).to_have_text(re.compile(r"0:\d\d"))
    wait_until(
        lambda: page.locator(".poster img").evaluate("image => image.complete && image.naturalWidth > 0"), "the poster"
    )

    ops = open_page(f"{kongzhong_server.url}/library#token={kongzhong_server.token('*', 'ops', 'ops')}")
    expect(ops.locator(".resource")).to_have_count(2, timeout=MS)
    hidden = ops.locator(".resource", has_text="小数的加减法")
    expect(hidden.locator(".badge", has_text="未公开")).to_be_visible()
    wait_until(
        lambda: hidden.locator("img").evaluate("image => image.complete && image.naturalWidth > 0"),
        "a poster behind a token",
    )
    assert "token" not in ops.url


def test_search_finds_by_title_and_says_when_there_is_nothing(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, tuple[str, str]]
) -> None:
    page = open_page(f"{kongzhong_server.url}/library")
    expect(page.locator(".resource")).to_have_count(1, timeout=MS)
    page.fill("#q", "火山")
    expect(page.locator("#empty")).to_have_text("没有找到“火山”。换个词试试。", timeout=MS)
    page.fill("#q", "三态")
    expect(page.locator(".resource")).to_have_count(1, timeout=MS)
    assert "q=" in page.url


def test_a_published_lesson_plays_and_seeks(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, tuple[str, str]]
) -> None:
    page = open_page(f"{kongzhong_server.url}/library")
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status) if response.url.endswith("/media") else None)
    page.locator(".card-link").click()
    expect(page.locator("#title")).to_have_text("水的三态变化", timeout=MS)
    video = page.locator("#video")
    wait_until(
        lambda: video.evaluate("video => video.readyState >= 1 && video.duration > 2"), "the length of the recording"
    )
    video.evaluate("video => { video.muted = true; return video.play(); }")
    wait_until(lambda: is_test_picture(page, "#video") and is_moving(page, "#video"), "the recording's picture")
    target = video.evaluate("video => { video.pause(); return video.currentTime = video.duration - 1; }")
    wait_until(lambda: video.evaluate("video => !video.seeking"), "the end of the seek")
    assert video.evaluate("video => video.currentTime") == pytest.approx(target, abs=0.3)
    wait_until(lambda: is_test_picture(page, "#video"), "the picture at the place sought")
    assert 206 in statuses
    expect(page.locator("#manage")).to_be_hidden()
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename.endswith((".mp4", ".webm"))


def test_an_unpublished_lesson_is_hidden_until_its_teacher_publishes_it(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, tuple[str, str]]
) -> None:
    lesson, resource = recordings["小数的加减法"]
    stranger = open_page(f"{kongzhong_server.url}/watch/{resource}")
    expect(stranger.locator("#missing-heading")).to_have_text("找不到这节课", timeout=MS)
    expect(stranger.locator("#found")).to_be_hidden()

    teacher = open_page(kongzhong_server.link(f"/watch/{resource}", lesson, "teacher", "teacher"))
    expect(teacher.locator("#unpublished")).to_be_visible(timeout=MS)
    teacher.locator("#video").evaluate("video => { video.muted = true; return video.play(); }")
    wait_until(lambda: is_test_picture(teacher, "#video"), "the picture behind the cookie")
    switch = teacher.locator("#publish")
    expect(switch).to_have_attribute("aria-checked", "false")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true", timeout=MS)
    expect(teacher.locator("#unpublished")).to_be_hidden()
    stranger.reload()
    expect(stranger.locator("#title")).to_have_text("小数的加减法", timeout=MS)
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false", timeout=MS)


def test_a_lesson_is_renamed(kongzhong_server: Site, open_page: Opener, recordings: dict[str, tuple[str, str]]) -> None:
    lesson, resource = recordings["小数的加减法"]
    page = open_page(kongzhong_server.link(f"/watch/{resource}", lesson, "teacher", "teacher"))
    page.fill("#new-title", "小数的加减法（二）")
    page.click("#rename button")
    expect(page.locator("#title")).to_have_text("小数的加减法（二）", timeout=MS)
    assert kongzhong_server.api("GET", f"/api/library/{resource}")["title"] == "小数的加减法（二）"
    kongzhong_server.api("PATCH", f"/api/library/{resource}", {"title": "小数的加减法"})


def test_gaps_are_marked_told_and_lead_there(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, tuple[str, str]]
) -> None:
    resource = recordings["水的三态变化"][1]
    page = open_page("about:blank")

    def with_gaps(route: Route) -> None:
        body = route.fetch().json()
        body["gaps"] = [{"start": 3.0, "seconds": 1.5, "track": "audio"}]
        route.fulfill(body=json.dumps(body), content_type="application/json")

    page.route(f"**/api/library/{resource}", with_gaps)
    page.goto(f"{kongzhong_server.url}/watch/{resource}")
    gap = page.locator("#gap-list button")
    expect(gap).to_have_text("0:03 起缺少声音 1.5 秒", timeout=MS)
    expect(page.locator(".strip-gap")).to_have_count(1)
    wait_until(lambda: page.locator("#video").evaluate("video => video.readyState >= 1"), "the recording")
    gap.click()
    wait_until(
        lambda: abs(page.locator("#video").evaluate("video => video.currentTime") - 2.0) < 0.4, "the place of the gap"
    )
