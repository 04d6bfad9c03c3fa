"""The job that sets the two-tower beside RecTools' SASRec: what goes over and comes back, and the tables."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.jobs import peer_beauty as job
from benchmarks.pace import write_events
from feature_store.snapshot import Snapshot
from recsys.models.two_tower_config import FIRST
from training.two_tower.events import known_users
from training.two_tower.flat import read_sequences

ROOT = Path(__file__).resolve().parents[2]


def test_the_peer_is_handed_every_event_but_the_last_in_each_users_order(
    ordered_snapshot: Snapshot, tmp_path: Path
) -> None:
    rows = np.arange(len(ordered_snapshot.catalogue())) + FIRST
    sequences = read_sequences(known_users(ordered_snapshot, *job.PARTS), rows=rows, folder=tmp_path)
    write_events(sequences, file=tmp_path / "e.npz")
    events = np.load(tmp_path / "e.npz", allow_pickle=False)
    frame = ordered_snapshot.interactions(*job.PARTS).filter(pl.col("user_id").is_not_null())
    names = frame["user_id"].unique().sort()
    assert [names[user] for user in events["users"].tolist()] == frame["user_id"].to_list()
    assert events["products"].tolist() == frame["position"].to_list()
    for user in range(len(names)):
        own = events["moments"][events["users"] == user]
        assert own.tolist() == list(range(len(own)))


def test_answers_are_read_by_user(tmp_path: Path) -> None:
    file = tmp_path / "answers.npz"
    np.savez(file, users=[0, 0, 2, 2, 2], products=[5, 3, 1, 2, 4], scores=[0.9, 0.2, 3.0, 2.0, 1.0])
    lists = job.read_answers(file, users=np.array([2, 1, 0]))
    assert [row.positions.tolist() for row in lists] == [[1, 2, 4], [], [5, 3]]
    assert lists[0].scores.tolist() == [3.0, 2.0, 1.0]


def result(variant: str, **values: Any) -> dict[str, Any]:
    return {"variant": variant, "fold": None, "seed": 0, "counts": {}, **values}


def test_the_tables_say_how_many_times_as_fast_and_what_the_peer_finds() -> None:
    pace = {"ours": 2000.0, "peer": 100.0, "lowest ratio": 18.0, "highest ratio": 22.0}
    quality = {"recall@10": 0.08, "ndcg@10": 0.04, "processor seconds an epoch": 300.0}
    results = [
        result(job.PACE, metrics=pace),
        *(result(f"{job.PEER}, {n} epochs", metrics=quality, counts={"epochs": n}) for n in (12, 4)),
    ]
    first, second = job.tables(results)
    assert first.rows[0] == ("two-tower, ids alone", "2,000", "20.0 [18.0, 22.0]")
    assert second.rows == [("4", "0.0800", "0.0400", "5.0"), ("12", "0.0800", "0.0400", "5.0")]
    assert [table.title for table in job.tables(results[:1])] == ["Pace"]


def test_the_peers_versions_are_pinned_and_its_torch_is_ours() -> None:
    lines = [line for line in (ROOT / "benchmarks/peers/sasrec.txt").read_text().splitlines() if line[:1] != "#"]
    assert all("==" in line for line in lines)
    assert "torch==2.13.0" in lines
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_units_go_on_from_each_other() -> None:
    epochs = [int(unit.variant.split(", ")[1].split()[0]) for unit in job.UNITS[1:]]
    assert epochs == sorted(epochs) == list(job.EPOCHS)
    assert len({unit.stem for unit in job.UNITS}) == len(job.UNITS)
    assert pl.Series(epochs).is_unique().all()
