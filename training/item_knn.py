"""Item-kNN: similarities of products by the users they share; served by `recsys.retrieval.item_knn`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.retrieval.item_knn import NEIGHBOURS, SETTINGS, ItemKnnRecommender, ItemKnnSettings
from recsys.retrieval.vocabulary import write_vocabulary
from training.histories import Cells, read_cells
from training.holdout import Holdout
from training.metric_log import MetricLog

BLOCK = 2048


class ItemKnnConfig(BaseModel):
    """Settings of item-kNN.

    Attributes:
        weighting: "bm25" or "cosine"; "auto" takes the best of CHOICES on the validation part, and their k1, b and
            half_life_days with it.
        neighbours: kept for each product, at most.
        k1: BM25's saturation.
        b: BM25's length normalisation, 0 to 1.
        counts: whether repeated events count, in training and in the history; False counts a product once.
        half_life_days: of events in training, 0 counts all alike.
        history_half_life_days: of events in the history that is answered, 0 counts all alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weighting: Literal["auto", "bm25", "cosine"] = "auto"
    neighbours: Annotated[int, Field(ge=1)] = 500
    k1: Annotated[float, Field(gt=0)] = 1.2
    b: Annotated[float, Field(ge=0, le=1)] = 0.75
    counts: bool = False
    half_life_days: Annotated[float, Field(ge=0)] = 0.0
    history_half_life_days: Annotated[float, Field(ge=0)] = 0.0


CHOICES: tuple[dict[str, float | str], ...] = (
    {"weighting": "bm25", "k1": 0.2, "b": 0.75, "half_life_days": 0.0},
    {"weighting": "bm25", "k1": 100.0, "b": 0.3, "half_life_days": 0.0},
    {"weighting": "bm25", "k1": 100.0, "b": 0.3, "half_life_days": 45.0},
)
"""The last one needs a calendar."""


class ItemKnnStage:
    """`recsys train item-knn`."""

    name = "item-knn"
    kind = RECOMMENDER
    component = "item_knn"
    config_type: type[BaseModel] = ItemKnnConfig

    def train(
        self,
        snapshot: Snapshot,
        *,
        config: BaseModel,
        folder: Path,
        work: Path,
        run: MetricLog,
        base: Bundle | None,
        start: Path | None,
        refit: bool,
    ) -> ComponentInfo:
        """Count, measure on the validation part, count anew with it; see Stage."""
        settings = ItemKnnConfig.model_validate(config.model_dump())
        catalogue = snapshot.catalogue()
        holdout = Holdout.read(snapshot, catalogue=catalogue, part="validation")
        tried: list[tuple[dict[str, float], ItemKnnConfig]] = []
        for step, choice in enumerate(choices(settings, calendar=snapshot.manifest.timestamps == "calendar")):
            fit_item_knn(snapshot, parts=["train"], config=choice, folder=folder)
            found = holdout.measure(ItemKnnRecommender.load(folder, catalogue=catalogue))
            run.metrics(found, step=step)
            tried.append((found, choice))
        metrics, settings = max(tried, key=lambda pair: pair[0]["validation/ndcg@10"])
        parts = ["train", "validation"] if refit else ["train"]
        fit_item_knn(snapshot, parts=parts, config=settings, folder=folder)
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump(),
            parts=parts,
        )


def choices(config: ItemKnnConfig, *, calendar: bool) -> list[ItemKnnConfig]:
    """The settings to try: these alone, or with "auto" each of CHOICES that the shop's timestamps allow."""
    if config.weighting != "auto":
        return [config]
    allowed = [choice for choice in CHOICES if calendar or not choice["half_life_days"]]
    return [ItemKnnConfig.model_validate(config.model_dump() | choice) for choice in allowed]


def fit_item_knn(snapshot: Snapshot, *, parts: list[str], config: ItemKnnConfig, folder: Path) -> None:
    """Write neighbours.parquet, vocabulary.parquet and item_knn.json into the folder."""
    cells = read_cells(snapshot, parts=parts, counts=config.counts, half_life_days=config.half_life_days)
    folder.mkdir(parents=True, exist_ok=True)
    weights = weigh(cells, config=config)
    pairs = nearest(weights, neighbours=config.neighbours)
    pairs.write_parquet(folder / NEIGHBOURS)
    write_vocabulary(folder, cells.product_ids)
    settings = ItemKnnSettings(counts=config.counts, half_life_days=config.history_half_life_days)
    (folder / SETTINGS).write_text(json.dumps(asdict(settings)) + "\n", encoding="utf-8")


def weigh(cells: Cells, *, config: ItemKnnConfig) -> sparse.csr_matrix:
    """float64 [products, users]; the inner product of two rows is their products' similarity.

    Source: "cosine" divides by the row's length; "bm25" takes products for documents and users for terms, Robertson
    and Zaragoza, "The probabilistic relevance framework" (2009), with idf = log(N) - log(1 + df).
    """
    users, products = cells.shape
    values = cells.values.astype(np.float64)
    if config.weighting == "cosine":
        lengths = np.sqrt(np.bincount(cells.rows, weights=values**2, minlength=products))
        values = values / lengths[cells.rows]
    else:
        idf = np.log(products) - np.log1p(np.bincount(cells.users, minlength=users))
        totals = np.bincount(cells.rows, weights=values, minlength=products)
        norm = 1.0 - config.b + config.b * totals / totals.mean()
        saturated = values * (config.k1 + 1.0) / (config.k1 * norm[cells.rows] + values)
        values = saturated * idf[cells.users]
    return sparse.csr_matrix((values, (cells.rows, cells.users)), shape=(products, users))


def nearest(weights: sparse.csr_matrix, *, neighbours: int) -> pl.DataFrame:
    """The most similar products of each product, itself included: columns row, neighbour, score, best first.

    Args:
        weights: float64 [products, users].
        neighbours: at most so many each, all with a similarity above 0.
    """
    turned = weights.T.tocsr()
    frames = []
    for start in range(0, weights.shape[0], BLOCK):
        block = (weights[start : start + BLOCK] @ turned).tocoo()
        pairs = pl.DataFrame({"row": block.row.astype(np.int64) + start, "neighbour": block.col, "score": block.data})
        pairs = pairs.cast({"neighbour": pl.Int64, "score": pl.Float32}).filter(pl.col("score") > 0)
        ranked = pairs.sort("row", pl.col("score").neg(), "neighbour")
        frames.append(ranked.group_by("row", maintain_order=True).head(neighbours))
    return pl.concat(frames)
