"""Cosines of judged pairs by encoders that had not learned from their queries; see `recsys.ranking.held_out`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from recsys.models.text_encoder import TextEncoder
from recsys.ranking.held_out import as_held_out
from recsys.text.normalise import normalise
from recsys.types import Scores
from training.folds import text_folds
from training.retriever.examples import Examples, Judged
from training.retriever.learn import cosines, learn
from training.retriever.task import Task


def score_unseen(task: Task, network: TextEncoder, judged: Judged) -> pl.DataFrame:
    """The validation part by an encoder that learned from the training part.

    What the training starts from (`--init`) and the cross-encoder that teaches it must not have learned from the
    validation queries either.

    Args:
        task: of the run.
        network: before the refit, as short as the settings say.
        judged: the pairs of the validation part.
    """
    found = cosines(network, task.tokenizer, judged, precision=task.config.precision)
    return as_kept(task, task.snapshot.judgments("validation"), found)


def score_folds(
    task: Task, examples: Examples, parts: Sequence[str], *, work: Path, epochs: int
) -> pl.DataFrame | None:
    """The judged pairs of some parts, each by an encoder that learned from the other folds' queries.

    Whatever else was to be learned for a query of the fold, from search events or from titles, is left out with it.
    Queries stay unscored where the other folds teach nothing.

    Args:
        task: of the run; `held_out_folds` of its settings says how many folds.
        examples: of the parts.
        parts: of the split.
        work: folder of the trainings' checkpoints.
        epochs: that the choice on the validation part came to.

    Returns:
        None where no pair is scored.
    """
    judged, config = task.judged(*parts), task.config
    if judged is None:
        return None
    judgments = task.snapshot.judgments(*parts)
    texts = judgments["query"].to_list()
    part = text_folds(texts, folds=config.held_out_folds, seed=config.seed)
    found = np.full(len(judged), np.nan, dtype=np.float32)
    for fold in np.unique(part):
        inside = np.flatnonzero(part == fold)
        others = examples.without({normalise(texts[row]) for row in inside})
        if len(others) < 2:
            continue
        place = work / f"fold{fold}"
        network, _ = learn(others, None, config=config, start=task.source, work=place, stop_after=epochs)
        task.finish(network)
        found[inside] = cosines(network, task.tokenizer, judged.take(inside), precision=config.precision)
    scored = np.isfinite(found)
    return as_kept(task, judgments.filter(scored), found[scored]) if scored.any() else None


def as_kept(task: Task, judgments: pl.DataFrame, found: Scores) -> pl.DataFrame:
    """The pairs with their cosines, float32 [pairs]."""
    return as_held_out(judgments, found, max_grade=task.snapshot.manifest.max_grade, score="cosine")
