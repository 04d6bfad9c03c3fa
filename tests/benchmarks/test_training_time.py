"""The tables of the defaults' training: what each stage gains and costs, where the evaluation has told it."""

from typing import Any

from benchmarks.jobs import training_time as job
from benchmarks.report import read


def test_stages_have_a_table_where_they_were_measured() -> None:
    (stored,) = read("training-time")
    gain = {"mean": 0.02, "low": 0.01, "high": 0.03}
    shown = {"by": "length", "class": "1 or 2 words", "queries": 9, "gain": gain, "earns": True}
    stages: list[dict[str, Any]] = [
        {"stage": "bm25", "on": True, "ndcg@10": gain | {"mean": 0.8}, "milliseconds": {"p50": 1.26, "p95": 3.0}},
        {"stage": "dense", "on": False, "ndcg@10": gain | {"mean": 0.82}, "gain": gain, "classes": [shown]},
        {"stage": "cross_encoder", "on": True, "ndcg@10": None, "gain": None, "classes": [shown | {"earns": False}]},
    ]
    result = {**stored, "config": {**stored["config"], "stages": stages}}
    _, table = job.tables([result])
    span = "+0.0200 [+0.0100, +0.0300]"
    assert table.rows == [
        ["bm25", "33", "0.8000", "-", "1.3", "3.0", "on"],
        ["dense", "33", "0.8200", span, "-", "-", "off"],
        ["dense, length 1 or 2 words", "9", "-", span, "-", "-", "earns"],
        ["cross_encoder", "33", "-", "-", "-", "-", "on"],
        ["cross_encoder, length 1 or 2 words", "9", "-", span, "-", "-", "not shown to earn"],
    ]
    assert all(len(row) == len(table.columns) for row in table.rows)
    without = {name: value for name, value in stored["config"].items() if name != "stages"}
    assert len(job.tables([{**stored, "config": without}])) == 1
