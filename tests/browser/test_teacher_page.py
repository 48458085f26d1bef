"""The teacher's page in Chromium, judged by what a classroom sees and hears of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from tests.support.browser import PATIENCE, Opener, Site, is_moving, is_test_picture, look, loudness, wait_until
from tests.support.test_picture import record

pytestmark = pytest.mark.browser
MS = PATIENCE * 1000
GREEN_BOARD = (30, 77, 61)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    record(path)
    return path


def teach(open_page: Opener, site: Site, lesson: str, **options: str) -> Page:
    page = open_page(site.link("/teach", lesson, "teacher", "teacher"), **options)
    expect(page.locator("#start")).to_be_enabled(timeout=MS)
    return page


def begin(page: Page) -> None:
    page.click("#start")
    expect(page.locator("#state")).to_have_attribute("data-kind", "live", timeout=MS)


def is_camera(page: Page, selector: str) -> bool:
    """Chromium's own test camera is green."""
    pixels = look(page, selector)
    return pixels is not None and sum(1 for r, g, b in pixels if g > 90 and g > r + 50 and g > b + 50) > len(pixels) / 2


def is_slate(page: Page, selector: str) -> bool:
    pixels = look(page, selector)
    if pixels is None:
        return False
    near = [all(abs(part - wanted) < 25 for part, wanted in zip(pixel, GREEN_BOARD, strict=True)) for pixel in pixels]
    return sum(near) > len(near) * 0.8


def test_the_device_check_shows_the_camera_and_the_microphones_level(kongzhong_server: Site, open_page: Opener) -> None:
    page = teach(open_page, kongzhong_server, kongzhong_server.create_lesson("check"))
    wait_until(lambda: is_moving(page, "#preview"), "the camera's picture")
    wait_until(lambda: int(page.get_attribute("#meter", "aria-valuenow") or 0) > 20, "the level of the microphone")
    assert page.locator("#camera-pick option").count() >= 1
    expect(page.locator("#trouble")).to_be_hidden()
    assert "token" not in page.url


def test_a_lesson_is_seen_and_heard_recorded_and_found_again(kongzhong_server: Site, open_page: Opener) -> None:
    site = kongzhong_server
    lesson = site.create_lesson("第一课")
    page = teach(open_page, site, lesson)
    classroom = open_page(site.link("/classroom", lesson, "classroom", "青石岭小学"))
    expect(classroom.locator("#slate-words")).to_have_text("等待老师开始", timeout=MS)
    begin(page)

    wait_until(lambda: is_camera(classroom, "#video") and is_moving(classroom, "#video"), "the camera in the classroom")
    wait_until(lambda: loudness(classroom, "#video") > 0.01, "the voice in the classroom")
    expect(page.locator("#record-words")).to_have_text(re.compile(r"正在录制 \d+:\d\d"), timeout=MS)
    expect(page.locator("#elapsed")).to_have_text(re.compile(r"\d+:\d\d"))
    expect(page.locator("#uplink-words")).to_contain_text("上传", timeout=MS)
    seat = page.locator(".seat", has_text="青石岭小学")
    expect(seat).to_have_attribute("data-state", "watching", timeout=MS)
    expect(seat).to_contain_text("正在听课")

    page.click("#end")
    page.locator("#confirm .danger").click()
    expect(page.locator("#ended")).to_be_visible(timeout=MS)
    expect(classroom.locator("#slate-words")).to_have_text("下课了", timeout=MS)
    expect(page.locator("#resource")).to_be_visible(timeout=90_000)
    page.click("#resource")
    expect(page.locator("#title")).to_have_text("第一课", timeout=MS)
    assert "/watch/" in page.url and "token" not in page.url


def test_ending_a_lesson_asks_first(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("asks first")
    page = teach(open_page, kongzhong_server, lesson)
    begin(page)
    page.click("#end")
    page.locator("#confirm button", has_text="继续上课").click()
    expect(page.locator("#confirm")).to_be_hidden()
    assert kongzhong_server.api("GET", f"/api/lessons/{lesson}")["state"] == "live"
    expect(page.locator("#state")).to_have_attribute("data-kind", "live")


def test_camera_film_and_pause_follow_one_another_without_a_break(
    kongzhong_server: Site, open_page: Opener, film: Path
) -> None:
    lesson = kongzhong_server.create_lesson("sources")
    page = teach(open_page, kongzhong_server, lesson)
    begin(page)
    classroom = open_page(kongzhong_server.link("/classroom", lesson, "classroom", "seat"))
    wait_until(lambda: is_camera(classroom, "#video"), "the camera")
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if "/whip/" in request.url else None)

    with page.expect_file_chooser() as chooser:
        page.click("[data-source=film]")
    chooser.value.set_files(film)
    expect(page.locator("[data-source=film]")).to_have_attribute("aria-pressed", "true", timeout=MS)
    wait_until(lambda: is_test_picture(classroom, "#video"), "the film in the classroom")

    page.click("[data-source=camera]")
    wait_until(lambda: is_camera(classroom, "#video"), "the camera again")

    page.click("#pause")
    wait_until(lambda: is_slate(classroom, "#video"), "the slate instead of the picture")
    wait_until(lambda: loudness(classroom, "#video") > 0.01, "the voice while the picture is paused")
    page.click("#pause")
    wait_until(lambda: is_camera(classroom, "#video"), "the camera after the pause")
    assert posts == [], "switching must not negotiate anew"


