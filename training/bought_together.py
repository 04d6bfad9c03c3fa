"""Bought together: products that stand in the same orders; served by `recsys.retrieval.item_knn`.

Source: Sarwar, Karypis, Konstan and Riedl, "Item-based collaborative filtering recommendation algorithms", WWW 2001
(cosine); Brin, Motwani and Silverstein, "Beyond market baskets", SIGMOD 1997 (lift, there called interest); the shrunk
factor n / (n + shrink) as in Bell and Koren, "Scalable collaborative filtering with jointly derived neighborhood
interpolation weights", ICDM 2007.
"""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import NothingToLearnError
from recsys.retrieval.item_knn import NEIGHBOURS, SETTINGS, ItemKnnRecommender, ItemKnnSettings
from recsys.retrieval.vocabulary import write_vocabulary
from training.counted import train_counts
from training.metric_log import MetricLog

BLOCK = 2048
NAME = "bought-together"


class BoughtTogetherConfig(BaseModel):
    """Settings of what is bought together.

    Attributes:
        measure: "cosine" of two products' orders, or "lift": how much more often they meet than by chance.
        shrink: orders in common that count as none: a similarity is multiplied by n / (n + shrink).
        size_power: an order of n products counts n ** -size_power, so that a wholesaler's says less of each pair.
        largest: orders of more products are left out, 2 or more.
        neighbours: kept for each product, at most.
        history_half_life_days: of events in the history that is answered, 0 counts all alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["cosine", "lift"] = "cosine"
    shrink: Annotated[float, Field(ge=0)] = 5.0
    size_power: Annotated[float, Field(ge=0, le=1)] = 0.5
    largest: Annotated[int, Field(ge=2)] = 500
    neighbours: Annotated[int, Field(ge=1)] = 200
    history_half_life_days: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, slots=True)
class Baskets:
    """Orders of two products or more, and of one.

    Attributes:
        matrix: float64 [products, orders], 1 where an order holds a product.
        product_ids: of the rows, sorted.
    """

    matrix: sparse.csr_matrix
    product_ids: pl.Series


class BoughtTogetherStage:
    """`recsys train bought-together`."""

    name = NAME
    kind = RECOMMENDER
    component = "bought_together"
    config_type: type[BaseModel] = BoughtTogetherConfig

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
        """Count orders, measure on the validation part, count anew with it; see Stage.

        Raises:
            NothingToLearnError: no order holds two products.
        """
        settings = BoughtTogetherConfig.model_validate(config.model_dump())

        return train_counts(
            snapshot,
            component=self.component,
            config=settings,
            count=partial(fit_bought_together, snapshot, config=settings),
            load=ItemKnnRecommender.load,
            folder=folder,
            run=run,
            refit=refit,
        )


def fit_bought_together(snapshot: Snapshot, *, parts: list[str], config: BoughtTogetherConfig, folder: Path) -> None:
    """Write neighbours.parquet, vocabulary.parquet and item_knn.json into the folder."""
    baskets = read_baskets(snapshot.interactions(*parts), largest=config.largest)
    if baskets is None:
        raise NothingToLearnError(
            f"no order in {snapshot.path} holds two products",
            expected="purchases that share an order_id, a session_id, or a user's timestamp",
            action=f"leave {NAME} out, or add order_id to the shop's events",
        )
    related(baskets, config=config).write_parquet(folder / NEIGHBOURS)
    write_vocabulary(folder, baskets.product_ids)
    settings = ItemKnnSettings(half_life_days=config.history_half_life_days, name=NAME)
    (folder / SETTINGS).write_text(json.dumps(asdict(settings)) + "\n", encoding="utf-8")


def read_baskets(interactions: pl.DataFrame, *, largest: int) -> Baskets | None:
    """The orders of a snapshot's purchases; None where none holds two products.

    An order is what shares an order_id; without one a session_id; without that a user and a timestamp. Purchases whose
    user is unknown count as well.

    Args:
        interactions: as a snapshot has them.
        largest: orders of more products are left out.
    """
    bought = interactions.filter(pl.col("event_type") == "purchase")
    order = pl.coalesce(
        pl.format("order {}", "order_id"), pl.format("session {}", "session_id"), pl.format("{} {}", "user_id", "time")
    )
    named = bought.with_columns(time=pl.col("timestamp").dt.timestamp("us")).select(order.alias("order"), "product_id")
    pairs = named.drop_nulls().unique().with_columns(size=pl.len().over("order"))
    pairs = pairs.filter(pl.col("size") <= largest).sort("order", "product_id")
    if not (pairs["size"] > 1).any():
        return None
    product_ids = pairs["product_id"].unique().sort()
    rows = product_ids.search_sorted(pairs["product_id"]).to_numpy()
    columns = pairs["order"].rle_id().to_numpy()
    matrix = sparse.csr_matrix(
        (np.ones(len(rows)), (rows, columns)), shape=(len(product_ids), int(columns.max()) + 1), dtype=np.float64
    )
    return Baskets(matrix, product_ids)


def related(baskets: Baskets, *, config: BoughtTogetherConfig) -> pl.DataFrame:
    """The products most often bought with each product: columns row, neighbour, score, best first.

    With w the orders' weights and n a weighted count of orders, cosine is n_ij / sqrt(n_i n_j), lift
    n_ij n / (n_i n_j), each times c_ij / (c_ij + shrink), where c_ij counts the orders in common.
    """
    held = baskets.matrix
    sizes = np.asarray(held.sum(axis=0)).ravel()
    weights = sizes**-config.size_power
    weighted = held @ sparse.diags(weights)
    counts: NDArray[np.float64] = np.asarray(weighted.sum(axis=1)).ravel()
    turned = held.T.tocsr()
    frames = []
    for start in range(0, held.shape[0], BLOCK):
        shared, common = in_common(weighted, turned, start=start), in_common(held, turned, start=start).data
        left, right = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
        product = counts[left] * counts[right]
        scores = shared.data / np.sqrt(product) if config.measure == "cosine" else shared.data * weights.sum() / product
        scores *= common / (common + config.shrink)
        pairs = pl.DataFrame({"row": left, "neighbour": right, "score": scores.astype(np.float32)})
        ranked = pairs.filter(pl.col("row") != pl.col("neighbour")).sort("row", pl.col("score").neg(), "neighbour")
        frames.append(ranked.group_by("row", maintain_order=True).head(config.neighbours))
    return pl.concat(frames)


def in_common(held: sparse.csr_matrix, turned: sparse.csr_matrix, *, start: int) -> sparse.coo_matrix:
    """The products of a block of rows with all columns that are not 0, by row and column."""
    found = held[start : start + BLOCK] @ turned
    found.sort_indices()
    return found.tocoo()
