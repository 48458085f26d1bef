"""The bundled lesson: small, decodable, every frame's clock readable in every version, the voice audible."""

from __future__ import annotations

import array
import math
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from loadtest import clock
from loadtest.rawclient import media

VERSIONS = {
    "sample.mp4": (1280, 720, "h264"),
    "sample-m.mp4": (640, 360, "h264"),
    "sample-l.mp4": (320, 180, "h264"),
    "sample-vp8.webm": (640, 360, "vp8"),
}


def decoded(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


@pytest.mark.parametrize("name", VERSIONS)
def test_every_frame_of_the_sample_shows_its_number(name: str) -> None:
    width, height, _ = VERSIONS[name]
    numbers = []
    for frame in decoded(media.SAMPLE / name):
        assert (frame.width, frame.height) == (width, height)
        numbers.append(clock.read_frame(frame))
    assert numbers == list(range(len(numbers)))
    assert 40 * 15 <= len(numbers) <= 60 * 15


@pytest.mark.parametrize("name", VERSIONS)
def test_the_sample_suits_real_time(name: str) -> None:
    with av.open(str(media.SAMPLE / name)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec.canonical_name == VERSIONS[name][2]
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert all(packet.dts == packet.pts for packet in packets)  # no B frames
    assert {index for index, packet in enumerate(packets) if packet.is_keyframe} == set(range(0, len(packets), 30))


def test_the_h264_sample_is_constrained_baseline() -> None:
    first = media.sample().video[0].frames[0].payloads[0]
    sps = first[3:] if first[0] & 31 == 24 else first  # the first unit of a STAP-A
    assert sps[0] & 31 == 7
    assert (sps[1], sps[2] & 0x40) == (66, 0x40)  # profile_idc, constraint_set1_flag


def test_all_versions_together_stay_within_three_megabytes() -> None:
    files = list(media.SAMPLE.iterdir())
    assert {path.name for path in files} == set(VERSIONS)
    assert sum(path.stat().st_size for path in files) <= 3_000_000


def test_the_voice_is_loud_enough_and_never_clips() -> None:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
    samples = array.array("h")
    with av.open(str(media.SAMPLE / "sample.mp4")) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == "opus"
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                samples.frombytes(bytes(part.planes[0])[: part.samples * 2])
    windows = [samples[at : at + 19_200] for at in range(0, len(samples) - 19_200, 19_200)]  # 0.4 s
    loudness = [20 * math.log10(max(1.0, math.sqrt(sum(v * v for v in w) / len(w))) / 32_768) for w in windows]
    speaking = [level for level in loudness if level > -40]
    assert len(speaking) > len(loudness) / 2
    assert -26 < sum(speaking) / len(speaking) < -14
    assert max(abs(value) for value in samples) < 32_700


def row(number: int, size: tuple[int, int] = (1280, 720), black: int = 0, white: int = 255) -> Image.Image:
    image = Image.new("L", (1280, 720), 90)
    draw = ImageDraw.Draw(image)
    for place, bright in enumerate(clock.cells(number)):
        left = clock.LEFT + place * clock.CELL
        box = (left, clock.TOP, left + clock.CELL - 1, clock.TOP + clock.HEIGHT - 1)
        draw.rectangle(box, white if bright else black)
    return image.resize(size, Image.Resampling.BILINEAR)


@given(st.integers(0, 65_535))
def test_any_number_can_be_read_back(number: int) -> None:
    assert clock.read_image(row(number, (320, 180))) == number


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (854, 480), (256, 144)])
def test_the_clock_survives_scaling_and_a_flat_picture(size: tuple[int, int]) -> None:
    assert clock.read_image(row(40_507, size, black=60, white=160)) == 40_507


def test_a_picture_without_the_clock_or_with_a_flipped_cell_reads_none() -> None:
    assert clock.read_image(Image.new("L", (1280, 720), 128)) is None
    assert clock.read_image(Image.new("L", (1280, 720), 0)) is None
    assert clock.read_image(Image.new("L", (40, 30), 0)) is None
    for cell in range(2, clock.CELLS - 2):
        image = row(1234)
        left = clock.LEFT + cell * clock.CELL
        flipped = 0 if clock.cells(1234)[cell] else 255
        box = (left, clock.TOP, left + clock.CELL - 1, clock.TOP + clock.HEIGHT - 1)
        ImageDraw.Draw(image).rectangle(box, flipped)
        assert clock.read_image(image) is None


def test_a_number_too_large_is_refused() -> None:
    with pytest.raises(ValueError):
        clock.cells(65_536)