def test_mute_is_silence_in_the_classroom(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("mute")
    page = teach(open_page, kongzhong_server, lesson)
    begin(page)
    classroom = open_page(kongzhong_server.link("/classroom", lesson, "classroom", "seat"))
    wait_until(lambda: loudness(classroom, "#video") > 0.01, "the voice")
    page.click("#mic")
    expect(page.locator("#mic")).to_have_attribute("aria-pressed", "true")
    wait_until(lambda: loudness(classroom, "#video") < 0.003, "silence")
    page.click("#mic")
    wait_until(lambda: loudness(classroom, "#video") > 0.01, "the voice again")


def test_a_reload_goes_on_teaching_by_itself(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("reload")
    page = teach(open_page, kongzhong_server, lesson)
    begin(page)
    classroom = open_page(kongzhong_server.link("/classroom", lesson, "classroom", "seat"))
    wait_until(lambda: is_moving(classroom, "#video"), "the picture")
    page.reload()
    expect(page.locator("#state")).to_have_attribute("data-kind", "live", timeout=MS)
    wait_until(lambda: is_moving(classroom, "#video"), "the picture after the reload")
    expect(classroom.locator("body")).to_have_attribute("data-state", re.compile("live|poor"), timeout=MS)


def test_the_offer_has_three_layers_h264_first_and_a_protected_voice(kongzhong_server: Site, open_page: Opener) -> None:
    page = teach(open_page, kongzhong_server, kongzhong_server.create_lesson("offer"))
    with page.expect_request(lambda request: "/whip/" in request.url and request.method == "POST") as posted:
        page.click("#start")
    request: Request = posted.value
    offer = request.post_data or ""
    video = offer[offer.index("m=video") :]
    first = re.match(r"m=video \d+ \S+ (\d+)", video)
    assert first is not None
    assert f"a=rtpmap:{first[1]} H264/90000" in video
    assert "packetization-mode=1" in (re.search(rf"a=fmtp:{first[1]} (.*)", video) or [""])[0]
    assert "a=simulcast:send l;m;h" in video
    assert "a=sendonly" in video and "abs-capture-time" in video
    assert "useinbandfec=1" in offer[offer.index("m=audio") : offer.index("m=video")]
    assert request.header_value("authorization") is not None and "token" not in request.url


DENIED = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));"


def test_a_missing_permission_is_explained(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("denied")
    page = open_page(kongzhong_server.link("/teach", lesson, "teacher", "teacher"), init=DENIED)
    expect(page.locator("#trouble")).to_contain_text("地址栏", timeout=MS)
    expect(page.locator("#start")).to_be_disabled()
    expect(page.locator("#again")).to_be_visible()


def test_a_page_that_is_not_secure_says_what_to_do(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("insecure")
    link = kongzhong_server.link("/teach", lesson, "teacher", "teacher").replace("127.0.0.1", "school.test")
    page = open_page(link)
    expect(page.locator("#trouble")).to_contain_text("https://", timeout=MS)
    expect(page.locator("#start")).to_be_disabled()


def test_without_a_camera_one_teaches_by_voice(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("voice")
    no_camera = """const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (asked) =>
        asked.video ? Promise.reject(new DOMException('none', 'NotFoundError')) : open(asked);"""
    page = teach(open_page, kongzhong_server, lesson, init=no_camera)
    expect(page.locator("#trouble")).to_contain_text("只用声音上课")
    begin(page)
    classroom = open_page(kongzhong_server.link("/classroom", lesson, "classroom", "seat"))
    wait_until(lambda: loudness(classroom, "#video") > 0.01, "the voice in the classroom")


def test_a_classrooms_link_does_not_teach(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("wrong role")
    page = open_page(kongzhong_server.link("/teach", lesson, "classroom", "seat"))
    expect(page.locator("#nopass-lead")).to_contain_text("不是老师的链接", timeout=MS)
    expect(page.locator("#desk")).to_be_hidden()
