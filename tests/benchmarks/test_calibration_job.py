"""The tables of the calibration job, from results as it writes them."""

from typing import Any

import numpy as np

from benchmarks.jobs import calibration_crowdflower as job
from recsys.metrics.calibration import ece, sampling_ece


def result(fold: int, *, refused: bool = False) -> dict[str, Any]:
    generator = np.random.default_rng(fold)
    stated = generator.uniform(size=50)
    good = (generator.uniform(size=50) < stated).astype(float)
    metrics = {f"{name} ece": 0.1 * fold for name in job.ROWS}
    for name in (job.cut_name(share, fitted) for share in job.SHARES for fitted in (job.ALL, job.PART)):
        cut = {"cut-off": 0.6, "shown": 0.1, "everything": 0.2, "nothing": 0.05}
        metrics |= {f"{name} refused": float(refused)}
        metrics |= {} if refused else {f"{name} {key}": value for key, value in cut.items()}
    scores = {name: stated.tolist() for name in job.ROWS} | {"good": good.tolist()}
    return {"variant": "calibration", "fold": fold, "seed": 0, "metrics": metrics, "scores": scores}


def test_all_folds_are_one_row() -> None:
    results = [result(fold) for fold in range(5)]
    first, second = job.tables(results)
    stated, good = (np.concatenate([one["scores"][name] for one in results]) for name in (job.ROWS[-1], "good"))
    row = next(row for row in first.rows if row[0] == job.ROWS[-1])
    assert row[1:4] == [f"{ece(stated, good):.4f}", f"{sampling_ece(stated, seed=0).mean:.4f}", "0.2000"]
    assert first.rows[0][0] == job.NONE
    assert second.rows[0] == ["10% at most (5 of 5 units)", job.ALL, "0.60", "10.0%", "20.0%", "5.0%"]


def test_unfinished_seeds_and_refused_promises() -> None:
    first, second = job.tables([result(fold, refused=True) for fold in range(3)])
    assert first.rows == []
    assert second.rows[0][0] == "10% at most (0 of 3 units)"


def test_each_unit_has_a_file_of_its_own() -> None:
    assert len({unit.stem for unit in job.UNITS}) == len(job.UNITS) == 15
