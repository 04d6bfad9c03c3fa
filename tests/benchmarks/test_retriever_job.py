"""The retriever's rows: each a valid choice of settings, and those that mine run on a small shop."""

from pathlib import Path

import pytest

from benchmarks.job import Place, Unit
from benchmarks.jobs import retriever as job
from recsys.testing.tiny import tiny_backbone
from tests.shops import COLOURS, KINDS, write_small_shop
from training.retriever.config import RetrieverConfig


def test_every_row_is_valid_and_has_a_file_of_its_own() -> None:
    for row, settings in job.ROWS.items():
        config = RetrieverConfig.model_validate(job.BASE.model_dump() | settings)
        assert config.asks_judge is (row in (job.RESCORED, job.TAUGHT))
    assert len({unit.stem for unit in job.UNITS}) == len(job.UNITS)


@pytest.mark.parametrize("row", [job.NEAR, job.RESCORED, job.TAUGHT])
def test_a_row_that_mines_runs(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recall within 0 to 1, alone and in hybrid; a cross-encoder is learned where one is asked."""
    backbone = tiny_backbone(tmp_path / "backbone", seed=0, words=[*COLOURS, *(kind for kind, _ in KINDS)])
    small = {"backbone": str(backbone), "precision": "fp32"}
    monkeypatch.setattr(job, "resolve_backbone", lambda: backbone)
    for step in ("BASE", "BEFORE"):
        monkeypatch.setattr(job, step, getattr(job, step).model_copy(update=small))
    monkeypatch.setattr(
        job, "ROWS", {row: {**job.ROWS[row], "max_relevance": 0.99}} if row == job.RESCORED else job.ROWS
    )
    write_small_shop(tmp_path / "data" / "homedepot")
    (tmp_path / "work").mkdir()
    place = Place(tmp_path / "data", tmp_path / "work")
    measured = job.measure(Unit(f"{job.HOMEDEPOT}: {row}", seed=0), place)
    assert all(0 <= measured.metrics[figure] <= 1 for figure in job.FIGURES)
    assert len(list(place.work.glob("trained/homedepot-teacher-seed0/done"))) == (row != job.NEAR)
