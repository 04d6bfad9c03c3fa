"""Thirty point-in-time features at a million rows over 50 million events, against DuckDB and pandas.

Events are made by formula in chunks; one in a hundred is known up to three days after it happened. Fifteen features
each of users and of products: counts over 1, 7 and 28 days and over all the past, money, two rates drawn towards the
shop's of the last midnight, and ages. Both peers are tuned (see their modules) and read the same Parquet files; every
contestant runs in a process of its own and is timed from opening the files to holding the thirty columns. All three
outputs are compared row by row before anything is reported.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from benchmarks.point_in_time import FEATURES, Size, ours, write_stream
from benchmarks.point_in_time_duckdb import duckdb_features
from benchmarks.point_in_time_pandas import pandas_features

PROTOCOL = "made-up events with 1 % late, one process for each contestant, outputs compared on every row"
SHOPS: tuple[str, ...] = ()
KIB_OF_A_GIB = 2**20
MILLION = 1_000_000
OURS = "ours"
CONTESTANTS: dict[str, Callable[[Path], pl.DataFrame]] = {
    OURS: ours,
    "DuckDB": duckdb_features,
    "pandas": pandas_features,
}
SIZES = {
    f"{events} M events": Size(
        events=events * MILLION, users=events * 40_000, products=events * 4_000, rows=events * 20_000
    )
    for events in (1, 10, 50)
}
UNITS = tuple(Unit(name) for name in SIZES)


def measure(unit: Unit, place: Place) -> Measured:
    """Every contestant on one size; refuses figures of outputs that differ."""
    size = SIZES[unit.variant]
    folder = place.work / unit.stem
    write_stream(size, folder)
    found = {name: contest(name, folder) for name in CONTESTANTS}
    answers = {name: pl.read_parquet(folder / f"{name}.parquet") for name in CONTESTANTS}
    differing = {name: count_differing(answers[OURS], answers[name]) for name in CONTESTANTS if name != OURS}
    if any(differing.values()):
        raise ValueError(
            f"outputs differ: {differing}; expected the same values from every contestant; correct the job"
        )
    metrics = {f"{name}, {figure}": value for name, figures in found.items() for figure, value in figures.items()}
    metrics["events per second"] = size.events / found[OURS]["seconds"]
    for name in differing:
        metrics[f"times as fast as {name}"] = found[name]["seconds"] / found[OURS]["seconds"]
        spent = "processor seconds"
        metrics[f"times fewer processor seconds than {name}"] = found[name][spent] / found[OURS][spent]
    load = os.getloadavg()[1]
    return Measured(
        metrics=metrics,
        counts={**asdict(size), "features": len(FEATURES), "values compared": size.rows * len(FEATURES)},
        config={"load of the machine over 5 minutes": load},
    )


def contest(name: str, folder: Path) -> dict[str, float]:
    """Run one contestant in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.jobs.point_in_time", name, str(folder)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def count_differing(one: pl.DataFrame, other: pl.DataFrame) -> int:
    """How many values differ by more than a millionth, or are missing on one side alone."""
    if one.columns != other.columns or one.height != other.height:
        return max(one.height, other.height)
    differing = 0
    for name in one.columns:
        left, right = (frame[name].fill_null(np.nan).to_numpy() for frame in (one, other))
        differing += int((~np.isclose(left, right, rtol=1e-6, atol=1e-9, equal_nan=True)).sum())
    return differing


def tables(results: Sequence[Result]) -> list[Table]:
    """For each size a row for each contestant."""
    rows = []
    for name in SIZES:
        for result in of(results, name):
            rows += [line(name, contestant, result["metrics"]) for contestant in CONTESTANTS]
    columns = ("size", "contestant", "seconds", "processor seconds", "GiB", "ours, times as fast", "in processor time")
    loads = ", ".join(
        f"{result['variant']}: {result['config']['load of the machine over 5 minutes']:.1f}" for result in results
    )
    note = (
        "A row asks for every 50 events; users are a 25th of the events, products a 250th. Every value of the three is "
        f"the same to a millionth. Load of the machine while measured ({loads}): above the number of cores, seconds "
        "hold waiting, and processor seconds tell more."
    )
    return [Table("Thirty point-in-time features", columns, rows, note)]


def line(size: str, contestant: str, metrics: dict[str, Any]) -> list[str]:
    """One contestant's cells."""
    ratios = ("-", "-")
    if contestant != OURS:
        ratios = (
            f"{metrics[f'times as fast as {contestant}']:.1f}",
            f"{metrics[f'times fewer processor seconds than {contestant}']:.1f}",
        )
    own = [metrics[f"{contestant}, {figure}"] for figure in ("seconds", "processor seconds", "GiB")]
    return [size, contestant, f"{own[0]:.1f}", f"{own[1]:.1f}", f"{own[2]:.1f}", *ratios]


def main(name: str, folder: str) -> None:
    """The child: writes the features and prints one JSON on the last line."""
    spent, begun = sum(os.times()[:2]), perf_counter()
    features = CONTESTANTS[name](Path(folder))
    figures = {
        "seconds": perf_counter() - begun,
        "processor seconds": sum(os.times()[:2]) - spent,
        "GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_OF_A_GIB,
    }
    features.write_parquet(Path(folder) / f"{name}.parquet")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
