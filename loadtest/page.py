"""The report as one HTML file that needs nothing else: no script, no font, no network."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from loadtest import plots
from loadtest.report import Percentiles, Point, Report
from loadtest.texts import text

_STYLE = """
:root{--paper:#fbf6ec;--card:#fffdf8;--ink:#22303c;--soft:#756f62;--line:#eadfcb;--c0:#1f7a6d;--c1:#d9482b;--c2:#d18d1f;
--c3:#3f6fa0}
@media (prefers-color-scheme:dark){:root{--paper:#12191e;--card:#1a242b;--ink:#e9eef0;--soft:#9aa7ad;--line:#2c3a43;
--c0:#4cb8a6;--c1:#f0775b;--c2:#e8b457;--c3:#7fb0e0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.6 system-ui,"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
main{max-width:1400px;margin:0 auto;padding:36px 28px 60px}
header{border-left:6px solid var(--c1);padding-left:18px;margin-bottom:26px}
h1{font-size:28px;line-height:1.3;margin:0}
h2{font-size:18px;margin:0}
.soft{color:var(--soft)}
.verdict{font-size:18px;margin:4px 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;margin:0 0 18px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:16px 20px}
.tile b{display:block;font-size:27px;line-height:1.25;font-variant-numeric:tabular-nums}
.tile small{font-size:15px;font-weight:400;color:var(--soft)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));gap:18px}
.wide{margin-top:18px;overflow-x:auto}
.remarks{border-color:var(--c2);border-left-width:6px;margin-bottom:18px}
.remarks ul{margin:6px 0 0;padding-left:20px}
svg{width:100%;height:auto;display:block;margin-top:6px}
.grid{stroke:var(--line);stroke-width:1}
.axis{fill:var(--soft);font-size:11.5px;text-anchor:middle;font-variant-numeric:tabular-nums}
.axis.y{text-anchor:end}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}
.line{stroke:var(--c)}.bar,.dot{fill:var(--c)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:14px;height:4px;border-radius:2px;background:var(--c);margin-right:7px;
vertical-align:middle}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;margin-top:8px}
th,td{text-align:right;padding:7px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal}
th{font-weight:500;color:var(--soft);font-size:13px}
tr:last-child td{border-bottom:0}
.three table td{white-space:normal;overflow-wrap:anywhere}
.three{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:18px;margin-top:18px}
footer{margin-top:22px;font-size:13px}
@media print{body{background:#fff}.card,.tile{break-inside:avoid}}
"""

Say = Callable[..., str]


def write(report: Report, folder: Path, language: str) -> None:
    """Write ``report.json`` and ``report.html``.

    :raises OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    (folder / "report.html").write_text(render(report, language), encoding="utf-8")


def render(report: Report, language: str) -> str:
    """The page in ``zh-CN`` or ``en``."""

    def say(key: str, **values: object) -> str:
        return html.escape(text(key, language, **values))

    body = [
        f'<header><h1>{say("title")}</h1><p class="verdict">{_verdict(report, say)}</p>',
        f'<p class="soft">{html.escape(str(report.description["started"]))} · ',
        f"{html.escape(str(report.description['machine']))}</p></header>",
        _remarks(report, say),
        _tiles(report, say),
        f'<div class="charts">{"".join(_charts(report, say))}</div>',
        _table(report, say),
        _lists(report, say),
        f'<footer class="soft">{say("honesty")}</footer>',
    ]
    return (
        f'<!doctype html><html lang="{html.escape(language)}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{say("title")}</title>'
        f"<style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def _verdict(report: Report, say: Say) -> str:
    if not report.totals["planned"]:
        return say("verdict-publish")
    return say("verdict-whole" if report.whole else "verdict-part", **report.totals)


def _remarks(report: Report, say: Say) -> str:
    if not report.remarks:
        return ""
    items = "".join(f"<li>{say(key, **values)}</li>" for key, values in report.remarks)
    return f'<section class="card remarks"><h2>{say("remarks")}</h2><ul>{items}</ul></section>'


def _tiles(report: Report, say: Say) -> str:
    rate = max((point.delivered_bitrate for point in report.points), default=0.0)
    tiles = [
        ("tile-classrooms", f"{report.totals['with_picture']}", f"/ {report.totals['planned']}"),
        ("tile-first", _figure(report.first_picture_ms.p95), "ms"),
        ("tile-latency", _figure(report.video_latency_ms.p99), "ms"),
        ("tile-loss", f"{report.loss * 100:.3g}", "%"),
        ("tile-delivered", f"{rate / 1e6:.3g}", "Mbit/s"),
    ]
    if report.sent is not None:
        tiles.append(("tile-keyframes", f"{report.sent.keyframe_requests}", ""))
    cells = "".join(
        f'<div class="tile"><span class="soft">{say(key)}</span><b>{value} <small>{unit}</small></b></div>'
        for key, value, unit in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _charts(report: Report, say: Say) -> list[str]:
    points = report.points

    def series(key: str, label: str, colour: int, value: Callable[[Point], float | None]) -> plots.Line:
        return plots.Line(label or say(key), colour, [(point.at, value(point)) for point in points])

    def lines(name: str, drawn: Sequence[plots.Line], floor: float) -> str:
        picture = plots.line_chart(drawn, x_unit=say("seconds-axis"), nothing=say("nothing"), floor=floor)
        return _card(name, say, plots.legend([(line.label, line.colour) for line in drawn]), picture)

    return [
        lines(
            "joins",
            [
                series("joined", "", 3, lambda p: p.joined),
                series("receiving", "", 2, lambda p: p.receiving),
                series("with-picture", "", 0, lambda p: p.with_picture),
            ],
            1,
        ),
        _first(report, say),
        lines(
            "latency",
            [
                series("", "p50", 0, lambda p: p.video_p50),
                series("", "p95", 2, lambda p: p.video_p95),
                series("", "p99", 1, lambda p: p.video_p99),
                series("audio-p99", "", 3, lambda p: p.audio_p99),
            ],
            1,
        ),
        lines("loss", [series("loss", "", 1, lambda p: p.loss * 100)], 1),
        lines(
            "rate",
            [
                series("published", "", 3, lambda p: p.published_per_second or None),
                series("delivered", "", 0, lambda p: p.delivered_per_second / p.receiving if p.receiving else None),
            ],
            1,
        ),
        lines(
            "cpu",
            [
                series("server", "", 1, lambda p: None if p.server_cpu is None else p.server_cpu * 100),
                series("generator", "", 3, lambda p: None if p.generator_cpu is None else p.generator_cpu * 100),
            ],
            100,
        ),
        lines(
            "memory",
            [
                series("server", "", 1, lambda p: None if p.server_memory is None else p.server_memory / 1e6),
                series("generator", "", 3, lambda p: None if p.generator_memory is None else p.generator_memory / 1e6),
            ],
            1,
        ),
        lines("lag", [series("generator", "", 3, lambda p: p.lag_ms)], 10),
    ]


def _first(report: Report, say: Say) -> str:
    parts = (
        ("joined", 3, report.joined_ms),
        ("receiving", 2, report.first_packet_ms),
        ("with-picture", 0, report.first_picture_ms),
    )
    groups = [plots.Bars(say(key), colour, [count for _, count in found.bars]) for key, colour, found in parts]
    labels = [plots.number(edge) for edge, _ in report.joined_ms.bars]
    picture = plots.bar_chart(groups, labels, nothing=say("nothing"))
    return _card("first", say, plots.legend([(group.label, group.colour) for group in groups]), picture)


def _card(name: str, say: Say, legend: str, picture: str) -> str:
    note = f'<div class="soft">{say(name + "-note")}</div>'
    return f'<section class="card"><h2>{say(name)}</h2>{note}{legend}{picture}</section>'


def _table(report: Report, say: Say) -> str:
    head = "".join(f"<th>{name}</th>" for name in (say("measure"), say("count"), "p50", "p95", "p99", say("maximum")))
    head += f"<th>{say('mean')}</th><th>{say('never-column')}</th>"
    rows = (
        ("row-joined", report.joined_ms),
        ("row-first-packet", report.first_packet_ms),
        ("row-first-picture", report.first_picture_ms),
        ("row-video", report.video_latency_ms),
        ("row-audio", report.audio_latency_ms),
    )
    body = "".join(f"<tr><td>{say(key)}</td>{_cells(found)}</tr>" for key, found in rows)
    return f'<section class="card wide"><h2>{say("table")}</h2><table><tr>{head}</tr>{body}</table></section>'


def _cells(found: Percentiles) -> str:
    figures = (found.p50, found.p95, found.p99, found.maximum, found.mean)
    cells = [str(found.count), *map(_figure, figures), str(found.never) if found.never else "–"]
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _lists(report: Report, say: Say) -> str:
    run = {key: value for key, value in report.description.items() if key not in ("started", "machine")}
    parts = [_list(say("run"), _named(run, say)), _list(say("counters"), _named(report.totals, say))]
    if report.sent is not None:
        sent = {name: getattr(report.sent, name) for name in report.sent.__struct_fields__}
        parts.append(_list(say("sent"), _named({name: _plain(value) for name, value in sent.items()}, say)))
    if report.errors:
        parts.append(_list(say("errors"), report.errors))
    return f'<div class="three">{"".join(parts)}</div>'


def _named(values: Mapping[str, str | int | float], say: Say) -> dict[str, str | int | float]:
    return {html.unescape(say(f"name-{key}")): value for key, value in values.items()}


def _plain(value: object) -> str | int | float:
    if isinstance(value, float):
        return round(value, 2)
    return value if isinstance(value, int | str) else "–"


def _list(title: str, values: Mapping[str, str | int | float]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td>{html.escape(str(value))}</td></tr>" for key, value in values.items()
    )
    return f'<section class="card wide" style="margin:0"><h2>{title}</h2><table>{rows}</table></section>'
