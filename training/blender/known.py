"""The judged queries that a blender learns from, with what the cross-encoder said of them before it knew them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

from feature_store.snapshot import Snapshot
from recsys.engine.search import Search
from recsys.errors import NothingToLearnError
from recsys.retrieval.query_syntax import spoken
from recsys.types import Scores
from training.blender.config import BlenderConfig
from training.blender.held_out import Judge, held_out_scores, keeps_scores, kept_scores
from training.blender.rows import with_unjudged
from training.evaluate.queries import JudgedQuery, read_queries

BOTH, LATER = ("train", "validation"), ("validation",)


@dataclass(frozen=True, slots=True)
class Known:
    """Judged queries with the cross-encoder's scores.

    Attributes:
        queries: those that a ranking can be right or wrong about.
        relevance: for each float32 [products], by networks that have not learned from it; None without cross-encoder,
            or where they are still to be made.
        parts: of the snapshot.
        respelled: queries left out because the scores kept are for other words than a search asks the network.
    """

    queries: Sequence[JudgedQuery]
    relevance: Sequence[Scores] | None
    parts: tuple[str, ...]
    respelled: int = 0


def find_queries(snapshot: Snapshot, *, judge: Judge | None, config: BlenderConfig) -> Known:
    """The queries to learn from, before any stage is opened.

    Where the cross-encoder's training has kept its held-out scores, they say which: no network learns for a blender.

    Args:
        snapshot: the judgments; the test part is not read.
        judge: the cross-encoder; None without one.
        config: of the blender.

    Raises:
        NothingToLearnError: there are too few.
    """
    if judge is not None and keeps_scores(judge, config=config):
        train, later = (graded_queries(snapshot, part) for part in BOTH)
        scores = kept_scores(judge.folder, snapshot, train + later)
        covered = [row is not None for row in scores]
        relevance = [row for row in scores if row is not None]
        parts = BOTH if any(covered[: len(train)]) else LATER
        found = Known(list(compress(train + later, covered)), relevance, parts)
    else:
        parts = BOTH if judge is None or config.folds else LATER
        found = Known([query for part in parts for query in graded_queries(snapshot, part)], None, parts)
    return checked(found, snapshot, config=config)


def with_relevance(
    found: Known, snapshot: Snapshot, *, finder: Search, judge: Judge | None, config: BlenderConfig
) -> Known:
    """The queries with all that the cross-encoder has to say of them, and with unjudged products where they are wanted.

    A search corrects spelling before it asks the network. Scores that were kept for a query as it was typed are not
    what a search would see, so such a query is left out.

    Raises:
        NothingToLearnError: too few queries are left.
    """
    if found.relevance is not None:
        same = [text == query.query for text, query in zip(asked_of(finder, found.queries), found.queries, strict=True)]
        queries, relevance = list(compress(found.queries, same)), list(compress(found.relevance, same))
        left = replace(found, queries=queries, relevance=relevance, respelled=same.count(False))
        return checked(left, snapshot, config=config)
    queries = with_unjudged(finder, found.queries, count=config.unjudged)
    if judge is None:
        return replace(found, queries=queries)
    asked = asked_of(finder, queries)
    return replace(
        found,
        queries=queries,
        relevance=held_out_scores(snapshot, queries, asked=asked, judge=judge, config=config),
    )


def asked_of(finder: Search, queries: Sequence[JudgedQuery]) -> list[str]:
    """Each query as a search puts it to the networks."""
    return [spoken(one.text) for one in finder.read([query.query for query in queries])]


def graded_queries(snapshot: Snapshot, part: str) -> list[JudgedQuery]:
    """The judged queries of a part that a ranking can be right or wrong about."""
    if snapshot.judgments(part).is_empty():
        return []
    return [query for query in read_queries(snapshot, split=part) if query.graded]


def checked(found: Known, snapshot: Snapshot, *, config: BlenderConfig) -> Known:
    """The same, refused where they are too few for the folds."""
    least = 2 * config.query_folds
    if len(found.queries) < least:
        scored = "" if found.relevance is None else " that the cross-encoder has scored before it learned from them"
        respelled = f" ({found.respelled} more are respelled by the search)" if found.respelled else ""
        raise NothingToLearnError(
            f"{snapshot.path} has {len(found.queries)} queries with several grades in its "
            f"{' and '.join(found.parts)} part{scored}{respelled}",
            expected=f"{least} or more, two for each of {config.query_folds} folds",
            action="add judgments to the shop, or set folds, which brings the training part's queries in",
        )
    return found
