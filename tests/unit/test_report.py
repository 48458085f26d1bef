"""The load test's report: honest sums and remarks, a page that stands alone, in both languages, with nothing secret."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from loadtest import plots
from loadtest.command import split_tokens
from loadtest.generator import Join, Tick, merged
from loadtest.page import render, write
from loadtest.percentiles import Histogram
from loadtest.process import ProcessMeter, Usage
from loadtest.report import Point, Report, Sent, summarise
from loadtest.run import LoadError, LoadOptions, _description
from loadtest.texts import CATALOGUE, text

VOID = {"meta", "br", "line", "polyline", "circle"}


class Strict(HTMLParser):
    """Refuses tags that do not match and anything fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.charts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href"} & {name for name, _ in attrs}
        assert tag not in ("script", "link", "img")
        self.charts += tag == "svg"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def histogram(*values: int) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def example(**changes: object) -> Report:
    video, audio = histogram(2000, 3000, 90_000), histogram(1500)
    points: list[Point] = []
    for second in range(1, 6):
        tick = Tick(at=float(second), joined=3, receiving=2, with_picture=2, packets=200 * second, lost=second)
        sent = Sent(packets=100 * second, bytes=80_000 * second)
        before = points[-1] if points else None
        points.append(Point.of(tick, before, video, audio, sent, Usage(0.5, 50_000_000), Usage(0.2, 80_000_000)))
    last = Tick(at=5.2, joined=2, failed=1, receiving=2, with_picture=2, packets=1000, lost=5, final=True)
    last.joins = [
        Join(0.0, 0.0, 10.0, 12.0, 40.0),
        Join(0.1, 1.0, 11.0, 13.0, 41.0),
        Join(0.2, 0.0, error="503 <full> & busy"),
    ]
    for name, value in changes.items():
        setattr(last, name, value)
    options = LoadOptions(
        whip="http://u:hidden@h/whip/1?token=hidden", whep="http://h/whep/1", classrooms=3, seconds=5,
        whip_token="hidden", tokens=("hidden",),
    )  # fmt: skip
    return summarise(points, last, video, audio, Sent(packets=500), _description(options, datetime.now(UTC)))


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_the_page_is_whole_and_stands_alone(language: str) -> None:
    page = render(example(), language)
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    assert parser.charts == 8
    assert "503 &lt;full&gt; &amp; busy" in page
    assert text("title", language) in page
    assert ("课" in page) == (language == "zh-CN")


def test_no_token_and_no_password_reaches_the_files(tmp_path: Path) -> None:
    write(example(), tmp_path, "en")
    for name in ("report.json", "report.html"):
        assert "hidden" not in (tmp_path / name).read_text()
    data = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)
    assert data.points[-1].published_per_second == 100
    assert json.loads((tmp_path / "report.json").read_text())["totals"]["planned"] == 3


def test_rates_are_differences_and_loss_is_of_the_second() -> None:
    point = example().points[2]
    assert (point.delivered_per_second, point.published_bitrate) == (200, 640_000)
    assert point.loss == pytest.approx(1 / 201)


def test_who_never_saw_a_picture_is_counted_beside_the_percentiles() -> None:
    report = example()
    assert (report.first_picture_ms.count, report.first_picture_ms.never) == (2, 1)
    assert report.first_picture_ms.maximum == 41.0
    assert ("never", {"count": 1}) in report.remarks
    assert not report.whole
    assert report.errors == {"503 <full> & busy": 1}


def test_many_different_errors_are_bounded() -> None:
    report = example(joins=[Join(0.0, 0.0, error=f"error {number}") for number in range(100)])
    assert len(report.errors) == 21
    assert report.errors["other"] == 80


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"generator_cpu": 0.95}, "generator-busy"),
        ({"lag_ms": 80.0}, "generator-late"),
    ],
)
def test_a_generator_that_is_the_bottleneck_is_named(change: dict[str, float], remark: str) -> None:
    report = example()
    assert remark not in dict(report.remarks)
    for name, value in change.items():
        setattr(report.points[0], name, value)
    again = summarise(report.points, None, Histogram(), Histogram(), None, report.description)
    assert remark in dict(again.remarks)


