"""The judged queries of a split, and the metrics of their rankings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_store.frames import PARTS
from feature_store.snapshot import Snapshot
from recsys.errors import UsageError
from recsys.metrics.ranking import mrr, ndcg, recall
from recsys.types import Positions, Scores
from training.evaluate.measured import ByMetric, Floats

RELEVANT_GRADE = 2.0
DEEP = (10, 100, 1000)  # where recall is told in any case: what a page, a ranker and a whole pool can hold
TOP = 10


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query with everything that was judged for it.

    Attributes:
        query_id: its id.
        query: its text.
        positions: int64 [n], the judged products, ascending.
        grades: float64 [n], 0 to the shop's highest grade.
    """

    query_id: str
    query: str
    positions: Positions
    grades: Floats

    @property
    def positive(self) -> bool:
        """True where some product has a positive grade."""
        return bool((self.grades > 0).any())

    @property
    def graded(self) -> bool:
        """True where the judged products alone can be ranked rightly or wrongly."""
        return self.positive and bool(np.ptp(self.grades) > 0)


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a system says to one query.

    Attributes:
        positions: int64 [n], as far down as the system was asked.
        scores: float32 [n], descending.
        probabilities: float32 [n], that a product is a good match, NaN where the network did not look at it; None where
            no calibrated network did.
    """

    positions: Positions
    scores: Scores
    probabilities: Scores | None = None


def read_queries(snapshot: Snapshot, *, split: str) -> list[JudgedQuery]:
    """The judged queries of a split, by id.

    Raises:
        UsageError: the split has another name than train, validation, test or all, or holds no judgment.
    """
    if split not in (*PARTS, "all"):
        raise UsageError(f"--split {split}", expected=f"{', '.join(PARTS)} or all", action="name one of these")
    frame = snapshot.judgments(*(() if split == "all" else (split,)))
    if frame.is_empty():
        raise UsageError(
            f"no judgment in the {split} part of {snapshot.path}",
            expected="a shop with judgments.parquet",
            action="evaluate with --task recommend, or name another split",
        )
    catalogue = snapshot.catalogue()
    rows = (
        frame.with_columns(pl.Series("position", catalogue.positions(frame["product_id"])))
        .filter(pl.col("position") >= 0)
        .sort("query_id", "position")
        .group_by("query_id", maintain_order=True)
        .agg(pl.col("query").first(), "position", "grade")
    )
    return [
        JudgedQuery(query_id, query, np.asarray(positions, dtype=np.int64), np.asarray(grades, dtype=np.float64))
        for query_id, query, positions, grades in rows.iter_rows()
    ]


def threshold(snapshot: Snapshot) -> float:
    """The grade from which a product counts as relevant: 2, or the highest grade where that is below."""
    return min(RELEVANT_GRADE, snapshot.manifest.max_grade)


def judged_metrics(
    queries: Sequence[JudgedQuery], scores: Sequence[Scores], *, cuts: Sequence[int], relevant: float
) -> ByMetric:
    """Metrics of the judged products alone; queries without a positive or with a single grade are NaN.

    Args:
        queries: the judged queries.
        scores: for each query float32 [n], a score for every judged product.
        cuts: the k of ndcg@k.
        relevant: the grade from which a product counts for mrr.
    """
    pairs = list(zip(queries, scores, strict=True))
    found = {
        f"ndcg@{k}": column(ndcg(query.grades, row, k=k) if query.graded else np.nan for query, row in pairs)
        for k in cuts
    }
    found[f"mrr@{TOP}"] = column(
        mrr(query.grades, row, threshold=relevant, k=TOP) if query.graded else np.nan for query, row in pairs
    )
    return found


def retrieval_metrics(
    queries: Sequence[JudgedQuery], rankings: Sequence[Ranking], *, cuts: Sequence[int], relevant: float
) -> ByMetric:
    """Metrics of a ranking of the whole catalogue; queries without a positive product are NaN.

    ndcg@k and recall@k count an unjudged product as grade 0. "ndcg@k judged-only" ranks the judged products alone:
    those that the ranking does not reach share the last place. "unjudged@10" is the share of unjudged products among
    the first 10.

    Args:
        queries: the judged queries.
        rankings: for each query the products found.
        cuts: the k.
        relevant: the grade from which a product counts for recall.
    """
    rows = [(query, ranking, grades_of(query, ranking)) for query, ranking in zip(queries, rankings, strict=True)]
    found: ByMetric = {}
    for k in cuts:
        found[f"ndcg@{k}"] = column(
            ndcg(np.nan_to_num(grades), ranking.scores, k=k, ideal=query.grades) for query, ranking, grades in rows
        )
    alone = judged_metrics(
        queries, [place_all(query, ranking) for query, ranking, _ in rows], cuts=cuts, relevant=relevant
    )
    found |= {f"{name} judged-only": values for name, values in alone.items() if name.startswith("ndcg")}
    for k in sorted({*cuts, *DEEP}):
        found[f"recall@{k}"] = column(
            recall(
                np.nan_to_num(grades),
                ranking.scores,
                threshold=relevant,
                k=k,
                relevant=int((query.grades >= relevant).sum()),
            )
            for query, ranking, grades in rows
        )
    found[f"unjudged@{TOP}"] = column(
        np.isnan(grades[:TOP]).mean() if query.positive and len(grades) else np.nan for query, _, grades in rows
    )
    return found


def grades_of(query: JudgedQuery, ranking: Ranking) -> Floats:
    """float64 [n]: the grade of each product found, NaN where it was not judged."""
    grades = np.full(len(ranking.positions), np.nan)
    place = np.minimum(np.searchsorted(query.positions, ranking.positions), len(query.positions) - 1)
    judged = query.positions[place] == ranking.positions
    grades[judged] = query.grades[place[judged]]
    return grades


def place_all(query: JudgedQuery, ranking: Ranking) -> Scores:
    """float32 [judged]: the score of each judged product, -inf where the ranking does not reach it."""
    scores = np.full(len(query.positions), -np.inf, dtype=np.float32)
    place = np.minimum(np.searchsorted(query.positions, ranking.positions), len(query.positions) - 1)
    judged = query.positions[place] == ranking.positions
    scores[place[judged]] = ranking.scores[judged]
    return scores


def left_out(queries: Sequence[JudgedQuery]) -> dict[str, int]:
    """How many queries there are, and how many the protocols leave out."""
    return {
        "queries": len(queries),
        "judgments": sum(len(query.grades) for query in queries),
        "queries without a positive product": sum(not query.positive for query in queries),
        "queries with a single grade": sum(query.positive and not query.graded for query in queries),
    }


def column(values: Iterable[float]) -> Floats:
    """A metric's values, float64 [queries]."""
    return np.fromiter(values, dtype=np.float64)
