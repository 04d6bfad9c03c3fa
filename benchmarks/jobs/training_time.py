"""The relevance scorer trained from the command line with nothing but its defaults, on two shops at once.

A state folder of its own, so that nothing is trained or cached before it starts: two snapshots, then
`recsys train relevance` (the epoch is chosen on the validation queries, then the model is refitted on all but the test
queries), then `recsys evaluate` on the first shop's test queries.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.job import Measured, Place, Result, Table, Unit, span
from recsys.metrics.intervals import Interval
from serving.processes import children_seconds

PROTOCOL = "defaults, by query, fold 0; the whole command from start to registered model"
SHOPS = ("crowdflower", "homedepot")
UNITS = (Unit("relevance, defaults", seed=0),)
METRIC = "ndcg@10"
STAGES = "stages"
COLUMNS = ("stage", "queries", "NDCG@10", "gain over the list without it", "ms p50", "ms p95", "by default")


def measure(unit: Unit, place: Place) -> Measured:
    """Wall and processor seconds of the training, and NDCG@10 on the first shop's test queries."""
    home = place.work / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    snapshots = {shop: home / f"snapshot-{shop}" for shop in SHOPS}
    for shop, folder in snapshots.items():
        run("features", str(place.data / shop), "-o", str(folder), "--split", "query-folds", home=home)
    main, also = (str(snapshots[shop]) for shop in SHOPS)
    begun, before = perf_counter(), children_seconds()
    trained = run("train", "relevance", main, "--also", also, "--set", f"seed={unit.seed}", home=home)
    seconds, processor = perf_counter() - begun, children_seconds() - before
    report = run("evaluate", trained["uri"], main, "--split", "test", "--task", "judged", home=home)
    systems = {report["system"]: report["metrics"]}
    systems |= {name: told["metrics"] for name, told in report["baselines"].items()}
    return Measured(
        metrics={
            "seconds": seconds,
            "processor seconds": processor,
            **{f"{METRIC} {name}": metrics[METRIC] for name, metrics in systems.items()},
        },
        counts={"queries": report["queries_or_users"]},
        config={
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
            "systems": list(systems),
            STAGES: report["stages"],
            **trained["metrics"],
        },
    )


def run(*command: str, home: Path) -> dict[str, Any]:
    """The report of one command of the product."""
    done = subprocess.run(
        [sys.executable, "-m", "recsys", *command, "--json"],
        env={**os.environ, "RECSYS_HOME": str(home), "MLFLOW_TRACKING_URI": ""},
        stdout=subprocess.PIPE,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def tables(results: Sequence[Result]) -> list[Table]:
    """Minutes and what the model was worth; what each stage gains and costs where the evaluation has told it."""
    return [
        *(table(result) for result in results),
        *(stage_table(result) for result in results if result["config"].get(STAGES)),
    ]


def table(result: Result) -> Table:
    """One training."""
    metrics = result["metrics"]
    rows = [
        ["minutes", f"{metrics['seconds'] / 60:.0f}"],
        ["processor minutes, all cores together", f"{metrics['processor seconds'] / 60:.0f}"],
        *([f"{name}, NDCG@10 on crowdflower", f"{metrics[f'{METRIC} {name}']:.4f}"] for name in systems_of(result)),
    ]
    note = (
        "recsys train relevance CROWDFLOWER --also HOMEDEPOT with no other setting: all text fields, homedepot once, "
        "then crowdflower in three epochs at most and the refit, on two cores. "
        f"{result['counts']['queries']} test queries. The defaults are those for a shop that "
        "has only its own judgments; the recipe for crowdflower is in its own table."
    )
    return Table("The relevance scorer's defaults on crowdflower and homedepot together", ("", "value"), rows, note)


def stage_table(result: Result) -> Table:
    """What each stage of the search gains and costs, on the whole and below it by query class."""
    rows = []
    for stage in result["config"][STAGES]:
        value, time = stage[METRIC], stage.get("milliseconds", {})
        gain = Interval(**stage["gain"]) if stage.get("gain") else None
        own = [result["counts"]["queries"], "-" if value is None else f"{value['mean']:.4f}"]
        cost = [f"{time[end]:.1f}" if end in time else "-" for end in ("p50", "p95")]
        rows.append([stage["stage"], *own, "-" if gain is None else span(gain), *cost, "on" if stage["on"] else "off"])
        for one in stage.get("classes", ()):
            name = f"{stage['stage']}, {one['by']} {one['class']}"
            verdict = "earns" if one["earns"] else "not shown to earn"
            rows.append([name, one["queries"], "-", span(Interval(**one["gain"])), "-", "-", verdict])
    note = (
        "Each stage is held against the list of the stages before it, on the judged products of the test queries. "
        "Milliseconds are of single searches of the whole catalogue with the stage and all before it."
    )
    return Table(
        "Each stage's gain and milliseconds, by query class", COLUMNS, [list(map(str, row)) for row in rows], note
    )


def systems_of(result: Result) -> list[str]:
    """The evaluated systems, the model first."""
    return list(result["config"]["systems"])
