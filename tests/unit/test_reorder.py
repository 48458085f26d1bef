"""What comes out of the reorder buffer is in order, once, and every hole is said."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from recorder import limits
from recorder.limits import MS
from recorder.reorder import Arrived, Item, Lost, Reorder
from recorder.rtp import RtpPacket, extend


def packet(sequence: int) -> RtpPacket:
    return RtpPacket(sequence & 0xFFFF, 0, False, b"x")


def names(items: list[Item]) -> list[int | str]:
    return [f"lost {item.count}" if isinstance(item, Lost) else item.sequence for item in items]


def test_in_order_goes_through_at_once() -> None:
    reorder = Reorder()
    assert [names(reorder.push(packet(n), 0, 0)) for n in (5, 6, 7)] == [[5], [6], [7]]
    assert not reorder.waiting


def test_a_swapped_pair_is_put_right() -> None:
    reorder = Reorder()
    reorder.push(packet(1), 0, 0)
    assert reorder.push(packet(3), 0, 0) == []
    assert names(reorder.push(packet(2), 0, 10 * MS)) == [2, 3]
    assert reorder.lost == 0


def test_a_hole_waits_for_its_retransmission_and_then_is_lost() -> None:
    reorder = Reorder()
    reorder.push(packet(1), 0, 0)
    reorder.push(packet(4), 0, 0)
    assert reorder.poll(limits.REORDER_HOLD - 1) == []
    assert names(reorder.poll(limits.REORDER_HOLD)) == ["lost 2", 4]
    assert names(reorder.push(packet(3), 0, limits.REORDER_HOLD)) == []
    assert (reorder.lost, reorder.late) == (2, 1)


def test_two_holes_are_waited_for_apart() -> None:
    reorder = Reorder()
    reorder.push(packet(1), 0, 0)
    reorder.push(packet(3), 0, 0)
    reorder.push(packet(5), 0, 200 * MS)
    assert names(reorder.poll(400 * MS)) == ["lost 1", 3]
    assert names(reorder.poll(600 * MS)) == ["lost 1", 5]


def test_sequence_numbers_wrap() -> None:
    reorder = Reorder()
    out: list[Item] = []
    for n in (65533, 65535, 65534, 0, 2, 1, 3):
        out += reorder.push(packet(n), 0, 0)
    assert names(out) == [65533, 65534, 65535, 65536, 65537, 65538, 65539]


def test_a_publisher_that_begins_anew_is_a_loss_of_unknown_size() -> None:
    reorder = Reorder()
    reorder.push(packet(100), 0, 0)
    reorder.push(packet(102), 0, 0)
    assert names(reorder.push(packet(40_000), 0, 0)) == ["lost 1", 102, "lost 0", 40_000]
    assert names(reorder.push(packet(40_001), 0, 0)) == [40_001]


def test_a_full_buffer_waits_no_longer() -> None:
    reorder = Reorder(capacity=3)
    reorder.push(packet(1), 0, 0)
    out: list[Item] = []
    for n in (3, 4, 5, 6):
        out += reorder.push(packet(n), 0, 0)
    assert names(out) == ["lost 1", 3, 4, 5, 6]


def test_duplicates_are_counted_and_dropped() -> None:
    reorder = Reorder()
    reorder.push(packet(1), 0, 0)
    reorder.push(packet(3), 0, 0)
    assert reorder.push(packet(3), 0, 0) == []
    assert reorder.duplicates == 1


@given(start=st.integers(0, 65535), seed=st.integers(0, 10_000), loss=st.floats(0, 0.4), shuffle=st.integers(0, 30))
def test_every_number_comes_out_once_or_is_lost_once(start: int, seed: int, loss: float, shuffle: int) -> None:
    rng = random.Random(seed)
    numbers = list(range(start, start + 200))
    sent = [n for n in numbers if n == start or rng.random() >= loss]
    first, rest = sent[0], sent[1:]
    rest.sort(key=lambda n: n + rng.uniform(0, shuffle))
    reorder = Reorder()
    out: list[Item] = []
    for step, n in enumerate([first, *rest]):
        out += reorder.push(packet(n), 0, step * MS)
    out += reorder.flush()
    position = start
    for item in out:
        if isinstance(item, Lost):
            position += item.count
        else:
            assert item.sequence == position
            position += 1
    assert [item.sequence for item in out if isinstance(item, Arrived)] == sent
    assert reorder.late == 0


def test_extend_takes_the_nearest() -> None:
    assert extend(0, 65535, 16) == 65536
    assert extend(65535, 65536, 16) == 65535
    assert extend(5, 2**32 - 5, 32) == 2**32 + 5
