"""From a shop's events to interactions, impressions and searches."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from feature_store.cancels import Netted, match_cancels
from feature_store.checking import CheckedTable
from feature_store.frames import shaped, slim
from feature_store.joins import same_rows
from feature_store.manifest import Split
from feature_store.splits import beside_last_events, binding_cuts, known_late, last_events, time_part

log = logging.getLogger(__name__)

FIRST_KEYS = ["user_id", "timestamp", "product_id", "event_type"]
LATE = "events_known_after_cut"
MANY = 0.1
"""A larger share of events that were known too late deserves a word."""


@dataclass(frozen=True)
class EventFrames:
    """What becomes of the events.

    Attributes:
        interactions: views, clicks, cart additions and net purchases; columns that the shop lacks are left out, and
            `known_at` stands beside them where a cut depends on it.
        impressions: what was shown.
        searches: what was typed.
        rows: how many rows impressions and searches have to have.
        counts: events by type, and what cancels did.
    """

    interactions: pl.DataFrame
    impressions: pl.LazyFrame
    searches: pl.LazyFrame
    rows: dict[str, int]
    counts: dict[str, int]


def event_frames(
    events: CheckedTable | None, *, catalogue: pl.DataFrame, weights: Mapping[str, float], split: Split
) -> EventFrames:
    """Sort the events into frames and give each its part.

    Events that were known too late for the part in which they happened are in no frame, see `known_late`; what they
    would have done, a cancel to a purchase, is not done.

    Args:
        events: the checked table, None where the shop has none.
        catalogue: for the positions, of all products that events name.
        weights: by event type; types without a weight are no interest.
        split: how the parts are made.

    Raises:
        SnapshotError: a join gave or lost interactions.
    """
    if events is None:
        empty = pl.LazyFrame(schema={"user_id": pl.String})
        return EventFrames(
            shaped(empty, "interactions", unknown=()).collect(),
            shaped(empty, "impressions", unknown=()),
            shaped(empty, "searches", unknown=()),
            {},
            {},
        )
    everything, late = by_type(events, split)
    kept = everything - late
    timed = events.frame.filter(~known_late(split)).with_columns(time_part(split)).rename({"position": "slot"})
    netted = match_cancels(timed)
    net, gone = net_of(timed.filter(pl.col("event_type").is_in(list(weights))), netted)
    weighed = net.with_columns(weight=pl.col("event_type").cast(pl.String).replace_strict(dict(weights)))
    absent = {"slot" if name == "position" else name for name in events.absent}
    known = ["known_at"] if binding_cuts(split) else []
    lean = slim(placed(weighed, catalogue), "interactions", unknown=events.unknown, without=absent, beside=known)
    interactions = canonical(lean).collect(engine="streaming")
    same_rows(interactions.height, sum(kept[kind] for kind in weights) - gone, of="interactions")
    others = timed
    if split.kind == "leave-one-out":
        interactions = last_events(interactions)
        others = beside_last_events(timed, interactions)
    shown = placed(others.filter(pl.col("event_type") == "impression"), catalogue)
    typed = others.filter(pl.col("event_type") == "search")
    return EventFrames(
        interactions,
        canonical(shaped(shown, "impressions", unknown=events.unknown)),
        canonical(shaped(typed, "searches", unknown=events.unknown)),
        {"impressions": kept["impression"], "searches": kept["search"]},
        counted(everything, late, split) | {"cancels": netted.cancels, "cancels_unmatched": netted.unmatched},
    )


def net_of(interest: pl.LazyFrame, netted: Netted) -> tuple[pl.LazyFrame, int]:
    """The events with what cancels left of them, without those of which nothing is left; and how many these are."""
    left = pl.col("quantity") - pl.col("taken").fill_null(0.0)
    bought_back = pl.col("taken").is_not_null() & (pl.col("quantity").is_null() | (left <= 0))
    met = interest.join(netted.taken.lazy(), on="row", how="left", maintain_order="left")
    gone = 0
    if not netted.taken.is_empty():
        touched = interest.join(netted.taken.lazy(), on="row", how="inner").filter(bought_back)
        gone = int(touched.select(pl.len()).collect(engine="streaming").item())
    return met.filter(~bought_back).with_columns(quantity=left), gone


def placed(events: pl.LazyFrame, catalogue: pl.DataFrame) -> pl.LazyFrame:
    """Add each product's position in the catalogue."""
    return events.join(catalogue.lazy().select("product_id", "position"), on="product_id", how="inner")


def canonical(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Sort by every column, those first that readers count on; nulls stand last."""
    names = frame.collect_schema().names()
    first = [name for name in FIRST_KEYS if name in names]
    keys = first + [name for name in names if name not in (*first, "position", "weight", "part")]
    return frame.sort(keys, nulls_last=True)


def by_type(events: CheckedTable, split: Split) -> tuple[Counter[str], Counter[str]]:
    """How many events there are of each type, and how many of them were known too late for any part."""
    sums = events.frame.group_by("event_type").agg(pl.len(), late=known_late(split).sum())
    found = sums.collect(engine="streaming").sort("event_type").cast({"event_type": pl.String}).rows()
    return Counter({kind: number for kind, number, _ in found}), Counter({kind: late for kind, _, late in found})


def counted(everything: Counter[str], late: Counter[str], split: Split) -> dict[str, int]:
    """Events by type and, where a cut asks for it, those that are in no part; many of these deserve a warning."""
    counts = {f"events_{kind}": number for kind, number in everything.items()}
    if not binding_cuts(split):
        return counts
    if late.total() > MANY * everything.total():
        log.warning(
            "events: %d of %d were known only after a cut that they happened before, and teach nothing; where a past "
            "that was known at once was appended later, say so: a column known_at in the file, or the file as a table "
            "of the shop",
            late.total(),
            everything.total(),
        )
    return counts | {LATE: late.total()}
