"""The two-tower beside RecTools' SASRec on the same purchases (beauty): how fast both learn, and what the peer finds.

The peer is eSASRec as published (arXiv 2508.06450: SASRec with LiGR blocks and a sampled softmax of 256 negatives to
each place, histories of 50, dropout .2, a steady rate of .001 in batches of 128), as wide and deep as ours, and runs in
an environment of its own (benchmarks/peers). Pace: ids alone on both sides, one thread each, in turns in one run, by
processor seconds, so that a busy machine wrongs neither. Ours reads only a batch's longest history and shares its 1,024
negatives; the peer fills every history up to 50 and draws its own for each place. Quality: the peer's test figures
after each few epochs, refit, with no epoch chosen; ours stands in the table of beauty.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from benchmarks.jobs.beauty import IDS, choose
from benchmarks.pace import in_turns, turns_table, write_events
from benchmarks.peers.environment import answer
from benchmarks.recommenders import Bench, measured
from recsys.engine.ladder import Filled
from recsys.models.two_tower_config import FIRST
from recsys.types import Rung
from training.evaluate.lists import score_lists
from training.two_tower.config import TwoTowerSettings
from training.two_tower.events import known_users
from training.two_tower.flat import read_sequences
from training.two_tower.learn import training_batches
from training.two_tower.products import Products

PROTOCOL = "leave-one-out, refit: learned from all events but each user's last"
SHOPS = ("beauty",)
PACE, PEER = "pace", "RecTools eSASRec"
EPOCHS = (4, 8, 12, 16, 20, 24, 32, 40)
UNITS = (Unit(PACE, seed=0), *(Unit(f"{PEER}, {epochs} epochs", seed=0) for epochs in EPOCHS))
MODEL: Mapping[str, Any] = {
    "ligr": True,
    "n_blocks": 2,
    "n_heads": 2,
    "n_factors": 128,
    "session_max_len": 50,
    "dropout_rate": 0.2,
    "loss": "sampled_softmax",
    "n_negatives": 256,
    "batch_size": 128,
    "lr": 0.001,
}
PARTS = ("train", "validation")
MOST = 20


def measure(unit: Unit, place: Place) -> Measured:
    """The paces of both, or the peer's figures after some epochs."""
    bench = Bench(shop="beauty", place=place.of("beauty"))
    products = Products(len(bench.catalogue))
    rows = np.arange(products.count) + FIRST
    sequences = read_sequences(known_users(bench.snapshot, *PARTS), rows=rows, folder=place.work)
    events = place.work / "events.npz"
    write_events(sequences, file=events)
    if unit.variant == PACE:
        _, config = choose(IDS, seed=unit.seed or 0)
        assert isinstance(config, TwoTowerSettings)  # noqa: S101 - the two-tower's row has two-tower settings
        batches = training_batches(sequences, products=products, config=config)
        return in_turns(batches, products=products, config=config, peer=MODEL, events=events)
    epochs = int(unit.variant.split(", ")[1].split()[0])
    settings = {"events": str(events), "folder": str(place.work / "epochs"), "model": dict(MODEL)}
    found = answer("sasrec", settings | {"seed": unit.seed, "k": MOST, "steps": 0, "epochs": epochs})
    holdout = bench.holdout(repeats=False)
    known = bench.snapshot.interactions(*PARTS)["user_id"].unique().sort()
    users = known.search_sorted(pl.Series(holdout.trial.user_ids)).to_numpy()
    lists = read_answers(Path(found["answers"]), users=users)
    scored = score_lists(lists, holdout.relevant, products=holdout.products, cuts=(10, MOST))
    own = measured(scored, baselines={}, metrics=(), counts={"users": len(lists), "epochs": epochs})
    seconds = {"processor seconds an epoch": found["seconds an epoch"]}
    return Measured(metrics={**own.metrics, **seconds}, counts=own.counts, config=dict(MODEL))


def read_answers(file: Path, *, users: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[Filled]:
    """The peer's lists of some users, by their numbers; rows stand by user, best first."""
    found = np.load(file, allow_pickle=False)
    first = np.searchsorted(found["users"], users, side="left")
    last = np.searchsorted(found["users"], users, side="right")
    lists = []
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        scores = found["scores"][start:end].astype(np.float32)
        sources, rungs = (PEER,) * (end - start), (Rung.PERSONAL,) * (end - start)
        lists.append(Filled(found["products"][start:end], scores, sources, rungs))
    return lists


def tables(results: Sequence[Result]) -> list[Table]:
    """The paces, and the peer's figures by epochs."""
    found = [turns_table(result, title="Pace", peer=PEER) for result in of(results, PACE)]
    peer = [result for result in results if result["variant"] != PACE]
    rows = [
        (
            str(result["counts"]["epochs"]),
            f"{result['metrics']['recall@10']:.4f}",
            f"{result['metrics']['ndcg@10']:.4f}",
            f"{result['metrics']['processor seconds an epoch'] / 60:.1f}",
        )
        for result in sorted(peer, key=lambda result: result["counts"]["epochs"])
    ]
    if rows:
        columns = ("epochs", "R@10", "NDCG@10", "processor minutes an epoch")
        note = "The published run takes up to 200 epochs and reaches .0928 / .0523; what is here is what it had so far."
        found.append(Table(f"{PEER} on beauty, refit", columns, rows, note))
    return found
