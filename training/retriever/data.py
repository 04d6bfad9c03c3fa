"""From a snapshot to tokenised examples: positives, the negatives mined for them, and judged validation pairs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.text_vectors import encoder_digest
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.text.field_names import FIELDS
from recsys.text.fields import product_text
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Mask, Positions, Scores
from training.negatives.mine import Asked, Judge, mine, none_mined
from training.retriever.config import RetrieverConfig
from training.retriever.examples import Examples, Judged
from training.retriever.positives import Positives, read_positives

UNTITLED = tuple(name for name in FIELDS if name != "title")


def read_judged(snapshot: Snapshot, *parts: str, tokenizer: TextTokenizer, config: RetrieverConfig) -> Judged | None:
    """All judged pairs of the parts, None where there are none; arguments as of `read_examples`."""
    judgments = snapshot.judgments(*parts)
    if judgments.is_empty():
        return None
    catalogue = snapshot.catalogue()
    positions, product = np.unique(judgments["position"].to_numpy(), return_inverse=True)
    texts = judgments.select("query_id", "query").unique("query_id").sort("query_id")["query"].to_list()
    return Judged(
        queries=tokenizer.encode(texts, max_length=config.max_length),
        products=tokenizer.encode(product_text(catalogue.frame[positions]), max_length=config.max_length),
        query=judgments["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        product=product.astype(np.int64),
        grades=judgments["grade"].to_numpy().astype(np.float32),
    )


def read_examples(
    snapshot: Snapshot,
    *parts: str,
    tokenizer: TextTokenizer,
    config: RetrieverConfig,
    encoder: Path,
    teacher: Path | None,
    work: Path,
) -> Examples | None:
    """What the retriever learns from, None where fewer than two pairs are right.

    Args:
        snapshot: judgments, events and products.
        parts: of the split.
        tokenizer: of the encoder.
        config: which pairs, and which negatives.
        encoder: folder of the text encoder that mines.
        teacher: folder of the cross-encoder that is asked about the negatives; None asks nobody.
        work: keeps what is mined.

    Raises:
        NothingToLearnError: negatives are wanted, and none is found for any pair.
    """
    catalogue = snapshot.catalogue()
    positives = read_positives(snapshot, *parts, catalogue=catalogue, config=config)
    if len(positives) < 2:
        return None
    mined = mine(
        Asked(positives.texts, positives.query, positives.position, positives.twin, positives.known),
        catalogue,
        encoder=encoder,
        config=config,
        seed=config.seed,
        folder=work,
        judge=None if teacher is None else judge_of(teacher, catalogue, config=config),
        judge_name="" if teacher is None else encoder_digest(teacher),
        precision=config.precision,
    )
    if config.negatives and mined.is_empty():
        raise none_mined(config, products=len(catalogue))
    return as_examples(positives, mined, catalogue=catalogue, tokenizer=tokenizer, config=config)


def judge_of(folder: Path, catalogue: Catalogue, *, config: RetrieverConfig) -> Judge:
    """The cross-encoder of a folder as a judge of the catalogue's products."""
    ranker = CrossEncoderRanker.load(folder, precision=config.precision)

    def judge(texts: Sequence[str], positions: Positions) -> Scores:
        different, place = np.unique(positions, return_inverse=True)
        known = product_text(catalogue.frame[different], fields=ranker.fields)
        return ranker.score(texts, [known[number] for number in place])

    return judge


def as_examples(
    positives: Positives,
    mined: pl.DataFrame,
    *,
    catalogue: Catalogue,
    tokenizer: TextTokenizer,
    config: RetrieverConfig,
) -> Examples:
    """The pairs with their negatives, tokenised; each text once."""
    pair = mined["pair"].to_numpy()
    slot = np.arange(len(pair)) - np.searchsorted(pair, pair)
    # a product is read whole or without its title: two texts with one twin
    codes = np.concatenate([positives.position * 2 + positives.whole, mined["negative"].to_numpy() * 2 + 1])
    texts, rows = np.unique(codes, return_inverse=True)
    negatives = np.full((len(positives), config.negatives), -1, dtype=np.int64)
    negatives[pair, slot] = rows[len(positives) :]
    teacher = np.full((len(positives), 1 + config.negatives), np.nan, dtype=np.float32)
    teacher[pair, 1 + slot] = mined["relevance"].to_numpy()
    teacher[pair, 0] = mined["own_relevance"].to_numpy()
    return Examples(
        texts=positives.texts,
        queries=tokenizer.encode(positives.texts, max_length=config.max_length),
        products=tokenizer.encode(
            read_texts(catalogue, texts // 2, whole=texts % 2 == 1), max_length=config.max_length
        ),
        twins=positives.twin[texts // 2],
        query=positives.query,
        product=rows[: len(positives)].astype(np.int64),
        weights=positives.weights,
        negatives=negatives,
        teacher=teacher,
        known=positives.known,
    )


def read_texts(catalogue: Catalogue, positions: Positions, *, whole: Mask) -> list[str]:
    """The texts of products; those that are not whole without their titles, unless that leaves nothing."""
    texts = product_text(catalogue.frame[positions])
    parts = np.flatnonzero(~whole)
    untitled = product_text(catalogue.frame[positions[parts]], fields=UNTITLED)
    for place, text in zip(parts, untitled, strict=True):
        texts[place] = text.lstrip(". ") or texts[place]
    return texts
