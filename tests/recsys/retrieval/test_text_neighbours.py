"""Text neighbours of the latest products: by hand, and the recommenders' conformance suite."""

import numpy as np
import pytest

from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.text_neighbours import TextNeighbours, latest_distinct
from recsys.testing.recommender import check_recommender, histories_of


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> DenseIndex:
    """Twelve directions, the hours of a clock."""
    angles = np.arange(12) * np.pi / 6
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return DenseIndex.build(vectors, tmp_path_factory.mktemp("text") / "index", kind="flat")


def test_neighbours_of_the_last_product(index: DenseIndex) -> None:
    found = TextNeighbours(index, latest=1).recommend(histories_of([[9, 3]]), k=2)
    assert found[0].positions.tolist() == [2, 4]
    np.testing.assert_allclose(found[0].scores, np.cos(np.pi / 6), rtol=1e-5)
    assert found[0].source == "text"


def test_later_products_count_more_and_what_was_read_stays_away(index: DenseIndex) -> None:
    """3 counts 1 and 5 a half: the mean lies between 3 and 4, nearer to 4 than to 2 or 5."""
    found = TextNeighbours(index, latest=2).recommend(histories_of([[9, 5, 3, 5, 3]]), k=3)
    assert found[0].positions.tolist() == [4, 2, 6]


def test_latest_distinct_is_latest_first() -> None:
    assert latest_distinct(np.array([1, 2, 1, 3, 3]), count=2).tolist() == [3, 1]
    assert latest_distinct(np.array([1, 2, 1]), count=9).tolist() == [1, 2]
    assert latest_distinct(np.array([], dtype=np.int64), count=2).tolist() == []


def test_opposite_products_leave_the_latest_to_speak(index: DenseIndex) -> None:
    recommender = TextNeighbours(index, latest=2)
    recommender.index.at(np.array([0]))
    found = recommender.recommend(histories_of([[6, 0]]), k=1)
    assert found[0].positions.tolist() in ([1], [11])


def test_it_is_a_recommender(index: DenseIndex) -> None:
    check_recommender(TextNeighbours(index), histories=histories_of([[1, 5], [], [3], [7, 8, 9, 7]]), catalogue=12)
