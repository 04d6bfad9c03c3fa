"""What an evaluation found: one number for each system, metric and query or user, and the report made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.metrics.intervals import Interval, bootstrap, paired_bootstrap
from recsys.storage import atomic_file

Floats = NDArray[np.float64]
ByMetric = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of one protocol on one split.

    Attributes:
        protocol: its name, printed beside each figure.
        keys: query or user ids; row i of every array is keys[i].
        subject: the system under evaluation, a key of `systems`.
        systems: by system and metric, float64 [keys]; NaN where the protocol leaves the query or user out.
        baselines: systems to hold the subject against, keys of `systems`.
        counts: what was counted and what was left out.
        runs: by system, the ranked lists for a TREC run.
        variant: which of several tables this is, in a word fit for a file name.
        model: the name people know the subject's model by.
        against: the baseline that is another model's subject, "" where none is.
    """

    protocol: str
    keys: Sequence[str]
    subject: str
    systems: Mapping[str, ByMetric]
    baselines: Sequence[str]
    counts: Mapping[str, int]
    runs: Mapping[str, Sequence["RankedList"]] = field(default_factory=dict)
    variant: str = "all"
    model: str = ""
    against: str = ""


@dataclass(frozen=True, slots=True)
class RankedList:
    """A ranking as it is written to a TREC run: product ids and scores, best first."""

    product_ids: Sequence[str]
    scores: Sequence[float]


def beside(measured: Measured, other: Measured) -> Measured:
    """The table with another model's subject as its first baseline, row by row the same queries or users.

    Raises:
        ValueError: the two were not asked the same.
    """
    if list(measured.keys) != list(other.keys):
        raise ValueError(f"{len(measured.keys)} and {len(other.keys)} queries or users that are not the same")
    return replace(
        measured,
        systems={**measured.systems, other.model: other.systems[other.subject]},
        baselines=[other.model, *measured.baselines],
        against=other.model,
    )


def report(measured: Measured, *, seed: int) -> dict[str, Any]:
    """The JSON report: means with bootstrap intervals, and paired intervals of the subject minus each baseline."""
    subject = measured.systems[measured.subject]
    return {
        "protocol": measured.protocol,
        "model": measured.model,
        "against": measured.against,
        "variant": measured.variant,
        "system": measured.subject,
        "queries_or_users": len(measured.keys),
        "counts": dict(measured.counts),
        "metrics": means(subject),
        "intervals": {name: as_fields(bootstrap(values, seed=seed)) for name, values in subject.items()},
        "systems": {name: means(values) for name, values in measured.systems.items()},
        "baselines": {
            name: {
                "metrics": means(measured.systems[name]),
                "difference": {
                    metric: as_fields(paired_bootstrap(values, measured.systems[name][metric], seed=seed))
                    for metric, values in subject.items()
                    if metric in measured.systems[name]
                },
            }
            for name in measured.baselines
            if name != measured.subject
        },
    }


def as_fields(interval: Interval) -> dict[str, float] | None:
    """An interval as JSON holds it; None where no query or user counts."""
    return None if np.isnan(interval.mean) else interval._asdict()


def means(values: Mapping[str, Floats]) -> dict[str, float | None]:
    """The mean of each metric over those queries or users that count; None where there are none."""
    return {name: mean(row) for name, row in values.items()}


def mean(values: Floats) -> float | None:
    """The mean without NaN; None where nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else None


def write_scores(measured: Measured, path: Path) -> None:
    """Write columns key, system, metric, value as Parquet, so that folds can be pooled and compared in pairs."""
    frames = [
        pl.DataFrame({"key": measured.keys, "system": name, "metric": metric, "value": values})
        for name, by_metric in measured.systems.items()
        for metric, values in by_metric.items()
    ]
    with atomic_file(path) as partial:
        pl.concat(frames).write_parquet(partial)


def write_trec_run(measured: Measured, path: Path) -> None:
    """Write the subject's rankings in the six columns of trec_eval: query, Q0, product, rank, score, system.

    White space inside ids and names becomes an underscore, since the format has no quotes.
    """
    tag = one_word(measured.subject)
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for key, ranked in zip(measured.keys, measured.runs[measured.subject], strict=True):
            for rank, (product_id, score) in enumerate(zip(ranked.product_ids, ranked.scores, strict=True), start=1):
                file.write(f"{one_word(key)} Q0 {one_word(product_id)} {rank} {score:.9g} {tag}\n")


def one_word(text: str) -> str:
    """The text with white space replaced."""
    return "_".join(text.split())
