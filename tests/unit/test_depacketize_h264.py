"""H.264 from RTP (RFC 6184) to access units with lengths; single NAL units, STAP-A, FU-A."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import h264
from recorder.depacketize import H264, AccessUnit
from recorder.reorder import Arrived
from recorder.rtp import RtpPacket
from tests.support.lesson_media import payloads, split_nal_units, video_frames


def arrive(frames: list[list[bytes]]) -> list[list[Arrived]]:
    out, sequence = [], 7
    for number, parts in enumerate(frames):
        row = []
        for index, part in enumerate(parts):
            row.append(Arrived(sequence, RtpPacket(sequence, number * 3600, index == len(parts) - 1, part), number))
            sequence += 1
        out.append(row)
    return out


def run(depacketizer: H264, rows: list[list[Arrived]]) -> list[AccessUnit]:
    return [unit for row in rows for item in row for unit in depacketizer.push(item)]


def units_of(data: bytes) -> list[bytes]:
    out = []
    while data:
        length = int.from_bytes(data[:4], "big")
        out.append(data[4 : 4 + length])
        data = data[4 + length :]
    return out


FRAMES = video_frames("H264", 4, 1280, 720)


def packets() -> list[list[Arrived]]:
    return arrive([payloads("H264", frame) for frame in FRAMES])


def test_units_come_out_as_they_were_with_lengths_instead_of_start_codes() -> None:
    rows = packets()
    kinds = {part.packet.payload[0] & 0x1F for row in rows for part in row}
    assert {h264.FU_A, h264.STAP_A} <= kinds  # the encoder's output exercises both
    units = run(H264(), rows)
    assert [units_of(unit.data) for unit in units] == [split_nal_units(frame) for frame in FRAMES]
    assert [index for index, unit in enumerate(units) if unit.keyframe] == [0, 50]
    form = units[0].format
    assert (form.width, form.height) == (1280, 720)
    sps = next(unit for unit in split_nal_units(FRAMES[0]) if unit[0] & 31 == h264.SPS)
    assert form.extra[:6] == bytes((1, sps[1], sps[2], sps[3], 0xFF, 0xE1))
    assert sps in form.extra


def test_single_nal_unit_packets() -> None:
    frames = [split_nal_units(frame) for frame in FRAMES[:3]]
    assert len(run(H264(), arrive(frames))) == 3


def test_parameter_sets_that_travel_alone_are_remembered() -> None:
    units = split_nal_units(FRAMES[0])
    sets = [unit for unit in units if unit[0] & 31 in (h264.SPS, h264.PPS)]
    picture = [unit for unit in units if unit[0] & 31 not in (h264.SPS, h264.PPS)]
    found = run(H264(), arrive([sets, picture]))
    assert [unit.keyframe for unit in found] == [True]


def test_an_idr_picture_without_parameter_sets_is_of_no_use() -> None:
    picture = [unit for unit in split_nal_units(FRAMES[0]) if unit[0] & 31 == h264.IDR]
    depacketizer = H264()
    assert run(depacketizer, arrive([picture])) == []
    assert depacketizer.needs_keyframe


@pytest.mark.parametrize("missing", [0, 1, -1])
def test_a_keyframe_with_a_hole_is_not_a_keyframe(missing: int) -> None:
    rows = packets()
    assert len(rows[0]) > 3
    depacketizer = H264()
    index = missing % len(rows[0])
    out = run(depacketizer, [rows[0][:index]])
    depacketizer.lost()
    out += run(depacketizer, [rows[0][index + 1 :], *rows[1:]])
    assert [unit.timestamp // 3600 for unit in out] == list(range(50, 100))


def test_junk_is_counted_and_never_raises() -> None:
    rng = random.Random(3)
    depacketizer = H264()
    for n in range(5000):
        payload = bytes((rng.choice((0x67, 0x68, 0x65, 0x41, 0x78, 0x7C, 0x1F)),)) + rng.randbytes(rng.randrange(12))
        depacketizer.push(Arrived(n, RtpPacket(n & 0xFFFF, n // 4, rng.random() < 0.3, payload), 0))
    assert depacketizer.malformed > 0


@given(st.binary(max_size=60))
def test_a_parameter_set_is_read_or_refused(data: bytes) -> None:
    try:
        width, height = h264.picture_size(b"\x67" + data)
    except ValueError:
        return
    assert 0 < width <= 16384
    assert 0 < height <= 16384


@pytest.mark.parametrize(("width", "height"), [(320, 180), (1280, 720), (642, 362)])
def test_sizes_with_cropping(width: int, height: int) -> None:
    frame = video_frames("H264", 1, width, height)[0]
    sps = next(unit for unit in split_nal_units(frame) if unit[0] & 31 == h264.SPS)
    assert h264.picture_size(sps) == (width, height)
