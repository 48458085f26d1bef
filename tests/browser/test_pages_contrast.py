"""The colours of the pages can be told apart: WCAG 2.1 AA, in light, in dark and on the classroom's board."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import web

CSS = Path(web.__file__).parent / "static" / "css"
TEXT, PART = 4.5, 3.0  # WCAG 2.1, 1.4.3 and 1.4.11
ON = ("paper", "card")
WASHES = (("good", "wash-good"), ("ochre", "wash-poor"), ("seal", "wash-bad"), ("ink", "wash"), ("ink-soft", "wash"))


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", block))


def schemes() -> dict[str, dict[str, str]]:
    base = (CSS / "base.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", base, flags=re.S)
    board = re.search(r"\.classroom \{(.*?)\}", (CSS / "classroom.css").read_text(), flags=re.S)
    assert board is not None
    first = colours(light)
    return {"light": first, "dark": first | colours(dark), "classroom": first | colours(board[1])}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "classroom"])
def test_words_can_be_read(scheme: str) -> None:
    found = schemes()[scheme]
    pairs = [(ink, paper) for ink in ("ink", "ink-soft", "accent", "seal", "ochre", "good") for paper in ON]
    pairs += [*WASHES, ("accent-ink", "accent"), ("seal-ink", "seal"), ("chalk", "board"), ("chalk-soft", "board-deep")]
    if scheme == "classroom":
        pairs.remove(("seal-ink", "seal"))  # nothing is ended from the classroom's page
    poor = {pair: round(contrast(found[pair[0]], found[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < TEXT} == {}


@pytest.mark.parametrize("scheme", ["light", "dark", "classroom"])
def test_edges_and_focus_can_be_seen(scheme: str) -> None:
    found = schemes()[scheme]
    pairs = [(part, paper) for part in ("line-strong", "focus") for paper in ON]
    poor = {pair: round(contrast(found[pair[0]], found[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < PART} == {}
