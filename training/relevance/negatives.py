"""Hard negatives for the scorer: products that look right for a training query and that nobody judged, as grade 0."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.models.backbone import resolve_backbone
from recsys.ranking.cross_encoder import sigmoid
from recsys.types import Positions, Scores
from training.negatives.known import Known
from training.negatives.mine import Asked, Judge, mine
from training.negatives.twins import twin_numbers
from training.relevance.config import RelevanceConfig
from training.relevance.replay import PLAIN, with_plain
from training.relevance.teacher import Teachers


def mined_pairs(
    snapshot: Snapshot,
    judgments: pl.DataFrame,
    *,
    known: pl.DataFrame,
    config: RelevanceConfig,
    work: Path,
    teachers: Teachers | None = None,
) -> pl.DataFrame:
    """Up to `negatives` products of each query that has a right one, mined beside its best judged product.

    Args:
        snapshot: whose catalogue is searched.
        judgments: that are learned; a query in several spellings is mined for once.
        known: columns query and product_id of all that is judged, learned or not: what is judged for a query in
            whatever spelling and with whatever grade, and its twins, is not mined for it.
        config: the rules of mining, and the backbone that searches.
        work: keeps indexes and what is mined; a run that was killed goes on with it.
        teachers: who may find a candidate relevant; None asks nobody.

    Returns:
        query_id, query, product_id, grade 0 in the judgments' type, and `mined`, which is true.
    """
    catalogue = snapshot.catalogue()
    right = with_plain(judgments).filter(pl.col("grade") > 0)
    best = right.sort([PLAIN, "grade", "query_id", "product_id"], descending=[False, True, False, False])
    queries = best.unique(PLAIN, keep="first", maintain_order=True).with_row_index("number")
    twin = twin_numbers(catalogue)
    judged = with_plain(known).join(queries.select(PLAIN, "number"), on=PLAIN)
    judged = judged.with_columns(position=catalogue.positions(judged["product_id"])).filter(pl.col("position") >= 0)
    number = judged["number"].cast(pl.Int64).to_numpy()
    asked = Asked(
        queries["query"].to_list(),
        np.arange(len(queries), dtype=np.int64),
        catalogue.positions(queries["product_id"]),
        twin,
        Known.of(number, twin[judged["position"].to_numpy()], twins=max(len(twin), 1)),
    )
    mined = mine(
        asked,
        catalogue,
        encoder=resolve_backbone(config.backbone),
        config=config,
        seed=config.seed,
        folder=work,
        judge=None if teachers is None else judge_of(teachers, snapshot),
        judge_name="" if teachers is None else " ".join(teachers.digests),
        precision=config.precision,
    )
    found = queries[mined["pair"].to_numpy()].select("query_id", "query")
    return found.with_columns(
        pl.Series("product_id", catalogue.ids(mined["negative"].to_numpy()), dtype=pl.String),
        pl.lit(0).cast(judgments.schema["grade"]).alias("grade"),
        mined=pl.lit(value=True),
    )


def with_negatives(
    snapshot: Snapshot,
    judgments: pl.DataFrame,
    *,
    known: pl.DataFrame,
    config: RelevanceConfig,
    work: Path,
    teachers: Teachers | None,
) -> pl.DataFrame:
    """The judgments and behind them what is mined for their queries, if anything; arguments as of `mined_pairs`.

    The teachers are asked where the settings say so.
    """
    if not config.negatives:
        return judgments
    asked = teachers if config.asks_judge else None
    mined = mined_pairs(snapshot, judgments, known=known, config=config, work=work, teachers=asked)
    return pl.concat([judgments, mined], how="diagonal")


def judge_of(teachers: Teachers, snapshot: Snapshot) -> Judge:
    """Teachers as a judge of the snapshot's products."""
    catalogue = snapshot.catalogue()

    def judge(texts: Sequence[str], positions: Positions) -> Scores:
        asked = {"query": list(texts), "product_id": catalogue.ids(positions)}
        return sigmoid(teachers.logits(snapshot, pl.DataFrame(asked, schema=dict.fromkeys(asked, pl.String))))

    return judge
