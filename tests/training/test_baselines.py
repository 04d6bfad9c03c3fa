"""Item-kNN, factors and popularity: training against implicit and against plain matrices."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from scipy import sparse
from threadpoolctl import threadpool_limits

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.errors import UsageError
from recsys.retrieval.factors import FactorRecommender, FactorSettings
from recsys.retrieval.item_knn import ItemKnnRecommender
from recsys.retrieval.popularity import PopularityRecommender
from recsys.testing.recommender import check_recommender
from tests.command import recsys
from training.factors import AlsStage, BprConfig, BprStage, FactorConfig, as_matrix
from training.histories import Cells, read_cells
from training.holdout import Holdout
from training.item_knn import ItemKnnConfig, nearest, weigh
from training.metric_log import Silent
from training.popularity import PopularityConfig, PopularityStage
from training.stage import find_stage

NAMES = ("als", "bpr", "item-knn", "popularity")
CONFIGS = {
    "als": FactorConfig(factors=8, iterations=5),
    "bpr": BprConfig(factors=8, iterations=5),
    "item-knn": ItemKnnConfig(),
    "popularity": PopularityConfig(),
}
LOADERS = {
    "als": FactorRecommender,
    "bpr": FactorRecommender,
    "item-knn": ItemKnnRecommender,
    "popularity": PopularityRecommender,
}


def cells(users: int = 25, products: int = 12, seed: int = 0) -> Cells:
    generator = np.random.default_rng(seed)
    table = generator.random((users, products)) < 0.3
    table[:, 0] |= ~table.any(axis=1)
    who, what = np.nonzero(table)
    values = generator.integers(1, 4, len(who)).astype(np.float32)
    return Cells(who.astype(np.int64), what.astype(np.int64), values, pl.Series([f"p{i:02d}" for i in range(products)]))


@pytest.mark.filterwarnings("ignore:Method expects CSR input")  # implicit hands itself a COO matrix
@pytest.mark.parametrize("weighting", ["cosine", "bm25"])
def test_item_knn_equals_implicit(weighting: str) -> None:
    own = cells()
    config = ItemKnnConfig(weighting=weighting, k1=1.2, b=0.75)  # type: ignore[arg-type]
    model = CosineRecommender(K=12, num_threads=1) if weighting == "cosine" else BM25Recommender(K=12, num_threads=1)
    with threadpool_limits(limits=1):
        model.fit(as_matrix(own).astype(np.float64), show_progress=False)
    pairs = nearest(weigh(own, config=config), neighbours=12)
    mine = sparse.coo_matrix((pairs["score"], (pairs["row"], pairs["neighbour"])), shape=(12, 12)).toarray()
    np.testing.assert_allclose(mine, np.maximum(model.similarity.toarray(), 0.0), rtol=1e-5, atol=1e-6)


def test_neighbours_are_the_most_similar_in_order() -> None:
    weights = weigh(cells(), config=ItemKnnConfig(weighting="cosine"))
    full = (weights @ weights.T).toarray()
    pairs = nearest(weights, neighbours=4)
    for row in range(12):
        found = pairs.filter(pl.col("row") == row)
        assert found.height <= 4
        np.testing.assert_allclose(found["score"], -np.sort(-full[row])[: found.height], rtol=1e-5)


def test_fold_in_equals_implicit() -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    matrix = as_matrix(cells())
    matrix.data[:] = 1.0
    with threadpool_limits(limits=1):
        model = AlternatingLeastSquares(
            factors=6, regularization=0.5, alpha=4.0, iterations=8, random_state=0, num_threads=1
        )
        model.fit(matrix, show_progress=False)
        wanted = np.stack([model.recalculate_user(user, matrix[user]) for user in range(matrix.shape[0])])
    recommender = FactorRecommender(
        factors=model.item_factors,
        known=np.ones(12, dtype=np.bool_),
        settings=FactorSettings("als", alpha=4.0, regularization=0.5),
    )
    histories = [matrix[user].indices.astype(np.int64) for user in range(matrix.shape[0])]
    np.testing.assert_allclose(recommender.encode_users(histories)[0], wanted, rtol=1e-3, atol=1e-4)


def test_pairwise_fold_in_is_the_newton_step_of_its_objective() -> None:
    rng = np.random.default_rng(3)
    factors, own, ridge = rng.normal(size=(9, 4)), [1, 4, 7], 0.3
    gaps = (factors[own][:, None] - factors[None]).reshape(-1, 4)

    def objective(x: np.ndarray) -> float:
        return float(-np.logaddexp(0.0, -gaps @ x).mean() - ridge / 2 * x @ x)

    step, eye = 1e-4, np.eye(4) * 1e-4
    gradient = np.array([(objective(row) - objective(-row)) / (2 * step) for row in eye])
    curvature = np.array(
        [
            [
                (objective(a + b) - objective(a - b) - objective(b - a) + objective(-a - b)) / (4 * step * step)
                for b in eye
            ]
            for a in eye
        ]
    )
    recommender = FactorRecommender(
        factors=factors.astype(np.float32),
        known=np.ones(9, dtype=np.bool_),
        settings=FactorSettings("bpr", alpha=1.0, regularization=ridge, pairwise=True),
        biases=np.zeros(9, dtype=np.float32),
    )
    found, reached = recommender.encode_users([np.array(own), np.array([], dtype=np.int64)])
    np.testing.assert_allclose(found[0], np.linalg.solve(-curvature, gradient), rtol=1e-3)
    assert list(reached) == [True, False]


def test_bpr_finds_the_block_that_a_user_belongs_to() -> None:
    block = np.kron(np.eye(2), np.ones((10, 10)))
    np.fill_diagonal(block, 0)
    factors, biases = BprStage().learn(sparse.csr_matrix(block, dtype=np.float32), BprConfig(factors=4, iterations=200))
    recommender = FactorRecommender(
        factors=factors,
        known=np.ones(20, dtype=np.bool_),
        settings=FactorSettings("bpr", alpha=1.0, regularization=0.02, pairwise=True),
        biases=biases,
    )
    vectors, _ = recommender.encode_users([np.array([12, 15])])
    scores = vectors[0] @ factors.T + biases
    assert scores[10:].min() > scores[:10].max()


@pytest.mark.parametrize("name", NAMES)
def test_stages_write_components_that_hold_the_protocol(name: str, small_snapshot: Snapshot, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    stage = find_stage(name)
    info = stage.train(
        small_snapshot,
        config=CONFIGS[name],
        folder=tmp_path / "component",
        work=tmp_path / "work",
        run=Silent(),
        base=None,
        start=None,
        refit=True,
    )
    assert info.name == stage.component
    assert info.parts == ["train", "validation"]
    assert 0.0 <= info.metrics["validation/ndcg@10"] <= 1.0
    catalogue = small_snapshot.catalogue()
    recommender = LOADERS[name].load(tmp_path / "component", catalogue=catalogue)
    histories = Holdout.read(small_snapshot, catalogue=catalogue, part="test").trial.histories
    check_recommender(recommender, histories=histories, catalogue=len(catalogue), personal=name != "popularity")


@pytest.mark.parametrize("name", ["als", "bpr"])
def test_a_seed_gives_the_same_bytes(name: str, small_snapshot: Snapshot, tmp_path: Path) -> None:
    written = []
    for run in "ab":
        find_stage(name).fit(small_snapshot, parts=["train"], config=CONFIGS[name], folder=tmp_path / run)  # type: ignore[attr-defined]
        written.append((tmp_path / run / "product_factors.npy").read_bytes())
    assert written[0] == written[1]


def test_cells_weigh_the_strongest_event_1(small_snapshot: Snapshot) -> None:
    own = read_cells(small_snapshot, parts=["train"])
    assert own.values.max() == 1.0
    events = small_snapshot.interactions("train").filter(pl.col("user_id").is_not_null())
    assert len(own.users) == events.select("user_id", "product_id").n_unique()
    heavier = read_cells(small_snapshot, parts=["train"], counts=True)
    assert heavier.values.sum() == pytest.approx(events["weight"].sum() / 5.0, rel=1e-5)


def test_recency_needs_a_calendar(small_snapshot: Snapshot, ordered_snapshot: Snapshot) -> None:
    from training.popularity import resolve

    assert resolve(PopularityConfig(), snapshot=small_snapshot).half_life_days == 14.0
    order = Snapshot(ordered_snapshot.path, ordered_snapshot.manifest.model_copy(update={"timestamps": "order"}))
    assert resolve(PopularityConfig(), snapshot=order).half_life_days == 0.0
    with pytest.raises(UsageError, match="half_life_days"):
        resolve(PopularityConfig(half_life_days=3.0), snapshot=order)


def test_popularity_counts_weights(small_snapshot: Snapshot, tmp_path: Path) -> None:
    PopularityStage().train(
        small_snapshot,
        config=PopularityConfig(half_life_days=0.0),
        folder=tmp_path / "c",
        work=tmp_path,
        run=Silent(),
        base=None,
        start=None,
        refit=False,
    )
    table = pl.read_parquet(tmp_path / "c" / "popularity.parquet").filter(pl.col("segment") == "")
    events = small_snapshot.interactions("train")
    plain = dict(events.group_by("product_id").agg(pl.col("weight").sum()).iter_rows())
    assert dict(zip(table["product_id"], table["score"], strict=True)) == pytest.approx(plain)


def test_als_finds_the_block_that_a_user_belongs_to() -> None:
    users, rows = np.nonzero(np.kron(np.eye(2), np.ones((10, 6))))
    keep = np.random.default_rng(0).random(len(users)) < 0.7
    own = Cells(users[keep], rows[keep], np.ones(int(keep.sum()), dtype=np.float32), pl.Series(range(12)))
    with threadpool_limits(limits=1):
        factors, _ = AlsStage().learn(as_matrix(own), FactorConfig(factors=2, iterations=10))
    scores = factors @ factors.T
    assert scores[:6, :6].mean() > scores[:6, 6:].mean() + 0.1


def test_item_knn_chooses_on_the_validation_part(small_snapshot: Snapshot, tmp_path: Path) -> None:
    from training.item_knn import CHOICES, ItemKnnStage, choices

    assert [choice.k1 for choice in choices(ItemKnnConfig(), calendar=False)] == [0.2, 100.0]
    assert len(choices(ItemKnnConfig(), calendar=True)) == len(CHOICES)
    assert choices(ItemKnnConfig(weighting="bm25"), calendar=True) == [ItemKnnConfig(weighting="bm25")]
    measured: list[float] = []

    class Log:
        def metrics(self, values: dict[str, float], *, step: int) -> None:
            measured.append(values["validation/ndcg@10"])

    info = ItemKnnStage().train(
        small_snapshot,
        config=ItemKnnConfig(),
        folder=tmp_path / "c",
        work=tmp_path,
        run=Log(),
        base=None,
        start=None,
        refit=True,
    )
    best = CHOICES[measured.index(max(measured))]
    assert {name: info.config[name] for name in best} == best
    assert info.metrics["validation/ndcg@10"] == max(measured)


def test_popularity_of_a_shop_without_older_events_is_missed(
    small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A test part longer than the shop's history leaves nothing to count; no empty model is registered."""
    long = {"test_days": "400"}
    snapshot = build_snapshot(small_shop, out=tmp_path / "snapshot", split="time", options=long)
    done = recsys(capsys, "train", "popularity", snapshot.path)
    assert done.code == 1
    assert "no view, click, cart or purchase but in its test part" in done.err
