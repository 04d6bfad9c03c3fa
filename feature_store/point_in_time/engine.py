"""Features of rows, each as of its own instant: by entity and stream, partition by partition, on all cores.

rows ──► keys, hashed to partitions ──► the stream's records of these keys, spread to the same partitions
                                          └──► each partition alone: sorted once, answered by prefix sums ──► rows
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.point_in_time.definitions import Feature
from feature_store.point_in_time.previous import with_previous
from feature_store.point_in_time.spread import write_spreads
from feature_store.point_in_time.streams import Streams
from feature_store.point_in_time.survey import surveys
from feature_store.point_in_time.task import Answers, Engine, Found, Task, answer, partitions, plan
from recsys.errors import SnapshotError
from recsys.logs import progress

Floats = NDArray[np.floating]


class Threads:
    """Partitions in threads of this process."""

    def __init__(self, workers: int | None = None) -> None:
        """Say how many there are at a time; as many as there are cores where None."""
        self.workers = workers or cores()

    def __call__(self, tasks: Sequence[Task]) -> Answers:
        """See `Engine`."""

        def found(number: int, partition: int) -> Found:
            task = tasks[number]
            records = task.spread.stored.read(partition)
            return Found(number, partition, answer(task.question, task.placed.asked(partition), records))

        pool = ThreadPoolExecutor(self.workers)
        try:
            for done in as_completed({pool.submit(found, *one) for one in partitions(tasks)}):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def compute(
    rows: pl.DataFrame,
    features: Sequence[Feature],
    streams: Streams,
    *,
    staging: Path,
    engine: Engine | None = None,
    real: type[np.floating] = np.float32,
) -> pl.DataFrame:
    """The features' columns, `real` [rows], null where a row lacks the key or nothing is known.

    Args:
        rows: `timestamp` (UTC, microseconds) and the entities' columns as text, `query` in one spelling;
            `previous_id`, where it is missing, is the product that the row's user viewed last.
        features: what is asked; streams and columns that they need are there.
        streams: of the shop.
        staging: a folder for working files, as large as the streams' narrow columns.
        engine: answers the partitions; threads on all cores where None.
        real: float32 or float64.

    Raises:
        SnapshotError: a join, or the engine, gave or lost rows.
        ShopError: the times lie too far apart.
    """
    answering = engine or Threads()
    if any(feature.entity == "follow" for feature in features) and "previous_id" not in rows.columns:
        rows = with_previous(rows, streams, compute=compute, staging=staging, engine=answering)
    found = {feature.name: np.full(rows.height, np.nan, dtype=real) for feature in features}
    surveyed = surveys(features, streams)
    for stream, survey in progress(surveyed.items(), label="Computing features", total=len(surveyed)):
        own = [feature for feature in features if feature.measures[0].stream == stream]
        with TemporaryDirectory(dir=staging) as folder:
            tasks = plan(rows, own, survey, folder=Path(folder), real=real)
            write_spreads(streams[stream].frame, [task.spread for task in tasks])
            with closing(answering(tasks)) as answers:
                gather(answers, tasks, into=found)
    return pl.DataFrame({feature.name: pl.Series(found[feature.name]).fill_nan(None) for feature in features})


def gather(answers: Iterable[Found], tasks: Sequence[Task], *, into: dict[str, Floats]) -> None:
    """Put the answers of partitions to their rows.

    Raises:
        SnapshotError: there is not one answer for each partition.
    """
    answered = []
    for one in answers:
        answered.append((one.task, one.partition))
        rows = tasks[one.task].placed.rows(one.partition)
        for name in one.values.columns:
            into[name][rows] = one.values[name].to_numpy()
    wanted = partitions(tasks)
    if sorted(answered) != wanted:
        raise SnapshotError(
            f"{len(answered)} answers for {len(wanted)} partitions",
            expected="one for each",
            action="report this: it is an error of the build, not of the shop",
        )
