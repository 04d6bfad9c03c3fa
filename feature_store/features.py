"""Product features as of an instant, out of a snapshot: what happened before it is counted, strictly.

An event is not known at its own instant, as in `feature_store.point_in_time`: else it would explain itself.

Price, stock and attributes are not among them: without `valid_from` nobody knows since when they are what they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.errors import UsageError
from recsys.lookup import find_sorted
from recsys.types import Scores

TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Feature:
    """One feature of a product.

    Attributes:
        calendar: True where it needs real dates.
        of: the aggregation over a product's events before the instant given.
        empty: the value of a product without events; NaN where there is none.
    """

    calendar: bool
    of: Callable[[datetime | None], pl.Expr]
    empty: float


def events_of(kind: str) -> Feature:
    """How many events of one type."""
    return Feature(calendar=False, of=lambda _: (pl.col("event_type") == kind).sum(), empty=0.0)


def within(days: float) -> Feature:
    """The weight of all events of the last days: from so many days before the instant on."""

    def of(at: datetime | None) -> pl.Expr:
        return pl.col("weight").filter(pl.col("timestamp") >= pl.lit(at, dtype=TIME) - timedelta(days=days)).sum()

    return Feature(calendar=True, of=of, empty=0.0)


def days_since(end: Callable[[pl.Expr], pl.Expr]) -> Feature:
    """Days from one of a product's events to the instant."""

    def of(at: datetime | None) -> pl.Expr:
        age = pl.lit(at, dtype=TIME) - end(pl.col("timestamp"))
        return age.dt.total_microseconds() / (timedelta(days=1) / timedelta(microseconds=1))

    return Feature(calendar=True, of=of, empty=float("nan"))


FEATURES: dict[str, Feature] = {
    "views": events_of("view"),
    "clicks": events_of("click"),
    "cart_additions": events_of("add_to_cart"),
    "purchases": events_of("purchase"),
    "weight": Feature(calendar=False, of=lambda _: pl.col("weight").sum(), empty=0.0),
    "users": Feature(calendar=False, of=lambda _: pl.col("user_id").drop_nulls().n_unique(), empty=0.0),
    "weight_7_days": within(7),
    "weight_28_days": within(28),
    "days_since_first": days_since(lambda time: time.min()),
    "days_since_last": days_since(lambda time: time.max()),
}


class SnapshotFeatures:
    """A FeatureSource as of an instant."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        parts: Sequence[str] = (),
        at: datetime | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Count what the parts named (all if none) hold before `at`.

        Args:
            snapshot: where the events are.
            parts: "train", "validation", "test".
            at: the instant; where None, the first one that knows every event of these parts, a microsecond behind the
                newest.
            names: some of FEATURES; all that the shop's timestamps allow where None.

        Raises:
            UsageError: a feature is unknown, or needs a calendar that the shop does not have.
        """
        order = snapshot.manifest.timestamps == "order"
        self.names = tuple(names if names is not None else allowed(order=order))
        refuse(self.names, order=order, at=at)
        events = snapshot.interactions(*parts)
        newest: datetime | None = events["timestamp"].max()  # type: ignore[assignment]
        self.at = None if order else at or (newest and newest + timedelta(microseconds=1))
        if self.at is not None:
            events = events.filter(pl.col("timestamp") < self.at)
        self._table = (
            events.group_by("product_id")
            .agg(FEATURES[name].of(self.at).cast(pl.Float32).alias(name) for name in self.names)
            .sort("product_id")
        )
        self._products = snapshot.catalogue().product_ids

    def read(self, product_ids: Sequence[str]) -> dict[str, Scores]:
        """Features by name, float32 [products], NaN where the product or the value is unknown."""
        rows = find_sorted(self._table["product_id"], product_ids)
        known = find_sorted(self._products, product_ids) >= 0
        found = {}
        for name in self.names:
            values = self._table[name].gather(pl.Series(rows).replace(-1, None)).to_numpy()
            empty = np.where(known, np.float32(FEATURES[name].empty), np.float32(np.nan))
            found[name] = np.where(rows >= 0, values, empty).astype(np.float32)
        return found


def allowed(*, order: bool) -> list[str]:
    """The features that a shop's timestamps allow."""
    return [name for name, feature in FEATURES.items() if not (order and feature.calendar)]


def refuse(names: Sequence[str], *, order: bool, at: datetime | None) -> None:
    """Raise UsageError where a feature is unknown or needs a calendar that is not there."""
    if unknown := [name for name in names if name not in FEATURES]:
        raise UsageError(
            f"feature {', '.join(unknown)}", expected=f"some of {', '.join(FEATURES)}", action="correct it"
        )
    dated = [name for name in names if FEATURES[name].calendar]
    if order and (dated or at is not None):
        raise UsageError(
            f"{', '.join(dated) or 'an instant'} of a shop whose timestamps only order",
            expected=f"features without a calendar: {', '.join(allowed(order=True))}",
            action="leave it out, or give the shop real timestamps",
        )
