"""The weights chosen on held-out queries, and which stages stay on beside them: by hand-made scores."""

from collections.abc import Sequence

import numpy as np
import pytest

from recsys.engine.policy import SearchPolicy
from training.blender.rows import Rows
from training.calibration.shares import TRIED, Judged, choose_shares

QUERIES = 20
POLICY = SearchPolicy()


def judged(
    *,
    grades: Sequence[Sequence[float]],
    dense: Sequence[Sequence[float]],
    cross: Sequence[Sequence[float]],
    vectors: Sequence[Sequence[float]] | None = None,
) -> Judged:
    """Queries with one product or more each, their words unknown to BM25; `vectors` are those of every query's."""
    counts = [len(row) for row in grades]
    flat = [np.concatenate([np.asarray(row, dtype=np.float32) for row in rows]) for rows in (dense, cross)]
    rows = Rows(
        texts=tuple(f"query {number}" for number in range(len(grades))),
        queries=np.repeat(np.arange(len(grades)), counts),
        grades=np.concatenate([np.asarray(row, dtype=np.float64) for row in grades]),
        parts={"bm25": np.zeros(sum(counts), dtype=np.float32), "dense": flat[0], "cross_encoder": flat[1]},
        names=(),
        matrix=np.zeros((sum(counts), 0), dtype=np.float32),
    )
    return Judged(rows, None if vectors is None else np.asarray([*vectors] * len(grades), dtype=np.float32))


def choose(found: Judged, *free: str, policy: SearchPolicy = POLICY) -> tuple[dict[str, float], dict]:
    made = choose_shares(found, policy, free=free or tuple(TRIED), folds=5, seed=0)
    return made.chosen, made.report


def test_a_heavier_cosine_is_chosen_where_it_ranks_every_query_better() -> None:
    """The good product leads by cosine, the bad one by .6 of the network: 1 is the least weight that does."""
    found = judged(grades=[[3, 0]] * QUERIES, dense=[[1, 0]] * QUERIES, cross=[[0.2, 0.8]] * QUERIES)
    chosen, report = choose(found, "dense")
    assert chosen == {"dense": 1.0}
    assert report["own"] == {"dense": 0.5}
    assert report["sure"]
    assert report["gain"]["mean"] == pytest.approx(1 - 1 / np.log2(3))
    assert report["why"].startswith("dense 1, not dense 0.5: choosing gains +0.3691")
    assert report["ndcg@10"]["dense 2"]["mean"] == 1.0


def test_the_policys_own_weights_stay_where_no_gain_is_sure() -> None:
    """What a heavier cosine brings half of the queries, it takes from the others."""
    good, bad = [[3, 0]] * 10, [[0, 3]] * 10
    found = judged(grades=[*good, *bad], dense=[[1, 0]] * QUERIES, cross=[[0.2, 0.8]] * QUERIES)
    chosen, report = choose(found, "dense")
    assert chosen == {}
    assert not report["sure"]
    assert "dense 0.5 stay" in report["why"]
    same = judged(grades=good, dense=[[1, 0]] * 10, cross=[[0.8, 0.2]] * 10)
    assert choose(same)[0] == {}
    assert choose(same)[1]["best"] == {"dense": 0.5, "feedback": 0.0}  # of equals, those that there are


def test_one_lucky_query_decides_nothing() -> None:
    """Each query is ranked by the weights that are best for the others."""
    grades = [[3.0, 0.0]] + [[0.0, 3.0]] * (QUERIES - 1)
    found = judged(grades=grades, dense=[[1, 0]] * QUERIES, cross=[[0.2, 0.8]] * QUERIES)
    assert choose(found, "dense")[0] == {}


def test_feedback_is_chosen_where_good_products_are_alike() -> None:
    """The second good product is the twin of the best one, the bad one between them stands alone."""
    vectors = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    found = judged(
        grades=[[3, 0, 3]] * QUERIES,
        dense=[[0, 0, 0]] * QUERIES,
        cross=[[0.9, 0.5, 0.3]] * QUERIES,
        vectors=vectors,
    )
    chosen, report = choose(found)
    assert chosen == {"dense": 0.5, "feedback": 0.5}
    heard = found.total(POLICY.model_copy(update=chosen))
    weights = np.exp((np.array([0.9, 0.5, 0.3]) - 0.9) / POLICY.feedback_temperature)
    alike = [weights[2] / (weights[1] + weights[2]), 0.0, weights[0] / (weights[0] + weights[1])]
    expected = np.array([0.9, 0.5, 0.3]) + 0.5 * np.array(alike)
    assert heard.reshape(QUERIES, 3) == pytest.approx(np.tile(expected, (QUERIES, 1)), abs=1e-5)
    assert report["own"] == {"dense": 0.5, "feedback": 0.0}


def test_without_vectors_nothing_is_heard() -> None:
    found = judged(grades=[[3, 0]] * 3, dense=[[1, 0]] * 3, cross=[[0, 1]] * 3)
    loud = POLICY.model_copy(update={"feedback": 2.0})
    np.testing.assert_array_equal(found.total(loud), found.total(POLICY))
    np.testing.assert_array_equal(found.heard(found.total(POLICY), loud), found.total(POLICY))
