"""What each stage gains and costs: figures by hand, the report, the page and the tables for people."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recsys.engine.search import Search
from serving.report import show_measured
from tests.training.evaluate.made import ATTACK, table
from training.evaluate.earned import CHAIN, Ran, cost, run_stages, stage_rows
from training.evaluate.measured import Measured, report
from training.evaluate.page.render import write_page
from training.evaluate.show import show


def values_of(*numbers: float) -> dict[str, np.ndarray]:
    return {"ndcg@10": np.array(numbers)}


SYSTEMS = {
    "bm25": values_of(0.2, 0.4, np.nan, 0.6),
    "full": values_of(0.5, 0.6, np.nan, 0.7),
    "blended": values_of(0.4, 0.6, np.nan, 0.8),
    "hybrid titles": values_of(0.0, 0.0, 0.0, 0.0),
}


def test_rows_by_hand() -> None:
    ran = Ran({"bm25": True, "dense": True, "cross_encoder": True, "blender": False}, {"bm25": [1.0, 2.0, 3.0]})
    groups = {"length": ["short", "long", "long", "short"]}
    rows = stage_rows(ran, SYSTEMS, metric="ndcg@10", groups=groups, seed=0)
    assert [(row["stage"], row["on"]) for row in rows] == [
        ("bm25", True), ("cross_encoder", True), ("blender", False)
    ]  # fmt: skip
    assert [row["ndcg@10"]["mean"] for row in rows] == pytest.approx([0.4, 0.6, 0.6])
    assert "gain" not in rows[0]
    assert rows[1]["gain"]["mean"] == pytest.approx(0.2)  # the dense stage was not measured: held against BM25
    assert rows[1]["gain"]["low"] > 0
    assert rows[2]["gain"]["mean"] == pytest.approx(0.0)
    classes = {(one["by"], one["class"]): one for one in rows[1]["classes"]}
    assert {name: one["queries"] for name, one in classes.items()} == {("length", "long"): 1, ("length", "short"): 2}
    assert classes["length", "short"]["gain"]["mean"] == pytest.approx(0.2)
    assert classes["length", "long"]["earns"]
    assert rows[0]["milliseconds"] == {"p50": 2.0, "p95": 2.9}
    assert "milliseconds" not in rows[1]
    assert cost({}, "bm25") == {}


def test_only_what_is_measured_is_timed() -> None:
    asked: list[tuple[str, str]] = []

    def run(texts: list[str], *, k: int, allowed: None, stages: str) -> list[str]:
        asked.append((texts[0], stages))
        return []

    finder: Any = SimpleNamespace(available=("bm25", "dense", "hybrid", "full"), default="hybrid", run=run)
    ran = run_stages(finder, ["sofa", "lamp"], stages=["bm25", "full", "blended"])
    assert ran.on == {"bm25": True, "cross_encoder": False}
    assert {stage: len(times) for stage, times in ran.times.items()} == {"bm25": 2, "cross_encoder": 2}
    assert asked == [(text, name) for name in ("bm25", "full") for text in ("sofa", "sofa", "lamp")]
    assert isinstance(Search, type)
    assert set(CHAIN.values()) == {"bm25", "hybrid", "full", "blended"}


@pytest.fixture
def measured() -> Measured:
    made = table(cuts=(10,))
    systems = {**made.systems, "bm25": {name: values * 0 for name, values in made.systems["full"].items()}}
    ran = Ran({"bm25": True, "cross_encoder": False}, {"bm25": [1.5], "cross_encoder": [20.0]})
    runs = {**made.runs, "bm25": made.runs["BM25 titles"]}
    return replace(made, systems=systems, baselines=["BM25 titles", "bm25"], runs=runs, ran=ran)


def test_the_report_the_page_and_the_tables_tell_it(
    measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "stages" not in report(table(), seed=0)
    found = report(measured, seed=0)
    first, second = found["stages"]
    assert (first["stage"], second["stage"], second["on"]) == ("bm25", "cross_encoder", False)
    assert second["milliseconds"] == {"p50": 20.0, "p95": 20.0}
    assert {one["by"] for one in second["classes"]} == {"frequency", "category"}
    write_page(measured, found, tmp_path / "page.html", seed=0)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Does every stage earn its time?" in page
    assert "frequency: head" in page
    assert ATTACK not in page
    show(found)
    printed = capsys.readouterr().out
    assert "by query class" in printed
    assert "cross_encoder" in printed
    show_measured(found, title="a night")
    night = capsys.readouterr().out
    assert "20.0 ms" in night
    assert "frequency head" in night
