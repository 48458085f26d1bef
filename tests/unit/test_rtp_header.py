"""RTP headers and their extensions: what is read is what was written, and nonsense is refused without raising."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from server.media.plane import Extension
from server.media.reference.forwarding import rtp

ELEMENTS = st.lists(
    st.tuples(st.integers(1, 255), st.binary(min_size=0, max_size=40)), max_size=6, unique_by=lambda pair: pair[0]
)  # fmt: skip


@given(st.binary(max_size=80))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    header = rtp.parse(data, len(data))
    if header is not None:
        assert 12 <= header.start <= header.end <= len(data)
        rtp.read_extensions(data[header.extensions_at : header.extensions_end], header.profile)


@given(ELEMENTS)
def test_extensions_survive_the_way_there_and_back(elements: list[tuple[int, bytes]]) -> None:
    block = rtp.build_extensions(elements)
    assert len(block) % 4 == 0
    if elements:
        profile = int.from_bytes(block[:2], "big")
        assert rtp.read_extensions(block[4:], profile) == dict(elements)


def test_small_elements_use_the_one_byte_form_and_large_ones_the_other() -> None:
    assert rtp.build_extensions([(4, b"video")])[:2] == b"\xbe\xde"
    assert rtp.build_extensions([(4, b"v" * 17)])[:2] == b"\x10\x00"
    assert rtp.build_extensions([(15, b"v")])[:2] == b"\x10\x00"
    assert rtp.build_extensions([]) == b""


def test_payload_ends_before_the_padding_and_starts_behind_csrcs() -> None:
    packet = struct.pack(">BBHII", 0xA2, 0xE0, 7, 8, 9) + bytes(8) + b"media" + b"\0\0\3"
    header = rtp.parse(packet, len(packet))
    assert header is not None
    assert packet[header.start : header.end] == b"media"
    assert (header.payload_type, header.marker, header.sequence) == (96, 0x80, 7)


def test_padding_longer_than_the_payload_is_refused() -> None:
    packet = struct.pack(">BBHII", 0xA0, 96, 7, 8, 9) + b"ab\x09"
    assert rtp.parse(packet, len(packet)) is None


def test_number_15_ends_a_one_byte_block() -> None:
    assert rtp.read_extensions(b"\x10a\xf0\x20b", rtp.ONE_BYTE) == {1: b"a"}


def test_abs_send_time_is_seconds_in_6_18_fixed_point() -> None:
    assert rtp.abs_send_time(1_500_000_000) == bytes((0x06, 0x00, 0x00))
    assert rtp.abs_send_time(64_000_000_000) == bytes(3)


def test_distances_go_around_the_wrap() -> None:
    assert rtp.distance(2, 65534) == 4
    assert rtp.distance(65534, 2) == -4
    assert rtp.distance32(5, 0xFFFFFFFE) == 7


def test_a_shape_writes_what_was_negotiated_and_nothing_else() -> None:
    ids = {Extension.MID: 3, Extension.ABS_CAPTURE_TIME: 5, Extension.PLAYOUT_DELAY: 6}
    shape = rtp.Shape(96, 97, "v", ids)
    block = shape.extensions(b"abc", b"\x80", bytes(8))
    assert rtp.read_extensions(block[4:], rtp.ONE_BYTE) == {3: b"v", 5: bytes(8)}
    assert rtp.Shape(96, None, "v", {}).extensions(b"abc", None, None) == b""
