"""Fitting the curve: known curves come back, scikit-learn as an oracle, queries are left out whole."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from recsys.errors import UsageError
from training.calibration.config import CalibrationConfig, relevant_grade
from training.calibration.fit import FITS, choose_kind, fit_isotonic, fit_platt, fit_temperature, left_out, surely_worse
from training.calibration.stage import fit_calibration
from training.folds import query_folds

PAIRS = st.lists(st.tuples(st.floats(-8, 8, width=32), st.booleans()), min_size=1, max_size=40)


def drawn(count: int, *, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, count)
    odds = slope * logits + intercept
    return logits, (generator.uniform(size=count) < 1 / (1 + np.exp(-odds))).astype(np.float64)


def test_platt_finds_the_line() -> None:
    logits, outcomes = drawn(20_000, slope=1.5, intercept=-0.7)
    found = fit_platt(logits, outcomes)
    assert (found.slope, found.intercept) == pytest.approx((1.5, -0.7), abs=0.08)
    peer = LogisticRegression(C=np.inf).fit(logits[:, None], outcomes)
    assert (found.slope, found.intercept) == pytest.approx((peer.coef_.item(), peer.intercept_.item()), abs=0.01)


def test_platt_never_falls() -> None:
    """Where scores run against the outcomes, the best line that does not fall says the mean of Platt's targets."""
    found = fit_platt(np.array([-1.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0]))
    targets = np.array([3 / 4, 3 / 4, 1 / 3])
    assert found.slope == 0.0
    assert found([5.0])[0] == pytest.approx(targets.mean(), abs=1e-4)


def test_temperature_finds_the_slope_and_nothing_else() -> None:
    logits, outcomes = drawn(20_000, slope=0.6, intercept=0.0)
    found = fit_temperature(logits, outcomes)
    assert (found.slope, found.intercept) == (pytest.approx(0.6, abs=0.03), 0.0)
    peer = LogisticRegression(C=np.inf, fit_intercept=False).fit(logits[:, None], outcomes)
    assert found.slope == pytest.approx(peer.coef_.item(), abs=0.01)
    assert fit_temperature(np.zeros(3), np.ones(3))([0.0])[0] == 0.5


