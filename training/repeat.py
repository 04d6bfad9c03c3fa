"""Repeat purchases: how soon, and how often, a product is bought again; served by `recsys.retrieval.repeat`."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import NothingToLearnError
from recsys.retrieval.repeat import (
    CATEGORIES,
    MICROSECONDS_A_DAY,
    PRODUCTS,
    SETTINGS,
    RepeatRecommender,
    RepeatSettings,
)
from training.counted import category_of, need_calendar, train_counts, until
from training.metric_log import MetricLog

COLUMNS = ("log_interval", "rate")


class RepeatConfig(BaseModel):
    """Settings of repeat purchases.

    Attributes:
        shrink: purchases that a category's interval and rate count as for a product, and the shop's for a category.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shrink: Annotated[float, Field(gt=0)] = 5.0


class RepeatStage:
    """`recsys train repeat`."""

    name = "repeat"
    kind = RECOMMENDER
    component = "repeat"
    config_type: type[BaseModel] = RepeatConfig

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
        """Count intervals, measure on the validation part, count anew with it; see Stage.

        Raises:
            NothingToLearnError: the shop has no calendar, or nobody bought a product on two days.
        """
        settings = RepeatConfig.model_validate(config.model_dump())
        need_calendar(snapshot, stage=self.name)

        return train_counts(
            snapshot,
            component=self.component,
            config=settings,
            count=partial(fit_repeat, snapshot, config=settings),
            load=RepeatRecommender.load,
            folder=folder,
            run=run,
            refit=refit,
        )


@dataclass(frozen=True, slots=True)
class Intervals:
    """What was counted.

    Attributes:
        products: product_id, log_interval, rate.
        categories: category, log_interval, rate.
        log_interval: the shop's.
        rate: the shop's.
        spread: standard deviation of the intervals' logarithms around their products'.
    """

    products: pl.DataFrame
    categories: pl.DataFrame
    log_interval: float
    rate: float
    spread: float


def fit_repeat(snapshot: Snapshot, *, parts: list[str], config: RepeatConfig, folder: Path) -> None:
    """Write products.parquet, categories.parquet and repeat.json into the folder."""
    events = snapshot.interactions(*parts)
    visits = purchase_days(events)
    found = intervals(visits, categories=snapshot.catalogue().frame, shrink=config.shrink)
    if found is None:
        raise NothingToLearnError(
            f"nobody in {snapshot.path} bought a product on two days",
            expected="purchases of one product by one user, days apart",
            action="leave repeat out for this shop",
        )
    found.products.write_parquet(folder / PRODUCTS)
    found.categories.write_parquet(folder / CATEGORIES)
    now = until(snapshot, parts=parts)
    oldest = int(visits["day"].min())  # type: ignore[arg-type]
    settings = RepeatSettings(
        until=now,
        days=now / MICROSECONDS_A_DAY - oldest,
        log_interval=found.log_interval,
        rate=found.rate,
        spread=found.spread,
        shrink=config.shrink,
    )
    (folder / SETTINGS).write_text(json.dumps(asdict(settings)) + "\n", encoding="utf-8")


def purchase_days(interactions: pl.DataFrame) -> pl.DataFrame:
    """The days on which each known user bought each product: user_id, product_id, day since 1970-01-01, gap.

    `gap` is the logarithm of the days since the same user's purchase of the product before, null for the first.
    """
    bought = interactions.filter((pl.col("event_type") == "purchase") & pl.col("user_id").is_not_null())
    day = pl.col("timestamp").dt.timestamp("us") // MICROSECONDS_A_DAY
    visits = bought.select("user_id", "product_id", day.alias("day")).unique().sort("user_id", "product_id", "day")
    gap = pl.col("day").diff().over("user_id", "product_id").cast(pl.Float64).log()
    return visits.with_columns(gap=gap)


def intervals(visits: pl.DataFrame, *, categories: pl.DataFrame, shrink: float) -> Intervals | None:
    """Intervals and rates of products, drawn towards their category's, and of categories, towards the shop's.

    Each level's mean is (sum + shrink x the mean above) / (count + shrink). None where nothing was bought twice.

    Args:
        visits: of `purchase_days`.
        categories: product_id and, where the shop has it, category.
        shrink: see RepeatConfig.
    """
    gaps = visits["gap"].drop_nulls()
    if gaps.is_empty():
        return None
    mean, rate = float(gaps.mean()), len(gaps) / visits.height  # type: ignore[arg-type]
    rows = visits.join(category_of(categories), on="product_id", how="left")
    above = drawn(rows.filter(pl.col("category").is_not_null()), by="category", shrink=shrink, mean=mean, rate=rate)
    inside = rows.join(above, on="category", how="left").with_columns(
        pl.col("log_interval").fill_null(mean), pl.col("rate").fill_null(rate)
    )
    products = drawn(inside, by="product_id", shrink=shrink, mean=pl.col("log_interval"), rate=pl.col("rate"))
    own = visits.join(products, on="product_id").drop_nulls("gap")
    squares = float(((own["gap"] - own["log_interval"]) ** 2).sum())
    return Intervals(
        products=products.sort("product_id"),
        categories=above.sort("category"),
        log_interval=mean,
        rate=rate,
        spread=float(np.sqrt((squares + shrink) / (len(gaps) + shrink))),  # a spread of 1 where little is known
    )


def drawn(rows: pl.DataFrame, *, by: str, shrink: float, mean: float | pl.Expr, rate: float | pl.Expr) -> pl.DataFrame:
    """log_interval and rate of each group, drawn towards what stands above it.

    Args:
        rows: purchases with their gap.
        by: the column that groups them.
        shrink: purchases that what stands above counts as.
        mean: log_interval above, a number or a column that is constant within a group.
        rate: the same of the rate.
    """
    whole, share = (pl.lit(value) if isinstance(value, float) else value.first() for value in (mean, rate))
    again = pl.col("gap").is_not_null().sum()
    return rows.group_by(by).agg(
        log_interval=(pl.col("gap").sum() + shrink * whole) / (again + shrink),
        rate=(again + shrink * share) / (pl.len() + shrink),
    )
