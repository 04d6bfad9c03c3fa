"""Lists that a shop showed in random order, and what was clicked on them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.errors import UsageError
from recsys.types import Positions
from training.evaluate.trial import BEFORE

Floats = NDArray[np.float64]
SHRINK = 10.0
"""Looks after which a product's own clicks count as much as the whole shop's rate."""


@dataclass(frozen=True, slots=True)
class Logged:
    """The lists of one policy in one part; the places of a list stand together, the first one first.

    Attributes:
        user_ids: those who saw them, sorted.
        users: int64 [lists], rows of `user_ids`, ascending.
        moments: int64 [lists], microseconds, when each was shown.
        offsets: int64 [lists + 1]; list i owns places offsets[i] to offsets[i + 1].
        positions: int64 [places], the product that stood there.
        looked: float64 [places], the chance that a shopper looks at the place.
        clicked: float64 [places], 1 where the product was clicked, else 0.
        counts: what was counted and what was left out.
    """

    user_ids: list[str]
    users: Positions
    moments: Positions
    offsets: Positions
    positions: Positions
    looked: Floats
    clicked: Floats
    counts: Mapping[str, int]

    @property
    def sizes(self) -> Positions:
        """int64 [lists]: how many places each list has."""
        return np.diff(self.offsets)

    @property
    def clusters(self) -> Positions:
        """int64 [places]: whose decision it is, a row of `user_ids`."""
        return np.repeat(self.users, self.sizes)


def read_logged(snapshot: Snapshot, *, split: str, policy: str | None) -> Logged:
    """The lists that a policy showed to known users in a part.

    Left out and counted are lists of one product, in which nothing was chosen, and those in which a product or a place
    stands twice.

    Args:
        snapshot: impressions with policy, list_id and slot; clicks that name their list.
        split: the part.
        policy: whose lists; its order has to be random.

    Raises:
        UsageError: no such policy, or no click on its lists.
    """
    part = snapshot.impressions(split)
    logged = part.drop_nulls(["user_id", "list_id", "slot"]).filter(pl.col("policy") == (policy or ""))
    if logged.is_empty():
        found = dict(
            part.drop_nulls("policy").group_by("policy").agg(pl.col("list_id").n_unique()).sort("policy").rows()
        )
        told = (
            ", ".join(f"{name} ({count} lists)" for name, count in found.items()) or "none: impressions name no policy"
        )
        raise UsageError(
            f"--logged-by {policy}: no list of known users in the {split} part" if policy else "no --logged-by",
            expected=f"the policy whose lists stood in random order, of those logged here: {told}",
            action="name it, or show some lists in random order and log them (events: policy, list_id, position)",
        )
    once = pl.len() == pl.col("position").n_unique()
    lists = logged.group_by("list_id").agg(
        size=pl.len(), sound=once & (pl.len() == pl.col("slot").n_unique()) & (pl.col("user_id").n_unique() == 1)
    )
    kept = lists.filter(pl.col("sound") & (pl.col("size") > 1))
    rows = (
        logged.join(kept.select("list_id"), on="list_id", how="semi")
        .join(clicks(snapshot), on=["list_id", "position"], how="left")
        .with_columns(looks(), shown(), pl.col("clicked").fill_null(0.0))
        .sort("user_id", "list_id", "slot")
    )
    if not rows["clicked"].sum():
        raise UsageError(
            f"no click on the {kept.height} lists of {policy} in the {split} part",
            expected="clicks that carry the list_id of the list that was clicked",
            action="log list_id with clicks, give clicks a weight in shop.toml, or name another policy",
        )
    users = rows["user_id"].rle()
    counts = {
        "users": rows["user_id"].n_unique(),
        "lists": kept.height,
        "products shown": rows.height,
        "clicks": int(rows["clicked"].sum()),
        "lists of one product": lists.filter(pl.col("sound") & (pl.col("size") == 1)).height,
        "lists with something twice": lists.filter(~pl.col("sound")).height,
    }
    sizes = rows["list_id"].rle().struct.field("len").to_numpy().astype(np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)])
    return Logged(
        user_ids=users.struct.field("value").to_list(),
        users=rows["user_id"].rle_id().to_numpy().astype(np.int64)[offsets[:-1]],
        moments=rows["shown"].to_numpy()[offsets[:-1]],
        offsets=offsets,
        positions=rows["position"].to_numpy(),
        looked=rows["looked"].to_numpy(),
        clicked=rows["clicked"].to_numpy(),
        counts=counts,
    )


def clicks(snapshot: Snapshot) -> pl.DataFrame:
    """Columns list_id, position and clicked = 1: each product of a list that was clicked, once."""
    found = snapshot.interactions().filter((pl.col("event_type") == "click") & pl.col("list_id").is_not_null())
    return found.select("list_id", "position").unique().with_columns(clicked=pl.lit(1.0))


def shown() -> pl.Expr:
    """When each list was shown, microseconds."""
    return pl.col("timestamp").min().over("list_id").dt.timestamp("us").alias("shown")


def looks() -> pl.Expr:
    """The chance that a shopper looks at each place: as logged, else NDCG's discount, 1 / log2(rank + 1)."""
    rank = pl.col("slot").rank("ordinal").over("list_id")
    return pl.coalesce("propensity", 1.0 / (rank + 1).log(2.0)).cast(pl.Float64).alias("looked")


def read_appeal(snapshot: Snapshot, *, split: str, products: int) -> Floats:
    """float64 [catalogue]: how likely each product is clicked once it is looked at, learned before the part.

    Clicks over expected looks, drawn towards the shop's rate as if each product had been looked at SHRINK times more.

    Args:
        snapshot: impressions and clicks of all policies.
        split: the part that is not read.
        products: size of the catalogue.

    Source: clicks over expected clicks, Zhang and Jones, "Comparing click logs and editorial labels for training query
    rewriting", WWW 2007 workshop.
    """
    shown = snapshot.impressions(*BEFORE[split]).drop_nulls(["list_id", "slot"])
    rows = shown.join(clicks(snapshot), on=["list_id", "position"], how="left").with_columns(looks())
    places = rows["position"].to_numpy()
    looked = np.bincount(places, weights=rows["looked"].to_numpy(), minlength=products)
    clicked = np.bincount(places, weights=rows["clicked"].fill_null(0.0).to_numpy(), minlength=products)
    rate = clicked.sum() / looked.sum() if looked.sum() else 0.0
    return np.asarray(np.minimum(1.0, (clicked + SHRINK * rate) / (looked + SHRINK)))
