"""Off-policy estimates: by hand, against a truth that is known, and refused where the log says too little."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.metrics.intervals import ratio_bootstrap
from recsys.metrics.off_policy import check_overlap, doubly_robust, effective_size, estimate, ips, snips

REWARDS = np.array([1.0, 0.0, 1.0, 0.0])
WEIGHTS = np.array([2.0, 0.0, 1.0, 0.0])


def test_by_hand() -> None:
    assert ips(REWARDS, WEIGHTS) == 3 / 4
    assert snips(REWARDS, WEIGHTS) == 3 / 3
    predicted, expected = np.full(4, 0.5), np.array([0.6, 0.4, 0.5, 0.5])
    assert doubly_robust(REWARDS, WEIGHTS, predicted=predicted, expected=expected) == (2.0 + 2 * 0.5 + 1 * 0.5) / 4
    assert math.isnan(snips(REWARDS, np.zeros(4)))


def test_effective_size_by_hand() -> None:
    assert effective_size(np.ones(7)) == 7.0
    assert effective_size(np.array([0.0, 5.0, 0.0])) == 1.0
    assert effective_size(np.array([2.0, 1.0, 1.0])) == 16 / 6
    assert effective_size(np.zeros(3)) == 0.0


def test_the_ratio_resamples_both_sides_together() -> None:
    found = ratio_bootstrap([1.0, 4.0, 9.0], [1.0, 2.0, 3.0], seed=0)
    assert found.mean == 14 / 6
    assert (found.low, found.high) == (1.0, 3.0), "all the same cluster, the lowest and the highest"
    assert math.isnan(ratio_bootstrap([0.0], [0.0], seed=0).mean)
    with pytest.raises(ValueError, match="shapes"):
        ratio_bootstrap([1.0], [1.0, 2.0], seed=0)


class World(NamedTuple):
    """A log of uniform choices among actions whose rewards hang on context and action."""

    rewards: NDArray[np.float64]
    weights: NDArray[np.float64]
    predicted: NDArray[np.float64]
    expected: NDArray[np.float64]
    clusters: NDArray[np.int64]


ACTIONS, CONTEXTS = 5, 8
ODDS = 0.1 + 0.6 * np.random.default_rng(7).random((CONTEXTS, ACTIONS))
CHOSEN = ODDS.argmax(axis=1)
TRUTH = float(ODDS.max(axis=1).mean())


def world(seed: int, *, decisions: int = 1500, logging: NDArray[np.float64] | None = None) -> World:
    """The policy in question takes the best action of each context; the model of rewards knows the actions alone."""
    generator = np.random.default_rng(seed)
    chances = np.full(ACTIONS, 1 / ACTIONS) if logging is None else logging
    context = generator.integers(0, CONTEXTS, decisions)
    action = generator.choice(ACTIONS, decisions, p=chances)
    model = ODDS.mean(axis=0)
    return World(
        rewards=(generator.random(decisions) < ODDS[context, action]).astype(np.float64),
        weights=(action == CHOSEN[context]) / chances[action],
        predicted=model[action],
        expected=model[CHOSEN[context]],
        clusters=np.arange(decisions) // 3,
    )


def test_all_three_are_right_in_the_mean_and_two_are_narrower() -> None:
    worlds = [world(seed) for seed in range(400)]
    found = {
        "ips": np.array([ips(one.rewards, one.weights) for one in worlds]),
        "snips": np.array([snips(one.rewards, one.weights) for one in worlds]),
        "dr": np.array(
            [doubly_robust(one.rewards, one.weights, predicted=one.predicted, expected=one.expected) for one in worlds]
        ),
    }
    for values in found.values():
        assert abs(values.mean() - TRUTH) < 4 * values.std() / np.sqrt(len(values))
    assert found["snips"].var() < 0.7 * found["ips"].var()
    assert found["dr"].var() < 0.7 * found["ips"].var()


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    worlds = [world(seed, decisions=600) for seed in range(40)]
    found = [
        estimate(
            one.rewards, one.weights, predicted=one.predicted, expected=one.expected, clusters=one.clusters, seed=0
        )
        for one in worlds
    ]
    for number in range(3):
        covered = sum(row[number].low <= TRUTH <= row[number].high for row in found)
        assert covered >= 34, "of 40 at 95 %, 38 are expected; fewer than 34 come about in one of two hundred cases"


def test_wrong_predictions_do_no_harm_where_the_weights_are_right() -> None:
    worlds = [world(seed) for seed in range(200)]
    values = np.array(
        [
            doubly_robust(one.rewards, one.weights, predicted=one.clusters % 2 + 0.0, expected=0.0 * one.rewards + 0.5)
            for one in worlds
        ]
    )
    assert abs(values.mean() - TRUTH) < 4 * values.std() / np.sqrt(len(values))


def test_a_sound_log_passes() -> None:
    one = world(0)
    found = check_overlap(one.weights, one.clusters, seed=0)
    assert found.refused == ""
    assert found.effective == pytest.approx(len(one.weights) / ACTIONS, rel=0.15)
    assert found.weight.low < 1.0 < found.weight.high


def test_a_log_that_never_does_what_the_policy_would_is_refused() -> None:
    kept = np.setdiff1d(np.arange(ACTIONS), CHOSEN[:1])
    chances = np.where(np.isin(np.arange(ACTIONS), kept), 1.0 / len(kept), 0.0)
    generator = np.random.default_rng(0)
    action = generator.choice(ACTIONS, 1000, p=chances)
    weights = np.where(action == CHOSEN[0], 1.0, 0.0)
    found = check_overlap(weights, np.arange(1000), seed=0)
    assert found.effective == 0.0
    assert found.refused.startswith("poor overlap: 0 effective decisions of 1000")


def test_too_few_decisions_are_refused() -> None:
    one = world(0, decisions=200)
    assert "poor overlap" in check_overlap(one.weights, one.clusters, seed=0).refused


def test_wrong_chances_are_refused() -> None:
    """The log says uniform, but prefers what the policy would choose."""
    generator = np.random.default_rng(1)
    followed = generator.random(2000) < 0.4
    found = check_overlap(followed * float(ACTIONS), np.arange(2000), seed=0)
    assert "average 2" in found.refused
    assert "does not choose with the chances" in found.refused
