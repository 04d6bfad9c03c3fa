"""The judged queries that a blender learns from, with what the networks said of them before they knew them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from recsys.engine.search import Search
from recsys.errors import NothingToLearnError
from recsys.ranking.held_out import has_held_out
from recsys.retrieval.query_syntax import spoken
from recsys.types import Scores
from training.blender.config import BlenderConfig
from training.blender.held_out import Judge, held_out_scores, keeps_scores, kept_cosines, kept_scores
from training.blender.rows import with_unjudged
from training.evaluate.queries import JudgedQuery, read_queries

log = logging.getLogger(__name__)
BOTH, LATER = ("train", "validation"), ("validation",)
VECTORS = ("text_encoder", "image_tower")


@dataclass(frozen=True, slots=True)
class Known:
    """Judged queries with the networks' scores.

    Attributes:
        queries: those that a ranking can be right or wrong about.
        relevance: for each float32 [products], by networks that have not learned from it; None without cross-encoder,
            or where they are still to be made.
        parts: of the snapshot.
        respelled: queries left out because the scores kept are for other words than a search asks the network.
        cosines: for each float32 [products], by text encoders that have not learned from it; None where the search's
            own are read.
    """

    queries: Sequence[JudgedQuery]
    relevance: Sequence[Scores] | None
    parts: tuple[str, ...]
    respelled: int = 0
    cosines: Sequence[Scores] | None = None

    def take(self, kept: Sequence[bool]) -> "Known":
        """Some of the queries."""
        relevance, cosines = (
            None if scores is None else list(compress(scores, kept)) for scores in (self.relevance, self.cosines)
        )
        return replace(self, queries=list(compress(self.queries, kept)), relevance=relevance, cosines=cosines)


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
        same = as_typed(finder, found.queries)
        left = replace(found.take(same), respelled=same.count(False))
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


def with_cosines(
    found: Known, snapshot: Snapshot, *, finder: Search, base: Bundle | None, config: BlenderConfig
) -> Known:
    """The queries with the cosines that the text encoder's training has kept, where it has learned from some of them.

    A query of which it has kept none, or which the search respells, is left out. Where too few are left, and beside an
    encoder that has kept nothing, all stay, with the search's own cosines.

    Args:
        found: the queries, with all that the cross-encoder has to say of them.
        snapshot: the judgments.
        finder: the stages before the blender.
        base: whose stages they are.
        config: of the blender.
    """
    folder = keeps_cosines(base, finder=finder, parts=found.parts, config=config)
    if folder is None:
        return found
    cosines, same = kept_cosines(folder, snapshot, found.queries), as_typed(finder, found.queries)
    covered = [row is not None for row in cosines]
    fair = [kept and typed for kept, typed in zip(covered, same, strict=True)]
    if sum(fair) < least(config):
        log.warning("the text encoder has kept the cosines of %d of %d queries, too few", sum(fair), len(fair))
        return found
    if not all(covered):
        log.warning(
            "%d of %d queries are left out: the text encoder has kept no cosines of them (it keeps those of all "
            "queries with `recsys train retriever --set held_out_folds=5`)",
            covered.count(False),
            len(covered),
        )
    left = found.take(fair)
    early = set(snapshot.judgments("train")["query_id"])
    return replace(
        left,
        parts=BOTH if any(query.query_id in early for query in left.queries) else LATER,
        respelled=found.respelled + sum(covered) - sum(fair),
        cosines=[row for row, kept in zip(cosines, fair, strict=True) if row is not None and kept],
    )


def keeps_cosines(base: Bundle | None, *, finder: Search, parts: Sequence[str], config: BlenderConfig) -> Path | None:
    """The text encoder's folder, where its kept cosines have to stand for those of a search; else None.

    They can't where pictures have a part in the vectors, where feedback hears more of them than cosines, and of
    products that nobody has judged.
    """
    folder = None if base is None else base.component(VECTORS[0])
    if folder is None or VECTORS[0] not in learned_from(base, parts=parts) or not has_held_out(folder):
        return None
    plain = finder.dense is not None and finder.dense.images is None and not finder.policy.feedback
    return folder if plain and not config.unjudged else None


def learned_from(base: Bundle | None, *, parts: Sequence[str]) -> list[str]:
    """The networks behind the vectors that have learned from these parts, whose cosines are too good there.

    The cross-encoder is not among them: its scores are held out.
    """
    known = {} if base is None else base.manifest.components
    return [name for name in VECTORS if name in known and not set(known[name].parts).isdisjoint(parts)]


def as_typed(finder: Search, queries: Sequence[JudgedQuery]) -> list[bool]:
    """For each query whether a search asks the networks with the words that were typed."""
    return [text == query.query for text, query in zip(asked_of(finder, queries), queries, strict=True)]


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
    if len(found.queries) < least(config):
        scored = "" if found.relevance is None else " that the cross-encoder has scored before it learned from them"
        respelled = f" ({found.respelled} more are respelled by the search)" if found.respelled else ""
        raise NothingToLearnError(
            f"{snapshot.path} has {len(found.queries)} queries with several grades in its "
            f"{' and '.join(found.parts)} part{scored}{respelled}",
            expected=f"{least(config)} or more, two for each of {config.query_folds} folds",
            action="add judgments to the shop, or set folds, which brings the training part's queries in",
        )
    return found


def least(config: BlenderConfig) -> int:
    """How many queries the folds take."""
    return 2 * config.query_folds
