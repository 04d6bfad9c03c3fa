"""Scores of judged pairs by networks that had not learned from their queries; see `recsys.ranking.held_out`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.models.encode import Precision, infer
from recsys.ranking.held_out import as_held_out
from recsys.text.normalise import normalise
from recsys.types import Scores
from training.folds import query_folds
from training.relevance.config import RelevanceConfig
from training.relevance.members import Members, learn_members
from training.relevance.module import Pairs
from training.relevance.sources import Reader


def score_unseen(learned: Members, judged: Pairs, *, reader: Reader) -> pl.DataFrame | None:
    """The validation part by a network that learned from the training part; None where it knew all of its queries.

    A model that learns on from an older one has seen what that one had: those queries are left out. Whatever else a
    training starts from (`--init`) must not have learned from this shop's validation queries.

    Args:
        learned: before the refit.
        judged: the pairs of the validation part.
        reader: of the run.
    """
    judgments = reader.snapshot.judgments("validation")
    logits = score(learned, judged, precision=reader.config.precision)
    frame = as_held_out(judgments, logits, max_grade=reader.snapshot.manifest.max_grade)
    past = reader.sources.past
    if past is not None:
        known = {normalise(query) for query in past.judgments()["query"].unique()}
        frame = frame.filter([normalise(query) not in known for query in judgments["query"]])
    return None if frame.is_empty() else frame


def score_folds(
    reader: Reader, pairs: Pairs, parts: Sequence[str], *, start: Path, work: Path, before: Members
) -> pl.DataFrame | None:
    """The shop's own judgments of some parts, each by networks that learned from the other folds' queries.

    Args:
        reader: of the run; `held_out_folds` of its settings says how many folds.
        pairs: what `Reader.pairs` gives for the parts; the shop's own judgments stand first.
        parts: of the split.
        start: see `start_folder`.
        work: folder of the trainings' checkpoints.
        before: the networks that chose the epochs.
    """
    own = reader.own(tuple(parts))
    if own is None:
        return None
    config = reader.config
    logits = fold_logits(pairs, folds=config.held_out_folds, config=config, start=start, work=work, before=before)
    return as_held_out(own, logits[: len(own)], max_grade=reader.snapshot.manifest.max_grade)


def fold_logits(
    pairs: Pairs,
    *,
    folds: int,
    config: RelevanceConfig,
    start: Path,
    work: Path,
    before: Members | None = None,
) -> Scores:
    """float32 [pairs]: the logit of each pair by networks that have learned from the other folds' queries.

    Args:
        pairs: of all queries, two or more.
        folds: parts of the queries, drawn by the seed of the settings; each costs one training.
        config: of each training.
        start: see `start_folder`.
        work: folder of the trainings' checkpoints.
        before: networks whose number of epochs, and soup, each training repeats; None runs all epochs.
    """
    stop = () if before is None else before.best_epochs
    soup = None if before is None else before.soup
    part = query_folds(pairs.queries, folds=folds, seed=config.seed)
    logits = np.empty(len(pairs), dtype=np.float32)
    for fold in np.unique(part):
        inside = np.flatnonzero(part == fold)
        others = take(pairs, np.flatnonzero(part != fold))
        place = work / f"fold{fold}"
        learned = learn_members(others, None, config=config, start=start, work=place, stop_after=stop, soup=soup)
        logits[inside] = score(learned, take(pairs, inside), precision=config.precision)
    return logits


def score(learned: Members, pairs: Pairs, *, precision: Precision) -> Scores:
    """float32 [pairs] logits, of several members their mean."""
    return infer(learned.network, learned.tokenizer, pairs.tokens, precision=precision)


def take(pairs: Pairs, rows: NDArray[np.int64]) -> Pairs:
    """Some of the pairs, their queries numbered from 0 again."""
    return replace(
        pairs,
        tokens=pairs.tokens.take(rows),
        grades=pairs.grades[rows],
        weights=pairs.weights[rows],
        queries=np.unique(pairs.queries[rows], return_inverse=True)[1].astype(np.int64),
        teacher=None if pairs.teacher is None else pairs.teacher[rows],
        texts=None if pairs.texts is None else pairs.texts.take(rows),
        shops=None if pairs.shops is None else pairs.shops[rows],
    )
