"""The records of some keys on disk, one folder for each partition: the size of memory sets no bound on a stream."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.point_in_time.definitions import Measure
from feature_store.point_in_time.keys import Keys
from feature_store.point_in_time.orders import Line, Ordered
from feature_store.point_in_time.streams import kind_codes
from feature_store.point_in_time.values import VALUES


@dataclass(frozen=True)
class Spread:
    """A stream's records by partition.

    Attributes:
        folder: where they stand.
        values: the names of the values that they carry.
    """

    folder: Path
    values: tuple[str, ...]

    @classmethod
    def write(cls, frame: pl.LazyFrame, *, keys: Keys, measures: Iterable[Measure], folder: Path) -> "Spread":
        """Stream the records of these keys to their partitions.

        Args:
            frame: the stream.
            keys: whose records are wanted; all others are left out.
            measures: what will be measured: kinds and values that none of them needs are left out.
            folder: an empty one.
        """
        wanted = list(measures)
        values = tuple(sorted({measure.value for measure in wanted} - {"one"}))
        if all(measure.kinds for measure in wanted):
            kinds = sorted({code for measure in wanted for code in kind_codes(measure.kinds)})
            frame = frame.filter(pl.col("kind").is_in(kinds))
        records = frame.join(keys.frame.lazy(), on=keys.columns, how="inner").select(
            "partition", "code", "time", "start", "kind", *(VALUES[name].whole.alias(name) for name in values)
        )
        records.sink_ipc(pl.PartitionBy(folder, key="partition", include_key=False), mkdir=True)
        return cls(folder, values)

    def read(self, partition: int, *, line: Line) -> Ordered:
        """The records of one partition, in no order, placed by time."""
        files = sorted((self.folder / f"partition={partition}").glob("*.ipc"))
        if not files:
            none = np.zeros(0, dtype=np.int64)
            return Ordered(none, none, none, none, none.astype(np.uint8), dict.fromkeys(self.values, none))
        frame = pl.scan_ipc(files).collect()
        codes, times = frame["code"].to_numpy().astype(np.int64), frame["time"].to_numpy()
        return Ordered(
            line.place(codes, times),
            codes,
            times,
            frame["start"].to_numpy(),
            frame["kind"].to_numpy(),
            {name: frame[name].to_numpy() for name in self.values},
        )
