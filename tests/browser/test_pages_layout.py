"""The pages fit a phone and a big screen, can be hit with a thumb, and every control has a name."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PATIENCE, Opener, Site

pytestmark = pytest.mark.browser
MS = PATIENCE * 1000
SIZES = [(390, 844), (1366, 768), (3840, 2160)]
PAGES = ["/", "/library", "/teach", "/classroom", "/ops", "/watch/none", "/nowhere"]

CONTROLS = """() => [...document.querySelectorAll('button, a.button, a.nav, select, input:not([type=file])')]
  .filter((each) => each.checkVisibility() && each.getBoundingClientRect().width > 0)
  .map((each) => {
    const box = each.getBoundingClientRect();
    const own = each.getAttribute('aria-label') || each.getAttribute('aria-labelledby') || each.textContent.trim();
    const named = Boolean(own || (each.labels && each.labels.length && each.labels[0].textContent));
    return { what: each.id || each.className || each.tagName, height: Math.round(box.height), named };
  })"""


def link_of(site: Site, path: str, lesson: str) -> str:
    roles = {
        "/teach": ("teacher", lesson),
        "/classroom": ("classroom", lesson),
        "/ops": ("ops", "*"),
        "/library": ("ops", "*"),
    }
    if path not in roles:
        return f"{site.url}{path}"
    role, scope = roles[path]
    return site.link(path, scope, role, "seat")


def ready(page: Page) -> None:
    expect(page.locator("html[data-ready]")).to_be_attached(timeout=MS)
    page.wait_for_load_state("load")
    page.wait_for_timeout(300)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_nothing_is_cut_off_too_small_or_nameless(
    kongzhong_server: Site, open_page: Opener, path: str, language: str
) -> None:
    lesson = kongzhong_server.create_lesson(
        "一节标题很长很长的课：从小石潭边的竹子、清泉与游鱼，看柳宗元的景与情（第二课时）"
    )
    page = open_page(link_of(kongzhong_server, path, lesson), language=language)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        ready(page)
        wide, shown = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= shown, f"{path} is {wide} px wide on {shown}"
        controls = page.evaluate(CONTROLS)
        assert controls
        small = [each for each in controls if each["height"] < 44]
        assert small == [], f"{width}x{height}"
        assert [each for each in controls if not each["named"]] == []


def test_the_language_switch_is_always_in_sight(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("switch")
    for path in PAGES:
        page = open_page(link_of(kongzhong_server, path, lesson), width=390, height=844)
        ready(page)
        for language in ("zh-CN", "en"):
            expect(page.locator(f"button[lang='{language}']")).to_be_in_viewport()


def test_who_asks_for_less_motion_gets_none(kongzhong_server: Site, open_page: Opener) -> None:
    lesson = kongzhong_server.create_lesson("calm")
    page = open_page(kongzhong_server.link("/classroom", lesson, "classroom", "seat"))
    expect(page.locator("#slate")).to_be_visible(timeout=MS)
    running = "() => document.getAnimations().filter((each) => each.playState === 'running').length"
    assert page.evaluate(running) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(running) == 0
