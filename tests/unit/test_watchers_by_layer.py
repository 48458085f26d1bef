"""Which rank a watcher counts under: its place among the living layers, whatever the encoder calls them."""

from __future__ import annotations

import pytest

from server.media.plane import AddSink, AddSource, Kind, Layer
from server.negotiation.sdp import Credentials
from server.node.connection import Source, Watcher
from server.node.node import layer_rank


def source_of(*rids: str) -> Source:
    """Of these living layers, the least first."""
    steady = tuple(Layer(rid, bitrate=100 * (place + 1)) for place, rid in enumerate(rids))
    return Source(AddSource(1, 1, "video", "0", (), {}, rids), steady=steady)


def watcher(asked: str | None = None, *, has_asked: bool = True, kind: Kind = "video") -> Watcher:
    line = Credentials("ufrag", "password")
    found = Watcher("w", "lesson", "seat", "camera", 2, line, line, (), 0.0, asked=asked, has_asked=has_asked)
    found.sinks[kind] = AddSink(2, 2, kind, "0", 1, None, (), {}, "cname", source=1)
    return found


@pytest.mark.parametrize(
    ("rids", "asked", "rank"),
    [
        (("q", "h", "f"), "f", "top"),
        (("q", "h", "f"), "h", "middle"),
        (("q", "h", "f"), "q", "low"),
        (("h", "f"), "h", "low"),
        (("low", "high"), "high", "top"),
        (("q",), "q", "top"),
        (("",), "", "top"),
        (("q", "h", "f"), "gone", "low"),
    ],
)
def test_the_rank_is_the_place_among_the_living_layers(rids: tuple[str, ...], asked: str, rank: str) -> None:
    assert layer_rank(watcher(asked), source_of(*rids)) == rank


def test_whoever_gets_no_picture_counts_as_voice() -> None:
    assert layer_rank(watcher(None), source_of("q", "f")) == "voice"
    assert layer_rank(watcher("f", kind="audio"), source_of("q", "f")) == "voice"
    assert layer_rank(watcher("f"), None) == "voice"


def test_before_anything_was_asked_a_single_stream_is_the_top() -> None:
    assert layer_rank(watcher(has_asked=False), source_of()) == "top"
