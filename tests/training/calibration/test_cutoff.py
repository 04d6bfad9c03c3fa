"""The cut-off: shares by hand, and that the promise is kept as often as it says."""

import numpy as np
import pytest

from training.calibration.cutoff import Lists, cutoffs, find_cutoff, irrelevant_shares, mean_is_below


def lists_of(*rows: tuple[int, float, float]) -> Lists:
    """Query, probability and outcome of each pair; the logit is the probability."""
    queries, probabilities, outcomes = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    return Lists(probabilities, probabilities, outcomes, queries.astype(np.int64))


def test_shares_by_hand() -> None:
    """Query 0 shows .9 (good), .8 (bad); .7 stands beyond k. Query 1 shows .6 (bad). Query 2 shows nothing."""
    found = lists_of((0, 0.7, 1), (0, 0.9, 1), (0, 0.8, 0), (1, 0.6, 0), (1, 0.2, 1), (2, 0.1, 1))
    assert irrelevant_shares(found, cutoff=0.5, k=2) == pytest.approx([0.5, 1.0, np.nan], nan_ok=True)
    assert irrelevant_shares(found, cutoff=0.0, k=9) == pytest.approx([1 / 3, 0.5, 0.0])


def test_cutoffs_go_down_to_the_floor() -> None:
    assert list(cutoffs(0.2, floor=0.77)) == pytest.approx([0.8, 0.79, 0.78, 0.77])
    assert list(cutoffs(0.6, floor=0.5)) == [0.5]
    assert list(cutoffs(0.985, floor=0.0)) == pytest.approx([0.015, 0.005, 0.0])


def drawn(queries: int, seed: int, *, each: int = 12) -> Lists:
    """Calibrated pairs, whose queries differ in how hard they are."""
    generator = np.random.default_rng(seed)
    logits = (generator.normal(0, 1.5, (queries, 1)) + generator.normal(0, 1, (queries, each))).ravel()
    probabilities = 1 / (1 + np.exp(-logits))
    outcomes = (generator.uniform(size=len(logits)) < probabilities).astype(np.float64)
    return Lists(logits, probabilities, outcomes, np.repeat(np.arange(queries), each))


def test_the_promise_is_broken_no_more_often_than_it_says() -> None:
    """At 80 % confidence at most a fifth of the cut-offs may have a true share above the bound; far fewer do."""
    truth = drawn(4000, seed=999)
    found = [find_cutoff(drawn(60, seed), share=0.25, confidence=0.8, k=10, seed=seed) for seed in range(60)]
    kept = [cutoff for cutoff in found if cutoff is not None]
    assert len(kept) > 40
    broken = [cutoff for cutoff in kept if np.nanmean(irrelevant_shares(truth, cutoff=cutoff, k=10)) > 0.25]
    assert len(broken) <= len(kept) / 5
    assert np.mean(kept) < 0.7  # it does cut off less than 1 - share


def test_more_queries_let_more_through() -> None:
    few, many = (
        find_cutoff(drawn(queries, 1), share=0.25, confidence=0.9, k=10, seed=0) or 1.0 for queries in (25, 1500)
    )
    assert many < few


def test_nothing_is_promised_without_evidence() -> None:
    assert find_cutoff(drawn(3, 1), share=0.1, confidence=0.95, k=10, seed=0) is None
    bad = lists_of(*((query, 0.95, 0) for query in range(200)))
    assert find_cutoff(bad, share=0.2, confidence=0.9, k=10, seed=0) is None
    good = lists_of(*((query, 0.95, 1) for query in range(200)))
    assert find_cutoff(good, share=0.2, confidence=0.9, k=10, seed=0, floor=0.5) == 0.5


def test_a_mean_is_shown_to_be_below() -> None:
    zeros, ones = np.zeros(100), np.ones(100)
    assert mean_is_below(zeros, 0.1, confidence=0.95)
    assert not mean_is_below(zeros[:5], 0.1, confidence=0.95)
    assert not mean_is_below(ones, 0.9, confidence=0.95)
    assert not mean_is_below(np.zeros(0), 0.9, confidence=0.5)
    assert not mean_is_below(np.concatenate([ones[:1], zeros]), 0.0, confidence=0.9)


def test_a_mean_at_the_bound_is_rarely_taken_for_lower() -> None:
    generator = np.random.default_rng(0)
    wrong = [mean_is_below((generator.uniform(size=80) < 0.3).astype(float), 0.3, confidence=0.9) for _ in range(2000)]
    assert np.mean(wrong) <= 0.1
