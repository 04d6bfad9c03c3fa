"""Which served rows today's tables can say anything about; the others are left out and counted by reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from feature_store.event_log.parts import ends
from feature_store.forgetting.opening import names_of, open_people
from feature_store.online_features.packing import Streamed
from feature_store.point_in_time.definitions import DAY, ENTITIES, Feature
from feature_store.point_in_time.streams import Streams, of_kinds
from feature_store.served_log.log import Kind
from feature_store.served_log.moments import NEVER, first_missed, overtaken
from feature_store.validate import CleanShop
from recsys.settings import Settings

NOT_COMPACTED = "the tables lack events known then: `recsys events compact SHOP` adds them"
FORGOTTEN = "a user was forgotten since the publication"
MASKED = "user ids are masked otherwise today"
OVERTAKEN = "two answers overtook each other"
MIDNIGHT = "events of the day before were still on their way"
IDLE = "the key was idle for too long to be published"
SECOND = 1_000_000
"""Microseconds."""


@dataclass(frozen=True)
class Today:
    """What today's tables are like.

    Attributes:
        ends: by event log the last number that they hold.
        forgotten: how often users were forgotten.
        mask: fingerprint of the key that masks user ids, "" where they are plain.
    """

    ends: Mapping[str, int]
    forgotten: int
    mask: str

    @classmethod
    def of(cls, clean: CleanShop, *, settings: Settings) -> "Today":
        """Of tables that were just read."""
        name, files = clean.config.name, clean.tables["events"].raw.files if "events" in clean.tables else ()
        names = names_of(settings, shop=name, privacy=clean.config.privacy)
        changes = open_people(settings, shop=name).forgotten().changes
        return cls(ends(files), changes, names.fingerprint if names else "")

    def comparable(self, rows: pl.DataFrame, kinds: Mapping[str, Kind], *, left_out: Counter[str]) -> pl.DataFrame:
        """The rows that can be computed again.

        Args:
            rows: of the log, as `ServedLog.rows` gives them.
            kinds: theirs.
            left_out: is told how many are not, and why.
        """
        masked = [name for name, kind in kinds.items() if kind.mask != self.mask]
        outdated = [name for name, kind in kinds.items() if kind.forgotten != self.forgotten]
        end = pl.col("log").replace_strict({"": 0, **self.ends}, default=-1, return_dtype=pl.Int64)
        rules = {
            MASKED: pl.col("kind").is_in(masked),
            FORGOTTEN: pl.col("kind").is_in(outdated),
            NOT_COMPACTED: pl.col("place") > end,
        }
        for reason, rule in rules.items():
            rows = without(rows, rule, reason=reason, left_out=left_out)
        return rows


def in_order(rows: pl.DataFrame, streams: Streams, *, left_out: Counter[str]) -> tuple[pl.DataFrame, list[float]]:
    """The rows of one generation of which it is certain what they held; and by how many seconds some were behind.

    Rates are drawn towards what was known at midnight. Where something of before had not arrived by then, what a row
    took for it can't be told.
    """
    at, newest = rows["at"].to_numpy(), rows["newest"].to_numpy()
    rows = without(rows, pl.lit(pl.Series(overtaken(at, newest))), reason=OVERTAKEN, left_out=left_out)
    missed = first_missed(rows["newest"].to_numpy(), streams.get("events"))
    late = pl.Series(missed < rows["at"].to_numpy() // DAY * DAY)
    lags = (rows["at"].to_numpy() - missed)[(missed != NEVER) & (missed <= rows["at"].to_numpy())]
    return without(rows, pl.lit(late), reason=MIDNIGHT, left_out=left_out), (lags / SECOND).tolist()


def not_idle(
    rows: pl.DataFrame, kind: Kind, features: Sequence[Feature], streams: Streams, *, left_out: Counter[str]
) -> pl.DataFrame:
    """The rows without those of keys that were too old to be published: what they did before no longer counts online.

    Args:
        rows: with the entity's columns.
        kind: theirs.
        features: of the entity.
        streams: of the shop.
        left_out: is told how many go.
    """
    columns = list(ENTITIES[kind.entity])
    if kind.entity == "product" or rows.is_empty():
        return rows
    lasts = [pl.LazyFrame(schema={**dict.fromkeys(columns, pl.String), "time": pl.Int64})]
    for name, records in Streamed(streams, kind.at).whole().items():
        measures = [one for feature in features for one in feature.measures if one.stream == name]
        if measures:
            own = rows.lazy().select(columns).unique()
            known = of_kinds(records.frame, measures).select(*columns, "time")
            lasts.append(known.join(own, on=columns, how="semi"))
    last = pl.concat(lasts).group_by(columns).agg(pl.col("time").max()).filter(pl.col("time") < kind.oldest)
    kept = rows.join(last.collect(engine="streaming"), on=columns, how="anti", maintain_order="left")
    left_out[IDLE] += rows.height - kept.height
    return kept


def without(rows: pl.DataFrame, rule: pl.Expr, *, reason: str, left_out: Counter[str]) -> pl.DataFrame:
    """The rows that a rule does not leave out."""
    kept = rows.filter(~rule)
    left_out[reason] += rows.height - kept.height
    return kept
