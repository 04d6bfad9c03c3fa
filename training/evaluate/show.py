"""What `recsys evaluate` prints for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from recsys.cli.output import emit_line, emit_table
from training.evaluate.calibration import said
from training.evaluate.compare import headline
from training.evaluate.earned import CLASSES, EARNED, earned_tables

ABREAST = 5
MOST_SLICES = 8


def show(found: Mapping[str, Any]) -> None:
    """Print a report: a row for each system, gains over each baseline, the tests and the slices."""
    show_systems(found)
    metric = headline(found["metrics"])
    differences = {name: baseline["difference"].get(metric) for name, baseline in found["baselines"].items()}
    gains = [[name, gap["mean"], gap["low"], gap["high"]] for name, gap in differences.items() if gap is not None]
    emit_table(
        ["baseline", "mean", "low", "high"], gains, title=f"{found['system']} minus baseline, {metric}, 95 % paired"
    )
    if found["tests"] is not None:
        show_tests(found["tests"], metric=metric)
        show_slices(found["slices"])
    if (shared := found.get("interleaving")) is not None and shared["share"] is not None:
        share = shared["share"]
        emit_line(
            f"interleaved with {shared['against']}: wins {share['mean']:.4f} [{share['low']:.4f}, {share['high']:.4f}]"
            f" of {shared['lists']} lists, ties ({shared['ties']:.2f}) as half, p {shared['p']:.4f}; {shared['method']}"
        )
    if len(found.get("stages", ())) > 1:
        show_stages(found["stages"], metric=metric, title="stages, gain over the list of those before, ms with them")
    if "calibration" in found:
        emit_line(said(found["calibration"]))
    if "uncalibrated" in found:
        emit_line(f"calibration: not measured ({found['uncalibrated']})")
    emit_line(", ".join(f"{name}: {number}" for name, number in found["counts"].items()))


def show_systems(found: Mapping[str, Any]) -> None:
    """Print the means, as many metrics abreast as a terminal is wide."""
    systems = {name: {**values, **found["overall"].get(name, {})} for name, values in found["systems"].items()}
    names = [*found["metrics"], *found["overall"].get(found["system"], {})]
    title = f"{found['model']}: {found['protocol']}"
    for start in range(0, len(names), ABREAST):
        part = names[start : start + ABREAST]
        rows = [[system, *(values.get(name) for name in part)] for system, values in systems.items()]
        emit_table(["system", *part], rows, title=title if start == 0 else "")


def show_stages(rows: Sequence[Mapping[str, Any]], *, metric: str, title: str) -> None:
    """Print what each stage of a search gains and costs, on the whole and by class of queries."""
    stages, classes = earned_tables(rows, metric=metric)
    emit_table(["stage", metric, *EARNED], stages, title=title)
    if classes:
        emit_table(CLASSES, classes, title="by query class")


def show_tests(tests: Mapping[str, Any], *, metric: str) -> None:
    """Print every other system's gain over the named baseline with its p-values."""
    rows = [
        [name, row[metric]["gain"], row[metric]["p"], row[metric]["p_holm"]]
        for name, row in tests["systems"].items()
        if metric in row
    ]
    title = f"gain over {tests['baseline']}, {metric}; {tests['test']}; {tests['correction']}"
    emit_table(["system", "gain", "p", "p after Holm"], rows, title=title)


def show_slices(slices: Mapping[str, Any]) -> None:
    """Print the largest slices of each slicing."""
    rows: list[Sequence[object]] = [
        [name, row["slice"], row["n"], row["mean"], row["gain"], row["gain_low"], row["gain_high"]]
        for name, group in slices["by"].items()
        for row in group["rows"][:MOST_SLICES]
    ]
    if rows:
        title = f"slices, {slices['metric']}, gain over {slices['baseline']}, 95 % paired"
        emit_table(["by", "slice", "n", slices["metric"], "gain", "low", "high"], rows, title=title)
