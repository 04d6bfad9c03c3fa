"""What networks say of pairs whose queries they had not learned from (crowdflower), made once for several jobs."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.job import Place
from benchmarks.jobs.relevance_crowdflower import TUNING, after_homedepot, tuned
from benchmarks.judged import NETWORKS, shop_snapshot
from feature_store.snapshot import Snapshot
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores
from training.relevance.config import RelevanceConfig
from training.relevance.data import snapshot_pairs
from training.relevance.held_out import score
from training.relevance.learn import Learned, learn
from training.relevance.members import Members

INNER = 4


class HeldOut(NamedTuple):
    """Logits of the job relevance-crowdflower's cross-encoder, by networks that had not learned from the query.

    Attributes:
        inner: float32 [training pairs], by networks that were tuned on the training queries of the other inner folds.
        outer: float32 [test pairs], by the network that was tuned on all training queries.
    """

    inner: Scores
    outer: Scores


def crowdflower(place: Place, *, fold: int) -> Snapshot:
    """The snapshot with the fold's queries as test part."""
    return shop_snapshot("crowdflower", place.of(NETWORKS), fold=fold)


def held_out_logits(snapshot: Snapshot, place: Place, *, fold: int, seed: int) -> HeldOut:
    """The logits of an outer fold's training and test pairs; resumed where a run had ended."""
    own, work = place.of(NETWORKS), place.of("held-out").work
    start = after_homedepot(own, seed=seed)
    file = work / f"{start.name}-fold{fold}.npz"
    if not file.is_file():
        config = TUNING.model_copy(update={"seed": seed})
        train = snapshot.judgments("train", "validation")
        part = inner_folds(train)
        inner = np.empty(len(train), dtype=np.float32)
        for number in range(INNER):
            rows = pl.Series(part == number)
            inner[part == number] = inner_logits(
                snapshot, train, rows, start=start, config=config, work=work / f"{start.name}-fold{fold}-{number}"
            )
        network = tuned(snapshot, start, work=own.work / f"{start.name}-fold{fold}", seed=seed)
        np.savez(file, inner=inner, outer=logits_of(network, snapshot, snapshot.judgments("test"), config=config))
    with np.load(file, allow_pickle=False) as found:
        return HeldOut(found["inner"], found["outer"])


def inner_logits(
    snapshot: Snapshot, train: pl.DataFrame, held: pl.Series, *, start: Path, config: RelevanceConfig, work: Path
) -> Scores:
    """The held-out rows' logits by the network tuned on the others; made once."""
    file = work.with_suffix(".npy")
    if not file.is_file():
        pairs = snapshot_pairs(snapshot, train.filter(~held), tokenizer=TextTokenizer.load(start), config=config)
        network = learn(pairs, None, config=config, start=start, work=work)
        np.save(file, logits_of(network, snapshot, train.filter(held), config=config))
    found: Scores = np.load(file, allow_pickle=False)
    return found


def logits_of(network: Learned, snapshot: Snapshot, judgments: pl.DataFrame, *, config: RelevanceConfig) -> Scores:
    """float32 [pairs]."""
    pairs = snapshot_pairs(snapshot, judgments, tokenizer=network.tokenizer, config=config)
    return score(Members((network,)), pairs, precision=config.precision)


def inner_folds(judgments: pl.DataFrame) -> NDArray[np.int64]:
    """int64 [pairs]: the inner fold of each pair's query, by another hash than the outer one."""
    return np.asarray([inner_fold(query) for query in judgments["query"]], dtype=np.int64)


def inner_fold(query: str) -> int:
    """The inner fold of a query."""
    return int(hashlib.sha256(normalise(f"inner {query}").encode()).hexdigest(), 16) % INNER
