"""The landing page: where a link leads, what was recorded, the language that is remembered."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import PATIENCE, Opener, Site

pytestmark = pytest.mark.browser
MS = PATIENCE * 1000


@pytest.mark.parametrize(
    ("role", "page_name", "seen"),
    [("teacher", "/teach", "#check"), ("classroom", "/classroom", "#slate"), ("ops", "/ops", "#board")],
)
def test_a_pasted_token_opens_the_page_of_its_role(
    kongzhong_server: Site, open_page: Opener, role: str, page_name: str, seen: str
) -> None:
    lesson = "*" if role == "ops" else kongzhong_server.create_lesson("pasted")
    page = open_page(f"{kongzhong_server.url}/")
    page.fill("#link", kongzhong_server.token(lesson, role, "seat"))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{page_name}", timeout=MS)
    expect(page.locator(seen)).to_be_visible(timeout=MS)


def test_a_pasted_link_opens_and_something_else_is_refused_in_words(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("linked")
    page = open_page(f"{kongzhong_server.url}/")
    page.fill("#link", "https://elsewhere.test/something")
    page.keyboard.press("Enter")
    expect(page.locator("#paste-trouble")).to_contain_text("不像是课堂链接")
    page.fill("#link", "点这里 " + kongzhong_server.link("/classroom", lesson, "classroom", "seat"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/classroom", timeout=MS)
    expect(page.locator("#slate-title")).to_have_text("linked", timeout=MS)


def test_a_link_for_the_page_that_is_open_takes_over(kongzhong_server: Site, open_page: Opener) -> None:
    first, second = (kongzhong_server.create_lesson(title) for title in ("one", "two"))
    page = open_page(kongzhong_server.link("/classroom", first, "classroom", "seat"))
    expect(page.locator("#slate-title")).to_have_text("one", timeout=MS)
    page.goto(kongzhong_server.link("/classroom", second, "classroom", "seat"))
    expect(page.locator("#slate-title")).to_have_text("two", timeout=MS)


def test_chinese_comes_first_and_english_is_remembered(kongzhong_server: Site, open_page: Opener) -> None:
    page = open_page(f"{kongzhong_server.url}/")
    expect(page.locator("h1")).to_have_text("好老师，教到村里来")
    assert page.evaluate("() => document.documentElement.lang") == "zh-CN"
    page.click("button[lang=en]")
    expect(page.locator("h1")).to_have_text("Good teaching, in every village")
    page.goto(f"{kongzhong_server.url}/library")
    expect(page.locator("h1")).to_have_text("Library")
    page.click("button[lang='zh-CN']")
    expect(page.locator("h1")).to_have_text("课程库")


def test_an_address_that_leads_nowhere_says_so(kongzhong_server: Site, open_page: Opener) -> None:
    page = open_page(f"{kongzhong_server.url}/nowhere")
    expect(page.locator("h1")).to_have_text("没有这个页面", timeout=MS)
