"""Drift measures against values by hand, scipy, and what chance gives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import kolmogorov
from scipy.stats import chi2, ks_2samp, norm

from feature_store.quality import drift, measures

COUNTS = st.lists(st.integers(0, 1_000), min_size=2, max_size=12)
VALUES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=60)


def counts(*values: float) -> measures.Floats:
    return np.array(values, dtype=np.float64)


def test_psi_by_hand() -> None:
    """Shares .5 .3 .2 become .4 .4 .2: (-.1) ln .8 + .1 ln (4/3)."""
    expected = -0.1 * math.log(0.8) + 0.1 * math.log(4 / 3)
    assert measures.psi(counts(50, 30, 20), counts(8, 8, 4)) == pytest.approx(expected, rel=1e-12)


def test_an_empty_bin_gets_half_a_row_on_both_sides() -> None:
    before, now = np.array([10.5, 0.5]) / 11, np.array([5.5, 5.5]) / 11
    expected = float(((now - before) * np.log(now / before)).sum())
    assert measures.psi(counts(10, 0), counts(5, 5)) == pytest.approx(expected, rel=1e-12)


@given(COUNTS, COUNTS)
def test_jensen_shannon_is_scipys(one: list[int], other: list[int]) -> None:
    width = min(len(one), len(other))
    before, now = counts(*one[:width]), counts(*other[:width])
    if before.sum() and now.sum():
        expected = jensenshannon(before, now, base=2)
        assert measures.jensen_shannon(before, now) == pytest.approx(0.0 if np.isnan(expected) else expected, abs=1e-7)


def test_jensen_shannon_reaches_from_0_to_1() -> None:
    assert measures.jensen_shannon(counts(1, 2, 3), counts(2, 4, 6)) == pytest.approx(0.0, abs=1e-8)
    assert measures.jensen_shannon(counts(7, 0), counts(0, 3)) == pytest.approx(1.0)


@given(VALUES, VALUES)
def test_kolmogorov_smirnov_is_scipys_with_ties(one: list[float], other: list[float]) -> None:
    reference, current = np.round(np.array(one), 1), np.round(np.array(other), 1)
    expected = ks_2samp(reference, current, method="asymp").statistic
    assert measures.kolmogorov_smirnov(reference, current) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("statistic", [0.0, 0.003, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0])
def test_the_chance_of_a_statistic_is_kolmogorovs_limit(statistic: float) -> None:
    at = statistic * math.sqrt(2_000 * 3_000 / 5_000)
    assert measures.ks_chance(statistic, reference=2_000, current=3_000) == pytest.approx(kolmogorov(at), abs=1e-12)


@pytest.mark.parametrize("bins", [2, 3, 5, 11, 24])
def test_psi_by_chance_is_a_chi_square_quantile(bins: int) -> None:
    expected = chi2.ppf(0.999, bins - 1) * (1 / 400 + 1 / 900)
    assert measures.psi_by_chance(bins=bins, reference=400, current=900) == pytest.approx(expected, rel=0.04)
    assert measures.psi_by_chance(bins=1, reference=400, current=900) == 0.0


def test_chance_alone_seldom_exceeds_its_own_bounds() -> None:
    """Two samples of one distribution, 300 times: of PSI and JS about three in ten thousand are expected above."""
    draws = np.random.default_rng(5)
    over = 0
    for _ in range(300):
        before, now = (measures.binned(draws.normal(size=500), np.linspace(-1.5, 1.5, 9)) for _ in range(2))
        sizes = {"bins": 10, "reference": 500, "current": 500}
        over += measures.psi(before, now) > measures.psi_by_chance(**sizes)
        over += measures.jensen_shannon(before, now) > measures.js_by_chance(**sizes)
    assert over <= 4


def test_the_three_limits_mean_half_a_standard_deviation() -> None:
    limits = drift.Limits()
    edges = np.linspace(-6, 6.5, 4_000)
    before, now = np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges - 0.5))
    assert measures.psi(before, now) == pytest.approx(limits.psi, rel=0.01)
    assert measures.jensen_shannon(before, now) == pytest.approx(limits.js, rel=0.01)
    assert 2 * norm.cdf(0.25) - 1 == pytest.approx(limits.ks, rel=0.02)


def test_bins_hold_equal_mass_and_every_value() -> None:
    values = np.arange(1.0, 101.0)
    edges = measures.quantile_edges(values)
    assert edges.tolist() == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert measures.binned(values, edges).tolist() == [10] * 10
    assert measures.binned(np.array([-5.0, 10.0, 10.5, 1e9]), edges).tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert measures.quantile_edges(np.full(50, 3.0)).tolist() == [3.0]


@given(VALUES)
def test_a_sample_has_not_moved_from_itself(values: list[float]) -> None:
    found = drift.drift_of_numbers(np.array(values), np.array(values[::-1]), limits=drift.Limits())
    assert found is not None
    assert (found.psi, found.ks, found.exceeded) == (0.0, 0.0, ())
    assert found.js == pytest.approx(0.0, abs=1e-7)
    assert sum(found.before) == pytest.approx(1.0)


def test_a_shift_is_seen_in_many_rows_and_left_to_chance_in_few() -> None:
    draws = np.random.default_rng(3)
    many = drift.drift_of_numbers(draws.normal(size=4_000), draws.normal(1.0, size=4_000), limits=drift.Limits())
    few = drift.drift_of_numbers(draws.normal(size=12), draws.normal(1.0, size=12), limits=drift.Limits())
    assert many is not None
    assert few is not None
    assert many.exceeded == ("psi", "js", "ks")
    assert few.psi > 0.25
    assert few.exceeded == ()


def test_missing_numbers_are_a_bin_of_their_own() -> None:
    values = np.arange(1_000.0)
    found = drift.drift_of_numbers(values, values[::2], limits=drift.Limits(), missing=(0, 500))
    assert found is not None
    assert (found.labels[-1], found.before[-1], found.now[-1]) == ("missing", 0.0, 0.5)
    assert set(found.exceeded) == {"psi", "js"}
    assert drift.drift_of_numbers(values, np.array([]), limits=drift.Limits()) is None


def test_categories_beyond_the_most_frequent_are_one() -> None:
    before = {f"c{number:02d}": 100 - number for number in range(30)}
    found = drift.drift_of_categories(before, before | {"new": 5_000}, limits=drift.Limits(), most=10)
    assert found is not None
    assert found.labels == (*(f"c{number:02d}" for number in range(10)), "other")
    assert found.ks is None
    assert "psi" in found.exceeded
    assert drift.drift_of_categories({}, {"a": 1}, limits=drift.Limits()) is None
