"""The page of the operators: figures drawn, alerts in words, seats of a lesson on demand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser import PATIENCE, Opener, Site, wait_until

pytestmark = pytest.mark.browser
MS = PATIENCE * 1000


def change_answers(page: Page, **changes: Any) -> None:
    """Let /api/ops answer as it does, with some fields replaced."""

    def changed(route: Route) -> None:
        body = route.fetch().json() | changes
        route.fulfill(body=json.dumps(body), content_type="application/json")

    page.route("**/api/ops**", changed)


def open_ops(open_page: Opener, site: Site, **changes: Any) -> Page:
    page = open_page("about:blank")
    if changes:
        change_answers(page, **changes)
    page.goto(f"{site.url}/ops#token={site.token('*', 'ops', 'ops')}")
    expect(page.locator("#board")).to_be_visible(timeout=MS)
    return page


def test_figures_are_told_and_drawn(kongzhong_server: Site, open_page: Opener) -> None:
    series = {
        "seats": [[1_700_000_000 + 5 * at, at] for at in range(100)],
        "latency_p50_ms": [[1_700_000_000 + 5 * at, 150 + at] for at in range(100)],
        "latency_p99_ms": [[1_700_000_000 + 5 * at, None if at < 50 else 300 + at] for at in range(100)],
    }
    page = open_ops(
        open_page, kongzhong_server, series=series, seats=99, latency_ms={"p50": 249.4, "p99": 399.0}, loss=0.0123
    )
    expect(page.locator("[data-name=seats]")).to_have_text("99", timeout=MS)
    expect(page.locator("[data-name=latency_p50]")).to_have_text("249 毫秒")
    expect(page.locator("[data-name=loss]")).to_have_text("1.2%")
    seats = page.locator(".chart", has_text="在线席位")
    path = seats.locator(".stroke.line-0").get_attribute("d") or ""
    assert path.count("L") == 99, "every point is drawn"
    latency = page.locator(".chart", has_text="单向延迟")
    assert (latency.locator(".stroke.line-1").get_attribute("d") or "").count("L") == 49, (
        "what is unknown is not drawn as zero"
    )
    assert latency.locator(".tick").count() >= 5
    box = seats.locator("svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 46 + 1, box["y"] + 60)
    expect(seats.locator(".readout")).to_contain_text("· 0")
    page.mouse.move(10, 10)
    expect(seats.locator(".readout")).to_have_text("现在 99")


def test_the_keyboard_reads_a_chart(kongzhong_server: Site, open_page: Opener) -> None:
    page = open_ops(open_page, kongzhong_server, series={"seats": [[1_700_000_000, 3], [1_700_000_005, 8]]})
    svg = page.locator(".chart", has_text="在线席位").locator("svg")
    expect(svg).to_have_attribute("aria-label", "在线席位: 现在 8", timeout=MS)
    svg.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".chart", has_text="在线席位").locator(".readout")).to_contain_text("· 3")


@pytest.mark.parametrize(
    ("states", "kind", "words"),
    [
        ({"failing": 1}, "bad", "录制出错（1 节课）"),
        ({"buffering": 2}, "poor", "录制服务暂时不在（2 节课）"),
    ],
)
def test_a_recorder_in_trouble_is_said_in_words(
    kongzhong_server: Site, open_page: Opener, states: dict[str, int], kind: str, words: str
) -> None:
    recorder = {"lessons": 2, "lag_ms": 20_000.0, "seconds": 1.0, "gaps": 0, "states": states}
    page = open_ops(open_page, kongzhong_server, recorder=recorder, lessons=2)
    alert = page.locator("#alerts li").first
    expect(alert).to_contain_text(words, timeout=MS)
    expect(alert).to_have_attribute("data-kind", kind)


def test_calm_is_said_too(kongzhong_server: Site, open_page: Opener) -> None:
    recorder = {"lessons": 1, "lag_ms": 20.0, "seconds": 1.0, "gaps": 0, "states": {"recording": 1}}
    page = open_ops(
        open_page, kongzhong_server, recorder=recorder, lessons=1, loss=0.0, latency_ms={"p50": 1, "p99": 2}
    )
    expect(page.locator("#alerts li")).to_have_text("一切正常", timeout=MS)


def test_a_live_lesson_opens_to_its_seats(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("在上的课")
    with kongzhong_server.teaching(lesson):
        classroom = open_page(kongzhong_server.link("/classroom", lesson, "classroom", "大岭小学"))
        expect(classroom.locator("body")).to_have_attribute("data-state", "live", timeout=MS)
        page = open_ops(open_page, kongzhong_server)
        row = page.locator("#lessons > tr", has_text="在上的课")
        expect(row).to_contain_text("正在上课", timeout=MS)
        row.locator("button").click()
        seat = page.locator(".inner tr", has_text="大岭小学")
        expect(seat).to_contain_text("观看", timeout=MS)
        expect(seat).to_contain_text("已连接")
        wait_until(lambda: int(page.locator("[data-name=lessons]").inner_text()) >= 1, "the count of lessons")


def test_figures_that_are_old_are_said_to_be_old(kongzhong_server: Site, open_page: Opener) -> None:
    page = open_ops(open_page, kongzhong_server)
    expect(page.locator("#fresh")).to_contain_text("更新", timeout=MS)
    page.route("**/api/ops**", lambda route: route.abort())
    expect(page.locator("#fresh")).to_have_attribute("data-kind", "bad", timeout=MS)


@pytest.mark.parametrize("role", ["", "classroom"])
def test_others_are_told_what_they_need(kongzhong_server: Site, open_page: Opener, role: str) -> None:
    lesson = kongzhong_server.create_lesson("not ops")
    page = open_page(kongzhong_server.link("/ops", lesson, role, "seat") if role else f"{kongzhong_server.url}/ops")
    expect(page.locator("#nopass-lead")).to_contain_text("运维", timeout=MS)
    expect(page.locator("#board")).to_be_hidden()