def test_what_no_clock_could_measure_is_said() -> None:
    base = example()
    last = Tick(at=1.0, packets=10, final=True)
    assert "no-latency" in dict(summarise([], last, Histogram(), Histogram(), None, base.description).remarks)
    skewed = histogram(-5, 100)
    assert "clocks-differ" in dict(summarise([], last, skewed, Histogram(), None, base.description).remarks)


def test_an_empty_run_still_makes_a_page() -> None:
    report = summarise([], None, Histogram(), Histogram(), None, {**example().description, "classrooms": 0})
    parser = Strict()
    parser.feed(render(report, "zh-CN"))
    assert parser.open == []


def test_workers_are_added_up() -> None:
    ticks = [
        Tick(at=1.0, joined=2, packets=10, lag_ms=1, video=histogram(5).to_json(), audio=histogram().to_json()),
        Tick(at=1.1, joined=3, packets=20, lag_ms=9, video=histogram(7, 9).to_json(), audio=histogram().to_json()),
    ]
    total = merged(ticks)
    assert (total.joined, total.packets, total.lag_ms, total.at) == (5, 30, 9, 1.1)
    assert Histogram.from_json(total.video).maximum == 9


def test_a_long_series_is_thinned_without_losing_its_peak() -> None:
    line = plots.Line("x", 0, [(float(x), 500.0 if x == 1234 else 1.0) for x in range(3600)])
    picture = plots.line_chart([line], x_unit="s", nothing="-")
    drawn = re.search(r'polyline class="c0 line" points="([^"]*)"', picture)
    assert drawn is not None
    pairs = [tuple(map(float, pair.split(","))) for pair in drawn[1].split()]
    assert len(pairs) <= plots.MAX_COLUMNS + 1
    assert min(y for _, y in pairs) == pytest.approx(12, abs=0.5)  # the peak touches the top


def test_a_hole_in_a_series_interrupts_the_line() -> None:
    line = plots.Line("x", 1, [(0, 1.0), (1, 2.0), (2, None), (3, 1.0), (4, 1.0)])
    assert plots.line_chart([line], x_unit="s", nothing="-").count("<polyline") == 2


@pytest.mark.parametrize("maximum", [0, 0.004, 1, 99, 1250, 3e9])
def test_axis_ticks_are_round_and_reach_the_maximum(maximum: float) -> None:
    found = plots.ticks(maximum)
    assert found[0] == 0
    assert found[-1] >= maximum * 0.999
    assert len(found) <= 12


def test_every_text_exists_in_both_languages_with_the_same_fields() -> None:
    for key, (chinese, english) in CATALOGUE.items():
        assert chinese and english, key
        fields = re.compile(r"{(\w+)")
        assert set(fields.findall(chinese)) == set(fields.findall(english)), key


@pytest.mark.parametrize(
    ("tokens", "whip_token", "publishing", "expected"),
    [
        ((), "", True, ("", ())),
        (("a",), "", True, ("a", ("a",))),
        (("a", "b", "c"), "", True, ("a", ("b", "c"))),
        (("a", "b"), "w", True, ("w", ("a", "b"))),
        (("a", "b"), "", False, ("", ("a", "b"))),
    ],
)
def test_tokens_are_shared_out(
    tokens: tuple[str, ...], whip_token: str, publishing: bool, expected: tuple[str, tuple[str, ...]]
) -> None:
    assert split_tokens(tokens, whip_token, publishing) == expected


@pytest.mark.parametrize(
    "options",
    [
        LoadOptions(),
        LoadOptions(whep="ftp://h/x"),
        LoadOptions(whep="http://h/x", classrooms=0),
        LoadOptions(whep="http://h/x", seconds=5, ramp=6),
        LoadOptions(whep="http://h/x", workers=0),
    ],
)
def test_contradicting_options_are_refused_in_words(options: LoadOptions) -> None:
    with pytest.raises(LoadError, match=r"."):
        options.check()


def test_a_process_that_works_shows_its_work_and_one_that_is_gone_shows_none() -> None:
    meter = ProcessMeter(os.getpid())
    assert meter.look(0.0) is None
    start = os.times().user
    while os.times().user - start < 0.1:
        sum(range(1000))
    usage = meter.look(1.0)
    assert usage is not None
    assert usage.cpu >= 0.05
    assert usage.memory > 1_000_000
    assert ProcessMeter(2**22 + 1).look(0.0) is None
