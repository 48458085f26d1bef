"""``kongzhong bench``: measure the promised figures and print each beside its goal; nothing is asserted."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table

from server.app.texts import say

T = TypeVar("T")
Row = tuple[str, str, str]


@click.command("bench", help=say("bench"))
@click.option("--subscribers", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seconds", default=15.0, show_default=True, type=click.FloatRange(2, 600))
def command(subscribers: int, seconds: float) -> None:
    import uvloop

    from loadtest.process import machine

    console = Console()
    console.print(machine(), highlight=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        table = Table(box=None, pad_edge=False)
        table.add_column(say("bench.what"))
        table.add_column(say("bench.found"), justify="right")
        table.add_column(say("bench.goal"))
        for measured in _measurements(runner, subscribers, seconds):
            for row in measured:
                table.add_row(*row)
                print(f"{row[0]}: {row[1]}  [{row[2]}]", file=sys.stderr, flush=True)
        console.print(table)


def _measurements(runner: asyncio.Runner, count: int, seconds: float) -> Iterator[list[Row]]:
    from server.app.bench import browser, lesson

    def held(measure: Callable[[Path], Awaitable[T]]) -> T:
        async def hold(data: Path) -> T:
            return await measure(data)

        with tempfile.TemporaryDirectory(prefix="kongzhong-bench-") as data:
            return runner.run(hold(Path(data)))

    forwarding = held(lambda data: lesson.forwarding(data, count, seconds))
    yield [
        (say("bench.ratio").format(count=count), f"{forwarding.ratio:.2f}", "≥ 0.4 (mediasoup 0.49, Janus 0.12)"),
        (say("bench.flat"), f"{forwarding.flat_floor_us / forwarding.cpu_us:.2f}", ""),
        (say("bench.cost"), f"{forwarding.cpu_us:.2f} µs / {forwarding.floor_us:.2f} µs", ""),
        (say("bench.rate"), f"{forwarding.packets_per_second:,.0f}/s", ""),
        (say("bench.transit"), f"≤ {forwarding.transit_p99_ms:g} ms", "≤ 5 ms"),
        (say("bench.lost"), f"{forwarding.lost}", "0"),
    ]
    joining = held(lambda data: lesson.joining(data, count))
    yield [
        (say("bench.join"), f"{joining.cpu_ms:.2f} ms", "≤ 2 ms"),
    ]
    bell = held(lambda data: lesson.bell(data, count))
    yield [
        (say("bench.bell").format(count=count), f"{bell.playing}", f"{count}"),
        (
            say("bench.first"),
            f"{bell.first_frame_p50_ms:.0f} ms / {bell.first_frame_p95_ms:.0f} ms",
            "p95 ≤ 2000 ms",
        ),
        (say("bench.asked"), f"{bell.keyframe_requests}", "≤ 1"),
        (say("bench.memory"), f"{bell.memory_kb:.0f} KB", "≤ 150 KB"),
    ]
    recording = held(lesson.recording)
    yield [(say("bench.recorder"), f"{recording.cpu_share * 100:.1f} %", "≤ 3 %")]
    if browser.available():
        yield [(say("bench.chromium"), f"{held(browser.first_frame):.0f} ms", "≤ 1000 ms")]
