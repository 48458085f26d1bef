"""RTP time becomes wall clock: same for sound and picture, steady under jitter, right again after jumps."""

from __future__ import annotations

import random

import pytest

from recorder.limits import MS, S
from recorder.timeline import PublisherClock, TrackClock, WindowedMinimum

T0 = 1_700_000_000 * S


def test_media_time_decides_not_arrival() -> None:
    clock = TrackClock(90_000, PublisherClock())
    rng = random.Random(1)
    clock.place(1000, T0)
    for n in range(1, 500):
        late = rng.randrange(0, 200) * MS
        at = clock.place(1000 + n * 3600, T0 + n * 40 * MS + late)
        assert abs(at - (T0 + n * 40 * MS)) < MS


def test_timestamps_wrap() -> None:
    clock = TrackClock(90_000, PublisherClock())
    clock.place(2**32 - 3600, T0)
    assert clock.place(0, T0 + 40 * MS) == T0 + 40 * MS
    assert clock.place(3600, T0 + 80 * MS) == T0 + 80 * MS


def test_a_late_first_packet_is_corrected_slowly() -> None:
    clock = TrackClock(48_000, PublisherClock())
    clock.place(0, T0 + 300 * MS)
    previous = T0 + 300 * MS
    for n in range(1, 50 * 120):
        at = clock.place(n * 960, T0 + n * 20 * MS)
        assert 19 * MS < at - previous < 21 * MS
        previous = at
    assert abs(previous - (T0 + (50 * 120 - 1) * 20 * MS)) < 2 * MS


def test_sender_reports_align_sound_and_picture() -> None:
    """The camera's frames arrive 150 ms later than the voice of the same instant; the file must not say so."""
    publisher = PublisherClock()
    voice, picture = TrackClock(48_000, publisher), TrackClock(90_000, publisher)
    skew = 3_600 * S  # the publisher's clock is an hour off
    for n in range(50 * 60):
        instant = n * 20 * MS
        if n % 50 == 10:
            voice.report(n * 960, T0 + skew + instant, T0 + instant + 20 * MS)
            picture.report(n * 1800, T0 + skew + instant, T0 + instant + 20 * MS)
        heard = voice.place(n * 960, T0 + instant + 20 * MS)
        if n % 2 == 0:
            seen = picture.place(n * 1800, T0 + instant + 170 * MS)
            if n > 50 * 50:
                assert abs(seen - heard) < 2 * MS


def test_a_clock_that_drifts_is_followed() -> None:
    clock = TrackClock(48_000, PublisherClock())
    for n in range(50 * 600):
        real = T0 + round(n * 20 * MS * 1.0003)  # 300 ppm: 180 ms in ten minutes
        at = clock.place(n * 960, real)
    assert abs(at - real) < 15 * MS


def test_a_jump_of_the_timestamp_is_a_new_anchor() -> None:
    clock = TrackClock(90_000, PublisherClock())
    clock.place(0, T0)
    assert clock.place(90_000 * 1000, T0 + 40 * MS) == T0 + 40 * MS
    assert clock.place(90_000 * 1000 + 3600, T0 + 80 * MS) == T0 + 80 * MS
    assert clock.place(7, T0 + 120 * MS) == T0 + 120 * MS
    assert clock.jumps == 2


def test_a_pause_keeps_its_length() -> None:
    clock = TrackClock(48_000, PublisherClock())
    clock.place(0, T0)
    assert clock.place(48_000 * 20, T0 + 20 * S) == T0 + 20 * S
    assert clock.place(48_000 * 20 + 960, T0 + 60 * S) == T0 + 60 * S  # a clock that stood still meanwhile


def test_a_report_that_contradicts_arrivals_is_not_believed() -> None:
    publisher = PublisherClock()
    clock = TrackClock(90_000, publisher)
    clock.place(0, T0)
    clock.report(0, T0, T0)
    clock.report(90_000 * 100, T0, T0 + 1 * S)
    assert abs(clock.place(3600, T0 + 40 * MS) - (T0 + 40 * MS)) < MS


def test_windowed_minimum_forgets() -> None:
    least = WindowedMinimum(10)
    assert [least.add(v, t) for t, v in enumerate((5, 3, 7, 4))] == [5, 3, 3, 3]
    assert least.add(9, 12) == 3
    assert least.add(9, 23) == 9
    assert least.add(6, 100) == 6


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize("jump", [-3.5, -2.0, 0.9, 1.5, 3.5, 20.0, -20.0])
def test_media_time_that_jumps_is_right_again_soon(jump: float, reported: bool) -> None:
    """As after a computer slept, or of an encoder that was reconfigured: the timestamps leap, the numbers do not."""
    clock = TrackClock(48_000, PublisherClock())
    off: list[float] = []
    for n in range(50 * 60):
        instant = T0 + n * 20 * MS
        stamp = n * 960 + (int(jump * 48_000) if n >= 50 * 20 else 0) & 0xFFFFFFFF
        off.append(abs(clock.place(stamp, instant) - instant) / S)
        if reported and n % 50 == 10:
            clock.report(stamp, instant, instant)
    assert max(off[: 50 * 20]) < 0.01
    settled = off[50 * (20 + 2 * 10) :]  # two windows later
    assert max(settled) < 1 and settled[-1] <= settled[0]
    if abs(jump) > 1:
        assert max(settled) < 0.1
