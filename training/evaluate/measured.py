"""What an evaluation found: one number for each system, metric and query or user, and the report made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.metrics.intervals import Interval, bootstrap, paired_bootstrap
from recsys.types import Positions
from training.evaluate.compare import OWN_VECTORS, choose_baseline, compare, headline
from training.evaluate.earned import Ran, stage_rows
from training.evaluate.rankings import Rankings
from training.evaluate.slices import Slicing, mean, slice_rows

Floats = NDArray[np.float64]
ByMetric = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who or what was asked; row i of everything is key i of the table.

    Attributes:
        unit: "query" or "user".
        catalogue: the products that positions number.
        texts: the queries as they were typed; "" for users.
        judged: for each the positions that were judged, int64 ascending, and their grades, float64.
        relevant: the grade from which a product is relevant.
        counts: by name, int64 [keys], what is known of each beside the judgments.
        slicings: the ways to group them.
    """

    unit: str
    catalogue: Catalogue
    texts: Sequence[str]
    judged: Sequence[tuple[Positions, Floats]]
    relevant: float
    counts: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    slicings: Sequence[Slicing] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of one protocol on one split.

    Attributes:
        protocol: its name, printed beside each figure.
        keys: query or user ids; row i of every array is keys[i].
        asked: the queries or users themselves.
        subject: the system under evaluation, a key of `systems`.
        systems: by system and metric, float64 [keys]; NaN where the protocol leaves the query or user out.
        baselines: systems to hold the subject against, keys of `systems`.
        counts: what was counted and what was left out.
        runs: by system, the ranked lists.
        overall: by system, figures of all its lists together, which have no value for a single query or user.
        variant: which of several tables this is, in a word fit for a file name.
        model: the name people know the subject's model by.
        against: the baseline that is another model's subject, "" where none is.
        snapshot: the snapshot's id.
        calibration: what came true of the model's probabilities; empty where nobody looked.
        uncalibrated: why nobody did; "" where somebody did, or where there is nothing to look at.
        ran: the stages of a search; None where they are not compared.
    """

    protocol: str
    keys: Sequence[str]
    asked: Asked
    subject: str
    systems: Mapping[str, ByMetric]
    baselines: Sequence[str]
    counts: Mapping[str, int]
    runs: Mapping[str, Rankings] = field(default_factory=dict)
    overall: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    variant: str = "all"
    model: str = ""
    against: str = ""
    snapshot: str = ""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    uncalibrated: str = ""
    ran: Ran | None = None


def beside(measured: Measured, other: Measured) -> Measured:
    """The table with another model's subject as its first baseline, row by row the same queries or users.

    Raises:
        ValueError: the two were not asked the same.
    """
    if list(measured.keys) != list(other.keys):
        raise ValueError(f"{len(measured.keys)} and {len(other.keys)} queries or users that are not the same")
    name, subject = other.model, other.subject
    metrics = {key: row for key, row in other.systems[subject].items() if not key.startswith(OWN_VECTORS)}
    return replace(
        measured,
        systems={**measured.systems, name: metrics},
        baselines=[name, *measured.baselines],
        runs={**measured.runs, **({name: other.runs[subject]} if subject in other.runs else {})},
        overall={**measured.overall, **({name: other.overall[subject]} if subject in other.overall else {})},
        against=name,
    )


def report(measured: Measured, *, seed: int, baseline: str | None = None) -> dict[str, Any]:
    """The JSON report: means with bootstrap intervals, paired differences, tests and slices.

    Args:
        measured: the table.
        seed: of the bootstrap and of the randomisation tests.
        baseline: the system that the tests and the slices compare with; None takes `choose_baseline`'s.

    Raises:
        UsageError: there is no system of that name to compare with.
    """
    subject = measured.systems[measured.subject]
    named = choose_baseline(measured.baselines, name=baseline, subject=measured.subject, against=measured.against)
    return {
        "protocol": measured.protocol,
        "snapshot": measured.snapshot,
        "model": measured.model,
        "against": measured.against,
        "variant": measured.variant,
        "system": measured.subject,
        "queries_or_users": len(measured.keys),
        "counts": dict(measured.counts),
        **({"calibration": dict(measured.calibration)} if measured.calibration else {}),
        **({"stages": stages(measured, seed=seed)} if measured.ran else {}),
        **({"uncalibrated": measured.uncalibrated} if measured.uncalibrated else {}),
        "metrics": means(subject),
        "intervals": {name: as_fields(bootstrap(values, seed=seed)) for name, values in subject.items()},
        "systems": {name: means(values) for name, values in measured.systems.items()},
        "overall": {name: dict(values) for name, values in measured.overall.items()},
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
        "tests": compare(measured.systems, baseline=named, seed=seed) if named else None,
        "slices": slices(measured, baseline=named, seed=seed) if named else None,
    }


def stages(measured: Measured, *, seed: int) -> list[dict[str, Any]]:
    """What each stage of the search gains and costs, by the table's first metric; see `earned.stage_rows`."""
    if measured.ran is None:
        return []
    metric = headline(measured.systems[measured.subject])
    groups = {slicing.name: slicing.labels for slicing in measured.asked.slicings}
    return stage_rows(measured.ran, measured.systems, metric=metric, groups=groups, seed=seed)


def slices(measured: Measured, *, baseline: str, seed: int) -> dict[str, Any]:
    """The figures of every slice by the table's first metric, and how the slices were made."""
    subject = measured.systems[measured.subject]
    metric = headline(subject)
    return {
        "metric": metric,
        "baseline": baseline,
        "by": {
            slicing.name: {
                "rule": slicing.rule,
                "rows": slice_rows(slicing, subject, measured.systems[baseline], metric=metric, seed=seed),
            }
            for slicing in measured.asked.slicings
        },
    }


def as_fields(interval: Interval) -> dict[str, float] | None:
    """An interval as JSON holds it; None where no query or user counts."""
    return None if np.isnan(interval.mean) else interval._asdict()


def means(values: Mapping[str, Floats]) -> dict[str, float | None]:
    """The mean of each metric over those queries or users that count; None where there are none."""
    return {name: mean(row) for name, row in values.items()}
