"""VP8 from RTP (RFC 7741): whole frames only, from a keyframe on, and after a loss from the next keyframe."""

from __future__ import annotations

import random

import pytest

from recorder.depacketize import AccessUnit, Vp8
from recorder.reorder import Arrived
from recorder.rtp import RtpPacket
from tests.support.lesson_media import payloads, video_frames


def arrive(frames: tuple[bytes, ...]) -> list[list[Arrived]]:
    """Frames as packets in order."""
    out, sequence = [], 100
    for number, frame in enumerate(frames):
        parts = payloads("VP8", frame, number)
        row = []
        for index, part in enumerate(parts):
            row.append(Arrived(sequence, RtpPacket(sequence, number * 3600, index == len(parts) - 1, part), number))
            sequence += 1
        out.append(row)
    return out


def run(vp8: Vp8, items: list[Arrived]) -> list[AccessUnit]:
    return [unit for item in items for unit in vp8.push(item)]


def test_frames_come_out_byte_for_byte() -> None:
    frames = video_frames("VP8", 4)
    units = run(Vp8(), [item for row in arrive(frames) for item in row])
    assert [unit.data for unit in units] == list(frames)
    assert [index for index, unit in enumerate(units) if unit.keyframe] == [0, 50]
    assert (units[0].format.width, units[0].format.height) == (320, 180)
    assert (units[1].first, units[0].last + 1) == (units[1].first, units[1].first)


def test_nothing_before_the_first_keyframe() -> None:
    rows = arrive(video_frames("VP8", 4))
    vp8 = Vp8()
    assert run(vp8, [item for row in rows[3:50] for item in row]) == []
    assert vp8.needs_keyframe
    assert len(run(vp8, [item for row in rows[50:] for item in row])) == 50


@pytest.mark.parametrize("hole", ["first", "last", "whole"])
def test_after_a_loss_the_next_frame_is_a_keyframe(hole: str) -> None:
    rows = arrive(video_frames("VP8", 4))
    vp8 = Vp8()
    units = run(vp8, [item for row in rows[:10] for item in row])
    kept = {"first": rows[10][1:], "last": rows[10][:-1], "whole": []}[hole]
    if hole != "last":
        vp8.lost()
    units += run(vp8, kept)
    if hole == "last":
        vp8.lost()
    units += run(vp8, [item for row in rows[11:] for item in row])
    assert [unit.timestamp // 3600 for unit in units] == [*range(10), *range(50, 100)]


def test_an_encoder_without_marker_bits_is_understood() -> None:
    rows = arrive(video_frames("VP8", 4)[:5])
    bare = [Arrived(i.sequence, i.packet._replace(marker=False), 0) for row in rows for i in row]
    assert [unit.timestamp // 3600 for unit in run(Vp8(), bare)] == [0, 1, 2, 3]


def test_junk_is_counted_and_never_raises() -> None:
    rng = random.Random(7)
    vp8 = Vp8()
    for n in range(3000):
        payload = rng.randbytes(rng.randrange(0, 24))
        vp8.push(Arrived(n, RtpPacket(n & 0xFFFF, n // 3, rng.random() < 0.3, payload), 0))
    assert vp8.malformed > 0
