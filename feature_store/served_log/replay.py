"""The served log computed again from the shop's tables, as was known then: the share of equal values by feature."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.online_features.layout import streamed
from feature_store.online_features.packing import Streamed
from feature_store.point_in_time.definitions import ENTITIES, Feature
from feature_store.point_in_time.engine import compute
from feature_store.point_in_time.parity import ROW, FeatureParity, held_together, pairs
from feature_store.point_in_time.rows import TIME, asking
from feature_store.point_in_time.streams import Streams, shop_streams, unfit
from feature_store.served_log.fitting import Today, in_order, not_idle
from feature_store.served_log.log import Kind, ServedLog
from feature_store.served_log.moments import Counted
from feature_store.validate import CleanShop
from recsys.settings import Settings

COLUMNS = ("number", "at", "newest", "log", "place", "kind")


@dataclass
class Replayed:
    """The outcome of a replay.

    Attributes:
        features: in the order of their definitions.
        rows: how many served rows were compared.
        left_out: by reason how many rows were not compared.
        other: by feature how many values were not compared: its definition is another one today, or the shop can no
            longer have it.
        lags: seconds for which rows lacked what the shop knew, of those that lacked anything.
    """

    features: list[FeatureParity] = field(default_factory=list)
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    lags: list[float] = field(default_factory=list)


class Replay:
    """Compares served rows of one shop with what its tables give for them.

    Args:
        clean: the shop's tables, with everything that has come to be known since.
        definitions: what is compared, where the version is still the same.
        served: the log.
        settings: where keys stand.
        staging: a folder for working files.
    """

    def __init__(
        self, clean: CleanShop, *, definitions: Sequence[Feature], served: ServedLog, settings: Settings, staging: Path
    ) -> None:
        self.today = Today.of(clean, settings=settings)
        self.streams = shop_streams(clean.tables)
        self.staging = staging
        self.served = served
        self.kinds = served.kinds()
        self.possible = {
            feature.name: feature
            for feature in definitions
            if unfit(feature, self.streams, calendar=clean.config.timestamps == "calendar") is None
        }
        self.found = Replayed()
        self.held: dict[str, list[pl.DataFrame]] = defaultdict(list)

    def run(self, *, since: int, sample: int, seed: int) -> Replayed:
        """Compare a sample of the rows of an instant (microseconds since 1970) and later."""
        listed = [(row.number, row.at, row.newest, *row.position, row.kind) for row in self.served.rows(since=since)]
        rows = pl.DataFrame(listed, schema=COLUMNS, orient="row")
        if listed:
            rows = self.today.comparable(rows, self.kinds, left_out=self.found.left_out)
        if rows.height > sample:
            rows = rows.sample(sample, seed=seed).sort("number")
        if not rows.is_empty():
            made = {name: kind.made for name, kind in self.kinds.items()}
            rows = rows.with_columns(made=pl.col("kind").replace_strict(made, return_dtype=pl.Int64))
            for generation in rows.partition_by("made", maintain_order=True):
                self.generation(generation)
        self.found.features = [
            held_together(name, pl.concat(self.held[name])) for name in self.possible if name in self.held
        ]
        return self.found

    def generation(self, rows: pl.DataFrame) -> None:
        """Compare rows of one publication and what followed it."""
        rows, lags = in_order(rows, self.streams, left_out=self.found.left_out)
        self.found.lags += lags
        if rows.is_empty():
            return
        counted = Counted.of(rows["at"].to_numpy(), rows["newest"].to_numpy())
        moved = {name: counted.moved(records) for name, records in self.streams.items()}
        for own in rows.partition_by("kind", maintain_order=True):
            self.kind(own, self.kinds[own["kind"][0]], moved)

    def kind(self, rows: pl.DataFrame, kind: Kind, moved: Streams) -> None:
        """Compare rows of one generation, entity and choice of features."""
        features = [
            self.possible[name]
            for name, version in kind.features.items()
            if name in self.possible and self.possible[name].version == version
        ]
        names = {feature.name for feature in features}
        asked = self.asked(rows, kind)
        asked = not_idle(asked, kind, features, self.streams, left_out=self.found.left_out)
        self.found.rows += asked.height
        self.found.other.update({name: asked.height for name in kind.features if name not in names})
        published = Streamed(self.streams, kind.at).whole()
        for follows, streams in ((True, moved), (False, published)):
            own = [feature for feature in features if streamed(feature) is follows]
            if own and not asked.is_empty():
                known = compute(asking(asked, ENTITIES[kind.entity]), own, streams, staging=self.staging)
                for feature in own:
                    self.held[feature.name].append(pairs(asked, known, feature.name))

    def asked(self, rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
        """Rows with ROW, TIME, the entity's columns and the served values under the features' names."""
        found = self.served.values(rows["number"].to_list())
        rows = rows.filter(pl.col("number").is_in([*found]))
        keys, worths = zip(*(found[number] for number in rows["number"]), strict=True) if rows.height else ((), ())
        values = np.frombuffer(b"".join(worths), dtype="<f4").reshape(-1, len(kind.features))
        columns = dict(zip(ENTITIES[kind.entity], zip(*keys, strict=True), strict=True)) if keys else {}
        return pl.DataFrame(
            {
                ROW: rows["number"],
                TIME: rows["at"].cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
                **{name: pl.Series(columns.get(name, ()), dtype=pl.String) for name in ENTITIES[kind.entity]},
                **{name: values[:, number] for number, name in enumerate(kind.features)},
            }
        )
