"""The table that ``kongzhong demo`` prints, and whether anything is missing from it."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.classroom import ClassroomStats
from server.app.demo.display import milliseconds
from server.app.demo.hold import LISTED_WITHIN, Outcome
from server.app.texts import pick, say

JOIN_SECONDS = 3.0
"""Of a lesson, what may be missing at a classroom's beginning: its join and the wait for a whole picture."""

RECORDING_SLACK = 2.0
"""Recorded duration against the wall clock: the handshake at the beginning, the last fragment at the end."""

LOSS_MAX = 0.01
"""On loopback nothing is lost but what an overloaded machine's socket buffers drop."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was looked at, what was found, what was wanted, whether that is good."""

    what: str
    found: str
    wanted: str
    good: bool


def rows(outcome: Outcome) -> list[Row]:
    sent, recorded = outcome.sent, outcome.recorded
    found = [Row(_("发送帧", "frames sent"), str(sent.frames), "> 0", sent.frames > 0)]
    found += [_room_row(name, stats, sent.frames, outcome.taught) for name, stats in outcome.rooms]
    gaps = outcome.resource.get("gaps")
    gap_count = len(gaps) if isinstance(gaps, list) else 0
    return [
        *found,
        _within(_("录像时长", "recorded duration"), recorded.video_seconds, outcome.taught),
        _within(_("录像声音", "recorded sound"), recorded.audio_seconds, outcome.taught),
        Row(_("录像缺口", "gaps in the recording"), str(gap_count), "0", gap_count == 0),
        Row(
            _("录像帧(时钟可读)", "recorded frames (clock read)"),
            f"{recorded.frames} ({recorded.readable})",
            _("全部可读", "all of them"),
            recorded.frames > 0 and recorded.readable == recorded.frames,
        ),
        Row(
            _("录像中跳过/倒退的帧", "frames skipped / backwards in it"),
            f"{recorded.skipped} / {recorded.backwards}",
            "0 / 0",
            recorded.skipped == 0 and recorded.backwards == 0,
        ),
        Row(
            _("下课后入库", "in the library after the bell"),
            f"{outcome.listed_after:.1f} s",
            f"≤ {LISTED_WITHIN:.0f} s",
            outcome.listed_after <= LISTED_WITHIN,
        ),
    ]


def show(outcome: Outcome, console: Console | None = None) -> bool:
    """Print the table; whether everything is there."""
    console = console or Console()
    table = Table(title=say("report.title"), title_justify="left", box=None, header_style="dim", pad_edge=False)
    for heading in ("check", "found", "wanted"):
        table.add_column(say(f"report.{heading}"), overflow="fold")
    table.add_column("")
    checked = rows(outcome)
    for row in checked:
        mark = Text("✓", style="green") if row.good else Text("✗", style="bold red")
        table.add_row(Text(row.what), Text(row.found), Text(row.wanted), mark)
    console.print(table)
    good = all(row.good for row in checked)
    console.print(Text(say("report.ok" if good else "report.missing"), style="bold green" if good else "bold red"))
    return good


def _room_row(name: str, stats: ClassroomStats, sent: int, taught: float) -> Row:
    least = max(1, int(sent * max(0.0, taught - JOIN_SECONDS) / taught)) if taught else 1
    latency = f"{milliseconds(stats.latency_p50_ms)} / {milliseconds(stats.latency_p99_ms)}"
    found = [
        f"{stats.frames} {say('display.frames')}",
        f"{say('display.join')} {milliseconds(stats.first_frame_ms)}",
        f"{say('display.latency')} p50 / p99 {latency}",
        f"{say('display.loss')} {stats.loss:.2%}",
    ]
    measured = stats.first_frame_ms is not None and stats.latency_p99_ms is not None
    good = stats.frames >= least and measured and stats.loss <= LOSS_MAX
    wanted = f"≥ {least} {say('display.frames')}, {say('display.loss')} ≤ {LOSS_MAX:.0%}"
    return Row(name, "\n".join(found), wanted, good)


def _within(what: str, seconds: float, taught: float) -> Row:
    wanted = f"{taught:.1f} ± {RECORDING_SLACK:.0f} s"
    return Row(what, f"{seconds:.1f} s", wanted, abs(seconds - taught) <= RECORDING_SLACK)


def _(chinese: str, english: str) -> str:
    return pick((chinese, english))
