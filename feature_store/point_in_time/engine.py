"""Features of rows, each as of its own instant: by entity and stream, partition by partition, on all cores.

rows ──► keys, hashed to partitions ──► the stream's records of these keys, spread to the same partitions
                                          └──► each partition alone: sorted once, answered by prefix sums ──► rows
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.point_in_time.aggregates import value_of
from feature_store.point_in_time.definitions import ENTITIES, Entity, Feature
from feature_store.point_in_time.keys import Integers, Keys, distinct_keys
from feature_store.point_in_time.orders import Asked, Line
from feature_store.point_in_time.partition import Partition
from feature_store.point_in_time.previous import with_previous
from feature_store.point_in_time.spread import Spread, write_spreads
from feature_store.point_in_time.streams import Streams
from feature_store.point_in_time.survey import Survey, surveys
from recsys.errors import ShopError, SnapshotError
from recsys.logs import progress

RECORDS = 1 << 20
"""About how many records a partition has."""
MOST_PARTITIONS = 1 << 15
ROOM = 1 << 62
"""What keys and instants of a partition must fit into, twice: signed 64 bits less one."""

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Placed:
    """Rows by partition, key and instant.

    Attributes:
        offsets: int64 [partitions + 1].
        numbers: int64 [rows], where each row stands in the frame given.
        codes: int64 [rows], of the keys in their partition.
        instants: int64 [rows], microseconds.
    """

    offsets: Integers
    numbers: Integers
    codes: Integers
    instants: Integers


@dataclass(frozen=True)
class Task:
    """The features of one entity out of one stream.

    Attributes:
        features: their definitions.
        line: on which keys and instants lie.
        placed: the rows.
        spread: the records.
    """

    features: tuple[Feature, ...]
    line: Line
    placed: Placed
    spread: Spread


def compute(
    rows: pl.DataFrame,
    features: Sequence[Feature],
    streams: Streams,
    *,
    staging: Path,
    workers: int | None = None,
    real: type[np.floating] = np.float32,
) -> pl.DataFrame:
    """The features' columns, `real` [rows], null where a row lacks the key or nothing is known.

    Args:
        rows: `timestamp` (UTC, microseconds) and the entities' columns as text, `query` in one spelling.
        features: what is asked; streams and columns that they need are there.
        streams: of the shop.
        staging: a folder for working files, as large as the streams' narrow columns.
        workers: partitions computed at a time; the cores where None.
        real: float32 or float64.

    Raises:
        SnapshotError: a join gave or lost rows.
        ShopError: the times lie too far apart.
    """
    if any(feature.entity == "follow" for feature in features):
        rows = with_previous(rows, streams, compute=compute, staging=staging, workers=workers)
    found: dict[str, Floats] = {}
    surveyed = surveys(features, streams)
    for stream, survey in progress(surveyed.items(), label="Computing features", total=len(surveyed)):
        own = [feature for feature in features if feature.measures[0].stream == stream]
        with TemporaryDirectory(dir=staging) as folder:
            tasks = plan(rows, own, survey, folder=Path(folder))
            write_spreads(streams[stream].frame, [task.spread for task in tasks])
            for task in tasks:
                found |= answer(task, survey, rows=rows.height, workers=workers or cores(), real=real)
    return pl.DataFrame({feature.name: pl.Series(found[feature.name]).fill_nan(None) for feature in features})


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def plan(rows: pl.DataFrame, features: Sequence[Feature], survey: Survey, *, folder: Path) -> list[Task]:
    """One task for each entity that the features of one stream ask about."""
    newest: int = rows["timestamp"].dt.timestamp("us").max() or 0  # type: ignore[assignment]
    line = Line(survey.first, max(survey.last, newest) - survey.first + 2)
    by_entity: dict[Entity, list[Feature]] = {}
    for feature in features:
        by_entity.setdefault(feature.entity, []).append(feature)
    tasks = []
    for entity, own in by_entity.items():
        keys = fitting_keys(rows, ENTITIES[entity], records=survey.rows, line=line)
        measures = tuple(dict.fromkeys(measure for feature in own for measure in feature.measures))
        tasks.append(Task(tuple(own), line, place(rows, keys), Spread(keys, measures, folder / entity)))
    return tasks


def answer(task: Task, survey: Survey, *, rows: int, workers: int, real: type[np.floating]) -> dict[str, Floats]:
    """A task's features: by name `real` [rows], NaN where there is none."""
    placed = task.placed
    found = {feature.name: np.full(rows, np.nan, dtype=real) for feature in task.features}

    def one(number: int) -> None:
        chosen = slice(placed.offsets[number], placed.offsets[number + 1])
        asked = Asked(task.line, placed.codes[chosen], placed.instants[chosen])
        if len(asked.codes):
            partition = Partition(task.spread.read(number, line=task.line), asked)
            for feature in task.features:
                found[feature.name][placed.numbers[chosen]] = value_of(feature.of, partition, survey)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, range(task.spread.keys.partitions)))
    return found


def fitting_keys(rows: pl.DataFrame, columns: tuple[str, ...], *, records: int, line: Line) -> Keys:
    """The rows' keys in as many partitions as their records and the line's span ask for."""
    partitions = 1
    while partitions < MOST_PARTITIONS and records > partitions * RECORDS:
        partitions *= 2
    while (keys := distinct_keys(rows, columns, partitions=partitions)).most * line.span > ROOM // 2:
        if partitions == MOST_PARTITIONS:
            raise ShopError(
                f"times lie {line.span / 86_400e6:,.0f} days apart, with {keys.frame.height:,} keys in one go",
                expected="times of one history",
                action="correct the tables' earliest and latest times: `recsys validate` shows them",
            )
        partitions *= 2
    return keys


def place(rows: pl.DataFrame, keys: Keys) -> Placed:
    """Sort the rows that have a key by partition, key and instant.

    Raises:
        SnapshotError: the join with the keys gave or lost rows.
    """
    asked = rows.lazy().select(*keys.columns, instant=pl.col("timestamp").dt.timestamp("us")).with_row_index("number")
    wanted = rows.select(pl.all_horizontal(pl.col(keys.columns).is_not_null()).sum()).item()
    placed = asked.join(keys.frame.lazy(), on=keys.columns, how="inner").sort("partition", "code", "instant").collect()
    if placed.height != wanted:
        raise SnapshotError(
            f"joining {wanted} rows with the keys {', '.join(keys.columns)} gave {placed.height}",
            expected="as many rows after a join as before it",
            action="report this: it is an error of the build, not of the shop",
        )
    return Placed(
        np.searchsorted(placed["partition"].to_numpy(), np.arange(keys.partitions + 1)),
        placed["number"].to_numpy().astype(np.int64),
        placed["code"].to_numpy().astype(np.int64),
        placed["instant"].to_numpy(),
    )
