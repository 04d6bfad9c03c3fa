"""The tables of the job that sets our cross-encoder beside the peer's, from results as it writes them."""

from typing import Any

import pytest

from benchmarks.jobs import peer_crowdflower as job

VALUES = {job.COSINE: 0.5, job.PEER: 0.6, job.DEFAULTS: 0.7, job.RECIPE: 0.55}


def result(name: str, fold: int, *, seconds: float = 90.0) -> dict[str, Any]:
    seed = None if name == job.COSINE else 0
    scores = {"ndcg@10": [VALUES[name] + fold / 100] * (3 + fold)}
    return {"variant": name, "fold": fold, "seed": seed, "seconds": seconds, "scores": scores}


def test_differences_are_those_of_the_same_queries() -> None:
    """Each query differs by the same, so the intervals have no width."""
    results = [result(name, fold) for fold in range(5) for name in VALUES]
    (table,) = job.tables(results)
    rows = {row[0]: row[1:] for row in table.rows}
    assert [row[0] for row in table.rows] == list(VALUES)
    assert rows[job.COSINE][2:] == ["-", "-", "1.5"]
    assert rows[job.PEER][2:] == ["+0.1000 [+0.1000, +0.1000]", "-", "1.5"]
    assert rows[job.DEFAULTS][2:4] == ["+0.2000 [+0.2000, +0.2000]", "+0.1000 [+0.1000, +0.1000]"]
    assert rows[job.RECIPE][3] == "-0.0500 [-0.0500, -0.0500]"
    assert {row[0] for row in rows.values()} == {str(3 + 4 + 5 + 6 + 7)}
    assert table.note.startswith("5 folds")


@pytest.mark.parametrize("missing", list(VALUES))
def test_folds_that_one_lacks_stay_out(missing: str) -> None:
    results = [result(name, fold) for fold in range(2) for name in VALUES if (name, fold) != (missing, 1)]
    (table,) = job.tables(results)
    assert {row[1] for row in table.rows} == {"3"}
    assert table.note.startswith("1 folds")
    assert job.tables([one for one in results if one["variant"] != missing])[0].rows == []


def test_all_see_the_same_and_each_unit_has_a_file_of_its_own() -> None:
    assert len({unit.stem for unit in job.UNITS}) == len(job.UNITS) == 20
    assert {config.fields for config in job.OURS.values()} == {("title",)}
    assert {config.epochs for config in job.OURS.values()} == {3}
