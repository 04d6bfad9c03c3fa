"""From a snapshot's judgments to tokenised pairs."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.text.field_names import FIELDS
from recsys.text.fields import product_text
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.module import Pairs


def read_pairs(snapshot: Snapshot, *parts: str, tokenizer: TextTokenizer, config: RelevanceConfig) -> Pairs | None:
    """The judged pairs of the parts, None where there are none.

    Args:
        snapshot: where the judgments stand.
        parts: of the split.
        tokenizer: of the backbone.
        config: fields, max_length and rater_weight are read.
    """
    judgments = snapshot.judgments(*parts)
    if judgments.is_empty():
        return None
    return as_pairs(
        judgments,
        texts=product_texts(snapshot, judgments, fields=config.fields),
        max_grade=snapshot.manifest.max_grade,
        tokenizer=tokenizer,
        config=config,
    )


def product_texts(snapshot: Snapshot, judgments: pl.DataFrame, *, fields: Sequence[str] = FIELDS) -> list[str]:
    """The text of each judgment's product, as the engine will show it to the network."""
    catalogue = snapshot.catalogue()
    rows = catalogue.frame[catalogue.positions(judgments["product_id"])]
    return product_text(rows, fields=fields)


def as_pairs(
    judgments: pl.DataFrame, *, texts: list[str], max_grade: float, tokenizer: TextTokenizer, config: RelevanceConfig
) -> Pairs:
    """Judgments with their products' texts as the network reads them."""
    weights = np.ones(len(judgments), dtype=np.float64)
    for name in ("weight", "rater_sd"):
        if name in judgments.columns and (name == "weight" or config.rater_weight):
            column = judgments[name].cast(pl.Float64)
            weights *= (column.fill_null(1.0) if name == "weight" else 1 / (1 + column.fill_null(0.0))).to_numpy()
    return Pairs(
        tokens=tokenizer.encode(judgments["query"].to_list(), pairs=texts, max_length=config.max_length),
        grades=judgments["grade"].to_numpy().astype(np.float32),
        weights=(weights / weights.mean()).astype(np.float32),
        queries=judgments["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        max_grade=max_grade,
    )
