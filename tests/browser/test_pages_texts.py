"""Every text of the pages is in both catalogues, every key is used, and no text stands anywhere else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import web

WEB = Path(web.__file__).parent
PAGES = sorted((WEB / "pages").glob("*.html"))
SCRIPTS = sorted((WEB / "static" / "js").rglob("*.js"))
LANGUAGES = ("zh-CN", "en")
TEXTS = {name: json.loads((WEB / "static" / "i18n" / f"{name}.json").read_text()) for name in LANGUAGES}
CJK = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
KEY = re.compile(r"""['"`]([a-z]+(?:\.[A-Za-z0-9_-]+)+)['"`]""")
PREFIX = re.compile(r"`([a-z]+(?:\.[a-z]+)*\.)\$\{")
NOT_KEYS = re.compile(
    r"\.(js|json|html|css|svg)$|^kongzhong\.|^(a|p|li|ul|tr|td|img|div|span|table|button|figure|svg)\."
)
"""File names, names in storage, and elements with a class (`span.date`)."""


def without_comments(script: str) -> str:
    return re.sub(r"/\*.*?\*/|(?<![:'\"])//[^\n]*", "", script, flags=re.S)


def keys_named(text: str) -> set[str]:
    return {key for key in KEY.findall(text) if not NOT_KEYS.search(key)}


def keys_of_pages() -> set[str]:
    found: set[str] = set()
    for page in PAGES:
        found |= set(re.findall(r'data-i18n(?:-[a-z]+)?="([^"]+)"', page.read_text()))
    return found


class Words(HTMLParser):
    """Collects what a reader would see without the catalogue."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.words += [value or "" for name, value in attrs if name in ("title", "alt", "placeholder", "aria-label")]

    def handle_data(self, data: str) -> None:
        if data.strip() and self.inside != "title":
            self.words.append(data.strip())


def test_both_catalogues_have_the_same_keys() -> None:
    assert TEXTS["zh-CN"].keys() == TEXTS["en"].keys()


def test_texts_are_filled_from_the_same_values_in_both_languages() -> None:
    names = {
        key: tuple(sorted(re.findall(r"\{(\w+)\}", TEXTS[each][key])) for each in LANGUAGES) for key in TEXTS["en"]
    }
    assert {key: found for key, found in names.items() if found[0] != found[1]} == {}


def test_every_key_that_pages_and_scripts_name_is_in_the_catalogue() -> None:
    named = keys_of_pages()
    for script in SCRIPTS:
        named |= keys_named(script.read_text())
    missing = {key for key in named if key not in TEXTS["en"]}
    assert missing == set()


def test_every_text_is_used() -> None:
    named = keys_of_pages()
    prefixes: set[str] = set()
    for script in SCRIPTS:
        named |= keys_named(script.read_text())
        prefixes |= set(PREFIX.findall(script.read_text()))
    assert all(any(key.startswith(prefix) for key in TEXTS["en"]) for prefix in prefixes)
    unused = {key for key in TEXTS["en"] if key not in named and not key.startswith(tuple(prefixes))}
    assert unused == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_hold_no_chinese_text(script: Path) -> None:
    assert CJK.findall(without_comments(script.read_text())) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_pages_hold_no_text_at_all(page: Path) -> None:
    reader = Words()
    reader.feed(page.read_text())
    assert [word for word in reader.words if word] == []


def test_english_is_english() -> None:
    allowed = {"brand.characters", "language.zh-CN"}
    assert {key for key, text in TEXTS["en"].items() if CJK.search(text)} == allowed


def test_chinese_uses_chinese_punctuation() -> None:
    wrong = {
        key: text
        for key, text in TEXTS["zh-CN"].items()
        if re.search(r"[\u4e00-\u9fff]\s*[,;!?]|[\u4e00-\u9fff]\.(?!\w)", text)
    }
    assert wrong == {}


def test_every_state_a_seat_a_lesson_and_a_recorder_can_be_in_has_words() -> None:
    wanted = [f"seat.state.{state}" for state in ("waiting", "connecting", "watching", "poor", "gone")]
    wanted += [f"lesson.state.{state}" for state in ("scheduled", "live", "ended", "archived")]
    wanted += [f"record.{state}" for state in ("recording", "buffering", "failing")]
    wanted += [f"nopass.{code}" for code in (4401, 4403, 4404, 4410)]
    assert [key for key in wanted if key not in TEXTS["zh-CN"]] == []
