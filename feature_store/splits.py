"""Which part, train, validation or test, a judgment or an event belongs to."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl
from pydantic import ValidationError

from feature_store.config import ShopConfig, SplitConfig, SplitKind
from feature_store.frames import PARTS
from feature_store.manifest import Split
from recsys.errors import UsageError
from recsys.text.normalise import normalise

FOLDS = 5
PART = pl.Enum(list(PARTS))


def default_kind(config: ShopConfig, *, events: bool) -> SplitKind:
    """The protocol of a shop that names none: by its timestamps, by query where it has no events."""
    if not events:
        return "query-folds"
    return "time" if config.timestamps == "calendar" else "leave-one-out"


def plan_split(
    config: ShopConfig,
    *,
    kind: str | None,
    options: Mapping[str, str],
    events: bool,
    watermark: datetime | None,
    oldest: datetime | None = None,
    known_from: datetime | None = None,
) -> Split:
    """Resolve option > shop.toml > default.

    Of a shop so young that the default's test and validation parts would be all it has, each whose length is not given
    is a quarter of that.

    Args:
        config: the shop's.
        kind: "time", "leave-one-out" or "query-folds"; the shop's own where None.
        options: fold, test_days, validation_days as text.
        events: whether the shop has events.
        watermark: the newest event; a time split counts back from it.
        oldest: the oldest event.
        known_from: from when on the shop tells when its events were known; None where it never does.

    Raises:
        UsageError: an option is unknown or makes no sense, or a time split is asked of a shop without a calendar.
    """
    resolved = kind or config.split.kind or default_kind(config, events=events)
    given = young_days(watermark, oldest) | config.split.model_dump(exclude_unset=True) | dict(options)
    given["kind"] = resolved
    try:
        chosen = SplitConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"split option {key} = {first['input']!r}",
            expected="kind time, leave-one-out or query-folds; fold 0 to 4; test_days and validation_days above 0",
            action="correct --split or --set",
        ) from error
    if chosen.kind is not None and chosen.kind != "time":
        return Split(kind=chosen.kind, fold=chosen.fold)
    if config.timestamps == "order":
        raise UsageError(
            "--split time for a shop whose timestamps only order",
            expected="leave-one-out or query-folds",
            action="choose one of these",
        )
    try:
        test_after = watermark and watermark - timedelta(days=chosen.test_days)
        validation_after = test_after and test_after - timedelta(days=chosen.validation_days)
    except OverflowError as error:
        raise UsageError(
            f"test_days = {chosen.test_days:g}, validation_days = {chosen.validation_days:g}",
            expected="parts that begin after the year 1",
            action="correct --set or shop.toml",
        ) from error
    return Split(
        kind="time",
        fold=chosen.fold,
        test_days=chosen.test_days,
        validation_days=chosen.validation_days,
        validation_after=validation_after,
        test_after=test_after,
        known_from=known_from,
    )


def young_days(watermark: datetime | None, oldest: datetime | None) -> dict[str, float]:
    """The lengths of the held-out parts of a shop that is too young for the default ones; nothing for others."""
    if watermark is None or oldest is None:
        return {}
    age, default = (watermark - oldest) / timedelta(days=1), SplitConfig()
    if not 0 < age <= default.test_days + default.validation_days:
        return {}
    return {"test_days": age / 4, "validation_days": age / 4}


def query_part(query: str, *, fold: int) -> str:
    """The part of a query: its outer fold by sha256 of the normalised text, then an inner fold for validation.

    Args:
        query: as typed; texts that normalise alike share a part.
        fold: the outer fold, 0 to 4, that is the test part.
    """
    text = normalise(query)
    if int(hashlib.sha256(text.encode()).hexdigest(), 16) % FOLDS == fold:
        return "test"
    inner = int(hashlib.sha256(f"inner:{text}".encode()).hexdigest(), 16) % FOLDS
    return "validation" if inner == 0 else "train"


def query_parts(queries: Sequence[str], *, fold: int) -> pl.Series:
    """The parts of many queries, Enum [queries]."""
    return pl.Series("part", [query_part(query, fold=fold) for query in queries], dtype=PART)


def time_part(split: Split) -> pl.Expr:
    """The part of an event by its timestamp; all are train where the split is not by time."""
    if split.validation_after is None or split.test_after is None:
        return pl.lit("train").cast(PART).alias("part")
    time = pl.col("timestamp")
    part = (
        pl.when(time > split.test_after)
        .then(pl.lit("test"))
        .when(time > split.validation_after)
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
    )
    return part.cast(PART).alias("part")


def binding_cuts(split: Split) -> list[datetime]:
    """The cuts of a time split by which what was known then can be told from what was not.

    Before anything was recorded, late can't be told from punctual: a shop that appends its past on its first day comes
    to know all of it then, and may learn from it as if it had been known at once. A cut binds from then on.
    """
    cuts = (split.validation_after, split.test_after)
    return [cut for cut in cuts if cut is not None and split.known_from is not None and cut >= split.known_from]


def known_late(split: Split) -> pl.Expr:
    """True where an event happened before a cut but was known only behind it.

    Such an event belongs to no part: it must not teach a model that is judged behind that cut, and is no target there.

    Args:
        split: whose cuts count, see `binding_cuts`; without any nothing is late.
    """
    known = pl.max_horizontal("timestamp", "known_at")
    late = [(pl.col("timestamp") <= cut) & (known > cut) for cut in binding_cuts(split)]
    return pl.any_horizontal(late) if late else pl.lit(value=False)


def last_events(interactions: pl.DataFrame) -> pl.DataFrame:
    """Give `part` by leave-one-out: a user's last event is test, the one before validation, the rest train.

    Users with fewer than three events, and events without a user, are train.

    Args:
        interactions: sorted by user_id and time, so that a user's events stand together; one pass, no grouping.
    """
    user = pl.col("user_id")

    def same(offset: int) -> pl.Expr:
        """True where the row `offset` further down belongs to the same user."""
        return (user.shift(-offset) == user).fill_null(value=False)

    last = ~same(1) & same(-2)
    before = same(1) & ~same(2) & same(-1)
    part = pl.when(last).then(pl.lit("test")).when(before).then(pl.lit("validation")).otherwise(pl.lit("train"))
    return interactions.with_columns(part.cast(PART).alias("part"))


def beside_last_events(frame: pl.LazyFrame, interactions: pl.DataFrame) -> pl.LazyFrame:
    """Give `part` to events that are no interactions: from a user's held-out events on, they share their part."""
    held_out = interactions.lazy().filter(pl.col("part") != "train")
    cuts = held_out.group_by("user_id").agg(
        pl.col("timestamp").filter(pl.col("part") == part).min().alias(part) for part in ("validation", "test")
    )
    joined = frame.drop("part", strict=False).join(cuts, on="user_id", how="left", maintain_order="left")
    part = (
        pl.when(pl.col("timestamp") >= pl.col("test"))
        .then(pl.lit("test"))
        .when(pl.col("timestamp") >= pl.col("validation"))
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
    )
    return joined.with_columns(part.cast(PART).alias("part")).drop("validation", "test")
