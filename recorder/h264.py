"""The little of H.264 that a recorder must understand: parameter sets (ITU-T H.264, 7.3.2) and avcC (ISO 14496-15)."""

from __future__ import annotations

import struct

IDR, SPS, PPS, AUD, STAP_A, FU_A = 5, 7, 8, 9, 24, 28
SET_BYTES = 1024
"""A parameter set has some dozen bytes; avcC has 16 bits for its length."""
_WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}


class _Bits:
    """Exp-Golomb reader over an RBSP (emulation prevention bytes removed)."""

    def __init__(self, nal: bytes) -> None:
        data = nal.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def u(self, count: int) -> int:
        if count > self._left:
            raise ValueError("parameter set is truncated")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        zeros = 0
        while self.u(1) == 0:
            zeros += 1
            if zeros > 32:
                raise ValueError("bad Exp-Golomb code")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for index in range(count):
        if not bits.u(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last


def picture_size(sps: bytes) -> tuple[int, int]:
    """Width and height in luma samples after cropping, of a sequence parameter set NAL unit.

    :raises ValueError: truncated or impossible.
    """
    bits = _Bits(sps[1:])
    profile = bits.u(8)
    bits.u(16)  # constraint flags, level
    bits.ue()
    chroma = 1
    if profile in _WITH_CHROMA:
        chroma = bits.ue()
        if chroma == 3:
            bits.u(1)
        bits.ue()
        bits.ue()
        bits.u(1)
        if bits.u(1):
            _skip_scaling_lists(bits, 8 if chroma != 3 else 12)
    bits.ue()  # log2_max_frame_num
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), 255)):
            bits.se()
    bits.ue()  # max_num_ref_frames
    bits.u(1)
    width = (bits.ue() + 1) * 16
    height = (bits.ue() + 1) * 16
    frame_only = bits.u(1)
    height *= 2 - frame_only
    if not frame_only:
        bits.u(1)
    bits.u(1)
    if bits.u(1):
        unit_x = 2 if chroma in (1, 2) else 1
        unit_y = (2 if chroma == 1 else 1) * (2 - frame_only)
        left, right, top, bottom = (bits.ue() for _ in range(4))
        width -= unit_x * (left + right)
        height -= unit_y * (top + bottom)
    if not (0 < width <= 16384 and 0 < height <= 16384):
        raise ValueError(f"picture of {width}×{height}")
    return width, height


def parameter_sets(record: bytes) -> tuple[bytes, bytes]:
    """The sets that ``avcc`` was made of."""
    end = 8 + int.from_bytes(record[6:8], "big")
    return record[8:end], record[end + 3 :]


def avcc(sps: bytes, pps: bytes) -> bytes:
    """The AVCDecoderConfigurationRecord with 4-byte lengths (ISO 14496-15, 5.3.3.1)."""
    return (
        bytes((1, sps[1], sps[2], sps[3], 0xFF, 0xE1))
        + struct.pack(">H", len(sps))
        + sps
        + b"\x01"
        + struct.pack(">H", len(pps))
        + pps
    )
