"""The screening of techniques: which queries it learns from, and that every variant is a valid choice of settings."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks.job import Place, Unit
from benchmarks.jobs import relevance_screening as job
from recsys.testing.tiny import tiny_backbone
from tests.shops import COLOURS, KINDS, small_tables, write_shop

ROWS = pl.DataFrame(
    {"query": [f"query {number // 5}" for number in range(500)], "grade": [number % 4 for number in range(500)]}
)


def test_queries_are_held_out_whole_and_however_they_are_typed() -> None:
    learned_from, held = job.split(ROWS)
    assert len(learned_from) + len(held) == len(ROWS)
    assert not set(learned_from["query"]) & set(held["query"])
    assert 0.2 < held["query"].n_unique() / 100 < 0.47
    typed = job.split(ROWS.with_columns(pl.col("query").str.to_uppercase()))[1]
    assert typed["grade"].equals(held["grade"])


def test_the_sample_is_of_whole_queries_none_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "SAMPLE", 48)
    known = frozenset(f"query {number}" for number in range(0, 100, 2))
    found = job.sample(ROWS, known=known)
    assert len(found) == 50
    assert found["query"].n_unique() == 10
    assert not known & set(found["query"])
    assert found.equals(job.sample(ROWS.reverse(), known=known).reverse())


@pytest.mark.parametrize("name", job.VARIANTS)
def test_every_variant_is_valid_and_all_but_one_differ_from_the_plain_recipe(name: str) -> None:
    variant = job.VARIANTS[name]
    first = job.settle(job.BEFORE, variant.homedepot, seed=0)
    tuning = job.settle(job.TUNING, variant.crowdflower, seed=0)
    assert ((first, tuning) == (job.BEFORE, job.TUNING)) is (name == job.PLAIN or variant.adapted)
    assert job.told(name)


def test_a_gain_is_told_for_the_folds_that_both_were_measured_on() -> None:
    def result(variant: str, fold: int, values: list[float]) -> dict[str, object]:
        mean = sum(values) / len(values)
        return {
            "variant": variant,
            "fold": fold,
            "seed": 0,
            "seconds": 60.0,
            "metrics": {"ndcg@10": mean},
            "scores": {"ndcg@10": values},
        }

    results = [
        result(job.PLAIN, 0, [0.5, 0.7]),
        result("FGM 1", 0, [0.6, 0.8]),
        result("FGM 1", 1, [0.1, 0.1]),
        result("R-Drop 1", 0, [0.4, 0.6]),
        result("EMA .99", 1, [0.9]),
    ]
    (table,) = job.tables(results)
    assert [row[0] for row in table.rows] == ["FGM 1", job.PLAIN, "R-Drop 1"]
    assert table.rows[0][2:] == ["2", "0.7000", "+0.1000 [+0.1000, +0.1000]", "1.0"]
    assert "3 variants tried" in table.note


def shops_of(folder: Path) -> Place:
    """Two small shops, the second with queries of its own."""
    tables = small_tables()
    for name, more in (("crowdflower", ""), ("homedepot", " nord")):
        queries = tables["queries"].with_columns(pl.col("query") + more)
        write_shop(folder / "data" / name, tables | {"queries": queries})
    (folder / "work").mkdir()
    return Place(folder / "data", folder / "work")


@pytest.mark.parametrize("name", ["hard negatives 5", "hard negatives 20, rescored", "self-distillation"])
def test_a_row_that_mines_or_has_a_teacher_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On small shops: what is mined is learned beside the judgments, a teacher is the plain student, made once."""
    backbone = tiny_backbone(tmp_path / "backbone", seed=0, words=[*COLOURS, *(kind for kind, _ in KINDS), "nord"])
    small = {"backbone": str(backbone), "layers": 1, "precision": "fp32"}
    for step in ("BEFORE", "TUNING"):
        monkeypatch.setattr(job, step, getattr(job, step).model_copy(update=small))
    place, unit = shops_of(tmp_path), Unit(name, 1, 0)
    measured = job.measure(unit, place)
    judged = job.split(job.shop_snapshot("crowdflower", place, fold=1).judgments("train", "validation"))[0]
    mined = job.VARIANTS[name].crowdflower.get("negatives", 0)
    assert len(judged) + (mined == 5) <= measured.counts["pairs learned from"]
    assert measured.counts["pairs learned from"] <= len(judged) + mined * judged["query_id"].n_unique()
    taught = "teachers" in job.VARIANTS[name].crowdflower
    assert len(list(place.work.glob("plain-fold1-seed0-*/done"))) == taught
    assert 0 <= measured.metrics["ndcg@10"] <= 1
