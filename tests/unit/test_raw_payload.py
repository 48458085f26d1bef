"""Packetizing the sample and putting it together again gives the same frames, also when packets come late or never."""

from __future__ import annotations

import random

import av
import pytest
from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from loadtest import clock, limits
from loadtest.rawclient import media, payload


def packets(codec: str, frames: int) -> list[tuple[int, int, bool, bytes]]:
    """(sequence, timestamp, marker, payload) of the first frames of the sample."""
    made: list[tuple[int, int, bool, bytes]] = []
    for index, frame in enumerate(media.sample(codec=codec).video[0].frames[:frames]):
        for place, part in enumerate(frame.payloads):
            data = payload.vp8_descriptor(place == 0, index) + part if codec == "VP8" else part
            made.append((len(made), index * 6000, place == len(frame.payloads) - 1, data))
    return made


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_what_was_packetized_and_shuffled_decodes_to_every_frame(codec: str) -> None:
    sent = packets(codec, 40)
    assert max(len(data) for *_, data in sent) <= limits.MAX_RTP_PAYLOAD + 4
    dice = random.Random(1)
    arriving = sent[:1] + sorted(sent[1:], key=lambda packet: packet[0] + dice.uniform(0, 8))
    assembler = payload.FrameAssembler(codec)
    frames = [frame for packet in arriving for frame in assembler.push(*packet)]
    assert [frame.timestamp for frame in frames] == [index * 6000 for index in range(40)]
    assert [index for index, frame in enumerate(frames) if frame.key] == [0, 30]
    decoder = av.CodecContext.create({"H264": "h264", "VP8": "vp8"}[codec], "r")
    decoded = [picture for frame in frames for picture in decoder.decode(av.Packet(frame.data))]
    decoded += decoder.decode(None)
    assert [clock.read_frame(picture) for picture in decoded] == list(range(40))


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_after_a_loss_frames_begin_again_at_a_keyframe(codec: str) -> None:
    sent = packets(codec, 45)
    assembler = payload.FrameAssembler(codec)
    frames = []
    for packet in sent:
        if packet[1] == 5 * 6000 and packet[2]:
            assembler.lost()
            continue
        frames += assembler.push(*packet)
    assert [frame.timestamp // 6000 for frame in frames] == [*range(5), *range(30, 45)]
    assert assembler.dropped == 1


def test_aiortc_reads_our_h264_payloads_alike() -> None:
    frame = media.sample().video[0].frames[0]
    joined = b"".join(h264_depayload(part) for part in frame.payloads)
    assembler = payload.FrameAssembler("H264")
    last = len(frame.payloads) - 1
    (ours,) = [f for i, part in enumerate(frame.payloads) for f in assembler.push(i, 0, i == last, part)]
    assert ours.data == joined


def test_aiortc_reads_our_vp8_descriptor() -> None:
    read, rest = VpxPayloadDescriptor.parse(payload.vp8_descriptor(True, 40_000) + b"xyz")
    assert (read.partition_start, read.picture_id, rest) == (1, 40_000 & 0x7FFF, b"xyz")


def test_filling_reaches_the_rate_and_leaves_the_pictures_alone() -> None:
    clip = media.sample(bitrate=2_000_000)
    octets = sum(len(part) for frame in clip.video[0].frames for part in frame.payloads)
    assert octets * 8e9 / clip.duration_ns == pytest.approx(2_000_000, rel=0.06)
    decoder = av.CodecContext.create("h264", "r")
    assembler = payload.FrameAssembler("H264")
    numbers = []
    sequence = 0
    for frame in clip.video[0].frames[:20]:
        for place, part in enumerate(frame.payloads):
            for whole in assembler.push(sequence, frame.at_ns, place == len(frame.payloads) - 1, part):
                numbers += [clock.read_frame(picture) for picture in decoder.decode(av.Packet(whole.data))]
            sequence += 1
    numbers += [clock.read_frame(picture) for picture in decoder.decode(None)]
    assert numbers == list(range(20))


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_keyframes_tell_their_size(codec: str) -> None:
    track = media.sample(codec=codec).video[0]
    first = track.frames[0].payloads[0]
    if codec == "VP8":
        first = payload.vp8_descriptor(True, 1) + first
    assert payload.dimensions(codec, first) == (track.width, track.height)
    assert payload.dimensions(codec, first[:4]) is None


@given(st.binary(max_size=60), st.sampled_from(["H264", "VP8"]))
def test_no_payload_breaks_the_reading(data: bytes, codec: str) -> None:
    payload.describe(codec, data)
    payload.dimensions(codec, data)
    assembler = payload.FrameAssembler(codec)
    list(assembler.push(1, 2, True, data))


def test_a_frame_that_never_ends_is_given_up() -> None:
    assembler = payload.FrameAssembler("H264")
    sent = packets("H264", 1)
    for sequence in range(limits.MAX_FRAME_PACKETS + 2):
        assert not list(assembler.push(sequence, 0, False, sent[0][3]))
    assert assembler.dropped == 1


def test_clips_can_tell_their_frames_apart() -> None:
    clip = media.sample(simulcast=True)
    known = clip.fingerprints()
    assert len(known) > 0.95 * sum(len(track.frames) for track in clip.video)
    assert set(known.values()) <= {frame.at_ns for track in clip.video for frame in track.frames}
