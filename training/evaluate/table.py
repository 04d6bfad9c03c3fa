"""Tables with a row for each query or user, and the long one of scores."""

from pathlib import Path

import polars as pl

from recsys.storage import atomic_file
from training.evaluate.measured import Measured


def write_scores(measured: Measured, path: Path) -> None:
    """Write columns key, system, metric, value as Parquet, so that folds can be pooled and compared in pairs."""
    frames = [
        pl.DataFrame({"key": measured.keys, "system": name, "metric": metric, "value": values})
        for name, by_metric in measured.systems.items()
        for metric, values in by_metric.items()
    ]
    with atomic_file(path) as partial:
        pl.concat(frames).write_parquet(partial)


def write_table(measured: Measured, stem: Path) -> None:
    """Write the table of `row_table` as STEM.parquet and STEM.csv."""
    frame = row_table(measured)
    with atomic_file(stem.with_name(f"{stem.name}.parquet")) as partial:
        frame.write_parquet(partial)
    with atomic_file(stem.with_name(f"{stem.name}.csv")) as partial:
        frame.write_csv(partial, float_precision=6)


def row_table(measured: Measured) -> pl.DataFrame:
    """A row for each query or user in the order of their ids.

    Columns: `query_id` and `query`, or `user_id`; how many products were `judged`, have a `positive` grade and are
    `relevant`; the counts that are known of it; its slice in each slicing; and "SYSTEM: METRIC" for every system and
    metric, null where the protocol leaves the row out.
    """
    asked = measured.asked
    texts = {"query": asked.texts} if asked.unit == "query" else {}
    grades = [grades for _, grades in asked.judged]
    columns = {
        f"{asked.unit}_id": measured.keys,
        **texts,
        "judged": [len(row) for row in grades],
        "positive": [int((row > 0).sum()) for row in grades],
        "relevant": [int((row >= asked.relevant).sum()) for row in grades],
        **asked.counts,
        **{slicing.name: slicing.labels for slicing in asked.slicings},
    }
    values = {
        f"{name}: {metric}": row for name, by_metric in measured.systems.items() for metric, row in by_metric.items()
    }
    return pl.DataFrame({**columns, **values}, strict=False, nan_to_null=True)
