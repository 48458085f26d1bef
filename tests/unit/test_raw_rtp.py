"""Counting, header extensions and RTCP of the raw client, with aiortc's classes as the second opinion."""

from __future__ import annotations

import random

import pytest
from aiortc import rtp as other
from hypothesis import given
from hypothesis import strategies as st

from loadtest import limits
from loadtest.rawclient import rtcp, rtp


def count(stream: rtp.Stream, sequence: int) -> None:
    """What the watcher does with each packet."""
    if sequence == stream.next:
        stream.next = (sequence + 1) & 0xFFFF
        stream.highest += 1
        stream.received += 1
    else:
        stream.jump(sequence)


@given(st.integers(0, 65_535), st.integers(1, 400), st.randoms(use_true_random=False))
def test_whatever_the_order_each_packet_counts_once(first: int, length: int, dice: random.Random) -> None:
    sent = [(first + index) & 0xFFFF for index in range(length)]
    arriving = [sent[0], *sorted(sent[1:] + sent[1::7], key=lambda s: ((s - first) & 0xFFFF) + dice.uniform(0, 20))]
    dropped = set(sent[3:-1:11])
    stream = rtp.Stream(1, 96, arriving[0], 90_000, True)
    for sequence in arriving:
        if sequence not in dropped:
            count(stream, sequence)
    assert stream.expected == length - (sent[-1] in dropped)
    assert stream.received == length - len(dropped)
    assert {extended & 0xFFFF for extended in stream.missing} == dropped
    assert stream.duplicates == sum(sequence not in dropped for sequence in sent[1::7])


def test_a_missing_packet_is_asked_for_a_bounded_number_of_times_then_lost() -> None:
    stream = rtp.Stream(1, 96, 10, 90_000, True)
    count(stream, 10)
    count(stream, 13)
    asked = [list(stream.wanted(step * 0.06, 0.06)) for step in range(limits.NACK_TRIES + 2)]
    assert asked[: limits.NACK_TRIES] == [[11, 12]] * limits.NACK_TRIES
    assert asked[limits.NACK_TRIES :] == [[], []]
    assert (stream.lost, stream.received, len(stream.missing)) == (2, 2, 0)


def test_a_retransmission_heals_and_a_second_one_is_a_duplicate() -> None:
    stream = rtp.Stream(1, 96, 65_535, 90_000, True)
    count(stream, 65_535)
    count(stream, 2)
    assert stream.recover(0) and stream.recover(1)
    assert not stream.recover(1)
    assert (stream.received, stream.recovered, stream.duplicates, len(stream.missing)) == (4, 2, 1, 0)


def test_a_huge_hole_is_bounded() -> None:
    stream = rtp.Stream(1, 96, 0, 90_000, True)
    count(stream, 0)
    count(stream, 20_000)
    assert len(stream.missing) == limits.MAX_MISSING
    assert stream.lost + len(stream.missing) == 19_999


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_ntp_time_keeps_the_nanoseconds(wall: int) -> None:
    assert abs(rtp.unix_ns(rtp.ntp(wall)) - wall) <= 1


@pytest.mark.parametrize("profile", [0xBEDE, 0x1000])
def test_an_extension_is_found_in_both_forms(profile: int) -> None:
    one = b"\x10m\x00\x47" + b"12345678"
    two = b"\x01\x01m\x00\x04\x0812345678"
    body = one if profile == 0xBEDE else two
    body += bytes(-len(body) % 4)
    packet = b"\x90\x60" + bytes(10) + profile.to_bytes(2, "big") + (len(body) // 4).to_bytes(2, "big") + body + b"xy"
    assert rtp.extension(packet, 4) == b"12345678"
    assert rtp.extension(packet, 1) == b"m"
    assert rtp.extension(packet, 9) is None
    assert rtp.payload(packet) == b"xy"


@given(st.binary(min_size=12, max_size=60), st.integers(1, 14))
def test_no_packet_breaks_the_reading(data: bytes, number: int) -> None:
    rtp.extension(data, number)
    rtp.payload(data)
    rtp.capture_time(data, number)


def test_the_header_we_build_is_what_aiortc_reads() -> None:
    block = rtp.pack_extensions([(1, b"0"), (4, rtp.pack_capture_time(1_700_000_000_123_456_789))])
    packet = rtp.pack_header(96, 65_535, 90_000, 7, True, block) + b"payload"
    read = other.RtpPacket.parse(packet)
    assert (read.payload_type, read.sequence_number, read.timestamp, read.ssrc, read.marker) == (
        96,
        65_535,
        90_000,
        7,
        1,
    )
    assert read.payload == b"payload"
    assert abs((rtp.capture_time(packet, 4) or 0) - 1_700_000_000_123_456_789) <= 1


def test_aiortc_reads_the_rtcp_we_build() -> None:
    block = rtcp.ReportBlock(1, 2, 0.25, -3, 70_000, 9, 0x12345678, 655)
    data = (
        rtcp.sender_report(rtcp.SenderReport(1, 5 << 32, 6, 7, 8))
        + rtcp.receiver_report(1, [block])
        + rtcp.sdes(1, "name")
        + rtcp.nack(1, 2, [10, 11, 26, 27, 65_535, 0])
        + rtcp.pli(1, 2)
        + rtcp.remb(1, 3_000_000, [2])
        + rtcp.bye([1])
    )
    sr, rr, sdes, nack, pli, remb, bye = other.RtcpPacket.parse(data)
    assert (sr.ssrc, sr.sender_info.ntp_timestamp, sr.sender_info.packet_count) == (1, 5 << 32, 7)
    report = rr.reports[0]
    assert (report.fraction_lost, report.packets_lost, report.highest_sequence, report.dlsr) == (64, -3, 70_000, 655)
    assert sdes.chunks[0].items == [(1, b"name")]
    assert [sequence & 0xFFFF for sequence in nack.lost] == [10, 11, 26, 27, 65_535, 0]
    assert (pli.fmt, pli.media_ssrc) == (1, 2)
    assert other.unpack_remb_fci(remb.fci) == (pytest.approx(3_000_000, rel=1e-4), [2])
    assert bye.sources == [1]
    items = list(rtcp.parse(data))
    assert items[0] == rtcp.SenderReport(1, 5 << 32, 6, 7, 8)
    assert items[1] == block
    assert items[2] == rtcp.Nack(2, (10, 11, 26, 27, 65_535, 0))
    assert items[3] == rtcp.KeyframeRequest(2, full=False)
    assert isinstance(items[4], rtcp.Remb) and items[5] == rtcp.Bye((1,))


@given(st.binary(max_size=80))
def test_no_rtcp_breaks_the_reading(junk: bytes) -> None:
    list(rtcp.parse(junk))
    for kind in range(200, 207):
        for count_field in (0, 1, 4, 15, 31):
            body = junk + bytes(-len(junk) % 4)
            list(rtcp.parse(bytes((0x80 | count_field, kind)) + (len(body) // 4).to_bytes(2, "big") + body))
