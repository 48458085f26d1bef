"""RTCP: everything we build is read back, and no input makes the reader raise."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from server.media.reference.forwarding import rtcp
from tests.support.routing import Bench

WORD = st.integers(0, 0xFFFFFFFF)
BLOCK = st.builds(
    rtcp.ReportBlock, WORD, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), WORD, WORD, WORD, WORD
)  # fmt: skip


@given(st.binary(max_size=200))
def test_any_octets_are_read_without_raising(data: bytes) -> None:
    rtcp.parse(data)


@given(st.integers(192, 223), st.integers(0, 31), st.integers(0, 20), st.binary(max_size=60))
def test_every_type_with_every_length_is_read_without_raising(kind: int, count: int, words: int, body: bytes) -> None:
    packet = struct.pack(">BBH", 0x80 | count, kind, words) + body
    for item in rtcp.parse(packet):
        assert not isinstance(item, rtcp.Nack) or all(0 <= number <= 0xFFFF for number in item.sequences)
    rtcp.parse(struct.pack(">BBH", 0xA0 | count, kind, words) + body)


@given(WORD, st.integers(0, 2**64 - 1), WORD, WORD, WORD, st.lists(BLOCK, max_size=31))
def test_reports_are_read_back(
    ssrc: int, ntp: int, time: int, packets: int, octets: int, blocks: list[rtcp.ReportBlock]
) -> None:  # fmt: skip
    report = rtcp.SenderReport(ssrc, ntp, time, packets, octets)
    assert rtcp.parse(rtcp.sender_report(report, blocks)) == [report, *blocks]
    assert rtcp.parse(rtcp.receiver_report(1, blocks)) == blocks


@given(st.integers(0, 0xFFFF), st.sets(st.integers(0, 300), min_size=1, max_size=60))
def test_nacks_are_read_back_around_the_wrap(start: int, ahead: set[int]) -> None:
    numbers = tuple(start + step & 0xFFFF for step in sorted(ahead))
    (item,) = rtcp.parse(rtcp.nack(1, 2, numbers))
    assert item == rtcp.Nack(2, numbers)


@given(st.integers(0, 2**62), st.lists(WORD, max_size=5))
def test_remb_is_read_back_within_its_precision(bitrate: int, ssrcs: list[int]) -> None:
    (item,) = rtcp.parse(rtcp.remb(1, bitrate, ssrcs))
    assert isinstance(item, rtcp.Remb)
    assert item.ssrcs == tuple(ssrcs)
    assert bitrate * 0.9999 - 1 <= item.bitrate <= bitrate


def test_pli_and_fir_both_want_a_keyframe() -> None:
    fir = struct.pack(">BBHIIIBxxx", 0x84, 206, 4, 1, 0, 77, 3)
    assert rtcp.parse(rtcp.pli(1, 77) + fir) == [rtcp.KeyframeWanted(77), rtcp.KeyframeWanted(77)]


def test_what_is_unknown_is_passed_over_and_what_follows_is_read() -> None:
    transport_wide = struct.pack(">BBHIIHHI", 0x8F, 205, 4, 1, 2, 3, 4, 5)
    described = rtcp.source_description([(1, "teacher"), (2, "t")])
    application = struct.pack(">BBHI4s", 0x80, 204, 2, 1, b"demo")
    assert rtcp.parse(described + application + transport_wide + rtcp.goodbye([9])) == [rtcp.Bye((9,))]


def test_source_descriptions_are_whole_words() -> None:
    for length in range(8):
        data = rtcp.source_description([(1, "c" * length)])
        assert len(data) == 4 + 4 * int.from_bytes(data[2:4], "big")
        assert data[-1] == 0


def test_ntp_goes_there_and_back() -> None:
    wall = 1_790_000_000_123_456_789
    assert abs(rtcp.ns_from_ntp(rtcp.ntp_from_ns(wall)) - wall) <= 1


@given(st.binary(max_size=120))
def test_the_router_swallows_any_rtcp(data: bytes) -> None:
    bench = Bench()
    publisher, subscriber = bench.peer(1), bench.peer(2)
    bench.source(1, publisher)
    bench.sink(1, subscriber, 1)
    for peer in (publisher, subscriber):
        bench.router.on_rtcp(peer, data, bench.now, bench.wall)
