"""Speed against named peers, both measured in this run: ratios are told, only the results are asserted."""

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from implicit.nearest_neighbours import CosineRecommender
from scipy import sparse
from threadpoolctl import threadpool_limits

from recsys.metrics.ranking import ndcg
from recsys.retrieval.item_knn import ItemKnnRecommender, ItemKnnSettings
from recsys.retrieval.order import top_k
from recsys.types import PositionHistories
from training.evaluate.ties import ndcg_at
from training.histories import Cells
from training.item_knn import ItemKnnConfig, nearest, weigh

pytestmark = pytest.mark.bench
ROUNDS = 5
Compare = Callable[..., None]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(limits=1):
        yield


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Compare:
    """Tell how many times as fast as the peer we are, by the best of some rounds each."""

    def tell(what: str, *, ours: Callable[[], Any], peer: str, theirs: Callable[[], Any]) -> None:
        mine, its = best_seconds(ours), best_seconds(theirs)
        with capsys.disabled():
            print(f"\n{what}: {its / mine:.2f} x as fast as {peer} ({mine * 1e3:.2f} ms, {its * 1e3:.2f} ms)")  # noqa: T201

    return tell


def best_seconds(call: Callable[[], Any]) -> float:
    """The shortest of some rounds, after one that warms up."""
    call()
    return min(timed(call) for _ in range(ROUNDS))


def timed(call: Callable[[], Any]) -> float:
    begun = perf_counter()
    call()
    return perf_counter() - begun


def test_top_k_with_exact_ties_against_a_full_sort(compare: Compare) -> None:
    scores = np.random.default_rng(0).integers(0, 50_000, 1_000_000).astype(np.float32)

    def sort() -> np.ndarray:
        return np.argsort(-scores, kind="stable")[:100]

    np.testing.assert_array_equal(top_k(scores, k=100)[0], sort())
    compare("top 100 of a million", ours=lambda: top_k(scores, k=100), peer="np.argsort", theirs=sort)


@pytest.mark.filterwarnings("ignore")  # numba's and ranx's own
def test_ndcg_against_ranx(compare: Compare) -> None:
    from ranx import Qrels, Run, evaluate

    generator = np.random.default_rng(0)
    grades = (generator.random((2000, 50)) < 0.1).astype(np.float64)
    grades[:, 0] = 1.0
    scores = generator.permuted(np.tile(np.arange(50.0), (2000, 1)), axis=1)
    names = [str(number) for number in range(50)]

    def as_mapping(values: np.ndarray, kind: type) -> dict[str, dict[str, Any]]:
        return {f"q{row}": dict(zip(names, map(kind, line), strict=True)) for row, line in enumerate(values)}

    qrels, run = Qrels(as_mapping(grades, int)), Run(as_mapping(scores, float))
    relevant = grades.sum(axis=1).astype(np.int64)

    def theirs() -> float:
        return float(evaluate(qrels, run, "ndcg_burges@10"))

    def one_by_one() -> float:
        return float(np.mean([ndcg(row, score, k=10) for row, score in zip(grades, scores, strict=True)]))

    def together() -> float:
        ordered = np.take_along_axis(grades, np.argsort(-scores, axis=1), axis=1)
        return float(ndcg_at(ordered, relevant, k=10).mean())

    assert one_by_one() == pytest.approx(theirs())
    assert together() == pytest.approx(theirs())
    compare("ndcg@10 of 2,000 queries, one by one with ties", ours=one_by_one, peer="ranx", theirs=theirs)
    compare("ndcg@10 of 2,000 users together", ours=together, peer="ranx", theirs=theirs)


@pytest.mark.filterwarnings("ignore:Method expects CSR input")  # implicit hands itself a COO matrix
def test_item_knn_against_implicit(compare: Compare) -> None:
    users, products, neighbours, k = 1000, 5000, 400, 20  # so many neighbours that none is cut among ties
    generator = np.random.default_rng(0)
    table = sparse.random_array((users, products), density=0.005, format="csr", rng=generator)
    table.data[:] = 1.0
    who, what = table.nonzero()
    cells = Cells(
        who.astype(np.int64),
        what.astype(np.int64),
        np.ones(len(who), dtype=np.float32),
        pl.Series([f"p{number}" for number in range(products)]),
    )
    pairs = nearest(weigh(cells, config=ItemKnnConfig(weighting="cosine")), neighbours=neighbours)
    ours = ItemKnnRecommender(
        offsets=np.searchsorted(pairs["row"].to_numpy(), np.arange(products + 1)).astype(np.int64),
        neighbours=pairs["neighbour"].to_numpy(),
        scores=pairs["score"].to_numpy(),
        settings=ItemKnnSettings(),
    )
    matrix = sparse.csr_matrix((np.ones(len(who)), (who, what)), shape=(users, products))
    theirs = CosineRecommender(K=neighbours, num_threads=1)
    theirs.fit(matrix, show_progress=False)
    stamps = np.zeros(len(who), dtype=np.int64)
    histories = PositionHistories(
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), stamps, stamps.astype(np.int8)
    )

    def own() -> list[np.ndarray]:
        return [found.scores for found in ours.recommend(histories, k=k)]

    def its() -> tuple[np.ndarray, np.ndarray]:
        found: tuple[np.ndarray, np.ndarray] = theirs.recommend(
            np.arange(users), matrix, N=k, filter_already_liked_items=False
        )
        return found

    for mine, other in zip(own(), its()[1], strict=True):
        np.testing.assert_allclose(mine, other[: len(mine)], rtol=1e-4)
    compare(f"item-kNN for {users} users", ours=own, peer="implicit's ItemItemRecommender", theirs=its)
