"""``kongzhong loadtest``: the options, the live line, the exit code (0 whole, 1 not whole, 2 could not run)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click
import uvloop
from rich.console import Console
from rich.live import Live
from rich.table import Table

from loadtest.rawclient.media import ClipError
from loadtest.rawclient.peer import Unreachable
from loadtest.rawclient.resource import Refusal
from loadtest.rawclient.sdp import SdpError
from loadtest.report import Point, Report, Sent
from loadtest.run import LoadError, LoadOptions, run
from loadtest.texts import spoken, text


@click.command("loadtest")
@click.option("--whip", default="", metavar="URL", help="publish the sample lesson here")
@click.option("--whep", default="", metavar="URL", help="let the classrooms watch here")
@click.option("--classrooms", "-n", default=10, show_default=True, help="how many watch")
@click.option("--seconds", "-s", default=30.0, show_default=True, help="length of the run, the ramp included")
@click.option("--ramp", default=0.0, show_default=True, metavar="SECONDS", help="let them join over this time")
@click.option(
    "--token",
    "tokens",
    multiple=True,
    help="bearer token; several: the first publishes (with --whip, without --whip-token), the others go round the "
    "classrooms; a single one serves both",
)
@click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="more tokens, one a line, after those of --token",
)  # fmt: skip
@click.option("--whip-token", default="", help="bearer token of the publisher; then every --token is for classrooms")
@click.option("--pid", type=int, help="show CPU and memory of this server process and its children")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="write report.json, report.html here")
@click.option("--workers", default=1, show_default=True, help="generator processes, where one core is not enough")
@click.option("--bitrate", default=0, metavar="KBIT", help="fill the video up to this rate in kbit/s (H.264)")
@click.option("--codec", type=click.Choice(["H264", "VP8"]), default="H264", show_default=True)
@click.option("--simulcast", is_flag=True, help="publish three layers (rids l, m, h)")
@click.option(
    "--file", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="publish this file (H.264 or VP8 without B frames, Opus); several: simulcast layers",
)  # fmt: skip
@click.option("--language", type=click.Choice(["zh-CN", "en"]), default=spoken, show_default="of the terminal")
def loadtest(tokens: tuple[str, ...], token_file: Path | None, whip_token: str, bitrate: int, **rest: Any) -> None:
    """Put virtual classrooms on any WHIP/WHEP server and measure what they get."""
    if token_file is not None:
        tokens += tuple(token_file.read_text(encoding="utf-8").split())
    publisher, classrooms = split_tokens(tokens, whip_token, bool(rest["whip"]))
    options = LoadOptions(whip_token=publisher, tokens=classrooms, bitrate=bitrate * 1000, **rest)
    sys.exit(main(options))


def split_tokens(tokens: tuple[str, ...], whip_token: str, publishing: bool) -> tuple[str, tuple[str, ...]]:
    """(publisher's token, classrooms' tokens), by the rule in the help of ``--token``."""
    if whip_token or not publishing or not tokens:
        return whip_token, tokens
    return tokens[0], tokens[1:] or tokens


def main(options: LoadOptions) -> int:
    """Run it with a live table on the terminal; gives the exit code."""
    console = Console()
    try:
        with Live(console=console, refresh_per_second=4, transient=True) as live:

            def progress(point: Point, sent: Sent | None) -> None:
                live.update(_table(point, sent, options))

            report = uvloop.run(run(options, progress))
    except (LoadError, ClipError, SdpError, Unreachable, OSError) as error:
        console.print(str(error), style="red", markup=False)
        return 2
    except Refusal as refusal:
        console.print(text("refused", options.language, reason=refusal), style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        return 130
    _conclude(console, report, options)
    return 0 if report.whole else 1


def _table(point: Point, sent: Sent | None, options: LoadOptions) -> Table:
    language = options.language
    table = Table(box=None, pad_edge=False)
    rows: list[tuple[str, str]] = [
        (text("progress", language, seconds=point.at), f"/ {options.seconds:.0f} s"),
        (text("with-picture", language), f"{point.with_picture} / {options.classrooms if options.whep else 0}"),
        (text("latency", language), f"p50 {_figure(point.video_p50)}  p99 {_figure(point.video_p99)} ms"),
        (text("loss", language), f"{point.loss * 100:.2f} %"),
        (text("published", language), f"{point.published_per_second:.0f}/s"),
        (
            text("delivered", language),
            f"{point.delivered_per_second:.0f}/s  {point.delivered_bitrate / 1e6:.1f} Mbit/s",
        ),
    ]
    if point.server_cpu is not None:
        rows.append((text("server", language), f"{point.server_cpu * 100:.0f} %"))
    if point.generator_cpu is not None:
        rows.append((text("generator", language), f"{point.generator_cpu * 100:.0f} %"))
    for name, _ in rows:
        table.add_column(name, justify="right")
    table.add_row(*(value for _, value in rows))
    return table


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _conclude(console: Console, report: Report, options: LoadOptions) -> None:
    language = options.language
    verdict: Literal["verdict-whole", "verdict-part", "verdict-publish"]
    verdict = "verdict-publish" if not report.totals["planned"] else "verdict-whole" if report.whole else "verdict-part"
    console.print(text(verdict, language, **report.totals), style="bold", markup=False)
    table = Table(box=None)
    for name in (text("measure", language), text("count", language), "p50", "p95", "p99", text("maximum", language)):
        table.add_column(name, justify="left" if not table.columns else "right")
    for key, found in (
        ("row-joined", report.joined_ms),
        ("row-first-packet", report.first_packet_ms),
        ("row-first-picture", report.first_picture_ms),
        ("row-video", report.video_latency_ms),
        ("row-audio", report.audio_latency_ms),
    ):
        figures = (found.p50, found.p95, found.p99, found.maximum)
        table.add_row(text(key, language), str(found.count), *map(_figure, figures))
    console.print(table)
    console.print(f"{text('tile-loss', language)} {report.loss * 100:.3g} %", markup=False, highlight=False)
    for key, values in report.remarks:
        console.print(f"! {text(key, language, **values)}", style="yellow", markup=False)
    for reason, count in report.errors.items():
        console.print(f"{count} × {reason}", style="red", markup=False)
    if options.out is not None:
        console.print(text("written", language, path=options.out / "report.html"), markup=False)
