"""Components that are counted, not learned by gradient: measured on the validation part, then counted anew with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import polars as pl
from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.catalogue import Catalogue
from recsys.errors import NothingToLearnError
from recsys.types import Recommender
from training.holdout import Holdout
from training.metric_log import MetricLog

REPEATS = "repeats."


class Count(Protocol):
    """Writes the component of some parts of the snapshot into a folder."""

    def __call__(self, *, parts: list[str], folder: Path) -> None:
        """Count these parts."""
        ...


class Load(Protocol):
    """Opens a component on a catalogue."""

    def __call__(self, folder: Path, /, *, catalogue: Catalogue) -> Recommender:
        """The recommender of a folder."""
        ...


def train_counts(
    snapshot: Snapshot,
    *,
    component: str,
    config: BaseModel,
    count: Count,
    load: Load,
    folder: Path,
    run: MetricLog,
    refit: bool,
) -> ComponentInfo:
    """Count the training part, measure, and count the validation part as well.

    Args:
        snapshot: the events.
        component: its name.
        config: the resolved settings.
        count: writes the component of some parts of the snapshot into a folder.
        load: opens it on a catalogue.
        folder: where the component goes.
        run: receives the metrics.
        refit: whether the component that stays has seen the validation part.
    """
    catalogue = snapshot.catalogue()
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["train"]
    count(parts=parts, folder=folder)
    metrics = measure_both(load(folder, catalogue=catalogue), snapshot=snapshot, catalogue=catalogue)
    run.metrics(metrics, step=0)
    if refit:
        parts = ["train", "validation"]
        count(parts=parts, folder=folder)
    return ComponentInfo(
        name=component,
        snapshot=snapshot.manifest.snapshot_id,
        metrics=metrics,
        config=config.model_dump(),
        parts=parts,
    )


def measure_both(recommender: Recommender, *, snapshot: Snapshot, catalogue: Catalogue) -> dict[str, float]:
    """The validation part's means without repeats, and with them under names that begin with `validation/repeats.`."""
    holdout = Holdout.read(snapshot, catalogue=catalogue, part="validation")
    found = holdout.with_repeats().measure(recommender)
    again = {name.replace("/", f"/{REPEATS}"): value for name, value in found.items()}
    return holdout.measure(recommender) | again


def until(snapshot: Snapshot, *, parts: Sequence[str]) -> int:
    """The last moment that these parts tell of, microseconds since 1970-01-01 UTC; 0 where they hold no event."""
    split = snapshot.manifest.split
    ends = {"train": split.validation_after, "validation": split.test_after, "test": snapshot.manifest.watermark}
    ended = ends[parts[-1]] if split.kind == "time" else None
    newest = ended or snapshot.interactions(*parts)["timestamp"].max()
    return int(newest.timestamp() * 1_000_000) if newest is not None else 0  # type: ignore[union-attr]


def need_calendar(snapshot: Snapshot, *, stage: str) -> None:
    """Refuse a shop whose timestamps only say what came first.

    Raises:
        NothingToLearnError: always for such a shop; the message names the stage.
    """
    if snapshot.manifest.timestamps != "calendar":
        raise NothingToLearnError(
            f"{stage} for a shop whose timestamps are an order",
            expected="a calendar: how many days lie between two events",
            action=f'leave {stage} out, or give real times and timestamps = "calendar" in shop.toml',
        )


def category_of(catalogue: pl.DataFrame) -> pl.DataFrame:
    """product_id and category of each product, null where the shop has none."""
    known = "category" in catalogue.columns
    category = pl.col("category") if known else pl.lit(None, dtype=pl.String).alias("category")
    return catalogue.select("product_id", category).unique("product_id")
