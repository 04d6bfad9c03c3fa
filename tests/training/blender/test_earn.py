"""Earn your latency: what beats the list without it stays on, what does not goes off, as a whole and by class."""

import numpy as np
import pytest

from training.blender.earn import earn
from training.blender.rows import Rows

QUERIES, EACH = 40, 10


def rows_of(**skill: float) -> tuple[Rows, np.ndarray]:
    """Pairs whose stages know so much of the grade each, and scores of a blender of skill `blender`."""
    generator = np.random.default_rng(0)
    grades = np.tile(np.arange(EACH) % 4, QUERIES).astype(np.float64)
    known = {
        name: (share * grades + generator.normal(size=len(grades))).astype(np.float32) for name, share in skill.items()
    }
    blender = known.pop("blender").astype(np.float64)
    return (
        Rows(
            texts=tuple(str(number) for number in range(QUERIES)),
            queries=np.repeat(np.arange(QUERIES), EACH),
            grades=grades,
            parts=known,
            names=("price.log",),
            matrix=np.zeros((len(grades), 1), dtype=np.float32),
        ),
        blender,
    )


CLASSES = {"length": ["short"] * 10 + ["long"] * 30}
TIMES = {"bm25": [1.0, 2.0, 3.0], "dense": [2.0, 4.0, 6.0]}


def report(*, earn_all: bool = True, **skill: float) -> dict:
    rows, blended = rows_of(**skill)
    return earn(rows, blended, classes=CLASSES, times=TIMES, earn_all=earn_all, seed=0)


def verdicts(found: dict) -> dict[str, bool]:
    return {stage["stage"]: stage["on"] for stage in found["stages"]}


def test_stages_that_gain_stay_on() -> None:
    found = report(bm25=0.5, dense=1.0, cross_encoder=2.0, blender=9.0)
    assert verdicts(found) == {"bm25": True, "dense": True, "cross_encoder": True, "blender": True}
    assert found["off"] == []
    assert found["queries"] == QUERIES
    for stage in found["stages"][1:]:
        assert stage["gain"]["low"] > 0
        assert [one["class"] for one in stage["classes"]] == ["long", "short"]
        assert [one["queries"] for one in stage["classes"]] == [30, 10]


def test_a_stage_that_gains_nothing_goes_off_and_the_next_is_held_against_the_list_without_it() -> None:
    found = report(bm25=2.0, dense=0.0, cross_encoder=3.0, blender=0.0)
    assert found["off"] == ["dense", "blender"]
    rows, _ = rows_of(bm25=2.0, dense=0.0, cross_encoder=3.0, blender=0.0)
    from training.blender.choose import ndcg_of

    gain = ndcg_of(rows, rows.parts["bm25"] + rows.parts["cross_encoder"]) - ndcg_of(rows, rows.parts["bm25"])
    assert found["stages"][2]["gain"]["mean"] == pytest.approx(gain.mean(), abs=1e-6)


def test_only_the_blender_may_be_asked_to_earn() -> None:
    found = report(earn_all=False, bm25=2.0, dense=0.0, cross_encoder=0.0, blender=0.0)
    assert found["off"] == ["blender"]


def test_a_blender_that_earns_keeps_what_it_reads() -> None:
    found = report(bm25=2.0, dense=0.0, blender=9.0)
    assert found["off"] == []
    assert verdicts(found) == {"bm25": True, "dense": True, "blender": True}


def test_times_stand_beside_the_stages_that_were_timed() -> None:
    stages = report(bm25=1.0, dense=1.0, blender=1.0)["stages"]
    assert stages[0]["milliseconds"] == {"p50": 2.0, "p95": 2.9}
    assert "milliseconds" not in stages[2]
