"""The records of some keys on disk, one folder for each partition: the size of memory sets no bound on a stream."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.point_in_time.definitions import Measure
from feature_store.point_in_time.keys import Keys
from feature_store.point_in_time.orders import Line, Ordered
from feature_store.point_in_time.streams import kind_codes
from feature_store.point_in_time.values import VALUES

OWN = ("partition", "code", "time", "start", "kind")
"""The columns of records that are no values."""


@dataclass(frozen=True)
class Spread:
    """A stream's records of some keys, by partition.

    Attributes:
        keys: whose records they are.
        measures: what is measured; kinds and values that none of them needs are left out.
        folder: where the partitions stand.
    """

    keys: Keys
    measures: tuple[Measure, ...]
    folder: Path

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the values that the records carry."""
        return carried(self.measures)

    def records(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The stream's records of these keys.

        Args:
            frame: what `needed` leaves of the stream.
        """
        joined = of_kinds(frame, self.measures).join(self.keys.frame.lazy(), on=self.keys.columns, how="inner")
        return joined.select(*OWN, *self.values)

    @property
    def stored(self) -> "Stored":
        """What it takes to read them once they are written."""
        return Stored(self.folder, self.values)


@dataclass(frozen=True)
class Stored:
    """Records on disk, by partition.

    Attributes:
        folder: where the partitions stand.
        values: the names of the values that the records carry.
    """

    folder: Path
    values: tuple[str, ...]

    def read(self, partition: int) -> pl.DataFrame:
        """The records of one partition in no order: `code`, `time`, `start`, `kind` and the values."""
        files = sorted((self.folder / f"partition={partition}").glob("*.ipc"))
        if files:
            return pl.scan_ipc(files).collect()
        whole = dict.fromkeys(("time", "start", *self.values), pl.Int64)
        return pl.DataFrame(schema={"code": pl.Int32, "kind": pl.UInt8, **whole})


def ordered(records: pl.DataFrame, *, line: Line) -> Ordered:
    """The records of one partition, in no order, placed by time.

    Args:
        records: see `Stored.read`.
        line: of the task.
    """
    codes, times = records["code"].to_numpy().astype(np.int64), records["time"].to_numpy()
    return Ordered(
        line.place(codes, times),
        codes,
        times,
        records["start"].to_numpy(),
        records["kind"].to_numpy(),
        {name: records[name].to_numpy() for name in records.columns if name not in OWN},
    )


def write_spreads(frame: pl.LazyFrame, spreads: Sequence[Spread]) -> None:
    """Read a stream once and write all spreads of it.

    Args:
        frame: the stream.
        spreads: of different keys.
    """
    source = needed(frame, spreads)
    target = [pl.PartitionBy(one.folder, key="partition", include_key=False) for one in spreads]
    sinks = [
        one.records(source).sink_ipc(place, mkdir=True, lazy=True) for one, place in zip(spreads, target, strict=True)
    ]
    pl.collect_all(sinks, engine="streaming")


def needed(frame: pl.LazyFrame, spreads: Sequence[Spread]) -> pl.LazyFrame:
    """What any of the spreads needs of a stream, the same plan for all, so that it runs once."""
    measures = tuple(measure for one in spreads for measure in one.measures)
    columns = sorted({column for one in spreads for column in one.keys.columns})
    worth = (VALUES[name].whole.alias(name) for name in carried(measures))
    return of_kinds(frame, measures).select("time", "start", "kind", *columns, *worth)


def of_kinds(frame: pl.LazyFrame, measures: Sequence[Measure]) -> pl.LazyFrame:
    """The records of the kinds that measures count."""
    if not all(measure.kinds for measure in measures):
        return frame
    kinds = sorted({code for measure in measures for code in kind_codes(measure.kinds)})
    return frame.filter(pl.col("kind").is_in(kinds))


def carried(measures: Iterable[Measure]) -> tuple[str, ...]:
    """The names of the values that have to be carried along; a plain count needs none."""
    return tuple(sorted({measure.value for measure in measures} - {"one"}))
