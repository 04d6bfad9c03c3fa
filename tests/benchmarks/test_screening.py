"""The screening of techniques: which queries it learns from, and that every variant is a valid choice of settings."""

import polars as pl
import pytest

from benchmarks.jobs import relevance_screening as job

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
