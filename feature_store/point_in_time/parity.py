"""Were the features that a service used those that training would have seen? Logged requests, computed again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from feature_store.event_log.log import moment
from feature_store.forgetting.opening import open_people
from feature_store.point_in_time.choice import choose, named
from feature_store.point_in_time.definitions import Feature
from feature_store.point_in_time.engine import compute
from feature_store.point_in_time.own import definitions_of
from feature_store.point_in_time.rows import asking, read_rows
from feature_store.point_in_time.streams import shop_streams
from feature_store.staging import staging_folder
from feature_store.validate import CleanShop, clean_shop
from recsys.errors import UsageError
from recsys.settings import Settings

ROW = "row in the log"
TOLERANCE = 1e-6
"""Of the larger of 1 and the value: what float32 rounds."""


@dataclass(frozen=True)
class FeatureParity:
    """How often one feature was served as it was known.

    Attributes:
        name: the feature's.
        rows: requests compared.
        equal: how many had the same value, or none on both sides.
        served_mean: of the served values that are there and finite.
        known_mean: of the values that are there and finite when computed again.
        first_differing: the row number in the log of the first request that differs, from 0.
    """

    name: str
    rows: int
    equal: int
    served_mean: float | None
    known_mean: float | None
    first_differing: int | None

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.equal / self.rows


@dataclass(frozen=True)
class Parity:
    """The outcome of a replay.

    Attributes:
        features: in the order of their definitions.
        least: the share that each has to reach.
        left_out: requests of before a user was forgotten: what was known then included the user, and is gone.
    """

    features: list[FeatureParity]
    least: float
    left_out: int = 0

    @property
    def failed(self) -> list[str]:
        """The features below the least share."""
        return [one.name for one in self.features if one.share < self.least]

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        told = [{**asdict(one), "share": one.share} for one in self.features]
        verdict = {"least": self.least, "failed": self.failed, "ok": not self.failed}
        return {"features": told, **verdict, "left_out": self.left_out}


def replay(
    shop: Path,
    *,
    log: Path,
    sample: int,
    seed: int,
    least: float,
    definitions: Sequence[Feature] | None = None,
    as_of: datetime | None,
    settings: Settings,
) -> Parity:
    """Compute the features of logged requests again, as they were known then, and compare.

    Args:
        shop: the shop folder, with everything that has come to be known since.
        log: a file of requests: `timestamp`, the keys, and the served values under the features' names.
        sample: how many requests at most.
        seed: of the sample.
        least: the share of equal values that each feature has to reach.
        definitions: what can be in the log; DEFAULTS and the shop's own where None.
        as_of: nothing known later is read.
        settings: where working files may stand.

    Raises:
        UsageError: the log has no feature's column, the shop can't have one of them, or a user was forgotten after
            all of its requests.
    """
    known_features = definitions_of(shop) if definitions is None else definitions
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=as_of, settings=settings)
        asked = read_rows(log, config=clean.config, as_of=as_of)
        present = set(asked.frame.collect_schema().names())
        served = [feature.name for feature in known_features if feature.name in present]
        if not served:
            raise UsageError(
                f"{log} has no column of a feature's name",
                expected="the served values under the names of `recsys table list`",
                action="log them with each request",
            )
        calendar = clean.config.timestamps == "calendar"
        streams = shop_streams(clean.tables)
        features, _ = choose(named(served, known_features), streams, keys=asked.keys, calendar=calendar, strict=True)
        comparable = asked.frame.with_row_index(ROW).collect(engine="streaming")
        left_out = 0
        if (last := last_forgotten(clean, settings=settings)) is not None:
            older = comparable.filter(pl.col("timestamp") <= last).height
            comparable, left_out = comparable.filter(pl.col("timestamp") > last), older
        if left_out and comparable.is_empty():
            raise UsageError(
                f"a user was forgotten after all {left_out} requests of {log}, and what was known then is gone",
                expected="requests of afterwards",
                action="log requests anew",
            )
        requests = sampled(comparable, sample=sample, seed=seed)
        known = compute(asking(requests, asked.keys), features, streams, staging=staging)
    return Parity(compare(requests, known, features), least, left_out)


def last_forgotten(clean: CleanShop, *, settings: Settings) -> datetime | None:
    """When the last user was forgotten, if the tables still hold rows of any; None without such rows or a calendar."""
    if clean.config.timestamps == "order" or not any(name.endswith("_forgotten") for name in clean.counts):
        return None
    return moment(open_people(settings, shop=clean.config.name).tombstones()[-1].at)


def sampled(rows: pl.DataFrame, *, sample: int, seed: int) -> pl.DataFrame:
    """At most `sample` requests, in the order of the log."""
    return rows if rows.height <= sample else rows.sample(sample, seed=seed).sort(ROW)


def compare(requests: pl.DataFrame, known: pl.DataFrame, features: Sequence[Feature]) -> list[FeatureParity]:
    """Served values beside those computed again, feature by feature."""
    return [held_together(name, pairs(requests, known, name)) for name in (feature.name for feature in features)]


def pairs(requests: pl.DataFrame, known: pl.DataFrame, name: str) -> pl.DataFrame:
    """Of one feature `row` (its number in the log), `served` and `known`, null where there is no value."""
    served = requests[name].cast(pl.Float64).fill_nan(None)
    return pl.DataFrame({"row": requests[ROW], "served": served, "known": known[name].cast(pl.Float64)})


def held_together(name: str, pair: pl.DataFrame) -> FeatureParity:
    """How often both columns of `pairs` are the same."""
    near = (pl.col("served") - pl.col("known")).abs() <= TOLERANCE * pl.max_horizontal(pl.col("known").abs(), 1.0)
    near &= pl.col("known").is_finite()  # everything is within a millionth of infinity
    same = near.fill_null(value=False) | pl.col("served").eq_missing(pl.col("known"))
    equal = pair.select(same.alias("same"))["same"]
    return FeatureParity(
        name=name,
        rows=pair.height,
        equal=int(equal.sum()),
        served_mean=mean(pair["served"]),
        known_mean=mean(pair["known"]),
        first_differing=pair.filter(~equal)["row"].min(),  # type: ignore[arg-type]
    )


def mean(values: pl.Series) -> float | None:
    """The mean of those that are there and finite."""
    found = values.filter(values.is_finite()).mean()
    return None if found is None else float(found)  # type: ignore[arg-type]
