"""What a measured job is: a list of units, a function that measures one, and a table made of the results.

A job is a module in benchmarks/jobs with these names:

    PROTOCOL   the protocol's name, printed beside each figure
    SHOPS      the folders of the real data that it reads
    UNITS      tuple[Unit, ...]: what is measured, one JSON each
    measure    (unit, place) -> Measured
    tables     (results) -> list[Table]

Units are independent: a job that was killed goes on with the units that have no JSON yet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from recsys.metrics.intervals import Interval


@dataclass(frozen=True, slots=True)
class Unit:
    """One run: a row of the table, a fold and a seed.

    Attributes:
        variant: the row it belongs to, e.g. "two-tower (refit)".
        fold: the outer fold, None where the protocol has none.
        seed: the seed, None for what has no randomness.
    """

    variant: str
    fold: int | None = None
    seed: int | None = None

    @property
    def stem(self) -> str:
        """The result's file name without its ending."""
        plain = "".join(letter if letter.isalnum() else "-" for letter in self.variant.lower())
        words = "-".join(part for part in plain.split("-") if part)
        fold = "" if self.fold is None else f"-fold{self.fold}"
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return words + fold + seed


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit works.

    Attributes:
        data: the folder with the real shops.
        work: this job's own folder, kept between runs: trained models that several units share belong here.
    """

    data: Path
    work: Path

    def of(self, job: str) -> "Place":
        """Where another job works, whose networks and snapshots this one uses, too."""
        work = self.work.parent / job
        work.mkdir(parents=True, exist_ok=True)
        return Place(self.data, work)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a unit found.

    Attributes:
        metrics: name -> value.
        intervals: name -> interval, e.g. "ndcg@10 - BM25": the paired difference.
        counts: queries, users, products, left-out queries and the like.
        config: everything that was chosen, resolved.
        scores: name -> one number for each query or user in the order of their ids, where a table needs
            them to pool folds; numbers only, never ids or texts.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of BENCHMARKS.md.

    Attributes:
        title: its headline.
        columns: the header's cells.
        rows: cells as they are printed.
        note: a paragraph below: protocol, counts, number of configurations tried.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


Result = Mapping[str, Any]


class Job(Protocol):
    """The names that a module in benchmarks/jobs has."""

    PROTOCOL: str
    SHOPS: tuple[str, ...]
    UNITS: tuple[Unit, ...]
    measure: Callable[[Unit, Place], Measured]
    tables: Callable[[Sequence[Result]], list[Table]]


def of(results: Sequence[Result], variant: str) -> list[Result]:
    """The results of one row, by fold and seed."""
    own = [result for result in results if result["variant"] == variant]
    return sorted(own, key=lambda result: (result["fold"] or 0, result["seed"] or 0))


def mean(results: Sequence[Result], metric: str) -> str:
    """The mean over results, with the standard deviation over seeds where there are several; "-" without any."""
    values = [result["metrics"][metric] for result in results if metric in result["metrics"]]
    if not values:
        return "-"
    centre = sum(values) / len(values)
    if len(values) == 1:
        return f"{centre:.4f}"
    spread = (sum((value - centre) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    return f"{centre:.4f} ± {spread:.4f}"


def span(interval: Sequence[float]) -> str:
    """An interval as it is printed: mean [low, high], the three numbers as they stand in a result."""
    centre, low, high = interval
    return f"{centre:+.4f} [{low:+.4f}, {high:+.4f}]"
