"""VP8 picture ids and tl0picidx go on by one across switches, for one sink and for a hundred side by side."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from server.media.plane import BindSink
from server.media.reference.forwarding import vp8
from tests.support.routing import Bench, Camera, gapless, picture_of, tl0_of


@given(
    st.integers(0, 0x7FFF), st.integers(0, 255), st.booleans(), st.integers(0, 0x7FFF), st.integers(0, 255),
)  # fmt: skip
def test_numbers_keep_their_width(picture: int, tl0: int, wide: bool, offset: int, tl0_offset: int) -> None:
    number = bytes((0x80 | picture >> 8, picture & 0xFF)) if wide else bytes((picture & 0x7F,))
    payload = b"\x90\xc0" + number + bytes((tl0,)) + b"\x11rest"
    descriptor = vp8.parse(payload)
    assert descriptor is not None
    changed = vp8.renumber(payload, descriptor, offset, tl0_offset)
    again = vp8.parse(changed)
    assert again is not None
    mask = 0x7FFF if wide else 0x7F
    assert again.picture == descriptor.picture + offset & mask
    assert again.tl0 == tl0 + tl0_offset & 0xFF
    assert again.wide == wide
    assert changed[again.size :] == b"\x11rest"


def rebound(sinks: int) -> tuple[Bench, list[int]]:
    """Some sinks that were bound to another publisher in the middle, at different moments."""
    bench = Bench()
    first, second = bench.peer(1), bench.peer(2)
    bench.source(1, first)
    bench.source(2, second)
    ssrcs = [bench.sink(10 + number, bench.peer(10 + number), 1) for number in range(sinks)]
    before = Camera(bench, first, 500, picture=32760, tl0=250)
    after = Camera(bench, second, 600, picture=5, tl0=9, timestamp=77)
    before.run(10, key=True)
    for number in range(sinks):
        bench.apply(BindSink(10 + number, 2))
        before.frame()
        bench.pass_time(40)
    after.run(10, key=True)
    return bench, ssrcs


def test_picture_ids_go_on_across_publishers() -> None:
    bench, (ssrc,) = rebound(1)
    packets = bench.far[10].media(ssrc)
    pictures = [picture_of(packet) for packet in packets]
    assert pictures[0] == 32760
    steps = [b - a & 0x7FFF for a, b in pairwise(pictures)]
    assert set(steps) == {0, 1}
    assert {tl0_of(b) - tl0_of(a) & 0xFF for a, b in pairwise(packets)} == {0, 1}


def test_a_hundred_sinks_with_offsets_of_their_own() -> None:
    bench, ssrcs = rebound(100)
    for number, ssrc in enumerate(ssrcs):
        packets = bench.far[10 + number].media(ssrc)
        assert gapless(packets)
        assert {picture_of(b) - picture_of(a) & 0x7FFF for a, b in pairwise(packets)} == {0, 1}
        assert {tl0_of(b) - tl0_of(a) & 0xFF for a, b in pairwise(packets)} == {0, 1}
