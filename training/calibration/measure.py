"""How the stages of a search work together, found on the queries that the cross-encoder had not learned from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from recsys.engine.policy import SearchPolicy, search_policy
from recsys.engine.search import Search
from recsys.errors import NothingToLearnError
from training.blender.classes import query_classes
from training.blender.config import BlenderConfig
from training.blender.earn import hold_up, metrics_of
from training.blender.held_out import Judge
from training.blender.known import Known, find_queries, learned_from, with_cosines, with_relevance
from training.blender.open import open_engine
from training.blender.rows import read_rows
from training.calibration.config import CalibrationConfig
from training.calibration.shares import TRIED, Judged, choose_shares
from training.evaluate.earned import time_stages


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of the stages.

    Attributes:
        chosen: by field of the policy, the weight that surely gains; empty where none does.
        off: the stages that do not beat the list without them; None where queries are too few to say, so that what was
            off before stays so.
        why: what was chosen and why, in a line.
        report: of stages and choice, as JSON holds it; None where nothing was measured.
    """

    chosen: Mapping[str, float]
    off: list[str] | None
    why: str
    report: dict[str, Any] | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """What each stage gains and costs."""
        return {} if self.report is None else metrics_of(self.report)


def measure_stages(
    snapshot: Snapshot,
    *,
    base: Bundle,
    wished: Mapping[str, Any],
    config: CalibrationConfig,
    work: Path,
    vectors: Path | None,
) -> Verdict:
    """Choose the weights that were not set, and hold each stage against the list without it.

    Args:
        snapshot: the judgments; the test part is not read.
        base: the model, with a cross-encoder that has kept held-out scores.
        wished: the policy's fields that were set by hand.
        config: of the calibration.
        work: folder for the index.
        vectors: folder of vectors that are kept from index to index; None keeps none.
    """
    folds = BlenderConfig(query_folds=config.folds)
    policy = search_policy(wished)
    judge = Judge.of(base, work=work / "held-out")
    try:
        found = find_queries(snapshot, judge=judge, config=folds)
        engine = open_engine(snapshot, base=base, index=work / "index", vectors=vectors)
        finder = replace(engine.finder, policy=policy)
        known = with_relevance(found, snapshot, finder=finder, judge=judge, config=folds)
    except NothingToLearnError as error:
        return Verdict({}, None, f"nothing measured: {error.found}; it takes {error.expected}")
    known = with_cosines(known, snapshot, finder=finder, base=base, config=folds)
    judged = judged_pairs(finder, known)
    learned = learned_from(base, parts=known.parts)
    seen = [] if known.cosines is not None else learned
    free = free_weights(judged, wished=wished, seen=seen, learned=learned)
    shares = choose_shares(judged, policy, free=free, folds=config.folds, seed=config.seed) if free else None
    chosen = {} if shares is None else shares.chosen
    settled = policy.model_copy(update=chosen)
    steps = judged.steps(settled)
    times = time_stages(replace(finder, policy=settled), judged.rows.texts[: config.timed], wanted=("bm25", *steps))
    report = hold_up(
        judged.weighed(settled),
        steps,
        classes=query_classes(snapshot, known.queries),
        times=times,
        may_go=() if seen or len(known.queries) < config.enough else tuple(steps),
        seed=config.seed,
    )
    why = shares.report["why"] if shares is not None else "no weight chosen: " + unfree(wished, learned=learned)
    told = None if shares is None else shares.report
    report |= {"shares": told, "why": why, "seen": seen, "respelled": known.respelled}
    return Verdict(chosen, report["off"], why, report)


def judged_pairs(finder: Search, known: Known) -> Judged:
    """The held-out pairs with every part of their sum at weight 1, and their products' vectors."""
    plain = SearchPolicy(bm25=1.0, dense=1.0, cross_encoder=1.0, fusion=finder.policy.fusion)
    bare = replace(finder, policy=plain)
    rows = read_rows(bare, known.queries, relevance=known.relevance, sources=(), names=(), cosines=known.cosines)
    if finder.dense is None:
        return Judged(rows, None)
    positions = np.concatenate([query.positions for query in known.queries])
    return Judged(rows, finder.dense.index.at(positions))


def free_weights(judged: Judged, *, wished: Mapping[str, Any], seen: list[str], learned: list[str]) -> list[str]:
    """The weights that may be chosen: not set by hand, of a part that there is, and fair on these queries.

    A text encoder that has learned from them has drawn their products together, which feedback would take for good;
    the cosines that it has kept from before make up for that in the sum alone.
    """
    fair = {"dense": not seen, "feedback": not learned}
    there = {"dense", "cross_encoder"} <= set(judged.rows.parts)
    return [name for name in TRIED if there and fair[name] and name not in wished]


def unfree(wished: Mapping[str, Any], *, learned: list[str]) -> str:
    """Why no weight may be chosen."""
    if set(TRIED) <= set(wished):
        return "all are set by hand"
    return f"{' and '.join(learned)} learned from these queries" if learned else "the search has no vectors"
