"""The fan-out in lanes of big integers writes exactly what a loop over the sinks would write."""

from __future__ import annotations

import os
import socket
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from server.media.plane import Extension
from server.media.reference.counters import zeroed
from server.media.reference.forwarding import rtcp, rtp, vp8
from server.media.reference.forwarding.egress import Egress
from server.media.reference.forwarding.lanes import Lane, Lanes
from server.media.reference.limits import LANES
from server.media.reference.transport.kernel import ffi
from server.media.reference.transport.srtp import AEAD_AES_128_GCM, AES128_CM_SHA1_80, Outbound
from tests.support.routing import MS, Bench, RecordingRing, packet, vp8_payload

WORD = st.integers(0, 0xFFFFFFFF)
OFFSETS = st.lists(st.tuples(WORD, WORD, st.integers(0, 0x7FFF), st.integers(0, 255)), min_size=1, max_size=LANES)


def egress() -> tuple[Egress, RecordingRing]:
    stats = zeroed()
    ring = RecordingRing(stats)
    return Egress(ring, stats), ring


def lane(number: int, key: bytes, offsets: tuple[int, int, int, int], profile: object = AEAD_AES_128_GCM) -> Lane:
    name = struct.pack("=H", socket.AF_INET) + struct.pack(">H12x", number)
    outbound = Outbound(profile, key)  # type: ignore[arg-type]
    sequence, timestamp, picture, tl0 = offsets
    address = ffi.new("unsigned char[]", name)
    return Lane(outbound.session, address, len(name), 1000 + number, sequence, timestamp, picture, tl0)


@settings(max_examples=40, deadline=None)
@given(OFFSETS, st.integers(0, 0xFFFFF), WORD, st.integers(0, 0x7FFF), st.integers(0, 255))
def test_every_lane_gets_its_own_numbers(
    offsets: list[tuple[int, int, int, int]], sequence: int, timestamp: int, picture: int, tl0: int
) -> None:
    (out, ring), key = egress(), os.urandom(28)
    lanes = Lanes([lane(number, key, each) for number, each in enumerate(offsets)])
    payload = vp8_payload(picture, tl0, key=False)
    descriptor = vp8.parse(payload)
    assert descriptor is not None
    out.fan_out(lanes, rtp.FIXED.pack(0x80, 96, 0, 0, 0) + payload, sequence, timestamp, False, descriptor, 12)
    ring.flush()
    policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=AEAD_AES_128_GCM.libsrtp)
    assert len(ring.datagrams) == len(offsets)
    for number, ((to, data), each) in enumerate(zip(ring.datagrams, offsets, strict=True)):
        assert to == number
        expected = rtp.FIXED.pack(
            0x80, 96, sequence + each[0] & 0xFFFF, timestamp + each[1] & 0xFFFFFFFF, 1000 + number
        )  # fmt: skip
        assert Session(policy).unprotect(data) == expected + vp8.renumber(payload, descriptor, each[2], each[3])


def test_profiles_of_different_trailers_stand_side_by_side() -> None:
    out, ring = egress()
    keys = [os.urandom(28), os.urandom(30), os.urandom(28)]
    profiles = [AEAD_AES_128_GCM, AES128_CM_SHA1_80, AEAD_AES_128_GCM]
    nothing = (0, 0, 0, 0)
    lanes = Lanes([lane(n, key, nothing, profile) for n, (key, profile) in enumerate(zip(keys, profiles, strict=True))])
    out.fan_out(lanes, rtp.FIXED.pack(0x80, 96, 0, 0, 0) + bytes(700), 5, 6, False)
    ring.flush()
    assert [len(data) for _, data in ring.datagrams] == [728, 722, 728]


def test_what_libsrtp_refuses_is_left_out_and_the_others_go() -> None:
    (out, ring), key = egress(), os.urandom(28)
    lanes = Lanes([lane(number, key, (0, 0, 0, 0)) for number in range(5)])
    single = Lanes([lane(9, key, (0, 0, 0, 0))])
    single.sessions, single.ssrcs = [lanes.sessions[1]], lanes.ssrcs[1:2]
    packet_ = rtp.FIXED.pack(0x80, 96, 0, 0, 0) + bytes(300)
    out.fan_out(single, packet_, 5, 6, False)
    out.fan_out(lanes, packet_, 5, 6, False)  # lane 1 has sent number 5 already
    ring.flush()
    assert [to for to, _ in ring.datagrams] == [9, 0, 4, 2, 3]
    assert ring._drops["history"] == 1
    assert out._counters["rtp_out"] == 5


def test_what_no_datagram_holds_is_dropped_and_counted() -> None:
    (out, ring), key = egress(), os.urandom(28)
    lanes = Lanes([lane(number, key, (0, 0, 0, 0)) for number in range(3)])
    out.fan_out(lanes, bytes(1530), 5, 6, False)
    ring.datagram(lanes._keep[0], 16, bytes(2000))
    ring.flush()
    assert ring.datagrams == []
    assert ring._drops["socket"] == 4


def test_extensions_are_rebuilt_for_the_subscriber() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    ids = {Extension.MID: 3, Extension.ABS_SEND_TIME: 5, Extension.ABS_CAPTURE_TIME: 6, Extension.PLAYOUT_DELAY: 7}
    rich = bench.sink(1, bench.peer(2), 1, extensions=ids, mid="7")
    plain = bench.sink(2, bench.peer(3), 1, extensions={})
    capture = rtcp.ntp_from_ns(bench.wall - 30 * MS).to_bytes(8, "big") + bytes(8)
    for index, elements in enumerate([[(4, b"video"), (8, capture)], [(4, b"video")]]):
        payload = vp8_payload(1, 1, key=True, begins=index == 0)
        bench.rtp(publisher, packet(500, 7 + index, 1, payload, elements=elements))
    first, second = bench.far[2].media(rich)
    stamp = rtp.abs_send_time(bench.wall)
    assert first.extensions == {3: b"7", 5: stamp, 6: capture}
    assert second.extensions == {3: b"7", 5: stamp}
    assert [heard.extensions for heard in bench.far[3].media(plain)] == [{}, {}]
    assert bench.stats.capture.counts == [0, 0, 0, 1, *[0] * 8]
    assert abs(bench.stats.capture.sum_ms - 30) < 0.01


def test_a_publisher_with_another_clock_does_not_spoil_the_histogram() -> None:
    bench = Bench()
    publisher = bench.peer(1)
    bench.source(1, publisher)
    for index, wrong in enumerate([bench.wall + 3600 * 1000 * MS, bench.wall - 61_000 * MS, 0]):
        element = (8, rtcp.ntp_from_ns(wrong).to_bytes(8, "big"))
        data = packet(500, index, 1, vp8_payload(1, 1, key=True), elements=[element])
        bench.rtp(publisher, data)
    assert sum(bench.stats.capture.counts) == 0
