"""Intervals hold what they promise; the corrected p-values follow Holm's own steps."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.metrics import intervals
from recsys.metrics.intervals import bootstrap, holm, paired_bootstrap, sign_flip_test

values = st.lists(st.floats(-5, 5), min_size=2, max_size=20)


def test_the_same_seed_gives_the_same_interval() -> None:
    sample = np.random.default_rng(1).normal(size=50)
    assert bootstrap(sample, seed=7) == bootstrap(sample, seed=7)
    assert bootstrap(sample, seed=7) != bootstrap(sample, seed=8)


def test_the_interval_is_the_normal_one_for_many_values() -> None:
    sample = np.random.default_rng(2).normal(loc=1.0, size=2_000)
    error = sample.std() / math.sqrt(len(sample))
    found = bootstrap(sample, seed=0)
    assert found.mean == pytest.approx(sample.mean())
    assert found.low == pytest.approx(sample.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(sample.mean() + 1.96 * error, abs=0.15 * error)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(3)
    covered = sum(
        found.low <= 0.0 <= found.high
        for found in (bootstrap(generator.normal(size=80), seed=trial, samples=400) for trial in range(300))
    )
    assert 0.90 <= covered / 300 <= 0.98


def test_blocks_of_bounded_memory_cover_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "CELLS", 100)
    assert len(intervals.resampled_means(np.arange(30.0), seed=0, samples=10)) == 10
    assert intervals.chunks(30, 10) == [3, 3, 3, 1]
    assert intervals.chunks(1_000, 2) == [1, 1]


def test_few_distinct_values_are_drawn_from_the_same_distribution() -> None:
    few = np.repeat([0.0, 0.3, 1.0], [60, 30, 10])
    almost = few + np.linspace(0.0, 1e-9, len(few))
    fast, slow = bootstrap(few, seed=0, samples=40_000), bootstrap(almost, seed=0, samples=40_000)
    assert fast == pytest.approx(slow, abs=0.002)
    exact = intervals.resampled_means(few, seed=0, samples=40_000)
    assert exact.mean() == pytest.approx(few.mean(), abs=0.001)
    assert exact.std() == pytest.approx(few.std() / 10, rel=0.02)


@given(first=values, shift=st.floats(-2, 2))
@settings(max_examples=40, deadline=None)
def test_pairs_remove_what_both_share(first: list[float], shift: float) -> None:
    a = np.array(first)
    found = paired_bootstrap(a + shift, a, seed=0, samples=200)
    assert found == pytest.approx((shift, shift, shift), abs=1e-9)


def test_unanswerable_queries_are_left_out() -> None:
    assert bootstrap([1.0, math.nan, 3.0], seed=0).mean == 2.0
    assert paired_bootstrap([1.0, math.nan], [0.5, 0.5], seed=0).mean == 0.5
    assert all(math.isnan(number) for number in bootstrap([math.nan], seed=0))


def test_above_needs_the_whole_interval() -> None:
    assert paired_bootstrap([1.0] * 9, [0.5] * 9, seed=0).above
    assert not bootstrap([-1.0, 2.0, -1.0, 2.0], seed=0).above


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        paired_bootstrap([1.0], [1.0, 2.0], seed=0)


def enumerated(gap: list[float]) -> float:
    """The share of all assignments of signs whose mean is at least as far from 0."""
    sums = [abs(math.fsum(sign * value for sign, value in zip(signs, gap, strict=True))) for signs in flips(len(gap))]
    return float(np.mean([total >= abs(math.fsum(gap)) - 1e-9 for total in sums]))


def flips(pairs: int) -> list[tuple[int, ...]]:
    return list(product([-1, 1], repeat=pairs))


def test_sign_flips_by_hand() -> None:
    assert sign_flip_test([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], seed=0) == 2 / 8
    assert sign_flip_test([1.0, 2.0, 0.0], [0.0, 0.0, 1.0], seed=0) == 6 / 8
    assert sign_flip_test([0.3], [0.1], seed=0) == 1.0
    assert sign_flip_test([math.nan], [0.0], seed=0) == sign_flip_test([], [], seed=0) == 1.0
    assert sign_flip_test([0.5, 0.5], [0.5, 0.5], seed=0) == 1.0


@given(gap=st.lists(st.integers(-9, 9).map(lambda value: value / 10), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_few_pairs_are_enumerated_in_full(gap: list[float]) -> None:
    found = sign_flip_test(gap, np.zeros(len(gap)), seed=0)
    assert found == pytest.approx(enumerated(gap))
    assert sign_flip_test(np.zeros(len(gap)), gap, seed=5) == pytest.approx(found), "either way round, any seed"
    assert sign_flip_test([*gap, math.nan, 0.0], [0.0] * len(gap) + [1.0, 0.0], seed=0) == pytest.approx(found)


@pytest.mark.parametrize("distinct", [True, False], ids=["signs", "binomial draws"])
def test_many_pairs_are_sampled_from_the_same_distribution(distinct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    gap = np.resize([0.5, -0.2, 0.5, -0.5], 16) + (np.arange(16) * 1e-3 if distinct else 0.0)
    exact = sign_flip_test(gap, np.zeros(16), seed=0)
    monkeypatch.setattr(intervals, "EXACT", 4)
    samples = 40_000
    found = sign_flip_test(gap, np.zeros(16), seed=0, samples=samples)
    assert found == sign_flip_test(gap, np.zeros(16), seed=0, samples=samples)
    assert found != sign_flip_test(gap, np.zeros(16), seed=1, samples=samples)
    assert found == pytest.approx(exact, abs=0.01)


def test_a_sampled_p_value_is_never_zero() -> None:
    assert sign_flip_test(np.linspace(1, 2, 60), np.zeros(60), seed=0, samples=99) == 1 / 100
    assert sign_flip_test(np.ones(60), np.zeros(60), seed=0, samples=99) == 1 / 100


def test_without_a_difference_p_values_are_uniform() -> None:
    generator = np.random.default_rng(4)
    found = [sign_flip_test(generator.normal(size=30), np.zeros(30), seed=trial, samples=199) for trial in range(400)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=0.06)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_holm_rejects_what_its_own_steps_reject(p_values: list[float]) -> None:
    level = 0.05
    order = np.argsort(p_values, kind="stable")
    rejected = set()
    for step, number in enumerate(order):
        if p_values[number] > level / (len(p_values) - step):
            break
        rejected.add(int(number))
    adjusted = holm(p_values)
    edge = {number for number, value in enumerate(adjusted) if math.isclose(value, level)}
    assert {number for number, value in enumerate(adjusted) if value <= level} - edge == rejected - edge
