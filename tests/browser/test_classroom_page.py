"""The classroom's page in Chromium: what stands on the big screen, what is heard, and that it comes back by itself."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import (
    PATIENCE,
    Opener,
    Site,
    is_moving,
    is_test_picture,
    launch_like,
    loudness,
    wait_until,
)

pytestmark = pytest.mark.browser
MS = PATIENCE * 1000
SHOWING = re.compile("live|poor")


def watch(open_page: Opener, site: Site, lesson: str, seat: str = "青石岭小学", **options: object) -> Page:
    page = open_page(site.link("/classroom", lesson, "classroom", seat), **options)
    expect(page.locator("body")).not_to_have_attribute("data-state", "loading", timeout=MS)
    return page


def test_it_waits_then_shows_and_plays_the_lesson(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("《小石潭记》")
    page = watch(open_page, kongzhong_server, lesson)
    expect(page.locator("#slate-words")).to_have_text("等待老师开始", timeout=MS)
    expect(page.locator("#slate-title")).to_have_text("《小石潭记》")
    assert "token" not in page.url
    with kongzhong_server.teaching(lesson):
        wait_until(lambda: is_test_picture(page, "#video") and is_moving(page, "#video"), "the teacher's picture")
        wait_until(lambda: loudness(page, "#video") > 0.05, "the teacher's voice")
        expect(page.locator("body")).to_have_attribute("data-state", SHOWING, timeout=MS)
        expect(page.locator("#slate")).to_be_hidden()
        box = page.locator("#video").bounding_box()
        assert box == {"x": 0, "y": 0, "width": 1366, "height": 768}, "the picture fills the screen"


def test_what_the_browser_measures_reaches_the_teachers_list(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("figures")
    page = watch(open_page, kongzhong_server, lesson, "大岭")
    with kongzhong_server.teaching(lesson):
        wait_until(lambda: is_moving(page, "#video"), "the picture")

        def latency() -> float | None:
            seats = kongzhong_server.api("GET", f"/api/lessons/{lesson}")["seats"]
            return next((seat.get("latency_ms") for seat in seats if seat["seat"] == "大岭"), None)

        assert 0 < wait_until(latency, "the latency that the page reports") < 10_000


def test_a_voice_alone_gets_a_calm_panel_that_moves(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("voice only")
    page = watch(open_page, kongzhong_server, lesson)
    with kongzhong_server.teaching(lesson, "--voice-only"):
        expect(page.locator("#voice")).to_be_visible(timeout=MS)
        expect(page.locator("#state")).to_have_text("仅有声音")
        assert loudness(page, "#video") > 0.05
        middle = page.locator("#bars span").nth(13)
        height = "bar => new DOMMatrix(getComputedStyle(bar).transform).d"
        wait_until(lambda: middle.evaluate(height) > 0.2, "a bar that follows the voice")


def test_the_teacher_leaves_and_comes_back(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("away")
    page = watch(open_page, kongzhong_server, lesson)
    with kongzhong_server.teaching(lesson):
        wait_until(lambda: is_moving(page, "#video"), "the picture")
        expect(page.locator("body")).to_have_attribute("data-state", SHOWING, timeout=MS)
    expect(page.locator("#slate-words")).to_have_text("老师暂时离开", timeout=MS)
    with kongzhong_server.teaching(lesson):
        wait_until(lambda: is_moving(page, "#video"), "the picture again")
        expect(page.locator("#slate")).to_be_hidden(timeout=MS)


def test_a_server_that_died_is_found_again(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("restart")
    page = watch(open_page, kongzhong_server, lesson)
    with kongzhong_server.teaching(lesson):
        wait_until(lambda: is_moving(page, "#video"), "the picture")
        kongzhong_server.stop(kill=True)
        expect(page.locator("#slate-words")).to_have_text("连接断开，正在重连", timeout=MS)
        kongzhong_server.start()
    with kongzhong_server.teaching(lesson):
        wait_until(lambda: is_moving(page, "#video"), "the picture from the new server", 60)
        expect(page.locator("#slate")).to_be_hidden(timeout=MS)


def test_the_end_of_the_lesson_is_said_and_the_recording_offered(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("the end")
    page = watch(open_page, kongzhong_server, lesson)
    with kongzhong_server.teaching(lesson):
        wait_until(lambda: is_moving(page, "#video"), "the picture")
        kongzhong_server.api("POST", f"/api/lessons/{lesson}/end")
        expect(page.locator("#slate-words")).to_have_text("下课了", timeout=MS)
    expect(page.locator("#after")).to_be_visible(timeout=90_000)
    assert "/watch/" in (page.get_attribute("#after", "href") or "")


def test_the_keyboard_does_everything(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("keys")
    page = watch(open_page, kongzhong_server, lesson)
    with kongzhong_server.teaching(lesson):
        wait_until(lambda: is_moving(page, "#video"), "the picture")
        video = page.locator("#video")
        page.keyboard.press("m")
        expect(page.locator("#mute")).to_have_attribute("aria-label", "打开声音")
        assert video.evaluate("video => video.muted")
        page.keyboard.press("m")
        wait_until(lambda: not video.evaluate("video => video.muted"), "sound after the second press")
        page.keyboard.press("ArrowDown")
        assert video.evaluate("video => video.volume") == pytest.approx(0.9)
        page.keyboard.press("l")
        expect(page.locator("#layers [role=radio]").first).to_be_focused()
        expect(page.locator("#layers [aria-checked=true]")).to_have_text("自动")
        page.keyboard.press("Escape")
        expect(page.locator("#layers")).to_be_hidden()
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        wait_until(lambda: page.evaluate("() => document.fullscreenElement !== null"), "full screen")


def test_words_follow_the_language_without_a_new_connection(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("languages")
    page = watch(open_page, kongzhong_server, lesson)
    expect(page.locator("#slate-words")).to_have_text("等待老师开始", timeout=MS)
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if "/whep/" in request.url else None)
    page.click("button[lang=en]")
    expect(page.locator("#slate-words")).to_have_text("Waiting for the teacher")
    assert page.evaluate("() => document.documentElement.lang") == "en"
    assert posts == []
    page.reload()
    expect(page.locator("#slate-words")).to_have_text("Waiting for the teacher", timeout=MS)


@pytest.mark.parametrize(("token", "words"), [("a.b.c", "过期"), ("", "教室链接由学校管理员发放")])
def test_a_link_that_does_not_work_says_so(kongzhong_server: Site, open_page: Opener, token: str, words: str) -> None:
    lesson = kongzhong_server.create_lesson("bad link")
    fragment = f"#lesson={lesson}&token={token}" if token else ""
    page = open_page(f"{kongzhong_server.url}/classroom{fragment}")
    expect(page.locator("main")).to_contain_text(words, timeout=MS)


def test_where_sound_is_refused_one_touch_opens_it(kongzhong_server: Site, chromium: Browser) -> None:
    lesson = kongzhong_server.create_lesson("sound")
    strict = launch_like(chromium, autoplay="document-user-activation-required")
    try:
        page = strict.new_page()
        page.goto(kongzhong_server.link("/classroom", lesson, "classroom", "seat"))
        with kongzhong_server.teaching(lesson):
            expect(page.locator("#gate")).to_be_visible(timeout=MS)
            wait_until(lambda: is_moving(page, "#video"), "the picture without sound")
            assert page.locator("#video").evaluate("video => video.muted")
            size = page.locator("#gate").bounding_box()
            assert size is not None and size["height"] >= 44 and abs(size["x"] + size["width"] / 2 - 640) < 5
            page.click("#gate")
            expect(page.locator("#gate")).to_be_hidden()
            assert not page.locator("#video").evaluate("video => video.muted || video.paused")
            wait_until(lambda: loudness(page, "#video") > 0.05, "the voice")
    finally:
        strict.close()


def test_a_layer_is_chosen_by_hand_and_given_back(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("layers")
    teacher = open_page(kongzhong_server.link("/teach", lesson, "teacher", "teacher"))
    expect(teacher.locator("#start")).to_be_enabled(timeout=MS)
    teacher.click("#start")
    page = watch(open_page, kongzhong_server, lesson)
    video = page.locator("#video")
    lines = "video => video.videoHeight"
    # The high layers start seconds after the first, when Chromium's estimate of the line has risen.
    wait_until(lambda: video.evaluate(lines) >= 360, "a high layer by the server's choice", 60)

    def choose(name: str) -> None:
        page.mouse.move(200, 200)
        page.click("#layer-button")
        page.locator("#layers button", has_text=name).click()
        expect(page.locator("#layers")).to_be_hidden()

    choose("流畅")
    wait_until(lambda: 0 < video.evaluate(lines) <= 180, "the lowest layer")
    expect(page.locator("body")).to_have_attribute("data-state", "live")
    choose("自动")
    wait_until(lambda: video.evaluate(lines) >= 360, "a high layer again", 60)
