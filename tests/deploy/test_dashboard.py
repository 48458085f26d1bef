"""The Grafana dashboard: its queries run on a real Prometheus that scrapes a real lesson, and show what they must."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from loadtest.classroom import VirtualClassroom
from loadtest.teacher import VirtualTeacher
from server.app.metrics import PLANE_COUNTERS
from signaling.store import LessonStore
from signaling.tokens import Tokens, load_or_make_secret
from tests.support.processes import Serving
from tests.support.prometheus_server import PrometheusServer
from tests.support.waiting import eventually, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's package prometheus"),
]
FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARD = json.loads((FOLDER / "dashboards" / "kongzhong.json").read_text(encoding="utf-8"))

MAY_BE_EMPTY = {
    # What only browsers report, only Redis has, or a healthy lesson on loopback does not cause.
    "kongzhong_one_way_latency_seconds_bucket",
    "kongzhong_redis_up",
    "kongzhong_signaling_faults_total",
}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5s")


@dataclass
class Lesson:
    prometheus: PrometheusServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lesson(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lesson]:
    folder = tmp_path_factory.mktemp("lesson")
    async with AsyncExitStack() as stack:
        serving = await stack.enter_async_context(Serving(folder / "data", "--media", "127.0.0.1:0"))
        target = {"all": serving.url.removeprefix("http://")}
        prometheus = await stack.enter_async_context(PrometheusServer(folder / "prometheus", target))
        # A counter that is first seen with a value has no rate: Prometheus has to see it before anything happens.
        await _scraped(prometheus, "up == 1")
        store = LessonStore(folder / "data" / "lessons.db")
        name = store.create("分数的初步认识").id
        store.close()
        tokens = Tokens(load_or_make_secret(folder / "data"))
        teacher = VirtualTeacher(f"{serving.url}/whip/{name}", tokens.issue(name, "teacher", "teacher"))
        await stack.enter_async_context(teacher)
        rooms = [VirtualClassroom(f"{serving.url}/whep/{name}", tokens.issue(name, "classroom", seat)) for seat in "ab"]
        for room in rooms:
            await stack.enter_async_context(room)
        await until(lambda: all(room.stats().frames > 30 for room in rooms), "both classrooms watch")
        await _scraped(prometheus, 'sum(rate(kongzhong_plane_rtp_packets_total{direction="out"}[5s])) > 100')
        await _scraped(prometheus, "rate(kongzhong_recorder_written_bytes_total[5s]) > 0")
        await _scraped(prometheus, "histogram_quantile(0.5, rate(kongzhong_capture_latency_seconds_bucket[5s])) >= 0")
        yield Lesson(prometheus)


async def _scraped(prometheus: PrometheusServer, expression: str) -> None:
    await eventually(lambda: prometheus.query(expression), expression)


@pytest.mark.asyncio(loop_scope="module")
async def test_every_query_runs_and_those_that_must_have_data_do(lesson: Lesson) -> None:
    empty = []
    for title, expression in queries():
        found = await lesson.prometheus.query(expression)
        if not found and not any(name in expression for name in MAY_BE_EMPTY):
            empty.append(f"{title}: {expression}")
    assert not empty, "\n".join(empty)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_figures_are_those_of_the_lesson(lesson: Lesson) -> None:
    async def value(expression: str) -> float:
        (found,) = await lesson.prometheus.query(expression)
        return float(found["value"][1])

    assert await value('sum(kongzhong_lessons{state="live"})') == 1
    assert await value('sum(kongzhong_seats{state=~"watching|poor"})') == 3  # with the teacher's
    assert await value('sum(kongzhong_joins_total{code="ok"})') == 3
    assert await value("kongzhong_recorder_tap_connected") == 1
    assert await value("kongzhong_recorder_lessons") == 1
    assert await value("kongzhong_lessons_silent") == 0
    assert await value('kongzhong_node_watchers{layer="top"}') == 2  # of a single stream
    assert await value("sum(kongzhong_node_watchers)") == 2
    transit = await value("histogram_quantile(0.99, rate(kongzhong_relay_transit_seconds_bucket[5s]))")
    assert 0 < transit < math.inf
    sent = await value('sum(kongzhong_plane_rtp_packets_total{direction="out"})')
    received = await value('sum(kongzhong_plane_rtp_packets_total{direction="in"})')
    assert sent > received > 0


@pytest.mark.asyncio(loop_scope="module")
async def test_a_healthy_lesson_raises_no_alert_that_fires(lesson: Lesson) -> None:
    firing = await lesson.prometheus.query('ALERTS{alertstate="firing"}')
    # The machine's own disk is nobody's fault here.
    assert [alert["metric"]["alertname"] for alert in firing if alert["metric"]["alertname"] != "DiskFilling"] == []


@pytest.mark.asyncio(loop_scope="module")
async def test_no_label_grows_with_lessons_or_seats(lesson: Lesson) -> None:
    found = await lesson.prometheus.query('{__name__=~"kongzhong_.*"}')
    names = {name for series in found for name in series["metric"]}
    allowed = {
        "__name__",
        "instance",
        "job",
        "process",
        "role",
        "le",
        "direction",
        "reason",
        "result",
        "kind",
        "queue",
        "state",
        "layer",
    }
    assert names <= allowed | {"code", "source", "counter", "where"}
    assert len(found) < 1000


@pytest.mark.asyncio(loop_scope="module")
async def test_every_counter_of_the_plane_has_a_name_of_its_own(lesson: Lesson) -> None:
    assert await lesson.prometheus.query("kongzhong_plane_other_total") == []
    for name, labels in PLANE_COUNTERS.values():
        chosen = ",".join(f'{key}="{text}"' for key, text in labels.items())
        assert await lesson.prometheus.query(f"kongzhong_plane_{name}_total{{{chosen}}}"), name


def test_the_dashboard_is_provisioned_and_every_panel_has_a_title_a_unit_and_a_place() -> None:
    places = set()
    for panel in panels():
        assert panel["title"] and panel["targets"]
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            assert (x, place["y"]) not in places, f"{panel['title']} lies on another panel"
            places.add((x, place["y"]))
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "heatmap":
            assert panel["fieldConfig"]["defaults"]["unit"]
    assert DASHBOARD["uid"] == "kongzhong"
