"""The layer choice on simulated lines (P0..P12 of the lines the product must work on): right, calm, and voice first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from server.media.plane import Layer, LineReport
from server.quality import limits
from server.quality.chooser import LayerChooser
from server.quality.layers import SteadyLayers
from tests.support.simulated_line import AUDIO, SimulatedLine, drive

LAYERS = (Layer("l", 150_000), Layer("m", 500_000), Layer("h", 1_500_000))
SINGLE = (Layer("", 1_500_000),)


def constant(rate: float) -> Callable[[float], float]:
    return lambda _: rate


def steps(*rates: float, every: float = 60.0) -> Callable[[float], float]:
    return lambda t: rates[int(t // every) % len(rates)]


def run(
    line: SimulatedLine, seconds: int = 120, layers: Sequence[Layer] = LAYERS, wish: str | None = None
) -> list[tuple[float, str | None]]:
    """The changes: (second, rid), the start among them."""
    chooser = LayerChooser(0.0)
    chooser.prefer(wish)
    told = list(drive(chooser, line, layers, seconds))
    return [now for index, now in enumerate(told) if index == 0 or told[index - 1][1] != now[1]]


def at(changes: Sequence[tuple[float, str | None]], second: float) -> str | None:
    return [rid for since, rid in changes if since <= second][-1]


@dataclass
class Case:
    line: SimulatedLine
    expected: str | None  # the layer in the end
    by: float  # seconds until it is reached for the first time
    most_changes: int
    layers: tuple[Layer, ...] = LAYERS
    seconds: int = 120


CASES = {
    "P0 lan": Case(SimulatedLine(constant(1e9), rtt_ms=1), "h", 6, 1),
    "P1 fibre": Case(SimulatedLine(constant(100e6), rtt_ms=20, jitter_ms=3, loss=0.0005), "h", 6, 1),
    "P2 shared": Case(SimulatedLine(constant(5e6), rtt_ms=40, jitter_ms=15, loss=0.005, queue=0.4), "h", 6, 1),
    "P3 4g": Case(SimulatedLine(constant(20e6), jitter_ms=20, loss=0.01), "h", 6, 1),
    "P3 no REMB": Case(SimulatedLine(constant(20e6), jitter_ms=20, loss=0.01, remb=False), "h", 6, 1),
    "P5 floor": Case(SimulatedLine(constant(1e6), rtt_ms=80, jitter_ms=20, loss=0.01), "m", 0, 6),
    "P5 no REMB": Case(SimulatedLine(constant(1e6), rtt_ms=80, jitter_ms=20, loss=0.01, remb=False), "m", 0, 6),
    "P6 hill village": Case(SimulatedLine(constant(3.2e6), rtt_ms=120, jitter_ms=60, loss=0.03, queue=1.5), "h", 6, 1),
    "P7 thin": Case(SimulatedLine(constant(0.25e6), rtt_ms=200, jitter_ms=50, loss=0.05, queue=1.0), "l", 4, 5),
    "P6 with its upload full": Case(SimulatedLine(constant(3.2e6), rtt_ms=1140, jitter_ms=60, loss=0.03), "l", 4, 1),
    "P8 satellite": Case(SimulatedLine(constant(10e6), rtt_ms=600, jitter_ms=20, loss=0.005), "h", 6, 1),
    "too thin for video": Case(SimulatedLine(constant(0.15e6), rtt_ms=200, loss=0.05, queue=1.0), None, 8, 6),
    "too thin, no REMB": Case(SimulatedLine(constant(0.15e6), rtt_ms=200, queue=1.0, remb=False), None, 8, 6),
    "single stream fits": Case(SimulatedLine(constant(3e6), loss=0.01), "", 0, 0, SINGLE),
    "single stream does not fit": Case(SimulatedLine(constant(0.8e6), loss=0.01), None, 6, 6, SINGLE, seconds=110),
    "P12 loss 20 % on a wide line": Case(SimulatedLine(constant(20e6), loss=0.2), "l", 5, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_line_gets_its_layer(name: str) -> None:
    case = CASES[name]
    changes = run(case.line, case.seconds, case.layers)
    assert at(changes, case.by) == case.expected
    assert at(changes, case.seconds) == case.expected
    assert len(changes) - 1 <= case.most_changes, changes


@pytest.mark.parametrize("low", [0.35e6, 0.8e6, 1.2e6])
def test_after_a_step_down_the_right_layer_comes_within_five_seconds(low: float) -> None:
    right = "l" if low < 0.6e6 else "m"
    line = SimulatedLine(steps(12e6, low, every=60.0), rtt_ms=90, jitter_ms=40, loss=0.02, queue=1.0)
    changes = run(line, 80)
    assert at(changes, 59) == "h"
    assert at(changes, 65) == right, changes


@pytest.mark.parametrize("low", [0.8e6, 2e6])
def test_p4_steps_each_30_s_move_the_layer_at_most_once_in_20_s(low: float) -> None:
    line = SimulatedLine(steps(12e6, low, every=30.0), rtt_ms=90, jitter_ms=40, loss=0.02, queue=1.0)
    times = [second for second, _ in run(line, 300)][1:]
    assert all(later - earlier >= 20 for earlier, later in itertools.pairwise(times)), times


@pytest.mark.parametrize("remb", [True, False])
def test_failed_steps_up_come_ever_more_rarely(remb: bool) -> None:
    changes = run(SimulatedLine(constant(0.8e6), rtt_ms=80, remb=remb), 900)
    tried = [second for second, rid in changes if rid == "h"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= limits.BACK_OFF[-1]
    spent = sum(later[0] - sooner[0] for sooner, later in itertools.pairwise(changes) if sooner[1] == "h")
    assert spent <= 10


def test_voice_only_is_left_ever_more_rarely() -> None:
    changes = run(SimulatedLine(constant(0.15e6), rtt_ms=200, queue=1.0), 900)
    tried = [second for second, rid in changes if rid == "l"][1:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert gaps == sorted(gaps) and gaps[-1] >= 120


def test_video_comes_back_when_the_line_does() -> None:
    line = SimulatedLine(steps(0.1e6, 20e6, every=30.0), queue=1.0)
    line.capacity = lambda t: 0.1e6 if t < 30 else 20e6
    changes = run(line, 180)
    assert at(changes, 25) is None
    assert at(changes, 100) == "h"


def test_a_bursty_loss_of_one_second_moves_nothing() -> None:
    chooser = LayerChooser(0.0)
    chooser.decide(LAYERS, None, 0.0)
    for second in range(1, 30):
        loss = 0.5 if second == 20 else 0.0
        chooser.decide(LAYERS, report(remb=5_000_000, loss=loss), float(second))
    assert chooser.decide(LAYERS, report(remb=5_000_000), 30.0) == "h"


def report(remb: int | None, loss: float = 0.0, rtt: float = 50.0, sent: int = 600_000) -> LineReport:
    return LineReport(1, remb, loss, rtt, sent, 0)


def test_a_filling_queue_is_felt_before_it_overflows() -> None:
    chooser = LayerChooser(0.0)
    rid = chooser.decide(LAYERS, None, 0.0)
    for second in range(1, 12):
        rid = chooser.decide(LAYERS, report(None, rtt=50.0), float(second))
    assert rid == "h"
    for second in range(12, 15):
        rid = chooser.decide(LAYERS, report(None, rtt=50.0 + 400.0 * (second - 11)), float(second))
    assert rid == "m"


def test_a_client_wish_is_followed_until_the_voice_is_in_danger() -> None:
    assert run(SimulatedLine(constant(20e6)), 60, wish="l") == [(0.0, "l")]
    changes = run(SimulatedLine(constant(0.15e6), queue=1.0), 30, wish="h")
    assert changes[0] == (0.0, "h")
    assert changes[1][1] is None
    chooser = LayerChooser(0.0)
    assert chooser.decide(LAYERS, None, 0.0) == "m"
    chooser.prefer("h")
    assert chooser.decide(LAYERS, None, 1.0) == "h" and chooser.chosen_by == "client"
    chooser.prefer(None)
    assert chooser.decide(LAYERS, None, 2.0) == "h" and chooser.chosen_by == "server"


def test_a_wish_for_a_layer_that_is_not_alive_waits_for_it() -> None:
    chooser = LayerChooser(0.0)
    chooser.prefer("h")
    assert chooser.decide(LAYERS[:2], None, 0.0) == "l"
    assert chooser.decide(LAYERS, None, 1.0) == "h"


def test_layers_that_die_are_left_at_once_and_nothing_is_chosen_of_nothing() -> None:
    chooser = LayerChooser(0.0)
    assert chooser.decide((), None, 0.0) is None
    assert chooser.decide(LAYERS, None, 0.0) == "m"
    assert chooser.decide((LAYERS[0], LAYERS[2]), None, 1.0) == "l"
    assert chooser.decide((LAYERS[2],), None, 2.0) == "h"
    assert chooser.decide((), None, 3.0) == "h"


@pytest.mark.parametrize(("count", "start"), [(1, "l"), (2, "l"), (3, "m")])
def test_the_start_is_low(count: int, start: str) -> None:
    assert LayerChooser(0.0).decide(LAYERS[:count], None, 0.0) == start


def test_probing_knows_that_an_estimate_is_bounded_by_what_is_received() -> None:
    chooser = LayerChooser(0.0)
    chooser.decide(LAYERS, None, 0.0)
    sent = 500_000 + AUDIO
    rid: str | None = None
    for second in range(1, 60):  # 1.1 × what is sent: the line is full, and far from the next layer's rate
        rid = chooser.decide(LAYERS, report(round(1.1 * sent), sent=sent), float(second))
    assert rid == "m"
    # 1.5 × what is sent: nothing is in the way.
    assert chooser.decide(LAYERS, report(round(1.5 * sent), sent=sent), 60.0) == "h"


def test_a_still_picture_that_bounds_the_estimate_is_no_thin_line() -> None:
    """A slide sends a tenth of what its layer sends at the next page; after one false alarm a browser's estimate is
    0.85 × of that, and grows only with what comes."""
    chooser = LayerChooser(0.0)
    chooser.decide(LAYERS, None, 0.0)
    for second in range(1, 40):
        sent = 600_000 if second < 10 else 60_000
        estimate = 5_000_000 if second < 16 else 200_000
        rid = chooser.decide(LAYERS, report(estimate, sent=sent), float(second))
        if second == 9:
            assert rid == "h"
    assert rid == "h"
    for second in range(40, 44):  # the next page: now more is sent than the line carries
        rid = chooser.decide(LAYERS, report(200_000, sent=1_000_000), float(second))
    assert rid == "l"


def test_measured_rates_are_steadied() -> None:
    steady = SteadyLayers()
    both = (Layer("l", 100_000, 320, 180), Layer("h", 1_000_000, 1280, 720))
    assert steady.update(both, 0.0) == both
    still = steady.update((Layer("h", 1_000, 1280, 720), Layer("l", 5_000, 320, 180)), 1.0)
    assert [layer.rid for layer in still] == ["l", "h"]
    assert still[1].bitrate > 800_000
    fresh = (*both, Layer("x", 9, 1920, 1080))
    assert [layer.rid for layer in steady.update(fresh, 2.0)] == ["l", "h"]
    assert [layer.rid for layer in steady.update(fresh, 4.0)] == ["l", "h", "x"]
    rates = [layer.bitrate for layer in steady.update(fresh, 5.0)]
    assert rates == sorted(set(rates))
    assert [layer.rid for layer in steady.update(both[:1], 6.0)] == ["l"]
