"""What the terminal shows of a demo lesson: in place on a terminal, plain lines elsewhere, links that can be copied."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from server.app.demo.child import ClassroomLine, Report, TeacherLine
from server.app.demo.display import Display, Picture, clock, view
from server.app.demo.links import page_links
from server.app.texts import CATALOGUE, language, say
from signaling.relay import RecorderState
from signaling.tokens import Tokens


def room(name: str = "莪山小学 三(1)班", **more: object) -> ClassroomLine:
    fields: dict[str, object] = {
        "name": name, "state": "watching", "frames": 300, "width": 1280, "height": 720, "bitrate": 812_000,
        "first_frame_ms": 58.0, "latency_p50_ms": 1.2, "latency_p99_ms": 31.0, "lost": 0, "loss": 0.0,
        "reconnects": 0, "error": "",
    }  # fmt: skip
    return ClassroomLine(**(fields | more))  # type: ignore[arg-type]


def picture(*rooms: ClassroomLine) -> Picture:
    links = page_links("http://127.0.0.1:8080", "lesson", Tokens(b"s" * 32), 60)
    found = Picture("演示课", links, began=0.0)
    found.report = Report(TeacherLine("live", 300, 1_000_000, None, ""), rooms)
    found.recording = RecorderState("lesson", "recording", 147.0, 20.0, 1)
    return found


def shown(found: Picture, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(view(found, now=20.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_classroom_has_its_line_and_the_recording_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    text = shown(
        picture(room(), room("中洲小学 三(2)班", state="connecting", height=0, first_frame_ms=None, error="full"))
    )
    (line,) = [line for line in text.splitlines() if "莪山小学" in line]
    for part in ("watching", "58 ms", "720p 812 kbit/s", "1 ms / 31 ms", "300", "0.0%"):
        assert part in line
    (line,) = [line for line in text.splitlines() if "中洲小学" in line]
    assert "connecting (full)" in line
    assert "recording: recording 0:20, lag 147 ms, gaps 1" in text


def test_it_speaks_the_language_of_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert language() == "zh"
    assert "观看中" in shown(picture(room()))
    assert all(chinese and english for chinese, english in CATALOGUE.values())


def test_a_seat_name_is_text_and_never_markup() -> None:
    assert "[bold]三班" in shown(picture(room("[bold]三班")))


def test_without_a_terminal_links_are_whole_lines_and_news_are_plain() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    display = Display(picture(room()), console)
    display.start()
    display.update()
    display.update()
    display.stop()
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    links = [line for line in lines if "http://127.0.0.1:8080/" in line]
    assert len(links) == 4
    assert all("#" in line and "?" not in line for line in links), "tokens travel in the fragment alone"
    assert "\x1b" not in console.file.getvalue()
    assert sum("莪山小学" in line for line in lines) == 1, "one line now, the next ten seconds later"


def test_on_a_terminal_the_links_stay_above_what_changes() -> None:
    console = Console(file=io.StringIO(), width=100, height=30, force_terminal=True, legacy_windows=False)
    display = Display(picture(room()), console)
    display.start()
    for _ in range(5):
        display.update()
    display.stop()
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("/classroom#") == 1 and text.count("莪山小学") >= 1


def test_the_clock_has_hours_from_an_hour_on() -> None:
    assert [clock(seconds) for seconds in (-1, 59.9, 61, 3600, 36_061)] == [
        "0:00",
        "0:59",
        "1:01",
        "1:00:00",
        "10:01:01",
    ]


def test_every_text_that_is_said_is_in_the_catalogue() -> None:
    with pytest.raises(KeyError):
        say("nonsense")
