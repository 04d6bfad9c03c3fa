"""Popularity, as a whole and by segment; served by `recsys.retrieval.popularity`."""

from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import NothingToLearnError, UsageError
from recsys.retrieval.popularity import TABLE, PopularityRecommender
from training.histories import recency
from training.holdout import Holdout
from training.metric_log import MetricLog


class PopularityConfig(BaseModel):
    """Settings of popularity.

    Attributes:
        half_life_days: an event so much older than the newest counts half; 0 counts all alike. None takes 14 days
            where the shop has a calendar and 0 where it has none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_life_days: Annotated[float, Field(ge=0)] | None = None


class PopularityStage:
    """`recsys train popularity`."""

    name = "popularity"
    kind = RECOMMENDER
    component = "popularity"
    config_type: type[BaseModel] = PopularityConfig

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
            NothingToLearnError: there is nothing to count.
        """
        settings = resolve(PopularityConfig.model_validate(config.model_dump()), snapshot=snapshot)
        catalogue = snapshot.catalogue()
        parts = ["train"]
        if not snapshot.interactions("train", *(["validation"] if refit else [])).height:
            raise NothingToLearnError(
                f"{snapshot.path} has no view, click, cart or purchase but in its test part",
                expected="older ones to count",
                action="shorten the test part: [split] test_days in shop.toml",
            )
        fit_popularity(snapshot, parts=parts, config=settings, folder=folder)
        holdout = Holdout.read(snapshot, catalogue=catalogue, part="validation")
        metrics = holdout.measure(PopularityRecommender.load(folder, catalogue=catalogue))
        run.metrics(metrics, step=0)
        if refit:
            parts = ["train", "validation"]
            fit_popularity(snapshot, parts=parts, config=settings, folder=folder)
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump(),
            parts=parts,
        )


def resolve(config: PopularityConfig, *, snapshot: Snapshot) -> PopularityConfig:
    """The settings with every value filled in.

    Raises:
        UsageError: a half-life is asked for where the shop has no calendar.
    """
    calendar = snapshot.manifest.timestamps == "calendar"
    if config.half_life_days and not calendar:
        raise UsageError(
            f"half_life_days = {config.half_life_days} for a shop whose timestamps are an order",
            expected="half_life_days = 0",
            action="leave it out: this shop has no calendar",
        )
    default = 14.0 if calendar else 0.0
    return PopularityConfig(half_life_days=default if config.half_life_days is None else config.half_life_days)


def fit_popularity(snapshot: Snapshot, *, parts: list[str], config: PopularityConfig, folder: Path) -> None:
    """Write popularity.parquet (segment, product_id, score) into the folder; segment "" is everyone."""
    folder.mkdir(parents=True, exist_ok=True)
    events = snapshot.interactions(*parts).with_columns(
        score=pl.col("weight") * recency(half_life_days=config.half_life_days or 0.0)
    )
    segments = snapshot.users().select("user_id", "segment")
    everyone = events.group_by("product_id").agg(pl.col("score").sum()).with_columns(segment=pl.lit(""))
    own = (
        events.join(segments, on="user_id")
        .filter(pl.col("segment").fill_null("") != "")
        .group_by("segment", "product_id")
        .agg(pl.col("score").sum())
    )
    columns = ["segment", "product_id", "score"]
    table = pl.concat([everyone.select(columns), own.select(columns)], how="vertical_relaxed")
    table.cast({"score": pl.Float32}).sort(columns).write_parquet(folder / TABLE)
