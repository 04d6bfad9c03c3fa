"""Search metrics by hand: what is left out, what an unjudged product counts, what a list doesn't reach."""

import numpy as np
import pytest

from training.evaluate.queries import JudgedQuery, Ranking, judged_metrics, left_out, retrieval_metrics


def query(positions: list[int], grades: list[float]) -> JudgedQuery:
    return JudgedQuery("q", "sofa", np.array(positions), np.array(grades))


def ranking(*positions: int) -> Ranking:
    return Ranking(np.array(positions), np.arange(len(positions), 0, -1).astype(np.float32))


LOG3 = np.log2(3)


def test_an_unjudged_product_counts_as_grade_zero_and_is_counted() -> None:
    found = retrieval_metrics([query([2, 5], [3.0, 0.0])], [ranking(9, 2)], cuts=(10,), relevant=2.0)
    assert found["ndcg@10"][0] == pytest.approx(1 / LOG3)
    assert found["unjudged@10"][0] == 0.5
    assert found["recall@10"][0] == found["recall@100"][0] == 1.0


def test_judged_only_leaves_the_unjudged_out_of_the_list() -> None:
    found = retrieval_metrics([query([2, 5], [3.0, 0.0])], [ranking(9, 2, 5)], cuts=(10,), relevant=2.0)
    assert found["ndcg@10 judged-only"][0] == 1.0


def test_judged_products_that_the_list_does_not_reach_share_the_last_place() -> None:
    found = retrieval_metrics([query([2, 5, 7], [3.0, 0.0, 0.0])], [ranking(5)], cuts=(10,), relevant=2.0)
    assert found["ndcg@10 judged-only"][0] == pytest.approx((1 / LOG3 + 1 / 2) / 2)


def test_the_ideal_counts_products_that_were_not_found() -> None:
    found = retrieval_metrics([query([2, 5], [3.0, 3.0])], [ranking(2)], cuts=(10,), relevant=2.0)
    assert found["ndcg@10"][0] == pytest.approx(1 / (1 + 1 / LOG3))
    assert found["recall@100"][0] == 0.5


def test_queries_without_a_positive_or_with_one_grade_are_left_out_and_counted() -> None:
    queries = [query([1, 2], [0.0, 0.0]), query([1, 2], [3.0, 3.0]), query([1, 2], [3.0, 0.0])]
    scores = [np.zeros(2, dtype=np.float32)] * 3
    alone = judged_metrics(queries, scores, cuts=(10,), relevant=2.0)
    assert np.isnan(alone["ndcg@10"]).tolist() == [True, True, False]
    whole = retrieval_metrics(queries, [ranking(1, 2)] * 3, cuts=(10,), relevant=2.0)
    assert np.isnan(whole["ndcg@10"]).tolist() == [True, False, False]
    assert np.isnan(whole["unjudged@10"]).tolist() == [True, False, False]
    counted = left_out(queries)
    assert counted["queries without a positive product"] == 1
    assert counted["queries with a single grade"] == 1


def test_ties_are_averaged_not_taken_in_the_order_of_the_file() -> None:
    first = judged_metrics([query([1, 2], [3.0, 0.0])], [np.zeros(2, dtype=np.float32)], cuts=(10,), relevant=2.0)
    second = judged_metrics([query([1, 2], [0.0, 3.0])], [np.zeros(2, dtype=np.float32)], cuts=(10,), relevant=2.0)
    assert first["ndcg@10"][0] == second["ndcg@10"][0] == pytest.approx((1 + 1 / LOG3) / 2)


def test_an_empty_ranking_scores_nothing() -> None:
    empty = Ranking(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    found = retrieval_metrics([query([2, 5], [3.0, 0.0])], [empty], cuts=(10,), relevant=2.0)
    assert found["ndcg@10"][0] == found["recall@100"][0] == 0.0
    assert np.isnan(found["unjudged@10"][0])
