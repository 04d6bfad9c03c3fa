"""Popularity by category and recency; served by `recsys.retrieval.category_popularity`."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import NothingToLearnError
from recsys.retrieval.category_popularity import SETTINGS, TABLE, CategoryPopularityRecommender, CategorySettings
from training.counted import train_counts
from training.histories import recency
from training.metric_log import MetricLog
from training.popularity import PopularityConfig, resolve


class CategoryPopularityConfig(BaseModel):
    """Settings of popularity by category.

    Attributes:
        half_life_days: of the events that are counted, as of popularity; None takes 14 days with a calendar, else 0.
        half_life_events: an event of the history so many events before its newest counts half; 0 counts all alike.
        depth: parts of a category's path that tell it from others, from the top; 0 takes the whole path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_life_days: Annotated[float, Field(ge=0)] | None = None
    half_life_events: Annotated[float, Field(ge=0)] = 10.0
    depth: Annotated[int, Field(ge=0)] = 0


class CategoryPopularityStage:
    """`recsys train category-popularity`."""

    name = "category-popularity"
    kind = RECOMMENDER
    component = "category_popularity"
    config_type: type[BaseModel] = CategoryPopularityConfig

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
        """Count, measure on the validation part, count anew with it; see Stage.

        Raises:
            NothingToLearnError: no product has a category, or nothing was sold.
            UsageError: a half-life in days is asked for where the shop has no calendar.
        """
        given = CategoryPopularityConfig.model_validate(config.model_dump())
        days = resolve(PopularityConfig(half_life_days=given.half_life_days), snapshot=snapshot).half_life_days
        settings = given.model_copy(update={"half_life_days": days})

        return train_counts(
            snapshot,
            component=self.component,
            config=settings,
            count=partial(fit_category_popularity, snapshot, config=settings),
            load=CategoryPopularityRecommender.load,
            folder=folder,
            run=run,
            refit=refit,
        )


def fit_category_popularity(
    snapshot: Snapshot, *, parts: list[str], config: CategoryPopularityConfig, folder: Path
) -> None:
    """Write category_popularity.parquet (product_id, score) and category_popularity.json into the folder."""
    score = pl.col("weight") * recency(half_life_days=config.half_life_days or 0.0)
    events = snapshot.interactions(*parts).with_columns(score=score)
    if snapshot.catalogue().column("category").null_count() == len(snapshot.catalogue()) or events.is_empty():
        raise NothingToLearnError(
            f"no product of {snapshot.path} with a category and events",
            expected="the column category in the shop's products, and events",
            action="leave category-popularity out for this shop",
        )
    table = events.group_by("product_id").agg(pl.col("score").sum().cast(pl.Float32)).sort("product_id")
    table.write_parquet(folder / TABLE)
    settings = CategorySettings(half_life_events=config.half_life_events, depth=config.depth)
    (folder / SETTINGS).write_text(json.dumps(asdict(settings)) + "\n", encoding="utf-8")
