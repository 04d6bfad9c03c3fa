"""The conformance suites: an honest stage passes, each broken promise is named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from recsys.retrieval.order import in_order, nothing, top_k
from recsys.testing.conformance import ConformanceError
from recsys.testing.ranker import check_ranker
from recsys.testing.recommender import check_recommender, histories_of
from recsys.testing.retriever import check_retriever
from recsys.types import Candidates, Mask, PositionHistories, Positions, Scores

PRODUCTS = 40
HISTORIES = histories_of([[1, 2, 3], [5], [], [2, 2, 9, 30]])
Change = Callable[[Candidates], Candidates]


@dataclass
class Letters:
    """A retriever that scores by the letters a query shares with the position's name."""

    change: Change = lambda found: found
    name: str = "letters"
    exact: bool = True
    heed: bool = True

    def retrieve(self, queries: Sequence[str], *, k: int, allowed: Mask | None = None) -> list[Candidates]:
        return [self.one(query, k=k, allowed=allowed if self.heed else None) for query in queries]

    def one(self, query: str, *, k: int, allowed: Mask | None) -> Candidates:
        shared = [len(set(query) & set(f"product {position}")) for position in range(PRODUCTS)]
        scores = np.array(shared, dtype=np.float32)
        scores[scores == 0] = -np.inf
        found = Candidates(*top_k(scores, k=k, allowed=allowed), source=self.name)
        return self.change(found) if len(found.positions) > 1 else found


@dataclass
class Neighbours:
    """A recommender that scores products by how near their positions are to those of the history."""

    change: Change = lambda found: found
    name: str = "neighbours"
    guess: bool = False
    heed: bool = True

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        lists = []
        for user in range(len(histories)):
            own = histories.of(user)
            if not len(own) and not self.guess:
                lists.append(nothing(self.name))
                continue
            gaps = np.abs(np.arange(PRODUCTS)[:, None] - (own if len(own) else np.zeros(1))[None, :])
            hidden = exclude[user] if exclude is not None and self.heed else None
            scores = (-gaps.min(axis=1)).astype(np.float32)
            found = Candidates(*top_k(scores, k=k, allowed=allowed, exclude=hidden), source=self.name)
            lists.append(self.change(found) if len(found.positions) > 1 else found)
        return lists


@dataclass
class Lengths:
    """A ranker that scores by the length of the text."""

    change: Callable[[Scores], Scores] = lambda scores: scores
    name: str = "lengths"

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Scores:
        scores = np.array([len(query) / (1 + len(text)) for query, text in zip(queries, texts, strict=True)])
        return self.change(scores.astype(np.float32))


BROKEN_LISTS: dict[str, Change] = {
    "not ordered": lambda found: replace(found, positions=found.positions[::-1], scores=found.scores[::-1]),
    "twice": lambda found: replace(found, positions=np.full_like(found.positions, found.positions[0])),
    "not int64": lambda found: replace(found, positions=found.positions.astype(np.int32)),
    "not float32": lambda found: replace(found, scores=found.scores.astype(np.float64)),
    "outside the catalogue": lambda found: replace(found, positions=found.positions + PRODUCTS),
    "NaN": lambda found: replace(found, scores=np.full_like(found.scores, np.nan)),
    "source is empty": lambda found: replace(found, source=""),
    "differ in shape": lambda found: replace(found, scores=found.scores[:-1]),
}


def test_honest_stages_pass() -> None:
    check_retriever(Letters(), queries=["product 1", "23", "uct"], catalogue=PRODUCTS)
    check_recommender(Neighbours(), histories=HISTORIES, catalogue=PRODUCTS)
    check_recommender(Neighbours(guess=True), histories=HISTORIES, catalogue=PRODUCTS, personal=False)
    check_ranker(Lengths(), queries=["a", "bcd"], texts=["x", "long text"], low=0.0)


@pytest.mark.parametrize("broken", BROKEN_LISTS)
def test_broken_lists_are_named(broken: str) -> None:
    with pytest.raises(ConformanceError, match=broken):
        check_retriever(Letters(BROKEN_LISTS[broken]), queries=["product 1", "23"], catalogue=PRODUCTS)
    with pytest.raises(ConformanceError, match=broken):
        check_recommender(Neighbours(BROKEN_LISTS[broken]), histories=HISTORIES, catalogue=PRODUCTS)


def test_unheeded_limits_are_named() -> None:
    with pytest.raises(ConformanceError, match="allows nothing"):
        check_retriever(Letters(heed=False), queries=["product 1", "23"], catalogue=PRODUCTS)
    with pytest.raises(ConformanceError, match="excluded"):
        check_recommender(Neighbours(heed=False), histories=HISTORIES, catalogue=PRODUCTS)


def test_a_guess_is_named() -> None:
    with pytest.raises(ConformanceError, match="guess"):
        check_recommender(Neighbours(guess=True), histories=HISTORIES, catalogue=PRODUCTS)


def test_ties_settled_the_other_way_are_named() -> None:
    def turned(found: Candidates) -> Candidates:
        positions = found.positions.copy()
        for score in np.unique(found.scores):
            positions[found.scores == score] = positions[found.scores == score][::-1]
        return replace(found, positions=positions)

    with pytest.raises(ConformanceError, match="not ordered"):
        check_retriever(Letters(turned), queries=["product 1", "23"], catalogue=PRODUCTS)


def test_a_lossy_filter_of_an_exact_stage_is_named() -> None:
    class Lossy(Letters):
        def one(self, query: str, *, k: int, allowed: Mask | None) -> Candidates:
            found = super().one(query, k=k, allowed=None)  # filters after the cut
            kept = np.ones(len(found.positions), dtype=np.bool_) if allowed is None else allowed[found.positions]
            return Candidates(*in_order(found.positions[kept], found.scores[kept], k=k), source=self.name)

    with pytest.raises(ConformanceError, match="against all"):
        check_retriever(Lossy(), queries=["product 1", "23"], catalogue=PRODUCTS)


def test_scores_that_hang_on_the_batch_are_named() -> None:
    def by_batch(scores: Scores) -> Scores:
        return scores + np.float32(len(scores))

    with pytest.raises(ConformanceError, match="batch against single"):
        check_ranker(Lengths(by_batch), queries=["a", "bcd"], texts=["x", "long text"])


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda scores: scores.astype(np.float64), "not float32"),
        (lambda scores: scores[:-1], "shape"),
        (lambda scores: scores * np.float32(np.nan), "not finite"),
        (lambda scores: scores + np.float32(7), "outside"),
    ],
)
def test_broken_scores_are_named(change: Callable[[Scores], Scores], broken: str) -> None:
    with pytest.raises(ConformanceError, match=broken):
        check_ranker(Lengths(change), queries=["a", "bcd"], texts=["x", "long text"], low=0.0, high=3.0)
