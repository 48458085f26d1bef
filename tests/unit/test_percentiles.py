"""The histogram never flatters, stays small, and survives the way between processes."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.percentiles import BUCKETS, MAX_VALUE, Histogram, bucket, upper

values = st.lists(st.integers(0, 10_000_000), min_size=1, max_size=300)


@given(st.integers(0, MAX_VALUE))
def test_a_value_lies_in_its_bucket_within_one_part_in_32(value: int) -> None:
    index = bucket(value)
    assert 0 <= index < BUCKETS
    assert value <= upper(index) <= value + value / 32
    assert index == 0 or upper(index - 1) < value


@given(values, st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_percentile_is_at_least_the_true_one_and_at_most_a_bucket_above(numbers: list[int], share: float) -> None:
    histogram = Histogram()
    for number in numbers:
        histogram.add(number)
    true = sorted(numbers)[max(1, math.ceil(round(len(numbers) * share, 6))) - 1]
    found = histogram.percentile(share)
    assert found is not None
    assert true <= found <= true + true / 32
    assert found <= max(numbers)


@given(values, values)
def test_merging_equals_counting_in_one(first: list[int], second: list[int]) -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    for number in first:
        one.add(number)
        both.add(number)
    for number in second:
        other.add(number)
        both.add(number)
    one.merge(Histogram.from_json(json.loads(json.dumps(other.to_json()))))
    assert one.to_json()["head"] == both.to_json()["head"]
    assert [one.percentile(p / 100) for p in range(1, 101)] == [both.percentile(p / 100) for p in range(1, 101)]


def test_a_negative_value_is_counted_apart_and_a_huge_one_is_capped() -> None:
    histogram = Histogram()
    histogram.add(-5)
    histogram.add(MAX_VALUE * 10)
    assert (histogram.count, histogram.negative, histogram.percentile(0.5)) == (1, 1, MAX_VALUE)


def test_taking_empties_it_and_empty_has_no_percentile() -> None:
    histogram = Histogram()
    histogram.add(7)
    assert histogram.take().percentile(0.5) == 7
    assert histogram.count == 0
    assert histogram.percentile(0.99) is None
    assert histogram.mean() is None


def test_bars_share_all_values_out() -> None:
    histogram = Histogram()
    for value in (1, 2, 3, 10, 11, 25):
        histogram.add(value)
    assert list(histogram.bars([3, 12, 30])) == [3, 2, 1]


@pytest.mark.parametrize("data", [{}, {"head": [1], "counts": {}}, {"head": [0] * 5, "counts": []}])
def test_what_is_no_histogram_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Histogram.from_json(data)
