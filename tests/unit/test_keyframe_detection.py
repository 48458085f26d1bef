"""Keyframes and picture sizes are found without decoding, in VP8 (RFC 7741) and H.264 (RFC 6184)."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import pytest
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder, VpxPayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from server.media.reference.forwarding import h264, vp8
from server.media.reference.forwarding.codecs import look

SLICE = b"\x61" + bytes(20)
IDR = b"\x65" + bytes(20)


def encoded_sps(width: int, height: int) -> bytes:
    """A sequence parameter set as a real encoder writes it."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = Fraction(1, 30)
    codec.options = {"profile": "high" if width % 32 else "baseline"}
    packets = codec.encode(av.VideoFrame(width, height, "yuv420p")) + codec.encode(None)
    units = [unit for unit in bytes(packets[0]).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
    return next(unit for unit in units if unit[0] & 0x1F == 7)


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720), (1920, 1080), (176, 144), (322, 242)])
def test_the_size_in_a_real_parameter_set(width: int, height: int) -> None:
    assert h264.picture_size(encoded_sps(width, height)) == (width, height)


def test_h264_keyframes_in_every_packing() -> None:
    sps, pps = encoded_sps(640, 360), b"\x68\xce\x3c\x80"
    aggregate = b"\x78" + b"".join(struct.pack(">H", len(unit)) + unit for unit in (sps, pps))
    assert look("H264", aggregate) == (True, (640, 360), None)
    assert look("H264", sps).size == (640, 360)
    assert look("H264", IDR).keyframe
    assert look("H264", b"\x78" + struct.pack(">H", len(IDR)) + IDR).keyframe
    assert look("H264", b"\x7c\x85" + bytes(9)).keyframe  # FU-A, start, IDR


def test_h264_packets_that_begin_no_keyframe() -> None:
    for payload in (
        SLICE,
        b"\x7c\x05abc",
        b"\x7c\x45abc",
        b"\x7c\x81abc",
        b"\x68\xce",
        b"\x78\x00\x02\x61\x00",
        b"\x7c",
        b"",
    ):
        assert not look("H264", payload).keyframe


def test_aiortc_packs_a_keyframe_that_is_found() -> None:
    frame = av.VideoFrame(320, 240, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 90000)
    payloads, _ = H264Encoder().encode(frame, force_keyframe=True)
    assert look("H264", payloads[0]).keyframe
    assert any(look("H264", payload).size == (320, 240) for payload in payloads)


def test_a_real_vp8_encoders_frames() -> None:
    encoder, frames = Vp8Encoder(), []
    for number in range(3):
        frame = av.VideoFrame(320, 240, "yuv420p")
        frame.pts, frame.time_base = 3000 * number, Fraction(1, 90000)
        frames.append(encoder.encode(frame, force_keyframe=number == 2)[0])
    assert [look("VP8", frame[0]).keyframe for frame in frames] == [True, False, True]
    assert look("VP8", frames[0][0]).size == (320, 240)
    assert not any(look("VP8", payload).keyframe for payload in frames[0][1:])


@given(st.binary(max_size=40))
def test_vp8_descriptors_agree_with_aiortc(payload: bytes) -> None:
    mine = vp8.parse(payload)
    try:
        theirs, rest = VpxPayloadDescriptor.parse(payload)
    except (ValueError, IndexError):
        assert mine is None
        return
    if mine is None:
        assert not rest
        return
    assert mine.size == len(payload) - len(rest)
    if mine.picture_at:
        assert mine.picture == theirs.picture_id
    if mine.tl0_at:
        assert mine.tl0 == theirs.tl0picidx


@given(st.sampled_from(["VP8", "H264", "opus", "AV1"]), st.binary(max_size=80))
def test_any_payload_is_looked_at_without_raising(codec: str, payload: bytes) -> None:
    look(codec, payload)


@given(st.binary(max_size=60))
def test_any_parameter_set_is_read_without_raising(data: bytes) -> None:
    h264.picture_size(b"\x67" + data)


def test_golomb_codes_without_end_are_refused() -> None:
    assert h264.picture_size(b"\x67\x42\x00\x1e" + bytes(40)) is None
