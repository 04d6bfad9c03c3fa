"""The main job on a real shop, from its raw tables to verified recommendations for every known customer.

One command, `recsys nightly`, in a state folder of its own: nothing is trained, indexed or cached before it starts.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.job import Measured, Place, Result, Table, Unit

PROTOCOL = "one whole night from nothing, 20 recommendations for each user"
SHOPS = ("online_retail",)
UNITS = tuple(Unit(shop) for shop in SHOPS)
KIB_OF_A_GIB = 2**20


def measure(unit: Unit, place: Place) -> Measured:
    """What the night's report says, its wall and processor seconds by stage, and the largest process."""
    home = place.work / unit.variant
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "recsys", "nightly", str(place.data / unit.variant), "-o", str(home / "out"), "--json"],
        env={**os.environ, "RECSYS_HOME": str(home), "MLFLOW_TRACKING_URI": ""},
        stdout=subprocess.PIPE,
        check=True,
    )
    report = json.loads(done.stdout)
    batch = report["batch"]
    shares = {
        f"share {kind} {name}": told["share"] for kind in ("rungs", "sources") for name, told in batch[kind].items()
    }
    seconds = {f"seconds {stage['stage']}": stage["seconds"] for stage in report["stages"]}
    processor = sum(stage["processor_seconds"] for stage in report["stages"])
    return Measured(
        metrics={
            **shares,
            **seconds,
            "loyal personal share": batch["loyal_personal_share"],
            "gain over popularity, low": report["models"]["recommender"]["gain_low"],
            "seconds": report["seconds"],
            "processor seconds": processor,
            "largest process, GiB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / KIB_OF_A_GIB,
        },
        counts={name: batch[name] for name in ("rows", "rows_expected", "users", "users_served", "loyal_users")},
        config={"stages": [stage["stage"] for stage in report["stages"]]},
    )


def tables(results: Sequence[Result]) -> list[Table]:
    """Who was served by what, and where the time went."""
    return [table for result in results for table in (served(result), spent(result))]


def served(result: Result) -> Table:
    """The rows by rung and by source."""
    counts, metrics = result["counts"], result["metrics"]
    kinds = (("rungs", "rung"), ("sources", "source"))
    rows = [
        (f"{word} {name.removeprefix(f'share {kind} ')}", f"{value:.2%}")
        for kind, word in kinds
        for name, value in metrics.items()
        if name.startswith(f"share {kind} ")
    ]
    note = (
        f"{counts['rows']:,} of {counts['rows_expected']:,} rows for {counts['users_served']:,} of {counts['users']:,} "
        f"users; {metrics['loyal personal share']:.2%} of the {counts['loyal_users']:,} users with two purchases or "
        "more are served from a personal source. The recommender went live by the bootstrap rule: lower end of its "
        f"gain over popularity {metrics['gain over popularity, low']:+.4f} NDCG@10, repeats excluded."
    )
    return Table(f"{result['variant']}: rows of the night", ("brought by", "share of the rows"), rows, note)


def spent(result: Result) -> Table:
    """Wall seconds of each stage."""
    metrics = result["metrics"]
    rows = [(stage, f"{metrics[f'seconds {stage}']:.1f}") for stage in result["config"]["stages"]]
    note = (
        f"{metrics['seconds']:.0f} seconds in all, {metrics['processor seconds']:.0f} of the processor; the largest "
        f"process held {metrics['largest process, GiB']:.2f} GiB."
    )
    return Table(f"{result['variant']}: time", ("stage", "seconds"), rows, note)
