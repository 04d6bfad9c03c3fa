"""A shop's checked tables as streams of records: when each happened, from when on it was known, and what it says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from feature_store.checking import CheckedTable
from feature_store.contracts import EVENT_TYPES
from feature_store.point_in_time.definitions import DAY, Feature, Measure, Stream
from feature_store.point_in_time.values import VALUES
from recsys.text.normalise import normalise
from recsys.types import EVENT_CODES


@dataclass(frozen=True)
class Records:
    """One stream.

    Attributes:
        frame: `time` and `start` (int64, microseconds since 1970: when it happened, and from when on a row may know
            it), `kind` (uint8, see KINDS), the entities' columns and whatever VALUES read.
        lacks: columns that hold nothing in this shop.
        rows: how many records there have to be, where joins lead to them and it is known.
    """

    frame: pl.LazyFrame
    lacks: frozenset[str] = frozenset()
    rows: int | None = None


Streams = Mapping[Stream, Records]


def kind_codes(kinds: tuple[str, ...]) -> list[int]:
    """The codes of event types in a stream's `kind`."""
    return [EVENT_CODES[kind] for kind in kinds]


def kinds_of(measures: Iterable[Measure]) -> tuple[str, ...]:
    """The event types that any of the measures counts, sorted; none where one counts records of every kind."""
    wanted = [measure.kinds for measure in measures]
    return tuple(sorted({kind for kinds in wanted for kind in kinds})) if all(wanted) else ()


def of_kinds(frame: pl.LazyFrame, measures: Iterable[Measure]) -> pl.LazyFrame:
    """The records of a stream that measures count.

    Kinds are told by their names where the stream has them: a file's reader then leaves out what is not of them before
    it decodes the other columns.
    """
    kinds = kinds_of(measures)
    if not kinds:
        return frame
    if "event_type" in frame.collect_schema():
        return frame.filter(pl.col("event_type").is_in(kinds))
    return frame.filter(pl.col("kind").is_in(kind_codes(kinds)))


def shop_streams(tables: Mapping[str, CheckedTable]) -> dict[Stream, Records]:
    """The streams that a shop's tables give.

    Prices and stock need `valid_from`, judgments `judged_at`: without them nobody knows since when they hold.

    Args:
        tables: the checked tables by name.
    """
    streams: dict[Stream, Records] = {}
    if (events := tables.get("events")) is not None:
        streams["events"] = Records(event_frame(events.frame), frozenset(events.absent), events.held)
        streams["follows"] = Records(follow_frame(streams["events"].frame))
    products = tables["products"]
    if "valid_from" not in products.absent:
        since = timed(products.frame.filter(pl.col("valid_from").is_not_null()), time="valid_from", known="known_at")
        streams["prices"] = Records(since.with_columns(kind=pl.lit(0, dtype=pl.UInt8)), frozenset(products.absent))
    judgments, queries = tables.get("judgments"), tables.get("queries")
    if judgments is not None and queries is not None and "judged_at" not in judgments.absent:
        texts = queries.frame.select("query_id", "query")
        dated = judgments.frame.filter(pl.col("judged_at").is_not_null())
        judged = dated.join(texts, on="query_id", how="inner")
        frame = same_query(timed(judged, time="judged_at", known="judged_at"))
        rows = int(dated.select(pl.len()).collect(engine="streaming").item())
        streams["judgments"] = Records(frame.with_columns(kind=pl.lit(0, dtype=pl.UInt8)), rows=rows)
    return streams


def event_frame(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events as records.

    Args:
        events: the contract's columns; `event_type` as text, enum or category.
    """
    kind = pl.col("event_type").cast(pl.Enum(EVENT_TYPES)).to_physical().cast(pl.UInt8)
    frame = timed(events, time="timestamp", known="known_at").with_columns(kind=kind)
    return same_query(frame) if "query" in frame.collect_schema() else frame


def timed(frame: pl.LazyFrame, *, time: str, known: str) -> pl.LazyFrame:
    """Add `time` and `start`: a record is known no sooner than one microsecond after it happened."""
    happened = pl.col(time).dt.timestamp("us")
    start = pl.max_horizontal(happened + 1, pl.col(known).dt.timestamp("us"))
    return frame.with_columns(time=happened, start=start)


def same_query(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Queries in one spelling; each distinct text is normalised once."""
    texts = frame.select("query").unique().filter(pl.col("query").is_not_null())
    spelt = texts.with_columns(pl.col("query").map_elements(normalise, return_dtype=pl.String).alias("spelt"))
    joined = frame.join(spelt, on="query", how="left", maintain_order="none")
    return joined.with_columns(query=pl.col("spelt")).drop("spelt")


def follow_frame(events: pl.LazyFrame) -> pl.LazyFrame:
    """Views after a view of another product by the same user within a day: `previous_id`, `product_id`.

    Where the user is not known, the session stands for one. The view before is the one that was known before: a view
    that is known late follows, and is followed, in the order in which the shop came to know, so that nothing known
    later ever changes which pairs there were.
    """
    views = events.select(
        "product_id",
        "time",
        "start",
        "kind",
        viewer=pl.coalesce("user_id", "session_id"),
        known=pl.col("user_id").is_not_null(),
    ).filter(
        (pl.col("kind") == EVENT_CODES["view"]) & pl.col("viewer").is_not_null() & pl.col("product_id").is_not_null()
    )
    before = (pl.col(name).shift(1).alias(f"previous_{name}") for name in ("viewer", "known", "product_id", "time"))
    in_turn = views.sort("known", "viewer", "start", "time", "product_id").with_columns(before)
    gap = pl.col("time") - pl.col("previous_time")
    return in_turn.filter(
        (pl.col("viewer") == pl.col("previous_viewer"))
        & (pl.col("known") == pl.col("previous_known"))
        & (pl.col("product_id") != pl.col("previous_product_id"))
        & gap.is_between(0, DAY)
    ).select("product_id", "time", "start", "kind", previous_id="previous_product_id")


def unfit(feature: Feature, streams: Streams, *, calendar: bool) -> str | None:
    """Why a shop can't have a feature, in a few words; None where it can."""
    if feature.calendar and not calendar:
        return "it needs a calendar, and this shop's timestamps only order"
    for measure in feature.measures:
        if measure.stream not in streams:
            return {
                "prices": "products have no valid_from",
                "judgments": "judgments have no judged_at",
            }.get(measure.stream, "the shop has no events")
        lacks = streams[measure.stream].lacks
        needed = (*VALUES[measure.value].needs, *(() if feature.entity == "follow" else feature.keys))
        if missing := [name for name in needed if name in lacks]:
            return f"{measure.stream} have no {', '.join(missing)}"
    return None
