"""The month of nights on a small shop and a network of a few steps: what is compared with what, and that it goes on."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.job import Place, Unit
from benchmarks.jobs import warm_nights
from benchmarks.recommenders import Bench
from training.two_tower.config import TwoTowerSettings


def tiny(*, seed: int) -> TwoTowerSettings:
    return TwoTowerSettings(
        seed=seed, profile="baskets", epochs=2, width=8, heads=1, length=8, negatives=8, blocks=0, pool="mean",
        precision="fp32", horizon=0, distinct=True,
    )  # fmt: skip


def test_nights_go_on_from_one_another(small_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_nights, "settings", tiny)
    monkeypatch.setattr(warm_nights, "SOLD_DAYS", 28)
    data, work = tmp_path / "data", tmp_path / "work"
    shutil.copytree(small_shop, data / "online_retail")
    work.mkdir()
    place = Place(data, work)
    bench = Bench(shop="online_retail", place=place)
    np.save(work / "text.npy", np.random.default_rng(0).normal(size=(len(bench.catalogue), 4)).astype(np.float32))
    found = warm_nights.measure(Unit("anew", fold=3, seed=0), place)
    assert {f"{table}: {metric}" for table in warm_nights.TABLES for metric in warm_nights.METRICS} <= set(
        found.metrics
    )
    assert found.counts["users, repeats allowed"] >= found.counts["users, repeats excluded"] > 0
    nights = sorted((work / "updated-seed0").iterdir())
    assert [night.name for night in nights] == ["night-1", "night-2", "night-3"]
    stamp = (nights[0] / "info.json").stat().st_mtime_ns
    later = warm_nights.measure(Unit("updated", fold=3, seed=0), place)
    assert (nights[0] / "info.json").stat().st_mtime_ns == stamp
    metric = "repeats allowed: ndcg@20"
    assert later.metrics[metric] == pytest.approx(found.metrics[f"updated: {metric}"])
    results = [
        {"variant": name, "fold": 3, "seed": 0, "metrics": one.metrics,
         "intervals": {key: (gap.mean, gap.low, gap.high) for key, gap in one.intervals.items()}}
        for name, one in (("anew", found), ("updated", later))
    ]  # fmt: skip
    tables = warm_nights.tables(results)
    assert [len(table.rows) for table in tables] == [1, 1, 2]
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    moved = later.metrics[metric] - later.metrics[f"left alone: {metric}"]
    assert f"{moved:+.4f}" in tables[-1].rows[1]
