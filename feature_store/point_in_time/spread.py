"""The records of some keys on disk, one folder for each partition: the size of memory sets no bound on a stream."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.point_in_time.definitions import Measure
from feature_store.point_in_time.keys import Keys
from feature_store.point_in_time.orders import Columns
from feature_store.point_in_time.streams import kinds_of, of_kinds
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

    def records(self, frame: pl.LazyFrame, *, kinds: Sequence[str]) -> pl.LazyFrame:
        """The stream's records of these keys, each of which stands once: `task.place` has counted that.

        Args:
            frame: what `needed` leaves of the stream.
            kinds: of which that is, see `kinds_of`.
        """
        own = frame if kinds == kinds_of(self.measures) else of_kinds(frame, self.measures)
        return own.join(self.keys.frame.lazy(), on=self.keys.columns, how="inner").select(*OWN, *self.values)

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


def columns(records: pl.DataFrame) -> Columns:
    """The records of one partition.

    Args:
        records: see `Stored.read`.
    """
    return Columns(
        records["code"].to_numpy().astype(np.int64),
        records["time"].to_numpy(),
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
    measures = [measure for one in spreads for measure in one.measures]
    columns = {column for one in spreads for column in one.keys.columns}
    source, kinds = needed(frame, measures, columns=columns), kinds_of(measures)
    target = [pl.PartitionBy(one.folder, key="partition", include_key=False) for one in spreads]
    sinks = [
        one.records(source, kinds=kinds).sink_ipc(place, mkdir=True, lazy=True)
        for one, place in zip(spreads, target, strict=True)
    ]
    pl.collect_all(sinks, engine="streaming")


def needed(frame: pl.LazyFrame, measures: Sequence[Measure], *, columns: Iterable[str]) -> pl.LazyFrame:
    """What any measure needs of a stream, beside the columns of keys: the same plan for all spreads, run once."""
    worth = (VALUES[name].whole.alias(name) for name in carried(measures))
    return of_kinds(frame, measures).select("time", "start", "kind", *sorted(columns), *worth)


def carried(measures: Iterable[Measure]) -> tuple[str, ...]:
    """The names of the values that have to be carried along; a plain count needs none."""
    return tuple(sorted({measure.value for measure in measures} - {"one"}))
