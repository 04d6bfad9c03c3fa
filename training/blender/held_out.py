"""Scores of judged pairs by networks that have not learned from their queries: the cross-encoder's, and cosines.

A network scores the pairs it was trained on far better than new ones; a blender that was fitted on such scores would
trust it too much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.ranking.cross_encoder import CrossEncoderRanker, sigmoid
from recsys.ranking.held_out import Score, has_held_out, read_held_out
from recsys.text.fields import product_text
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores
from training.blender.config import BlenderConfig
from training.evaluate.queries import JudgedQuery
from training.folds import text_folds
from training.relevance.config import RelevanceConfig
from training.relevance.data import as_pairs, pair_texts, product_texts
from training.relevance.learn import start_folder
from training.relevance.members import learn_members


@dataclass(frozen=True, slots=True)
class Judge:
    """A bundle's cross-encoder with what is needed to train its like.

    Attributes:
        folder: of the component.
        info: what its training says.
        work: folder for the trainings of others like it.
    """

    folder: Path
    info: ComponentInfo
    work: Path

    @classmethod
    def of(cls, bundle: Bundle | None, *, work: Path) -> "Judge | None":
        """The cross-encoder of a bundle, None where it has none."""
        folder = None if bundle is None else bundle.component("cross_encoder")
        if bundle is None or folder is None:
            return None
        return cls(folder, bundle.manifest.components["cross_encoder"], work)

    @property
    def config(self) -> RelevanceConfig:
        """The settings it was trained with."""
        known = {name: value for name, value in self.info.config.items() if name in RelevanceConfig.model_fields}
        return RelevanceConfig.model_validate(known)

    def without(self, snapshot: Snapshot, judgments: pl.DataFrame, *, name: str) -> CrossEncoderRanker:
        """A network of the same settings and epochs, trained on these judgments of the snapshot alone."""
        config = self.config
        start = start_folder(config, None)
        pairs = as_pairs(
            judgments,
            texts=product_texts(snapshot, judgments, fields=config.fields),
            max_grade=snapshot.manifest.max_grade,
            tokenizer=TextTokenizer.load(start),
            config=config,
            shown=pair_texts(snapshot, judgments, config=config),
        )
        best = self.info.config.get("best_epoch", config.epochs)
        epochs = best if isinstance(best, list) else [best]
        soup = {
            int(seed): count for seed, count in self.info.config.get("soup_epochs", {config.seed: epochs[0]}).items()
        }
        work = self.work / name
        learned = learn_members(pairs, None, config=config, start=start, work=work, stop_after=epochs, soup=soup)
        return CrossEncoderRanker(learned.network, learned.tokenizer, precision=config.precision)


def held_out_scores(
    snapshot: Snapshot,
    queries: Sequence[JudgedQuery],
    *,
    asked: Sequence[str],
    judge: Judge,
    config: BlenderConfig,
) -> list[Scores]:
    """For each query float32 [products], 0..1: the scores of its products by a network that has not seen the query.

    Args:
        snapshot: where the judgments of the training and validation part stand.
        queries: of the validation part; with `config.folds` also of the training part.
        asked: each query as the search puts it to the network.
        judge: the cross-encoder.
        config: folds and seed are read.
    """
    if not config.folds:
        unseen = "validation" not in judge.info.parts and judge.info.snapshot == snapshot.manifest.snapshot_id
        network = (
            CrossEncoderRanker.load(judge.folder)
            if unseen
            else judge.without(snapshot, snapshot.judgments("train"), name="train")
        )
        return [score(network, snapshot, query, text=text) for query, text in zip(queries, asked, strict=True)]
    judgments = snapshot.judgments("train", "validation")
    parts = text_folds([query.query for query in queries], folds=config.folds, seed=config.seed).tolist()
    by_query = dict(zip((query.query_id for query in queries), parts, strict=True))
    number = judgments["query_id"].replace_strict(by_query, default=-1, return_dtype=pl.Int64)
    found: list[Scores] = [np.zeros(0, dtype=np.float32)] * len(queries)
    for part in sorted(set(parts)):
        network = judge.without(snapshot, judgments.filter(number != part), name=f"fold{part}")
        for place, query in enumerate(queries):
            if parts[place] == part:
                found[place] = score(network, snapshot, query, text=asked[place])
    return found


def score(network: CrossEncoderRanker, snapshot: Snapshot, query: JudgedQuery, *, text: str) -> Scores:
    """float32 [products] of one query, as the engine will show them to the network."""
    texts = product_text(snapshot.catalogue().frame[query.positions], fields=network.fields)
    return network.score([text] * len(texts), texts)


def keeps_scores(judge: Judge, *, config: BlenderConfig) -> bool:
    """True where the cross-encoder's training has kept all the scores that are wanted, so that no network learns."""
    return not config.folds and not config.unjudged and has_held_out(judge.folder)


def kept_scores(folder: Path, snapshot: Snapshot, queries: Sequence[JudgedQuery]) -> list[Scores | None]:
    """For each query the scores, 0..1, that the cross-encoder's training has kept; None where a product has none."""
    logits = kept(folder, snapshot, queries, score="logit")
    return [None if row is None else sigmoid(row) for row in logits]


def kept_cosines(folder: Path, snapshot: Snapshot, queries: Sequence[JudgedQuery]) -> list[Scores | None]:
    """For each query the cosines that the text encoder's training has kept; None where a product has none."""
    return kept(folder, snapshot, queries, score="cosine")


def kept(folder: Path, snapshot: Snapshot, queries: Sequence[JudgedQuery], *, score: Score) -> list[Scores | None]:
    """For each query float32 [products] of what is kept in a network's folder; None where a product of it has none."""
    rows = read_held_out(folder, score=score).select("query_id", "product_id", score)
    known = {(query_id, product_id): value for query_id, product_id, value in rows.iter_rows()}
    catalogue = snapshot.catalogue()
    found = [
        [known.get((query.query_id, product_id)) for product_id in catalogue.ids(query.positions)] for query in queries
    ]
    return [None if None in row else np.asarray(row, dtype=np.float32) for row in found]
