"""The clock burnt into the sample: a row of black and white cells that a program reads out of any decoded frame.

The row stands at a fixed place, given in fractions of the picture, so that every scaled version can be read. Its cells,
left to right: white, black (they give the thresholds), 16 bits of frame number, 8 bits of CRC (most significant bit
first, white is one), black, white. A frame whose guards have too little contrast or whose CRC is wrong is ``None``,
never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

NUMBER_BITS = 16
CRC_BITS = 8
CELLS = 2 + NUMBER_BITS + CRC_BITS + 2

# Measured in a 1280 x 720 picture. A cell is 32 pixels, which leaves 8 in the 320 x 180 version: one block of the
# codec's transform, so the quantiser cannot smear one cell into the next.
REFERENCE_WIDTH, REFERENCE_HEIGHT = 1280, 720
LEFT, TOP, CELL, HEIGHT = 32, 680, 32, 24

MIN_CONTRAST = 60  # of 255, between the white and the black guards


def crc8(number: int) -> int:
    """CRC-8 (polynomial 0x07) of the 16-bit frame number, big endian; initial value 0xA5 so that a black row fails."""
    crc = 0xA5
    for octet in number.to_bytes(2, "big"):
        crc ^= octet
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def cells(number: int) -> list[bool]:
    """The row for frame ``number`` (0..65535), ``True`` is white."""
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"frame number {number} does not fit {NUMBER_BITS} bits")
    word = number << CRC_BITS | crc8(number)
    width = NUMBER_BITS + CRC_BITS
    return [True, False, *(bool(word >> (width - 1 - bit) & 1) for bit in range(width)), False, True]


def read_luma(luma: bytes | memoryview, width: int, height: int, stride: int) -> int | None:
    """Frame number in a plane of 8-bit luma, or ``None`` where no whole clock can be read."""
    return _decode(lambda x, y: luma[y * stride + x], width, height)


def read_frame(frame: Any) -> int | None:
    """Frame number in a decoded ``av.VideoFrame``; formats other than planar YUV are converted first."""
    if frame.format.name not in ("yuv420p", "yuvj420p", "nv12", "gray"):
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    return read_luma(memoryview(plane), frame.width, frame.height, plane.line_size)


def read_image(image: Any) -> int | None:
    """Frame number in a ``PIL.Image`` that shows the whole picture, such as a cropped screenshot."""
    grey = image.convert("L")
    return read_luma(grey.tobytes(), grey.width, grey.height, grey.width)


def _decode(pixel: Callable[[int, int], int], width: int, height: int) -> int | None:
    if width < CELLS * 3 or height < 60:
        return None
    levels = [_level(pixel, cell, width, height) for cell in range(CELLS)]
    white = (levels[0] + levels[-1]) / 2
    black = (levels[1] + levels[-2]) / 2
    if white - black < MIN_CONTRAST:
        return None
    threshold = (white + black) / 2
    word = 0
    for level in levels[2:-2]:
        word = word << 1 | (level > threshold)
    number = word >> CRC_BITS
    return number if crc8(number) == word & 0xFF and levels[0] > threshold > levels[1] else None


def _level(pixel: Callable[[int, int], int], cell: int, width: int, height: int) -> float:
    """Mean of nine samples in the middle half of a cell, away from the edges that scaling blurs."""
    values = [pixel(x, y) for x, y in _points(cell, width, height)]
    return sum(values) / len(values)


def _points(cell: int, width: int, height: int) -> Iterator[tuple[int, int]]:
    for part in (0.35, 0.5, 0.65):
        x = int((LEFT + (cell + part) * CELL) * width / REFERENCE_WIDTH)
        for row in (0.35, 0.5, 0.65):
            yield x, int((TOP + row * HEIGHT) * height / REFERENCE_HEIGHT)
