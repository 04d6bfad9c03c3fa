"""TREC files: what ranx and ir-measures make of them is what the table says."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import ir_measures
import numpy as np
import pytest
import ranx
from hypothesis import given
from hypothesis import strategies as st

from tests.training.evaluate.made import IDS, QUERIES, table
from training.evaluate.measured import Measured
from training.evaluate.queries import JudgedQuery, judged_metrics
from training.evaluate.rankings import Rankings, by_score
from training.evaluate.trec import falling, one_word, write_qrels, write_run


def test_a_run_has_six_columns_and_keeps_ids_apart(tmp_path: Path) -> None:
    write_run(table(), tmp_path / "run.trec", system="BM25 titles")
    rows = [line.split() for line in (tmp_path / "run.trec").read_text().splitlines()]
    assert [row[:4] for row in rows[:4]] == [
        ["q%201", "Q0", "a%2520b", "1"],
        ["q%201", "Q0", '"><b>', "2"],
        ["q%201", "Q0", "a%20b", "3"],
        ["q%201", "Q0", "a_b", "4"],
    ]
    assert {row[5] for row in rows} == {"BM25_titles"}
    assert {unquote(row[2]) for row in rows} <= set(IDS)
    read = list(ir_measures.read_trec_run(str(tmp_path / "run.trec")))
    assert len(read) == len(rows) == 8


def test_qrels_have_four_columns_and_the_queries_that_count(tmp_path: Path) -> None:
    write_qrels(table(), tmp_path / "qrels.trec")
    rows = [line.split() for line in (tmp_path / "qrels.trec").read_text().splitlines()]
    assert rows[:2] == [["q%201", "0", '"><b>', "0"], ["q%201", "0", "a%20b", "3"]]
    assert {row[0] for row in rows} == {"q%201", "q2"}, "the third query has no positive product"
    assert len(list(ir_measures.read_trec_qrels(str(tmp_path / "qrels.trec")))) == 7


def test_of_a_fraction_the_whole_part_is_written(tmp_path: Path) -> None:
    made = table()
    judged = [(row, grades * 0.9) for row, grades in made.asked.judged]
    write_qrels(replace(made, asked=replace(made.asked, judged=judged)), tmp_path / "qrels.trec")
    assert [row.relevance for row in ir_measures.read_trec_qrels(str(tmp_path / "qrels.trec"))] == [0, 2, 0, 0, 0, 1, 0]


def random_table(seed: int, *, ties: bool, best: int = 3) -> Measured:
    """Thirty queries with grades up to the best, scores with or without ties."""
    generator = np.random.default_rng(seed)
    queries, scores = [], []
    for number in range(30):
        positions = np.sort(generator.choice(len(IDS), size=generator.integers(2, 7), replace=False))
        queries.append(
            JudgedQuery(f"q {number}", "x", positions, generator.integers(0, best + 1, len(positions)).astype(float))
        )
        values = generator.integers(-2, 2, len(positions)) if ties else generator.normal(size=len(positions))
        scores.append(values.astype(np.float32))
    made = table()
    return replace(
        made,
        keys=[query.query_id for query in queries],
        asked=replace(made.asked, judged=[(query.positions, query.grades) for query in queries]),
        systems={"full": judged_metrics(queries, scores, cuts=(3, 10), relevant=2.0)},
        runs={"full": Rankings.of(by_score(q.positions, row) for q, row in zip(queries, scores, strict=True))},
    )


def by_ranx(measured: Measured, folder: Path, metric: str) -> float:
    write_run(measured, folder / "run.trec", system="full")
    write_qrels(measured, folder / "qrels.trec")
    qrels = ranx.Qrels.from_file(str(folder / "qrels.trec"))
    run = ranx.Run.from_file(str(folder / "run.trec"))
    return float(ranx.evaluate(qrels, run, metric, make_comparable=True))


@pytest.mark.filterwarnings("ignore")  # numba's and ranx's own, on their first use
@pytest.mark.parametrize("seed", [0, 1])
def test_ranx_finds_our_figures_in_the_files(seed: int, tmp_path: Path) -> None:
    measured = random_table(seed, ties=False)
    values = measured.systems["full"]
    for metric, name in (("ndcg_burges@3", "ndcg@3"), ("ndcg_burges@10", "ndcg@10")):
        assert by_ranx(measured, tmp_path, metric) == pytest.approx(np.nanmean(values[name]))
    assert by_ranx(measured, tmp_path, "mrr@10-l2") == pytest.approx(
        np.nanmean(np.nan_to_num(values["mrr@10"])[~np.isnan(values["ndcg@10"])])
    )


def test_ir_measures_finds_our_figures_in_the_files(tmp_path: Path) -> None:
    measured = random_table(2, ties=False, best=1)  # trec_eval's gain is the grade itself, ours 2^grade - 1
    write_run(measured, tmp_path / "run.trec", system="full")
    write_qrels(measured, tmp_path / "qrels.trec")
    found = ir_measures.calc_aggregate(
        [ir_measures.nDCG @ 10],
        ir_measures.read_trec_qrels(str(tmp_path / "qrels.trec")),
        ir_measures.read_trec_run(str(tmp_path / "run.trec")),
    )
    assert next(iter(found.values())) == pytest.approx(np.nanmean(measured.systems["full"]["ndcg@10"]))


def test_tools_read_ties_in_our_order(tmp_path: Path) -> None:
    measured = random_table(3, ties=True)
    write_run(measured, tmp_path / "run.trec", system="full")
    rows = list(ir_measures.read_trec_run(str(tmp_path / "run.trec")))
    for number, key in enumerate(measured.keys):
        own = [(row.score, unquote(row.doc_id)) for row in rows if unquote(row.query_id) == key]
        in_single = sorted(own, key=lambda row: -np.float32(row[0]))
        assert [name for _, name in in_single] == measured.asked.catalogue.ids(measured.runs["full"][number][0])
        assert len({np.float32(score) for score, _ in own}) == len(own), "trec_eval reads single precision"


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60), st.integers(1, 1000))
def test_scores_fall_strictly_and_stay_close(values: list[float], copies: int) -> None:
    scores = np.repeat(np.sort(np.array(values, dtype=np.float32))[::-1], 1 + copies % 4)
    written = np.array([float(f"{score:.9g}") for score in falling(scores)])
    assert (np.diff(written.astype(np.float32)) < 0).all()
    largest = max(float(np.abs(scores).max()), 1e-30)
    largest = largest if largest > 1e-30 else 1.0
    assert np.abs(written - scores).max() <= len(scores) * 2.0**-21 * largest


def test_a_lower_rung_with_larger_scores_stays_below() -> None:
    written = falling(np.array([0.5, 0.2, 90.0, 80.0], dtype=np.float32))
    assert (np.diff(written) < 0).all()
    assert written[0] == 0.5


@given(st.text(min_size=1))
def test_ids_become_one_word_and_come_back(text: str) -> None:
    word = one_word(text)
    assert word.split() == [word]
    assert unquote(word) == text


def test_nothing_found_writes_no_line(tmp_path: Path) -> None:
    empty = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))] * len(QUERIES)
    write_run(replace(table(), runs={"full": Rankings.of(empty)}), tmp_path / "run.trec", system="full")
    assert (tmp_path / "run.trec").read_text() == ""
