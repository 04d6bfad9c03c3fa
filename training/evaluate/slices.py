"""Slices: queries or users grouped by what they have in common, and how the system does on each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.metrics.intervals import Interval, bootstrap, paired_bootstrap

Floats = NDArray[np.float64]
NONE = "none"


@dataclass(frozen=True, slots=True)
class Slicing:
    """One way to group all queries or users.

    Attributes:
        name: what it groups by, e.g. "words".
        labels: the slice of each query or user.
        order: all slices as they are listed.
        rule: how the groups are made, in a sentence.
    """

    name: str
    labels: Sequence[str]
    order: Sequence[str]
    rule: str


def slice_rows(
    slicing: Slicing,
    subject: Mapping[str, Floats],
    baseline: Mapping[str, Floats],
    *,
    metric: str,
    seed: int,
) -> list[dict[str, Any]]:
    """The figures of each slice that holds a query or user that counts, in the slicing's order.

    Args:
        slicing: the groups.
        subject: by metric, float64 [keys], of the system.
        baseline: the same of the system that it is held against.
        metric: the one that gets intervals; the others are means.
        seed: of the bootstrap.

    Returns:
        `slice`, `n` (those that count by the metric), `mean` with `low` and `high`, `baseline` (its mean over the
        same), `gain` with `gain_low` and `gain_high` (paired), and `metrics` with the means of all metrics.
    """
    labels = np.asarray(slicing.labels, dtype=np.str_)
    rows = []
    for label in slicing.order:
        inside = labels == label
        own, other = subject[metric][inside], baseline[metric][inside]
        counted = int((~np.isnan(own)).sum())
        if counted == 0:
            continue
        level = bootstrap(own, seed=seed)
        gap = paired_bootstrap(own, other, seed=seed)
        rows.append(
            {"slice": label, "n": counted}
            | level._asdict()
            | {"baseline": mean(other)}
            | {f"gain{end}": value for end, value in named(gap).items()}
            | {"metrics": {name: mean(values[inside]) for name, values in subject.items()}}
        )
    return rows


def named(gap: Interval) -> dict[str, float | None]:
    """The interval's numbers by ending; None where nothing is left to compare."""
    return {end: None if np.isnan(value) else value for end, value in zip(("", "_low", "_high"), gap, strict=True)}


def mean(values: Floats) -> float | None:
    """The mean without NaN; None where nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else None


def by_size(sizes: Sequence[int], *, ends: Sequence[int], unit: str) -> tuple[list[str], list[str]]:
    """Labels by ranges of a count, and all ranges in order.

    Args:
        sizes: one count for each query or user, 0 or more.
        ends: the highest count of each range but the last, ascending.
        unit: the word behind the range, singular.

    Returns:
        With ends 1 and 3: "no word", "1 word", "2 to 3 words" and "4 words or more".
    """
    names = [f"no {unit}"]
    low = 1
    for end in ends:
        names.append(f"{low} {unit}{'s' * (end > 1)}" if low == end else f"{low} to {end} {unit}s")
        low = end + 1
    names.append(f"{low} {unit}s or more")
    places = np.searchsorted([0, *ends], np.asarray(sizes, dtype=np.int64), side="left")
    return [names[place] for place in places], names
