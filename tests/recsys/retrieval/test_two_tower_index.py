"""The two-tower over an index of inner products: brute force where the index is exact, nearly so where it is not."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, TwoTowerConfig
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.nearest import code_length, widened
from recsys.retrieval.order import top_k
from recsys.retrieval.product_vectors import HeldVectors
from recsys.retrieval.scan import exact_scores
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.testing.recommender import check_recommender, histories_of
from recsys.types import Mask, Vectors

Kind = Literal["flat", "hnsw", "ivf-pq"]
KINDS: tuple[Kind, ...] = ("flat", "hnsw", "ivf-pq")
WIDTH, CALENDAR = 16, 3


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def tower_vectors(products: int, *, seed: int) -> Vectors:
    """Directions around some centres, lengths that differ, and behind them what a calendar says: most sell little."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(40, WIDTH))
    own = centres[generator.integers(0, 40, products)] + generator.normal(size=(products, WIDTH))
    own *= np.exp(0.4 * generator.normal(size=(products, 1)))
    sold = np.log1p(generator.pareto(1.2, size=(products, CALENDAR)))
    return np.concatenate([own, sold / sold.max(axis=0)], axis=1).astype(np.float32)


def network_of(products: int) -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(
        TwoTowerConfig(rows=products + FIRST, width=WIDTH, length=6, heads=2, calendar=CALENDAR, positions=False)
    )


def users_of(products: int, *, count: int, seed: int = 0) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, products, generator.integers(1, 9)).tolist() for _ in range(count)]


def both(vectors: Vectors, folder: Path, *, kind: Kind, known: Mask | None = None) -> list[TwoTowerRecommender]:
    """With every vector held, and with an index over them."""
    known = np.ones(len(vectors), dtype=np.bool_) if known is None else known
    index = DenseIndex.build(vectors, folder, kind=kind)
    return [TwoTowerRecommender(network_of(len(vectors)), vectors=one, known=known) for one in (vectors, index)]


@given(
    seed=st.integers(0, 40),
    k=st.integers(1, 70),
    share=st.sampled_from([0.02, 0.5, 1.0]),
    twins=st.integers(0, 30),
)
def test_a_flat_index_is_brute_force(
    tmp_path_factory: pytest.TempPathFactory, seed: int, k: int, share: float, twins: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = tower_vectors(60, seed=seed)
    vectors[generator.integers(0, 60, twins)] = vectors[7]  # ties, which go to the lower position
    known, allowed = generator.random(60) < 0.8, generator.random(60) < share
    _, recommender = both(vectors, tmp_path_factory.mktemp("flat"), kind="flat", known=known)
    histories = histories_of(users_of(60, count=3, seed=seed))
    exclude = [generator.integers(0, 60, generator.integers(0, 20)) for _ in range(3)]
    users = recommender.encode_users(histories, users=np.arange(3))
    # The very same bits, which another padding would not give:
    recommender.encode_users = lambda _, *, users: told[users]  # type: ignore[method-assign]
    told = users
    for mask in (None, allowed):
        lists = recommender.recommend(histories, k=k, allowed=mask, exclude=exclude)
        for one, user, hidden in zip(lists, users, exclude, strict=True):
            scores = exact_scores(vectors, np.arange(60), user)
            positions, best = top_k(scores, k=k, allowed=known if mask is None else known & mask, exclude=hidden)
            assert one.positions.tolist() == positions.tolist()
            assert one.scores.tolist() == best.tolist()
            assert one.source == "two-tower"


def test_held_vectors_and_a_flat_index_answer_alike(tmp_path: Path) -> None:
    held, indexed = both(tower_vectors(500, seed=1), tmp_path, kind="flat")
    assert isinstance(held.products, HeldVectors)
    assert isinstance(indexed.products, DenseIndex)
    histories = histories_of([*users_of(500, count=30), []])
    for one, other in zip(held.recommend(histories, k=20), indexed.recommend(histories, k=20), strict=True):
        assert one.positions.tolist() == other.positions.tolist()
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_index_holds_the_protocol(kind: Kind, tmp_path: Path) -> None:
    vectors = tower_vectors(1500, seed=2)
    _, recommender = both(vectors, tmp_path, kind=kind, known=np.random.default_rng(0).random(1500) < 0.9)
    histories = histories_of([*users_of(1500, count=6), [], [3]])
    check_recommender(recommender, histories=histories, catalogue=1500)


@pytest.mark.parametrize(("kind", "least"), [("hnsw", 0.97), ("ivf-pq", 0.8)])
def test_an_approximate_index_finds_most_where_lengths_differ(kind: Kind, least: float, tmp_path: Path) -> None:
    held, indexed = both(tower_vectors(10_000, seed=3), tmp_path, kind=kind)
    histories = histories_of(users_of(10_000, count=100))
    truth, found = held.recommend(histories, k=10), indexed.recommend(histories, k=10)
    shares = [np.isin(one.positions, best.positions).mean() for one, best in zip(found, truth, strict=True)]
    assert np.mean(shares) > least
    allowed = np.random.default_rng(4).random(10_000) < 0.1
    exclude = [best.positions[:5] for best in truth]
    truth = held.recommend(histories, k=10, allowed=allowed, exclude=exclude)
    found = indexed.recommend(histories, k=10, allowed=allowed, exclude=exclude)
    shares = [np.isin(one.positions, best.positions).mean() for one, best in zip(found, truth, strict=True)]
    assert np.mean(shares) > least - 0.1


@pytest.mark.parametrize(("width", "length"), [(1, 1), (16, 4), (19, 8), (67, 20), (131, 40), (384, 96), (768, 192)])
def test_any_width_is_compressed_by_about_four(width: int, length: int) -> None:
    assert code_length(width) == length
    vectors = np.ones((2, width), dtype=np.float32)
    whole = widened(vectors, width=width + 3)
    assert whole[:, :width].all()
    assert not whole[:, width:].any()
    assert widened(vectors, width=width).tolist() == vectors.tolist()