def test_isotonic_by_hand_and_by_an_oracle() -> None:
    """0, then 1 and 0 pooled at their middle, then 1: knots at 0, 1.5 and 3, held off 0 and 1 by 1 / (4 + 2)."""
    found = fit_isotonic(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert found.logits == pytest.approx((0.0, 1.5, 3.0))
    assert found.probabilities == pytest.approx((1 / 6, 0.5, 5 / 6))
    logits, outcomes = drawn(400, slope=1.0, intercept=0.5)
    mine = fit_isotonic(logits, outcomes)
    levels = IsotonicRegression().fit(logits, outcomes).predict(logits)
    assert mine.probabilities == pytest.approx(np.clip(np.unique(np.round(levels, 9)), 1 / 402, 401 / 402), abs=1e-6)


@given(PAIRS)
def test_every_fit_rises_and_stays_inside(pairs: list[tuple[float, bool]]) -> None:
    logits, outcomes = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    for fit in FITS.values():
        found = fit(logits, outcomes)(np.linspace(-20, 20, 50))
        assert (np.diff(found) >= 0).all()
        assert ((found >= 0) & (found <= 1)).all()


@given(st.integers(1, 30), st.integers(2, 6), st.integers(0, 9))
def test_folds_keep_queries_whole_and_are_even(count: int, folds: int, seed: int) -> None:
    queries = np.repeat(np.arange(count), 3)
    fold = query_folds(queries, folds=folds, seed=seed)
    assert (fold.reshape(-1, 3) == fold[::3, None]).all()
    sizes = np.bincount(fold[::3])
    assert len(sizes) == min(folds, count)
    assert np.ptp(sizes) <= 1


def test_a_pair_never_meets_a_curve_that_has_seen_its_query() -> None:
    """Query 1 alone is good: left out, nobody knows; so its probability is that of a bad one."""
    queries = np.repeat([0, 1, 2], 50)
    outcomes = (queries == 1).astype(np.float64)
    found = left_out(np.zeros(150), outcomes, queries, fit=fit_platt, folds=3, seed=0)
    assert found[queries == 1] == pytest.approx(1 / 102, abs=1e-4)
    assert found[queries == 0] == pytest.approx((50 * 51 / 52 + 50 / 52) / 100, abs=1e-3)


def test_the_plainest_kind_that_does_is_chosen() -> None:
    logits, outcomes = drawn(4000, slope=0.7, intercept=0.0)
    queries = np.arange(4000) // 20
    assert choose_kind(logits, outcomes, queries, folds=5, seed=0) == "temperature"
    moved = drawn(4000, slope=1.0, intercept=1.0)
    assert choose_kind(*moved, queries, folds=5, seed=0) == "platt"
    steps = np.where(np.abs(logits) < 2, 0.5, np.where(logits > 0, 0.95, 0.3))
    bent = (np.random.default_rng(1).uniform(size=4000) < steps).astype(np.float64)
    assert choose_kind(logits, bent, queries, folds=5, seed=0) == "isotonic"
    assert choose_kind(logits, outcomes, np.zeros(4000, dtype=np.int64), folds=5, seed=0) == "temperature"


def test_a_gap_is_weighed_by_queries_not_by_pairs() -> None:
    """100 pairs of two queries, .1 and -.08: the mean .01 has the error sqrt((4.5² + 4.5²) · 2 / 1) / 100 = .09."""
    queries = np.repeat([0, 1], 50)
    gaps = np.where(queries == 0, 0.1, -0.08)
    assert not surely_worse(gaps, queries)
    assert surely_worse(gaps, np.arange(100))
    assert surely_worse(np.where(queries == 0, 0.1, 0.08), queries)


@pytest.mark.parametrize(("best", "good"), [(3, 2), (2, 1), (1, 1), (4, 3), (5, 3), (10, 7), (0.5, 1 / 3)])
def test_a_good_match_has_two_thirds_of_the_scale(best: float, good: float) -> None:
    assert relevant_grade(best) == pytest.approx(good)


def frame(queries: int, *, each: int = 30) -> pl.DataFrame:
    logits, good = drawn(queries * each, slope=1.2, intercept=0.4)
    rows = {"query_id": [f"q{number // each}" for number in range(len(logits))]}
    grades = np.where(good > 0, 2.0, 1.0)
    return pl.DataFrame(rows | {"product_id": "p", "grade": grades, "max_grade": 3.0, "logit": logits})


def test_the_whole_fit_says_how_well_it_does() -> None:
    found, metrics = fit_calibration(frame(100), config=CalibrationConfig(k=50), cross_encoder="abc")
    assert (found.cross_encoder, found.threshold, found.max_grade) == ("abc", 2.0, 3.0)
    assert metrics["held-out/queries"] == 100
    assert metrics["held-out/ece"] < 1.5 * metrics["held-out/ece by sampling at most"]
    assert found.cutoff is not None
    assert found.cutoff.queries == 100
    assert metrics["held-out/irrelevant share"] <= 0.2
    other, _ = fit_calibration(frame(100), config=CalibrationConfig(k=50, threshold=1.0))
    assert other.threshold == 1.0
    assert other.curve([0.0])[0] > 0.99
    with pytest.raises(UsageError, match="setting threshold = 99; expected a grade of the shop's scale, at most"):
        fit_calibration(frame(100), config=CalibrationConfig(threshold=99.0))


def test_few_queries_still_have_a_curve() -> None:
    one, metrics = fit_calibration(frame(1, each=1), config=CalibrationConfig())
    assert one.curve.kind == "platt"  # a temperature is a line, too
    assert one.cutoff is None
    assert "held-out/ece" not in metrics
    two, metrics = fit_calibration(frame(2), config=CalibrationConfig(kind="isotonic"))
    assert two.curve.kind == "isotonic"
    assert two.cutoff is None
    assert "held-out/ece" in metrics
