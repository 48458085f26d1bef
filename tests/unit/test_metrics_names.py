"""The plane's and the recorder's figures under Prometheus' names and units."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from recorder.service import COUNTERS
from server.app.metrics import (
    BUS_FIGURES,
    NODE_FIGURES,
    PLANE_COUNTERS,
    RECORDER_FIGURES,
    DiskCollector,
    NodeCollector,
    PlaneCollector,
    RecorderCollector,
    combined,
    families,
)
from server.media import plane
from server.media.plane import HistogramCounts, PlaneStats
from server.node.node import RelayNode
from tests.support.recording_plane import RecordingPlane


def samples(*collectors: object) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)  # type: ignore[arg-type]
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_counter_that_the_contract_names_has_a_name_here() -> None:
    text = Path(plane.__file__).read_text(encoding="utf-8")
    listed = re.search(r'counters: dict\[str, int\] = .*?"""(.*?)"""', text, re.DOTALL)
    assert listed
    assert set(re.findall(r"``(\w+)``", listed[1])) == set(PLANE_COUNTERS)


def test_counters_of_both_directions_are_one_metric_with_a_label() -> None:
    found = samples(PlaneCollector(lambda: PlaneStats(counters={"rtp_in": 3, "rtp_out": 12, "novelty": 1})))
    assert found["kongzhong_plane_rtp_packets_total", (("direction", "in"),)] == 3
    assert found["kongzhong_plane_rtp_packets_total", (("direction", "out"),)] == 12
    assert found["kongzhong_plane_other_total", (("counter", "novelty"),)] == 1


def test_histograms_are_accumulated_and_in_seconds() -> None:
    counts = HistogramCounts((1.0, 5.0), [10, 4, 1], sum_ms=90.0)
    found = samples(PlaneCollector(lambda: PlaneStats(transit=counts)))
    buckets = {
        labels[0][1]: value for (name, labels), value in found.items() if name.endswith("transit_seconds_bucket")
    }
    assert buckets == {"0.001": 10, "0.005": 14, "+Inf": 15}
    assert found["kongzhong_relay_transit_seconds_count", ()] == 15
    assert found["kongzhong_relay_transit_seconds_sum", ()] == pytest.approx(0.09)


def test_what_only_grows_is_a_counter_and_milliseconds_become_seconds() -> None:
    stats = {"unix:a": {"lag_ms": 300.0, "written_bytes": 7.0, "lessons": 1.0}}
    found = samples(RecorderCollector(lambda: stats))
    assert found["kongzhong_recorder_lag_seconds", ()] == pytest.approx(0.3)
    assert found["kongzhong_recorder_written_bytes_total", ()] == 7
    assert found["kongzhong_recorder_lessons", ()] == 1
    assert all(RECORDER_FIGURES[name].kind == "counter" for name in COUNTERS)


def test_a_recorders_figures_are_there_before_it_speaks() -> None:
    found = samples(RecorderCollector(dict))
    assert set(found.values()) == {0}
    assert ("kongzhong_recorder_gaps_total", ()) in found
    assert len(found) == len(RECORDER_FIGURES)


def test_a_figure_that_no_table_knows_is_told_under_other() -> None:
    stats = {"unix:a": {"novelty_ms": 3.0, "packets": 1.0}}
    found = samples(RecorderCollector(lambda: stats))
    assert found["kongzhong_recorder_other", (("figure", "novelty_ms"),)] == 3
    assert found["kongzhong_recorder_packets_total", ()] == 1


def test_every_figure_says_more_than_its_name() -> None:
    for table in (RECORDER_FIGURES, NODE_FIGURES, BUS_FIGURES):
        assert len({figure.name for figure in table.values()}) == len(table)
        for family in families("x", table, dict.fromkeys(table, 0.0)):
            assert family.documentation.replace(" ", "_").lower() != family.name.removeprefix("x_")


async def test_every_figure_of_a_node_has_a_name_and_its_watchers_are_told_by_layer() -> None:
    node = RelayNode(RecordingPlane(), addresses=["192.0.2.1"])
    found = samples(NodeCollector(node.stats))
    layers = {dict(labels)["layer"] for name, labels in found if name == "kongzhong_node_watchers"}
    assert layers == {"top", "middle", "low", "voice"}
    assert not any(name == "kongzhong_node_other" for name, _ in found)


def test_granted_socket_buffers_are_told_by_direction() -> None:
    found = samples(PlaneCollector(lambda: PlaneStats(socket_buffers={"in": 212992, "out": 8 << 20})))
    assert found["kongzhong_plane_socket_buffer_bytes", (("direction", "in"),)] == 212992
    assert found["kongzhong_plane_socket_buffer_bytes", (("direction", "out"),)] == 8 << 20


def test_several_recorders_are_a_sum_and_the_worst_delay() -> None:
    assert combined([{"lag_ms": 5, "gaps": 1}, {"lag_ms": 300, "gaps": 2}]) == {"lag_ms": 300, "gaps": 3}


def test_free_space_is_told_and_a_folder_that_is_gone_breaks_nothing(tmp_path: Path) -> None:
    assert samples(DiskCollector(tmp_path))["kongzhong_data_free_bytes", ()] > 0
    assert samples(DiskCollector(tmp_path / "gone")) == {}
