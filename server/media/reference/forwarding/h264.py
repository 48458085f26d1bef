"""H.264 payloads (RFC 6184): where a keyframe begins, and the picture size in a sequence parameter set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_IDR: Final = 5
_SPS: Final = 7
_STAP_A: Final = 24
_FU_A: Final = 28
_HIGH_PROFILES: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class Units(NamedTuple):
    """What a payload carries: a sequence parameter set (or b""), and whether an IDR slice begins in it."""

    parameters: bytes
    idr: bool


def inspect(payload: bytes) -> Units:
    """Look into a single NAL unit, a STAP-A or the first fragment of an FU-A. Never raises."""
    if not payload:
        return Units(b"", False)
    kind = payload[0] & 0x1F
    if kind == _FU_A:
        starts_idr = len(payload) > 1 and payload[1] & 0x9F == 0x80 | _IDR
        return Units(b"", starts_idr)
    if kind != _STAP_A:
        return Units(payload if kind == _SPS else b"", kind == _IDR)
    parameters, idr = b"", False
    for unit in _aggregated(payload):
        kind = unit[0] & 0x1F
        if kind == _SPS:
            parameters = unit
        idr = idr or kind == _IDR
    return Units(parameters, idr)


def _aggregated(payload: bytes) -> Iterator[bytes]:
    at = 1
    while at + 2 < len(payload):
        size = payload[at] << 8 | payload[at + 1]
        at += 2
        if size == 0 or at + size > len(payload):
            return
        yield payload[at : at + size]
        at += size


class _Bits:
    """Exp-Golomb reader over an RBSP (ITU-T H.264, 9.1)."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("parameter set ends early")
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise ValueError("Exp-Golomb code of more than 32 bits")
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        code = self.golomb()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def picture_size(parameters: bytes) -> tuple[int, int] | None:
    """Width and height after cropping from a sequence parameter set NAL unit, or ``None`` when it makes no sense."""
    try:
        return _picture_size(_Bits(_unescaped(parameters[1:])))
    except ValueError:
        return None


def _unescaped(data: bytes) -> bytes:
    """Take the emulation prevention octets out (H.264, 7.4.1)."""
    return data.replace(b"\x00\x00\x03", b"\x00\x00")


def _picture_size(bits: _Bits) -> tuple[int, int] | None:
    profile = bits.read(8)
    bits.read(16)  # constraint flags and level
    bits.golomb()  # seq_parameter_set_id
    chroma, separate = 1, 0
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            separate = bits.read(1)
        bits.golomb()  # bit depths
        bits.golomb()
        bits.read(1)
        if bits.read(1):
            _skip_scaling(bits, 8 if chroma != 3 else 12)
    bits.golomb()  # log2_max_frame_num_minus4
    _skip_order(bits)
    bits.golomb()  # max_num_ref_frames
    bits.read(1)
    width = 16 * (bits.golomb() + 1)
    units = bits.golomb() + 1
    frame_only = bits.read(1)
    height = 16 * units * (2 - frame_only)
    if not frame_only:
        bits.read(1)
    bits.read(1)  # direct_8x8_inference_flag
    if bits.read(1):
        across, down = (1, 1) if separate or chroma in (0, 3) else (2, 2 if chroma == 1 else 1)
        down *= 2 - frame_only
        left, right, top, bottom = bits.golomb(), bits.golomb(), bits.golomb(), bits.golomb()
        width -= across * (left + right)
        height -= down * (top + bottom)
    if not (0 < width <= 16384 and 0 < height <= 16384):
        return None
    return width, height


def _skip_order(bits: _Bits) -> None:
    kind = bits.golomb()  # pic_order_cnt_type
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.read(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.golomb(), 255)):
            bits.signed()


def _skip_scaling(bits: _Bits, lists: int) -> None:
    """Scaling lists (H.264, 7.3.2.1.1.1): read only to get past them."""
    for index in range(lists):
        if not bits.read(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.signed() + 256) % 256
            last = following or last
