"""The one state that a classroom is told, from everything that is known: the table of web/static/js/verdict.js."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser import Opener, Site

pytestmark = pytest.mark.browser

LAYERS = [{"rid": rid, "height": height, "bitrate": height} for rid, height in (("l", 180), ("m", 360), ("h", 720))]
SENDING = [
    {"publication": "camera", "kind": "audio", "silent": False, "layers": []},
    {"publication": "camera", "kind": "video", "silent": False, "layers": LAYERS},
]
SILENT = [each | {"silent": True} for each in SENDING]
GOOD = {"frames": 300, "still": 0, "voices": 500, "voiceStill": 0, "loss": 0.0, "height": 720, "age": 20, "wish": None}
START = {"frames": 0, "still": 1, "voices": 0, "voiceStill": 1, "loss": 0.0, "height": 0, "age": 1, "wish": None}
UP, OPEN, LIVE = {"state": "up"}, {"state": "open"}, {"state": "live"}


def given(**changes: Any) -> dict[str, Any]:
    known = {
        "pass": True,
        "lesson": LIVE,
        "watcher": UP,
        "socket": OPEN,
        "publications": SENDING,
        "line": GOOD,
        "everLive": True,
    }
    return known | changes


CASES = [
    ("nopass", given(**{"pass": None})),
    ("live", given()),
    ("waiting", given(lesson={"state": "scheduled"}, publications=[], line=START, everLive=False)),
    ("connecting", given(watcher={"state": "connecting", "tries": 1}, line=START, everLive=False)),
    ("connecting", given(line=START | {"voices": 10, "voiceStill": 0}, everLive=False)),
    ("poor", given(line=GOOD | {"loss": 0.09})),
    ("poor", given(line=GOOD | {"height": 180})),
    ("live", given(line=GOOD | {"height": 180, "wish": "l"})),
    ("live", given(line=GOOD | {"height": 180, "age": 2})),
    ("voice", given(line=GOOD | {"still": 6})),
    ("voice", given(line=START | {"voices": 400, "voiceStill": 0, "age": 9}, everLive=False)),
    ("away", given(publications=SILENT, line=GOOD | {"still": 2, "voiceStill": 2})),
    ("away", given(publications=[], line=GOOD | {"still": 2, "voiceStill": 2})),
    ("reconnecting", given(watcher={"state": "restoring"}, line=GOOD | {"still": 3, "voiceStill": 3})),
    ("reconnecting", given(watcher={"state": "waiting"}, line=START)),
    ("reconnecting", given(watcher={"state": "connecting", "tries": 3}, line=START, everLive=False)),
    ("ended", given(lesson={"state": "ended"})),
    ("ended", given(watcher={"state": "refused", "code": "lesson-ended"})),
    ("ended", given(socket={"state": "refused", "code": 4410})),
    ("refused", given(watcher={"state": "refused", "code": "other-lesson"})),
    ("refused", given(socket={"state": "refused", "code": 4401}, line=START, watcher={"state": "connecting"})),
]

JUDGE = """async (cases) => {
  const { verdict } = await import('/static/js/verdict.js');
  return cases.map((known) => verdict({
    ...known, publications: new Map(known.publications.map((each) => [`${each.publication}/${each.kind}`, each])),
  }));
}"""


def test_each_situation_has_its_state(kongzhong_server: Site, open_page: Opener) -> None:
    page = open_page(f"{kongzhong_server.url}/library")
    found = page.evaluate(JUDGE, [known for _, known in CASES])
    assert list(zip(found, range(len(CASES)), strict=True)) == [(state, at) for at, (state, _) in enumerate(CASES)]
