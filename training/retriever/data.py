"""From a snapshot's judgments to tokenised queries, products and the pairs between them."""

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.text.fields import product_text
from recsys.text.tokenizer import TextTokenizer
from training.retriever.config import RetrieverConfig
from training.retriever.module import Judged


def read_judged(
    snapshot: Snapshot, *parts: str, tokenizer: TextTokenizer, config: RetrieverConfig, least: float = 0.0
) -> Judged | None:
    """The judged pairs of the parts, None where there are none.

    Args:
        snapshot: where the judgments stand.
        parts: of the split.
        tokenizer: of the encoder.
        config: max_length is read.
        least: only pairs of at least this share of the best grade; they weigh by their grade.
    """
    best = snapshot.manifest.max_grade
    judgments = snapshot.judgments(*parts).filter(
        (pl.col("grade") >= least * best) & (pl.col("grade") > 0 if least else True)
    )
    if judgments.is_empty():
        return None
    catalogue = snapshot.catalogue()
    positions, product = np.unique(catalogue.positions(judgments["product_id"]), return_inverse=True)
    texts = judgments.select("query_id", "query").unique("query_id").sort("query_id")["query"].to_list()
    grades = judgments["grade"].to_numpy().astype(np.float32)
    weights = judgments["weight"].cast(pl.Float64).fill_null(1.0).to_numpy() * (grades if least else 1.0)
    return Judged(
        queries=tokenizer.encode(texts, max_length=config.max_length),
        products=tokenizer.encode(product_text(catalogue.frame[positions]), max_length=config.max_length),
        query=judgments["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        product=product.astype(np.int64),
        grades=grades,
        weights=(weights / weights.mean()).astype(np.float32),
    )
