"""The terminal while a demo lesson runs: who is there, what they get, how the recording goes; updated in place.

``view`` is a pure function of a ``Picture``; without a terminal the same picture becomes one plain line now and then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from server.app.demo.child import ClassroomLine, Report
from server.app.texts import CATALOGUE, say
from signaling.relay import RecorderState

PLAIN_EVERY = 10.0  # seconds between two plain lines when nothing happens
PLAIN_PAUSE = 1.0  # seconds between two when something does


@dataclass(slots=True)
class Picture:
    """All that is shown. ``links`` carry tokens in their fragments: they go to the terminal, never into a log."""

    title: str
    links: dict[str, str]
    began: float  # monotonic
    report: Report | None = None
    recording: RecorderState | None = None
    notes: list[str] = field(default_factory=list)


class Display:
    """In place on a terminal, plain lines elsewhere."""

    def __init__(self, picture: Picture, console: Console | None = None) -> None:
        self.picture = picture
        self._console = console or Console()
        self._live: Live | None = None
        self._next_plain = 0.0
        self._seen: tuple[str, ...] = ()

    def start(self) -> None:
        """The links go out once, each on one line however long, so that they can be copied; the rest moves below."""
        for line in [*link_lines(self.picture.links), *self.picture.notes]:
            self._console.print(Text(line), soft_wrap=True)
        if self._console.is_terminal:
            self._live = Live(self._view(), console=self._console, refresh_per_second=4)
            self._live.start()

    def update(self) -> None:
        if self._live is not None:
            self._live.update(self._view())
        elif self.picture.report is not None and self._worth_a_line(time.monotonic()):
            self._console.print(Text(plain_line(self.picture, time.monotonic())), soft_wrap=True)

    def _worth_a_line(self, now: float) -> bool:
        """When somebody came, went or stopped being recorded; otherwise now and then."""
        seen = states(self.picture)
        due = now >= self._next_plain or (seen != self._seen and now >= self._next_plain - PLAIN_EVERY + PLAIN_PAUSE)
        if due:
            self._next_plain, self._seen = now + PLAIN_EVERY, seen
        return due

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _view(self) -> RenderableType:
        return view(self.picture, time.monotonic())


def view(picture: Picture, now: float) -> RenderableType:
    head = Text.assemble((picture.title, "bold"), f"   {say('display.running')} {clock(now - picture.began)}")
    return Group(Text(), head, _recording(picture), Text(), _people(picture), Text(say("display.stop"), style="dim"))


def _people(picture: Picture) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("classroom", "state", "join", "layer", "latency", "frames", "loss"):
        table.add_column(
            say(f"display.{heading}"), no_wrap=True, justify="left" if heading in ("classroom", "state") else "right"
        )
    if picture.report is None:
        return table
    teacher = picture.report.teacher
    table.add_row(say("display.teacher"), _state(teacher.state, teacher.error), "", "", "", str(teacher.frames), "")
    for room in picture.report.classrooms:
        table.add_row(Text(room.name), _state(room.state, room.error), *cells(room))
    return table


def cells(room: ClassroomLine) -> list[str]:
    layer = f"{room.height}p {room.bitrate // 1000} kbit/s" if room.height else "-"
    latency = f"{milliseconds(room.latency_p50_ms)} / {milliseconds(room.latency_p99_ms)}"
    return [milliseconds(room.first_frame_ms), layer, latency, str(room.frames), f"{room.loss:.1%}"]


def _state(state: str, error: str) -> Text:
    """In words a person knows; the reason behind it where there is one."""
    colours = {"watching": "green", "live": "green", "stopped": "red"}
    words = say(f"state.{state}") if f"state.{state}" in CATALOGUE else state
    return Text(f"{words} ({error})" if error else words, style=colours.get(state, "yellow"))


def _recording(picture: Picture) -> Text:
    state = picture.recording
    if state is None:
        return Text(f"{say('display.recording')}: {say('state.waiting')}", style="yellow")
    words = say(f"state.{state.state}") if f"state.{state.state}" in CATALOGUE else state.state
    detail = f" ({state.detail})" if state.detail else ""
    style = "green" if state.state == "recording" else "yellow"
    return Text.assemble(
        f"{say('display.recording')}: ",
        (words + detail, style),
        f" {clock(state.seconds)}, {say('display.lag')} {milliseconds(state.lag_ms)}",
        f", {say('display.gaps')} {state.gaps}",
    )


def link_lines(links: Mapping[str, str]) -> list[str]:
    return [f"{say('links')}:", *(f"  {say(f'links.{name}')}: {url}" for name, url in links.items())]


def plain_line(picture: Picture, now: float) -> str:
    rooms = picture.report.classrooms if picture.report else ()
    each = "; ".join(
        f"{room.name}: {room.state}, {milliseconds(room.latency_p50_ms)}, {room.frames} {say('display.frames')}"
        for room in rooms
    )
    return f"{clock(now - picture.began)} {_recording(picture).plain}; {each}"


def states(picture: Picture) -> tuple[str, ...]:
    rooms = picture.report.classrooms if picture.report else ()
    return (picture.recording.state if picture.recording else "", *(room.state for room in rooms))


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def clock(seconds: float) -> str:
    """``M:SS``, from an hour on ``H:MM:SS``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
