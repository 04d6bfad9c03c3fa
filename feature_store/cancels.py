"""Which purchase a cancel takes back: the newest one before it, of the same user and product."""

from dataclasses import dataclass

import polars as pl

KEY = ["user_id", "product_id", "part"]


@dataclass(frozen=True)
class Netted:
    """What cancels did.

    Attributes:
        taken: row number of a purchase and how much of it was taken back, float64 above 0.
        cancels: how many cancels there are.
        unmatched: how many of them found no purchase.
    """

    taken: pl.DataFrame
    cancels: int
    unmatched: int


def match_cancels(events: pl.LazyFrame) -> Netted:
    """Match every cancel to the newest purchase at or before it with something left to cancel.

    A cancel takes at most what is left of that purchase; the rest goes on to the next newest. Without a quantity it
    takes a purchase as a whole, and a purchase without a quantity counts one. A cancel of a later part leaves the
    purchases of an earlier one alone: what is known only after a cut must not change the data before it.

    Args:
        events: row, user_id, product_id, part, timestamp, event_type, quantity.

    The work runs in rounds over all cancels at once; their number is the longest chain of purchases one cancel eats.
    """
    named = events.filter(pl.col("user_id").is_not_null())
    cancels = named.filter(pl.col("event_type") == "cancel").collect(engine="streaming")
    touched = cancels.lazy().select(KEY).unique()
    bought = named.filter(pl.col("event_type") == "purchase").join(touched, on=KEY, how="semi")
    # rows that stand at one instant are told apart by their content, never by their place in the file
    content = [name for name in cancels.columns if name not in ("row", "timestamp")]
    purchases = (
        bought.sort("timestamp", *content)
        .select(*KEY, "timestamp", purchase=pl.col("row"), left=pl.col("quantity").fill_null(1.0))
        .collect(engine="streaming")
        .with_row_index("turn")
    )
    asked = pl.col("quantity").abs().fill_null(float("inf"))
    open_cancels = (
        cancels.sort("timestamp", *content)
        .select(*KEY, "timestamp", cancel="row", whole=pl.col("quantity").is_null(), asked=asked)
        .with_row_index("turn")
    )
    taken = [pl.DataFrame(schema={"purchase": pl.Int64, "cancel": pl.Int64, "amount": pl.Float64})]
    while not (found := one_round(open_cancels, purchases)).is_empty():
        taken.append(found)
        purchases = subtract(purchases, found, key="purchase", column="left")
        open_cancels = subtract(open_cancels, found, key="cancel", column="asked")
        served = found.filter(pl.col("amount") > 0).select("cancel")
        open_cancels = (
            open_cancels.join(served, on="cancel", how="semi")
            .filter(~pl.col("whole"))
            .vstack(open_cancels.join(served, on="cancel", how="anti"))
        )
    anonymous = events.filter(pl.col("user_id").is_null() & (pl.col("event_type") == "cancel")).select(pl.len())
    return summary(pl.concat(taken), cancels.height + int(anonymous.collect(engine="streaming").item()))


def one_round(cancels: pl.DataFrame, purchases: pl.DataFrame) -> pl.DataFrame:
    """Every cancel meets its newest purchase; where several meet one, the earliest is served first.

    Returns:
        purchase, cancel, amount: what each cancel took; a cancel that came too late takes 0.0.
    """
    met = cancels.sort("turn").join_asof(
        purchases.sort("turn").drop("turn"), on="timestamp", by=KEY, strategy="backward", check_sortedness=False
    )
    before = pl.col("asked").cum_sum().shift(1, fill_value=0.0).over("purchase", order_by="turn")
    amount = pl.min_horizontal(pl.col("asked"), pl.col("left") - before).clip(lower_bound=0.0)
    return met.filter(pl.col("purchase").is_not_null()).select("purchase", "cancel", amount=amount)


def subtract(frame: pl.DataFrame, taken: pl.DataFrame, *, key: str, column: str) -> pl.DataFrame:
    """Lower `column` by what was taken; rows with nothing left go."""
    sums = taken.group_by(key).agg(pl.col("amount").sum())
    lowered = pl.col(column) - pl.col("amount").fill_null(0.0)
    return (
        frame.join(sums, on=key, how="left")
        .with_columns(lowered.alias(column))
        .drop("amount")
        .filter(pl.col(column) > 0)
    )


def summary(taken: pl.DataFrame, cancels: int) -> Netted:
    """Sum up by purchase; count the cancels that took nothing."""
    real = taken.filter(pl.col("amount") > 0)
    sums = real.group_by("purchase").agg(pl.col("amount").sum()).rename({"purchase": "row", "amount": "taken"})
    return Netted(taken=sums, cancels=cancels, unmatched=cancels - real["cancel"].n_unique())
