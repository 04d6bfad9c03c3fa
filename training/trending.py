"""Trending: what sells more of late than its own past lets expect; served by `recsys.retrieval.popularity`.

n events are Poisson around growth x e, where e is what the past lets expect in so many days, times the growth of the
whole shop. Growth is Gamma-distributed around its category's, so its posterior mean is (n + shrink x category) /
(e + shrink); a category's growth is drawn towards 1 the same way.

Source: DuMouchel, "Bayesian data mining in large frequency tables", The American Statistician 1999 (Gamma-Poisson
shrinkage).
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import NothingToLearnError
from recsys.retrieval.popularity import PopularityRecommender
from training.counted import category_of, need_calendar, train_counts, until
from training.metric_log import MetricLog

NAME = "trending"


class TrendingConfig(BaseModel):
    """Settings of what is trending.

    Attributes:
        days: length of the present, the last days before the cut.
        past_days: length of the past before it; what is older says nothing.
        shrink: expected events that no growth counts as.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: Annotated[float, Field(gt=0)] = 7.0
    past_days: Annotated[float, Field(gt=0)] = 56.0
    shrink: Annotated[float, Field(gt=0)] = 10.0


class TrendingStage:
    """`recsys train trending`."""

    name = NAME
    kind = RECOMMENDER
    component = "trending"
    config_type: type[BaseModel] = TrendingConfig

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
        """Count present and past, measure on the validation part, count anew with it; see Stage.

        Raises:
            NothingToLearnError: the shop has no calendar, or no past before the present.
        """
        settings = TrendingConfig.model_validate(config.model_dump())
        need_calendar(snapshot, stage=self.name)

        return train_counts(
            snapshot,
            component=self.component,
            config=settings,
            count=partial(fit_trending, snapshot, config=settings),
            load=partial(PopularityRecommender.load, name=NAME),
            folder=folder,
            run=run,
            refit=refit,
        )


def fit_trending(snapshot: Snapshot, *, parts: list[str], config: TrendingConfig, folder: Path) -> None:
    """Write trending.parquet (segment, product_id, score) into the folder: what grows more than the shop."""
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=until(snapshot, parts=parts))
    found = growth(snapshot.interactions(*parts), categories=snapshot.catalogue().frame, now=now, config=config)
    if found is None:
        raise NothingToLearnError(
            f"no event of the last {config.days:g} days in {snapshot.path}, or none of the {config.past_days:g} before",
            expected="a present and a past to compare",
            action=f"leave {NAME} out, or set days and past_days",
        )
    rising = found.filter(pl.col("growth") > 1.0)
    table = rising.select(pl.lit("").alias("segment"), "product_id", pl.col("growth").cast(pl.Float32).alias("score"))
    table.sort("product_id").write_parquet(folder / f"{NAME}.parquet")


def growth(
    interactions: pl.DataFrame, *, categories: pl.DataFrame, now: datetime, config: TrendingConfig
) -> pl.DataFrame | None:
    """How much more each product is asked for than it was: product_id, growth; 1 grows as the shop does.

    A user who comes back to a product counts once in the present and once in the past.

    Args:
        interactions: as a snapshot has them.
        categories: product_id and, where the shop has it, category.
        now: the end of the present.
        config: see TrendingConfig.
    """
    begun = now - timedelta(days=config.days)
    seen = interactions.filter(pl.col("timestamp") > begun - timedelta(days=config.past_days))
    who = pl.coalesce("user_id", "session_id", "order_id", pl.int_range(pl.len()).cast(pl.String))
    distinct = seen.select("product_id", who.alias("who"), (pl.col("timestamp") > begun).alias("new")).unique()
    counts = distinct.group_by("product_id").agg(present=pl.col("new").sum(), past=(~pl.col("new")).sum())
    new, old = (int(counts[name].sum()) for name in ("present", "past"))
    if not new or not old:
        return None
    rows = counts.join(category_of(categories), on="product_id", how="left").with_columns(
        expected=pl.col("past") * (new / old)
    )
    present, expected = pl.col("present"), pl.col("expected")
    kind = (present.sum() + config.shrink) / (expected.sum() + config.shrink)
    above = pl.when(pl.col("category").is_null()).then(1.0).otherwise(kind.over("category"))
    return rows.select("product_id", growth=(present + config.shrink * above) / (expected + config.shrink))
